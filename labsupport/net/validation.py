"""Finds everything that is wrong with a planned network, before any of it is made."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from labsupport.net import subnets, values
from labsupport.net.model import Endpoint
from labsupport.net.places import write_end
from labsupport.net.plan import Fault, Plan
from labsupport.net.read import network
from labsupport.sandbox import Lab

_LONGEST_LINK_NAME = 15  # IFNAMSIZ - 1
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_LEAST_MTU_BYTES, _MOST_MTU_BYTES = 68, 65535  # RFC 791; veth(4)


def faults(plan: Plan, existing: Iterable[str] = ()) -> list[Fault]:
    """Return what is wrong, in the order in which it was written down.

    Args:
        plan: what is planned.
        existing: namespaces that the lab has already.
    """
    if wrong := values.faults(plan):
        return wrong
    known = {"", *existing, *(namespace.name for namespace in plan.namespaces)}
    return [*_namespaces(plan), *_links(plan, known), *_bridges(plan), *_ports(plan, known), *_properties(plan),
            *_settings(plan, known), *subnets.faults(plan, known)]


def conflicts(plan: Plan, lab: Lab) -> list[Fault]:
    """Return what the lab has already under names that the plan wants to use."""
    now = network(lab)
    found = [Fault(namespace.call, f"the lab has a namespace {namespace.name} already", "a name that is free",
                   f"ip netns delete {namespace.name}, or remove() what an earlier build made")
             for namespace in plan.namespaces if namespace.name in now.namespaces]
    new = {namespace.name for namespace in plan.namespaces}
    for end, call in plan.made_ends:
        if end.namespace not in new and now.link(end) is not None:
            found.append(Fault(call, f"the lab has a link {write_end(end)} already", "a name that is free",
                               f"ip link delete {end.link}, or remove() what an earlier build made"))
    return found


def headline(found: list[Fault]) -> str:
    """Return how many faults there are, as a sentence."""
    return "the topology has a fault" if len(found) == 1 else f"the topology has {len(found)} faults"


def _namespaces(plan: Plan) -> Iterator[Fault]:
    times = Counter(namespace.name for namespace in plan.namespaces)
    seen: set[str] = set()
    for namespace in plan.namespaces:
        name = namespace.name
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", name) or set(name) <= {"."}:
            yield Fault(namespace.call, f"{name!r} is no name for a namespace", "letters, digits, - _ and .",
                        "choose another name")
        if times[name] > 1 and name in seen:
            yield Fault(namespace.call, f"a second namespace is called {name!r}", "each name once",
                        "choose another name")
        seen.add(name)


def _links(plan: Plan, known: set[str]) -> Iterator[Fault]:
    seen: set[Endpoint] = set()
    nowhere = {(port, call): bridge for port, bridge, call in plan.ports if not bridge.link}
    for end, call in plan.made_ends:
        if bridge := nowhere.get((end, call)):
            yield _no_switch(bridge, call)
        elif not end.link:
            yield subnets.no_link(end, call)
        else:
            yield from _link_name(end, call)
            if end.namespace not in known:
                yield Fault(call, f"there is no namespace {end.namespace!r} for {write_end(end)}",
                            "one that is planned or that the lab has", f"namespace({end.namespace!r}) plans it")
            if end in seen:
                yield Fault(call, f"a second link is called {write_end(end)}", "each name once in a namespace",
                            "choose another name")
        seen.add(end)


def _no_switch(end: Endpoint, call: str) -> Fault:
    return Fault(call, f"{end.namespace!r} is no switch and no bridge", 'a planned switch, or "NAMESPACE:BRIDGE"',
                 f"switch({end.namespace!r}) plans a switch; write it before what is plugged in")


def _link_name(end: Endpoint, call: str) -> Iterator[Fault]:
    if len(end.link) > _LONGEST_LINK_NAME:
        yield Fault(call, f"the link name {end.link!r} has {len(end.link)} characters",
                    f"at most {_LONGEST_LINK_NAME}, for the kernel takes no longer ones", "choose a shorter name")
    # The kernel takes almost anything, but then nft(8) and sysctl(8) would read it in their own way.
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", end.link) or end.link in {".", "..", "lo", "all", "default"}:
        yield Fault(call, f"{end.link!r} is no name for a link",
                    "letters, digits, - _ and ., and none of lo, all, default", "choose another name")


def _bridges(plan: Plan) -> Iterator[Fault]:
    for bridge in plan.bridges:
        if not 0 <= bridge.ageing_s <= 1_000_000:
            yield Fault(bridge.call, f"an ageing time of {bridge.ageing_s} s", "0 to 1,000,000 s",
                        "the usual one is 300")


def _ports(plan: Plan, known: set[str]) -> Iterator[Fault]:
    bridges = {bridge.end for bridge in plan.bridges}
    made = {end for end, _ in plan.made_ends}
    told = set(plan.made_ends)  # with their links
    taken: set[Endpoint] = set()
    for port, bridge, call in plan.ports:
        if not bridge.link:
            if (port, call) not in told:
                yield _no_switch(bridge, call)
            continue
        if bridge not in bridges:
            yield Fault(call, f"there is no bridge {write_end(bridge)}", "a planned bridge or switch",
                        f"bridge({write_end(bridge)!r}) plans it")
        elif port.namespace != bridge.namespace:
            yield Fault(call, f"{write_end(port)} is in another namespace than the bridge {write_end(bridge)}",
                        "both in one namespace", "lead a cable from there to here, and make its end the port")
        if port not in made and port.namespace in known:
            yield _unplanned(port, call)
        if port in taken:
            yield Fault(call, f"{write_end(port)} is a port twice", "a link is a port of one bridge", "leave one out")
        taken.add(port)


def _unplanned(end: Endpoint, call: str) -> Fault:
    return Fault(call, f"no planned link is called {write_end(end)}", "a link of a host, cable or bridge",
                 "check the spelling, or plan the link first")


def _properties(plan: Plan) -> Iterator[Fault]:
    made = {end for end, _ in plan.made_ends}
    macs: dict[str, Endpoint] = {}
    for link in plan.links:
        if link.end not in made:
            yield _unplanned(link.end, link.call)
        if link.mac:
            mac = link.mac.lower()
            if mac == "00:00:00:00:00:00" or not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
                yield Fault(link.call, f"{link.mac!r} is no address for a link", "six bytes, the first one even",
                            "02:00:00:00:00:01 is one: 02 says that it was given by hand")
            if macs.setdefault(mac, link.end) != link.end:
                yield Fault(link.call, f"{write_end(macs[mac])} has the MAC address {mac} already", "each one once",
                            "choose another address")
        elif not _LEAST_MTU_BYTES <= link.mtu_bytes <= _MOST_MTU_BYTES:
            yield Fault(link.call, f"an MTU of {link.mtu_bytes} bytes", f"{_LEAST_MTU_BYTES} to {_MOST_MTU_BYTES}",
                        "1500 is Ethernet's")
    for shaping in plan.shapings:
        if shaping.end not in made:
            yield _unplanned(shaping.end, shaping.call)
        values = (shaping.rate_kbit, shaping.delay_ms, shaping.loss_percent)
        if not any(values) or min(values) < 0 or shaping.loss_percent > 100:
            yield Fault(shaping.call, "there is nothing that can be done to the link with these numbers",
                        "a rate, a delay or a loss of 0 to 100 percent", "impair(..., rate_kbit=1000), say")


def _settings(plan: Plan, known: set[str]) -> Iterator[Fault]:
    for name, key, value, call in plan.sysctls:
        if name not in known:
            yield Fault(call, f"there is no namespace {name!r}", "one that is planned", f"namespace({name!r}) plans it")
        if not re.fullmatch(r"net(\.[A-Za-z0-9_-]+)+", key):
            yield Fault(call, f"{key!r} is no setting of a network", "a name below net., with dots",
                        "net.ipv4.ip_forward is one")
        if not re.fullmatch(r"[\t -~]+", value):
            yield Fault(call, f"{value!r} is no value of a setting", "a number, or words", "0 and 1 are the usual ones")
    ports: set[tuple[Endpoint, int]] = set()
    for one in plan.publications:
        if not 0 < one.port < 65536:
            yield Fault(one.call, f"{one.port!r} is no port", "1 to 65535", "8080 is one")
        if (one.end, one.port) in ports:
            yield Fault(one.call, f"port {one.port} of {write_end(one.end)} is published twice", "each port once",
                        "choose another port")
        ports.add((one.end, one.port))
    made = {end for end, _ in plan.made_ends}
    for end, call in [*((end, call) for end, _, call in plan.masquerades),
                      *((one.end, one.call) for one in plan.publications)]:
        if end not in made:
            yield _unplanned(end, call)
