"""Which namespaces a picture shows, how cables join them, and which of them belong together."""

from __future__ import annotations

from typing import NamedTuple

from labsupport.net import Endpoint, Link, NamespaceState, Network
from labsupport.views.canvas import PortState

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


def port_state(link: Link) -> PortState:
    """Return the state of a link in one word, as all pictures and texts use it."""
    if link.state == "down":
        return "down"
    return "up" if link.carrier else "no carrier"


def cable_is_up(cable: Cable, network: Network) -> bool:
    """Return whether frames can cross: both ends are up."""
    ends = (network.link(cable.first), network.link(cable.second))
    return all(end is not None and port_state(end) == "up" for end in ends)


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
