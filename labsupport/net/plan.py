"""What a planned network consists of. Each part remembers the call that it came from, to name it in messages."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from labsupport.net.model import Endpoint


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a plan.

    Attributes:
        where: the call, as it was written.
        what: what is wrong.
        expected: what would be right.
        next_step: what to do.
    """

    where: str
    what: str
    expected: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  expected: {self.expected}\n  next:     {self.next_step}"


@dataclass(frozen=True)
class NamespacePlan:
    """A namespace."""

    name: str
    call: str


@dataclass(frozen=True)
class BridgePlan:
    """A bridge; see Topology.bridge."""

    end: Endpoint
    call: str
    stp: bool
    ageing_s: float
    vlan_filtering: bool
    subnet: str


@dataclass(frozen=True)
class CablePlan:
    """A veth pair."""

    one: Endpoint
    other: Endpoint
    call: str


@dataclass(frozen=True)
class LinkPlan:
    """Properties of a link."""

    end: Endpoint
    call: str
    mac: str = ""
    mtu_bytes: int = 0


@dataclass(frozen=True)
class RoutePlan:
    """A route."""

    namespace: str
    destination: str
    via: str
    device: str
    metric: int
    call: str


@dataclass(frozen=True)
class Shaping:
    """How badly a link sends."""

    end: Endpoint
    rate_kbit: int
    delay_ms: float
    loss_percent: float
    call: str


@dataclass(frozen=True)
class Publication:
    """A port that is forwarded."""

    end: Endpoint
    port: int
    to: str
    call: str


@dataclass
class Plan:
    """A whole network.

    Attributes:
        switches: the bridges of namespaces that are switches, by their names.
        ports: link, bridge and call.
        addresses: link, address and call.
        sysctls: namespace, key, value and call.
        masquerades: link, source network and call.
    """

    ipv6: bool = False
    namespaces: list[NamespacePlan] = field(default_factory=list)
    switches: dict[str, Endpoint] = field(default_factory=dict)
    bridges: list[BridgePlan] = field(default_factory=list)
    cables: list[CablePlan] = field(default_factory=list)
    ports: list[tuple[Endpoint, Endpoint, str]] = field(default_factory=list)
    addresses: list[tuple[Endpoint, str, str]] = field(default_factory=list)
    links: list[LinkPlan] = field(default_factory=list)
    routes: list[RoutePlan] = field(default_factory=list)
    sysctls: list[tuple[str, str, str, str]] = field(default_factory=list)
    shapings: list[Shaping] = field(default_factory=list)
    masquerades: list[tuple[Endpoint, str, str]] = field(default_factory=list)
    publications: list[Publication] = field(default_factory=list)

    @property
    def made_ends(self) -> list[tuple[Endpoint, str]]:
        """Every link that will be made, with its call."""
        cables = [(end, cable.call) for cable in self.cables for end in (cable.one, cable.other)]
        return [*((bridge.end, bridge.call) for bridge in self.bridges), *cables]

    @property
    def translating(self) -> list[str]:
        """The namespaces that translate addresses."""
        ends = [*(end for end, _, _ in self.masquerades), *(one.end for one in self.publications)]
        return list(dict.fromkeys(end.namespace for end in ends))

    def macs(self) -> dict[Endpoint, str]:
        """Return the MAC address of every link that will be made: the planned one, or one that can be read."""
        planned = {link.end: link.mac.lower() for link in self.links if link.mac}
        ipv4 = {}
        for end, address, _ in reversed(self.addresses):
            if "." in address:
                ipv4[end] = ipaddress.IPv4Interface(address).ip
        taken, found = set(planned.values()), dict(planned)
        number = 0
        for end, _ in self.made_ends:
            mac = "02:00:00:00:{:02x}:{:02x}".format(*ipv4[end].packed[2:]) if end in ipv4 else ""
            while end not in planned and (not mac or mac in taken):
                number += 1
                mac = f"02:00:00:00:{0xff - number // 256:02x}:{number % 256:02x}"
            found.setdefault(end, mac)
            taken.add(found[end])
        return found


def read_end(text: str) -> Endpoint:
    """Return the interface that is written "NAMESPACE:LINK"; without a colon the name is kept for a message."""
    namespace, _, link = (text if isinstance(text, str) else repr(text)).partition(":")
    return Endpoint(namespace, link)
