"""Which namespaces a picture shows, how cables join them, and which of them belong together."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, cast

from labsupport.net import Endpoint, Link, NamespaceState, Network
from labsupport.views.canvas import CableState, PortState

Role = Literal["", "switch", "router"]

# A kernel with tunnel modules puts these into every new namespace, down and unused.
_FALLBACK_TUNNELS = frozenset({
    "erspan0", "gre0", "gretap0", "ip6_vti0", "ip6gre0", "ip6tnl0", "ip_vti0", "sit0", "tunl0",
})


class Cable(NamedTuple):
    """A veth pair: the two ends in the order of their names."""

    first: Endpoint
    second: Endpoint

    def other(self, end: Endpoint) -> Endpoint:
        """Return the end that is not `end`."""
        return self.second if end == self.first else self.first


class Group(NamedTuple):
    """Namespaces that cables join, directly or over others, and those cables."""

    members: tuple[NamespaceState, ...]
    cables: tuple[Cable, ...]


def shown_links(state: NamespaceState) -> tuple[Link, ...]:
    """Return the links of a namespace that a picture shows."""
    return tuple(link for link in state.links if not (link.name in _FALLBACK_TUNNELS and link.state == "down"))


def shown_namespaces(network: Network) -> tuple[NamespaceState, ...]:
    """Return the namespaces that a picture shows: the first one only if it has more than loopback, or is alone."""
    first_is_empty = all(link.kind == "loopback" for link in shown_links(network.namespaces[""]))
    return tuple(state for name, state in network.namespaces.items()
                 if name or not first_is_empty or len(network.namespaces) == 1)


def link_state(link: Link) -> PortState:
    """Return the state of a link in one word, as all pictures and texts use it."""
    if link.state == "down":
        return "down"
    return "up" if link.carrier else "no carrier"


def is_blocked(link: Link) -> bool:
    """Return whether a link is up, but its bridge lets no frames through it: because of STP, or being down itself."""
    return link_state(link) == "up" and link.port_state not in {"", "forwarding"}


def port_state(link: Link) -> PortState:
    """Return the word that a picture writes beside a link: its state, or what its bridge does instead of forwarding."""
    return cast("PortState", link.port_state) if is_blocked(link) else link_state(link)


def cable_state(cable: Cable, network: Network) -> CableState:
    """Return whether frames can cross: both ends are up, and no bridge blocks its end."""
    ends = [end for end in (network.link(cable.first), network.link(cable.second)) if end is not None]
    if len(ends) < 2 or any(link_state(end) != "up" for end in ends):
        return "down"
    return "blocked" if any(map(is_blocked, ends)) else "up"


def role(state: NamespaceState) -> Role:
    """Return what a namespace does for others, "" if nothing.

    A switch has a bridge, and every other link of it is a port of one. A router forwards, and has IPv4 addresses on
    two links at least: namespaces inherit net.ipv4.ip_forward from the machine, and one leg makes no router.
    """
    links = [link for link in shown_links(state) if link.kind != "loopback"]
    with_address = [link for link in links if any(address.family == "inet" for address in link.addresses)]
    if state.forwards_ipv4 and len(with_address) > 1:
        return "router"
    bridges = {link.name for link in links if link.kind == "bridge"}
    return "switch" if bridges and all(link.name in bridges or link.master in bridges for link in links) else ""


def natural(name: str) -> tuple[tuple[tuple[int, str], ...], str]:
    """Return a key that sorts names as people do: r2 before r10."""
    return tuple((int(digits or 0), other) for digits, other in re.findall(r"(\d{1,18})|(\D)", name)), name


def all_cables(network: Network) -> tuple[Cable, ...]:
    """Return every cable whose two ends are in the network, sorted."""
    pairs = set()
    for name, state in network.namespaces.items():
        for link in state.links:
            if link.peer is not None:
                here = Endpoint(name, link.name)
                pairs.add(Cable(min(here, link.peer), max(here, link.peer)))
    return tuple(sorted(pairs))


def groups(network: Network) -> list[Group]:
    """Return the shown namespaces in groups, in the order of their first names."""
    cables = all_cables(network)
    group_of = {state.name: {state.name} for state in shown_namespaces(network)}
    for cable in cables:
        joined = group_of[cable.first.namespace] | group_of[cable.second.namespace]
        for name in joined:
            group_of[name] = joined
    found = []
    for name, names in group_of.items():
        if name == min(names):
            members = tuple(network.namespaces[member] for member in sorted(names))
            found.append(Group(members, tuple(cable for cable in cables if cable.first.namespace in names)))
    return found


def adjacent(group: Group) -> dict[str, set[str]]:
    """Return for each namespace those that a cable joins it with; itself, if a cable has both ends in it."""
    found: dict[str, set[str]] = {member.name: set() for member in group.members}
    for cable in group.cables:
        found[cable.first.namespace].add(cable.second.namespace)
        found[cable.second.namespace].add(cable.first.namespace)
    return found


def as_path(group: Group) -> list[NamespaceState] | None:
    """Return the namespaces in the order in which a string of cables passes them, or None if it is no such string."""
    neighbours = adjacent(group)
    pairs = sum(map(len, neighbours.values())) // 2
    has_bridge = any(link.kind == "bridge" for member in group.members for link in member.links)
    has_loop = any(name in others for name, others in neighbours.items())
    if has_bridge or has_loop or pairs != len(group.members) - 1 or any(len(o) > 2 for o in neighbours.values()):
        return None
    state_of = {member.name: member for member in group.members}
    name: str | None = min(name for name, others in neighbours.items() if len(others) < 2)
    order: list[NamespaceState] = []
    while name is not None:
        order.append(state_of.pop(name))
        name = next((other for other in neighbours[name] if other in state_of), None)
    return order
