"""Which route wins for a destination, worked out as the kernel does: the longest prefix that matches, then the metric.

Values only: nothing in here asks the kernel.

Source: RFC 1812 section 5.2.4.3, ip-route(8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from labsupport.net import Route

ADDRESS_BITS = 32
_EVERYTHING = IPv4Network("0.0.0.0/0")
_REFUSALS = {
    "blackhole": "it drops the packet (here: Invalid argument)",
    "unreachable": "it refuses the packet: No route to host",
    "prohibit": "it refuses the packet: Permission denied",
    "throw": "it ends the search in this table: Network is unreachable",
}


@dataclass(frozen=True)
class Match:
    """One route, held against a destination bit by bit.

    Attributes:
        route: the route.
        prefix: its destination; `default` is 0.0.0.0/0.
        differing: the bits of the prefix that differ from the destination's, counted from 1 at the left.
    """

    route: Route
    prefix: IPv4Network
    differing: tuple[int, ...]

    @property
    def matches(self) -> bool:
        """Whether all bits of the prefix are those of the destination."""
        return not self.differing

    @property
    def rank(self) -> tuple[int, int]:
        """Among routes that match, the one with the lowest rank wins."""
        return -self.prefix.prefixlen, self.route.metric


@dataclass(frozen=True)
class Choice:
    """What a routing table does with a destination.

    Attributes:
        destination: the address.
        matches: all routes, in the order of the table.
        winners: the one that wins; several if it has several next hops; none if no route matches.
    """

    destination: IPv4Address
    matches: tuple[Match, ...]
    winners: tuple[Match, ...]

    @property
    def reason(self) -> str:
        """Why the winner wins."""
        if not self.winners:
            return "Network is unreachable"
        best = self.winners[0]
        beaten = [one for one in self.matches if one.matches and one.rank > best.rank]
        shorter = [one.prefix.prefixlen for one in beaten if one.prefix != best.prefix]
        same = [one.route.metric for one in beaten if one.prefix == best.prefix]
        reasons = []
        if shorter:
            reasons.append(f"longest match: {_bits(best.prefix.prefixlen)} beat {max(shorter)}")
        if same:
            reasons.append(f"same length: the lower metric wins, {best.route.metric} beats {min(same)}")
        return "; ".join(reasons) or "it is the only route that matches"

    @property
    def outcome(self) -> str:
        """What happens to the packet."""
        if not self.winners:
            return "nothing is sent"
        refusal = _REFUSALS.get(self.winners[0].route.kind)
        ways = [f"out of {one.route.device} {_next_hop(one.route)}" for one in self.winners]
        return refusal or "it goes " + ", or ".join(ways) + ("; one route, several next hops" if len(ways) > 1 else "")


def choose(routes: Sequence[Route], destination: IPv4Address) -> Choice:
    """Hold every IPv4 route against a destination, and say which one wins."""
    matches = tuple(_match(route, destination) for route in routes if route.family == "inet")
    fitting = [one for one in matches if one.matches]
    best = min((one.rank for one in fitting), default=None)
    return Choice(destination, matches, tuple(one for one in fitting if one.rank == best))


def _match(route: Route, destination: IPv4Address) -> Match:
    prefix = prefix_of(route)
    same = prefix.prefixlen
    difference = bits_of(int(prefix.network_address) ^ int(destination))
    return Match(route, prefix, tuple(at for at, bit in enumerate(difference[:same], 1) if bit == "1"))


def prefix_of(route: Route) -> IPv4Network:
    """Return the destination of an IPv4 route as a prefix."""
    return _EVERYTHING if route.destination == "default" else IPv4Network(route.destination)


def bits_of(number: int) -> str:
    """Return the 32 bits of an address."""
    return f"{number:0{ADDRESS_BITS}b}"


def way_out(route: Route) -> str:
    """Return where a route leads, in the words of `ip route`."""
    if not route.device:
        return route.kind
    kind = "" if route.kind == "unicast" else f"{route.kind} "
    return kind + (f"via {route.gateway} " if route.gateway else "") + f"dev {route.device}"


def agrees(choice: Choice, answer: Route | None) -> bool:
    """Return whether the kernel's own answer (`ip route get`) is the choice; None is "Network is unreachable"."""
    if not choice.winners or choice.winners[0].route.kind == "throw":
        return answer is None
    return answer is not None and any(
        (one.route.kind, one.route.gateway, one.route.device) == (answer.kind, answer.gateway, answer.device)
        for one in choice.winners
    )


def edges(routes: Sequence[Route]) -> list[IPv4Address]:
    """Return where the answer may change: first and last address of each prefix, and those beside; source addresses."""
    found = set()
    for route in routes:
        prefix = prefix_of(route) if route.family == "inet" else _EVERYTHING
        if prefix == _EVERYTHING:
            continue
        first, last = int(prefix.network_address), int(prefix.broadcast_address)
        found |= {first - 1, first, last, last + 1}
        if route.source:
            found.add(int(IPv4Address(route.source)))
    return [IPv4Address(number) for number in sorted(found) if 0 <= number < 1 << ADDRESS_BITS]


def place_of(destination: IPv4Address, routes: Sequence[Route]) -> str:
    """Return what is special about an address, or ""."""
    words: list[str] = []
    for prefix in dict.fromkeys(prefix_of(route) for route in routes if route.family == "inet"):
        first, last = prefix.network_address, prefix.broadcast_address
        if prefix == _EVERYTHING or first == last:
            continue
        sides = {int(first) - 1: "just before", int(first): "the first address of", int(last): "the last address of",
                 int(last) + 1: "just behind"}
        if int(destination) in sides:
            words.append(f"{sides[int(destination)]} {prefix}")
    return ", ".join(words)


def _next_hop(route: Route) -> str:
    return f"to the router {route.gateway}" if route.gateway else "straight to the destination"


def _bits(number: int) -> str:
    return f"{number} bit{'' if number == 1 else 's'}"
