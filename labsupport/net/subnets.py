"""Finds what is wrong with the addresses and routes of a planned network."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from itertools import combinations

from labsupport.net.model import Endpoint
from labsupport.net.places import write_end
from labsupport.net.plan import Fault, Plan

_Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Placed = tuple[Endpoint, _Interface, str]


def faults(plan: Plan, known: set[str]) -> Iterator[Fault]:
    """Return what is wrong; `known` are the namespaces that are planned or there already."""
    made = {end for end, _ in plan.made_ends}
    placed: list[_Placed] = []
    for end, text, call in plan.addresses:
        if end not in made and end.link:
            yield Fault(call, f"no planned link is called {write_end(end)}", "a link of a host, cable or bridge",
                        "check the spelling, or plan the link first")
        try:
            address = ipaddress.ip_interface(str(text))
        except ValueError:
            yield Fault(call, f"{text!r} is no address", "an address and a prefix length, such as 10.0.0.1/24",
                        "write it like that")
            continue
        placed.append((end, address, call))
        yield from _alone(address, str(text), call)
    domain_of = domains(plan)
    declared, wrong = _declared(plan)
    yield from wrong
    yield from _outside(placed, declared, domain_of)
    yield from _together(placed, domain_of)
    yield from _overlaps(placed, declared, domain_of)
    yield from _routes(plan, placed, known, made)
    yield from _nat(plan)


def domains(plan: Plan) -> dict[Endpoint, int]:
    """Return a number for each link: those with the same number are in one broadcast domain."""
    number = {end: at for at, (end, _) in enumerate(plan.made_ends)}
    joined = [(cable.one, cable.other) for cable in plan.cables] + [(port, bridge) for port, bridge, _ in plan.ports]
    for one, other in joined:
        if one in number and other in number and number[one] != number[other]:
            old, new = number[other], number[one]
            number = {end: new if at == old else at for end, at in number.items()}
    return number


def _alone(address: _Interface, text: str, call: str) -> Iterator[Fault]:
    network = address.network
    if "/" not in text:
        yield Fault(call, f"{text} has no prefix length", f"{text}/24, say", "write how many bits name the network")
    elif network.num_addresses > 2 and address.ip == network.network_address and address.version == 4:
        yield Fault(call, f"{address.ip} is the network {network} itself: no host bit is set",
                    "an address of a host", f"the first one is {network.network_address + 1}")
    elif network.num_addresses > 2 and address.ip == network.broadcast_address and address.version == 4:
        yield Fault(call, f"{address.ip} is the broadcast address of {network}", "an address of a host",
                    f"the last one is {network.broadcast_address - 1}")


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
            owner = seen.setdefault(place, end)
            if owner != end:
                yield Fault(call, f"{write_end(owner)} has the address {address.ip} already",
                            "each address once", "choose another address")
                break


def _overlaps(placed: list[_Placed], declared: dict[Endpoint, tuple[_Network, str]],
              domain_of: dict[Endpoint, int]) -> Iterator[Fault]:
    told: set[tuple[str, str]] = set()
    for (one, first, call), (other, second, later) in combinations(placed, 2):
        near = domain_of.get(one) == domain_of.get(other)
        same_router = one.namespace == other.namespace and one != other
        clash = first.network != second.network if near else same_router
        if clash and _overlap(first.network, second.network) and (str(first), str(second)) not in told:
            told.add((str(first), str(second)))
            yield _overlap_fault(later, second.network, first.network, call)
    for (one, (subnet, call)), (other, (another, later)) in combinations(declared.items(), 2):
        if domain_of[one] != domain_of[other] and _overlap(subnet, another):
            yield _overlap_fault(later, another, subnet, call)


def _overlap(one: _Network, other: _Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _overlap_fault(call: str, network: _Network, other: _Network, where: str) -> Fault:
    return Fault(call, f"the network {network} overlaps with {other} of {where}",
                 "networks that have no address in common", "move one of them, or mend its prefix length")


def _routes(plan: Plan, placed: list[_Placed], known: set[str], made: set[Endpoint]) -> Iterator[Fault]:
    planned = {namespace.name for namespace in plan.namespaces}
    seen: set[tuple[str, str, int]] = set()
    for route in plan.routes:
        call = route.call
        if route.namespace not in known:
            yield Fault(call, f"there is no namespace {route.namespace!r}", "one that is planned",
                        f"namespace({route.namespace!r}) plans it")
        if route.destination != "default":
            try:
                ipaddress.ip_network(str(route.destination))
            except ValueError:
                yield _no_network(route.destination, call)
        if (route.namespace, route.destination, route.metric) in seen:
            yield Fault(call, f"a second route of {route.namespace} leads to {route.destination}",
                        "one route per destination and metric", "leave one out, or give it another metric")
        seen.add((route.namespace, route.destination, route.metric))
        if route.device and Endpoint(route.namespace, route.device) not in made:
            yield Fault(call, f"no planned link is called {route.namespace}:{route.device}", "a link of that namespace",
                        "check the spelling")
        own = [address for end, address, _ in placed if end.namespace == route.namespace]
        yield from _gateway(route.via, own, call, planned=route.namespace in planned, needed=not route.device)


def _gateway(via: str, own: list[_Interface], call: str, *, planned: bool, needed: bool) -> Iterator[Fault]:
    if not via:
        if needed:
            yield Fault(call, "the route leads nowhere", "via= a router, or dev= a link", "say one of them")
        return
    try:
        gateway = ipaddress.ip_address(str(via))
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
        host, _, port = str(one.to).rpartition(":")
        try:
            ipaddress.IPv4Address(host)
            good = 0 < int(port) < 65536
        except ValueError:
            good = False
        if not good:
            yield Fault(one.call, f"{one.to!r} is no place to send connections to", "an address and a port",
                        "write it like 10.0.0.1:80")
