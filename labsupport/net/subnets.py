"""Finds what is wrong with the addresses and routes of a planned network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from itertools import combinations, product

from labsupport.net.model import Endpoint
from labsupport.net.places import write_end
from labsupport.net.plan import Fault, Plan

_Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Placed = tuple[Endpoint, _Interface, str]
_MOST_METRIC = (1 << 32) - 1


def faults(plan: Plan, known: set[str]) -> Iterator[Fault]:
    """Return what is wrong; `known` are the namespaces that are planned or there already."""
    made = {end for end, _ in plan.made_ends}
    told = set(plan.made_ends)
    planned = {namespace.name for namespace in plan.namespaces}
    placed: list[_Placed] = []
    for end, text, call in plan.addresses:
        if not end.link and (end, call) not in told:
            yield no_link(end, call)
        elif end not in made and end.link:
            yield Fault(call, f"no planned link is called {write_end(end)}", "a link of a host, cable or bridge",
                        "check the spelling, or plan the link first")
        try:
            address = ipaddress.ip_interface(text)
        except ValueError:
            yield Fault(call, f"{text!r} is no address", "an address and a prefix length, such as 10.0.0.1/24",
                        "write it like that")
            planned.discard(end.namespace)  # nothing can be said about its routers
            continue
        wrong = _alone(address, text, call)
        if address.version == 6 and not plan.ipv6 and end.namespace in planned:
            wrong = Fault(call, "IPv6 is off in the namespaces of this topology", "an IPv4 address",
                          "write Topology(ipv6=True) to have both")
        if wrong:
            yield wrong
        if "/" not in text:
            planned.discard(end.namespace)
        elif end in made:
            placed.append((end, address, call))
    domain_of = domains(plan)
    declared, unreadable = _declared(plan)
    yield from unreadable
    yield from _outside(placed, declared, domain_of)
    yield from _together(placed, domain_of)
    yield from _overlaps(placed, declared, domain_of)
    yield from _routes(plan, placed, known, planned)
    yield from _nat(plan)


def domains(plan: Plan) -> dict[Endpoint, int]:
    """Return a number for each link: those with the same number are in one broadcast domain."""
    number = {end: at for at, (end, _) in enumerate(plan.made_ends)}
    members = {at: [end] for end, at in number.items()}
    joined = [(cable.one, cable.other) for cable in plan.cables] + [(port, bridge) for port, bridge, _ in plan.ports]
    for one, other in joined:
        if one in number and other in number and number[one] != number[other]:
            fewer, more = sorted((number[one], number[other]), key=lambda at: len(members[at]))
            number |= dict.fromkeys(members[fewer], more)
            members[more] += members.pop(fewer)
    return number


def no_link(end: Endpoint, call: str) -> Fault:
    """Return that something stands where the name of a link belongs."""
    return Fault(call, f"{end.namespace!r} names no link", '"NAMESPACE:LINK", such as "red:red0"',
                 f"write \"{end.namespace}:\" and the name of the link")


def _alone(address: _Interface, text: str, call: str) -> Fault | None:
    network = address.network
    if "/" not in text:
        return Fault(call, f"{text} has no prefix length", f"{text}/24, say", "write how many bits name the network")
    if network.num_addresses > 2 and address.ip == network.network_address and address.version == 4:
        return Fault(call, f"{address.ip} is the network {network} itself: no host bit is set",
                     "an address of a host", f"the first one is {network.network_address + 1}")
    if network.num_addresses > 2 and address.ip == network.broadcast_address and address.version == 4:
        return Fault(call, f"{address.ip} is the broadcast address of {network}", "an address of a host",
                     f"the last one is {network.broadcast_address - 1}")
    return None


def _declared(plan: Plan) -> tuple[dict[Endpoint, tuple[_Network, str]], list[Fault]]:
    found: dict[Endpoint, tuple[_Network, str]] = {}
    wrong = []
    for bridge in plan.bridges:
        if bridge.subnet:
            call = f"{bridge.call}, subnet={bridge.subnet!r}"
            try:
                found[bridge.end] = ipaddress.ip_network(bridge.subnet), call
            except ValueError:
                wrong.append(_no_network(bridge.subnet, call))
    return found, wrong


def _no_network(text: object, call: str) -> Fault:
    try:
        network = ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        return Fault(call, f"{text!r} is no network", "a network such as 10.0.0.0/24", "write it like that")
    return Fault(call, f"{text} has host bits set: bits that the prefix length leaves to the hosts",
                 f"{network}, which holds it", f"write {network}")


def _outside(placed: list[_Placed], declared: dict[Endpoint, tuple[_Network, str]],
             domain_of: dict[Endpoint, int]) -> Iterator[Fault]:
    for bridge, (subnet, _) in declared.items():
        for end, address, call in placed:
            inside = address.version == subnet.version and address.ip in subnet
            if domain_of.get(end) == domain_of[bridge] and address.version == subnet.version and not (
                    inside and address.network == subnet):
                what = "has another prefix length than" if inside else "is outside of"
                yield Fault(call, f"{address} {what} the subnet {subnet} of {write_end(bridge)}",
                            f"an address of {subnet}, written with /{subnet.prefixlen}",
                            "mend the address, or plug the link in elsewhere")


def _together(placed: list[_Placed], domain_of: dict[Endpoint, int]) -> Iterator[Fault]:
    seen: dict[tuple[object, ...], Endpoint] = {}
    for end, address, call in placed:
        for place in ((domain_of.get(end), address.ip), (end.namespace, address.ip)):
            if place in seen:
                yield Fault(call, f"{write_end(seen[place])} has the address {address.ip} already",
                            "each address once", "choose another address")
                break
            seen[place] = end


def _overlaps(placed: list[_Placed], declared: dict[Endpoint, tuple[_Network, str]],
              domain_of: dict[Endpoint, int]) -> Iterator[Fault]:
    told: set[tuple[str, str]] = set()
    for (one, first, call), (other, second, later) in _suspects(placed, domain_of):
        near = domain_of.get(one) == domain_of.get(other)
        same_router = one.namespace == other.namespace and one != other
        clash = first.network != second.network if near else same_router
        if clash and _overlap(first.network, second.network) and (str(first), str(second)) not in told:
            told.add((str(first), str(second)))
            yield _overlap_fault(later, second.network, first.network, call)
    for (one, (subnet, call)), (other, (another, later)) in combinations(declared.items(), 2):
        if domain_of[one] != domain_of[other] and _overlap(subnet, another):
            yield _overlap_fault(later, another, subnet, call)


def _suspects(placed: list[_Placed], domain_of: dict[Endpoint, int]) -> Iterator[tuple[_Placed, _Placed]]:
    """Return the pairs in one domain but not in one network, and those in one namespace, in the order of writing."""
    networks: dict[int | None, dict[_Network, list[int]]] = {}
    namespaces: dict[str, list[int]] = {}
    for at, (end, address, _) in enumerate(placed):
        networks.setdefault(domain_of.get(end), {}).setdefault(address.network, []).append(at)
        namespaces.setdefault(end.namespace, []).append(at)
    pairs = {pair for members in namespaces.values() for pair in combinations(members, 2)}
    for domain in networks.values():
        for some, others in combinations(domain.values(), 2):
            pairs |= {(min(pair), max(pair)) for pair in product(some, others)}
    for earlier, later in sorted(pairs):
        yield placed[earlier], placed[later]


def _overlap(one: _Network, other: _Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _overlap_fault(call: str, network: _Network, other: _Network, where: str) -> Fault:
    return Fault(call, f"the network {network} overlaps with {other} of {where}",
                 "networks that have no address in common", "move one of them, or mend its prefix length")


def _routes(plan: Plan, placed: list[_Placed], known: set[str], planned: set[str]) -> Iterator[Fault]:
    made = {end for end, _ in plan.made_ends}
    seen: set[tuple[str, str, int]] = set()
    for route in plan.routes:
        call = route.call
        if route.namespace not in known:
            yield Fault(call, f"there is no namespace {route.namespace!r}", "one that is planned",
                        f"namespace({route.namespace!r}) plans it")
        if wrong := _unlikely(route.destination, route.via, call):
            yield wrong
        if not 0 <= route.metric <= _MOST_METRIC:
            yield Fault(call, f"a metric of {route.metric}", f"0 to {_MOST_METRIC}", "0 is the usual one")
        if (route.namespace, route.destination, route.metric) in seen:
            yield Fault(call, f"a second route of {route.namespace} leads to {route.destination}",
                        "one route per destination and metric", "leave one out, or give it another metric")
        seen.add((route.namespace, route.destination, route.metric))
        if route.device and Endpoint(route.namespace, route.device) not in made:
            yield Fault(call, f"no planned link is called {route.namespace}:{route.device}", "a link of that namespace",
                        "check the spelling")
        own = [address for end, address, _ in placed if end.namespace == route.namespace]
        yield from _gateway(route.via, own, call, planned=route.namespace in planned, needed=not route.device)


def _unlikely(destination: str, via: str, call: str) -> Fault | None:
    """Return what is wrong with the destination: by itself, or together with the router."""
    if destination == "default":
        return None
    try:
        network = ipaddress.ip_network(destination)
    except ValueError:
        return _no_network(destination, call)
    try:
        version = ipaddress.ip_address(via).version
    except ValueError:
        return None  # `_gateway` tells it
    if version == network.version:
        return None
    return Fault(call, f"{network} is IPv{network.version}, and the router {via} is IPv{version}",
                 "a router of the same version", "name one of its addresses of that version")


def _gateway(via: str, own: list[_Interface], call: str, *, planned: bool, needed: bool) -> Iterator[Fault]:
    if not via:
        if needed:
            yield Fault(call, "the route leads nowhere", "via= a router, or dev= a link", "say one of them")
        return
    try:
        gateway = ipaddress.ip_address(via)
    except ValueError:
        yield Fault(call, f"{via!r} is no router", "an address such as 10.0.0.254", "leave the prefix length out")
        return
    if any(address.ip == gateway for address in own):
        yield Fault(call, f"the router {gateway} is the namespace itself", "the address of another machine",
                    "name the router")
    elif planned and not any(gateway in address.network for address in own):
        yield Fault(call, f"the router {gateway} is on no cable of it",
                    f"one of its own networks: {', '.join(str(one.network) for one in own) or 'it has none'}",
                    "name a router that it reaches directly")


def _nat(plan: Plan) -> Iterator[Fault]:
    for _, source, call in plan.masquerades:
        try:
            ipaddress.IPv4Network(source)
        except ValueError:
            yield _no_network(source, call)
    for one in plan.publications:
        host, _, port = one.to.rpartition(":")
        try:
            ipaddress.IPv4Address(host)
            good = bool(re.fullmatch("[0-9]{1,5}", port)) and 0 < int(port) < 65536
        except ValueError:
            good = False
        if not good:
            yield Fault(one.call, f"{one.to!r} is no place to send connections to", "an address and a port",
                        "write it like 10.0.0.1:80")
