"""What a lab's network consists of, as values: nothing in here asks the kernel or changes it.

The words are those of `ip` and `ss`, so that a learner finds the same fact under the same name in both worlds. In every
place where a namespace is named, "" is the lab's first one, as in `lab.run(..., namespace="")`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

AddressFamily = Literal["inet", "inet6"]
LinkState = Literal["up", "down"]


class Endpoint(NamedTuple):
    """One end of a cable: a link, and the namespace that it is in. Equal to the plain pair of names."""

    namespace: str
    link: str


@dataclass(frozen=True)
class Address:
    """An IP address of a link.

    Attributes:
        ip: as `ip address` prints it, without the prefix length.
        prefix_length: how many leading bits name the subnet.
        family: "inet" for IPv4, "inet6" for IPv6.
        scope: how far it is valid: "global", "link" (never leaves the cable), "host" (never leaves the machine).
    """

    ip: str
    prefix_length: int
    family: AddressFamily
    scope: str

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefix_length}"


@dataclass(frozen=True)
class Link:
    """A network interface, as `ip -d link` and `ip address` show it.

    Attributes:
        name: unique within its namespace.
        index: the kernel's number for it, unique within its namespace; other namespaces use the same numbers.
        kind: "veth", "bridge", "loopback", ...; "ether" for a network card.
        mac: its layer 2 address, "" if it has none.
        mtu_bytes: the longest packet that it takes.
        state: what `ip link set` chose, "up" or "down".
        carrier: whether a signal arrives. A veth that is up has none while its peer is down.
        operstate: both together in the kernel's words: UP, DOWN, LOWERLAYERDOWN, UNKNOWN (loopback), ...
        master: the bridge that it is a port of, or "".
        peer: the other end of its veth cable. None if it has no cable, or if that end is in a namespace without a name.
        addresses: in the kernel's order.
        port_state: what its bridge lets through it: "forwarding" all frames; "learning", "listening" and "blocking" (in
            the spanning tree protocol) and "disabled" (it is down) no frames. "" if it is no port of a bridge.
    """

    name: str
    index: int
    kind: str
    mac: str
    mtu_bytes: int
    state: LinkState
    carrier: bool
    operstate: str
    master: str = ""
    peer: Endpoint | None = None
    addresses: tuple[Address, ...] = ()
    port_state: str = ""


@dataclass(frozen=True)
class Route:
    """One way out of a namespace; a route with several next hops gives one `Route` for each.

    Attributes:
        destination: a prefix, or "default".
        gateway: the router that gets the packet, or "" if the destination is on the link itself.
        device: the link that it leaves by, or "" where it does not leave (kind "blackhole").
        source: the address that the kernel puts on packets that have none yet, or "".
        family: "inet" for IPv4, "inet6" for IPv6.
        metric: of two routes to one destination the lower one wins.
        kind: "unicast", or what happens instead of sending: "blackhole", "unreachable", "prohibit".
        table: the routing table that it is in.
    """

    destination: str
    gateway: str
    device: str
    source: str
    family: AddressFamily
    metric: int = 0
    kind: str = "unicast"
    table: str = "main"


@dataclass(frozen=True)
class Neighbour:
    """What a namespace knows about one address on its cable: an entry of the ARP or NDP table.

    Attributes:
        ip: the neighbour's address.
        mac: the layer 2 address that answered for it, or "" if none has.
        device: the link that it was seen on.
        state: REACHABLE, STALE, DELAY, PROBE, INCOMPLETE, FAILED, PERMANENT, ... (ip-neighbour(8)).
    """

    ip: str
    mac: str
    device: str
    state: str


@dataclass(frozen=True)
class FdbEntry:
    """One line of a bridge's forwarding database: behind which port an address is.

    Attributes:
        mac: the address.
        port: the link that frames to it leave by; the bridge itself for addresses of the machine.
        bridge: whose database this is.
        vlan: the VLAN that it counts for; 0 where the bridge does not tell VLANs apart.
        kind: "learned" from a frame that came in, "static" (set by somebody), or "permanent": an address of the port
            or of the bridge itself, for which frames are taken in and not sent on.
        age_s: seconds since a frame from there came in, in steps of 0.01 s; a learned entry is forgotten when it gets
            as old as the bridge's ageing time.
    """

    mac: str
    port: str
    bridge: str
    vlan: int
    kind: Literal["learned", "static", "permanent"]
    age_s: float


@dataclass(frozen=True)
class Listener:
    """A socket that waits for others to speak first.

    Attributes:
        protocol: "tcp" or "udp".
        address: the local address; "0.0.0.0" is every IPv4 address, "*" every address of both families.
        port: the local port number.
        device: the only link that it listens on, or "".
    """

    protocol: str
    address: str
    port: int
    device: str = ""


@dataclass(frozen=True)
class NamespaceState:
    """One network namespace at one moment.

    Attributes:
        name: "" for the lab's first one.
        links: in the order of their indexes.
        routes: of the tables that `network` reads.
        neighbours: its ARP and NDP tables.
        forwards_ipv4: whether it is a router, which sends packets on that are not for itself (net.ipv4.ip_forward).
    """

    name: str
    links: tuple[Link, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    forwards_ipv4: bool = False

    def link(self, name: str) -> Link | None:
        """Return the link of that name, or None if there is none."""
        return next((link for link in self.links if link.name == name), None)

    def ports(self, bridge: str) -> tuple[Link, ...]:
        """Return the links that are ports of `bridge`, in the order of their indexes."""
        return tuple(link for link in self.links if link.master == bridge)


@dataclass(frozen=True)
class Network:
    """All namespaces of a lab, by name, the first one ("") in front and the others sorted."""

    namespaces: dict[str, NamespaceState]

    def link(self, end: Endpoint) -> Link | None:
        """Return the link at one end of a cable, or None if there is none."""
        state = self.namespaces.get(end.namespace)
        return state.link(end.link) if state else None
