"""Headers of frames on a cable, from the bytes: Ethernet, 802.1Q, LLC, the spanning tree protocol, ARP.

Each header is a value with the names of its standard, and each `read_...` function returns one and what follows it.

Source: IEEE 802.3, 802.1Q, 802.1D-1998 section 9, RFC 826.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

Problem = Literal["", "truncated", "malformed"]

VLAN_TYPES = (0x8100, 0x88A8)
TYPE_IPV4, TYPE_ARP, TYPE_IPV6 = 0x0800, 0x0806, 0x86DD
STP_ACCESS_POINT = 0x42
_LONGEST_802_3 = 1500


class UnreadableHeader(Exception):
    """A header cannot be read; `Frame` catches it, and tells what could be read before."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True)
class Ethernet:
    """Where a frame goes.

    Attributes:
        source: the MAC address that sent it.
        destination: the MAC address that it is for; ff:ff:ff:ff:ff:ff is everybody.
        ethertype: what follows: 0x0800 IPv4, 0x0806 ARP, 0x86dd IPv6, 0x8100 a VLAN tag; up to 1500 it is the number of
            bytes that follow, and those begin with an LLC header.
    """

    source: str
    destination: str
    ethertype: int


@dataclass(frozen=True)
class Vlan:
    """A tag that says which VLAN a frame belongs to (802.1Q).

    Attributes:
        number: the VLAN id, 1 to 4094; 0 is a tag with a priority only.
        priority: 0 to 7.
        drop_eligible: whether to drop this frame before others.
        ethertype: what follows, as in `Ethernet`.
        inner: the next tag, where there are two.
    """

    number: int
    priority: int
    drop_eligible: bool
    ethertype: int
    inner: Vlan | None = None


@dataclass(frozen=True)
class Llc:
    """What follows in a frame that has a length in place of an ethertype: two access points and a control field."""

    destination: int
    source: int
    control: int


@dataclass(frozen=True)
class Stp:
    """A message of the spanning tree protocol (BPDU): how bridges agree on a tree, so that no frame runs in circles.

    Ids are written as the kernel does in /sys: priority, dot, MAC address, for example "8000.020000000001".

    Attributes:
        kind: "configuration", "topology change notification" (it has none of the fields below) or "rapid" (802.1w).
        root: the bridge that the sender holds for the root.
        root_cost: how far the sender is from it; 0 is the root itself.
        bridge: the sender.
        port: the sender's port, priority and number.
        topology_change: whether bridges must forget quickly what they have learned.
        topology_change_acknowledged: whether the sender has heard of a change below it.
        message_age_s, max_age_s, hello_time_s, forward_delay_s: the root's times, in seconds.
    """

    kind: str
    root: str = ""
    root_cost: int = 0
    bridge: str = ""
    port: int = 0
    topology_change: bool = False
    topology_change_acknowledged: bool = False
    message_age_s: float = 0.0
    max_age_s: float = 0.0
    hello_time_s: float = 0.0
    forward_delay_s: float = 0.0


@dataclass(frozen=True)
class Arp:
    """The question which MAC address an IPv4 address has, or the answer.

    Attributes:
        operation: "request" or "reply"; others by number, as "operation 8".
        sender_mac, sender_ip: who speaks.
        target_mac, target_ip: who is asked for, or gets the answer; a request has no MAC there yet.
    """

    operation: str
    sender_mac: str
    sender_ip: str
    target_mac: str
    target_ip: str


def unpack(layout: str, data: bytes) -> tuple[Any, ...]:
    """Return the fields at the start of `data` (struct; network byte order).

    Raises:
        UnreadableHeader: there are too few bytes.
    """
    if len(data) < struct.calcsize(f"!{layout}"):
        raise UnreadableHeader("truncated")
    return struct.unpack_from(f"!{layout}", data)


def mac_text(address: bytes) -> str:
    """Return a MAC address as `ip` prints it."""
    return address.hex(":")


def ipv4_text(address: bytes) -> str:
    """Return an IPv4 address as `ip` prints it."""
    return ".".join(map(str, address))


def read_ethernet(data: bytes) -> tuple[Ethernet, bytes]:
    """Read the header that every frame begins with."""
    destination, source, ethertype = unpack("6s6sH", data)
    return Ethernet(mac_text(source), mac_text(destination), ethertype), data[14:]


def read_vlan(data: bytes) -> tuple[Vlan, bytes]:
    """Read a tag, and the second one if there are two."""
    control, ethertype = unpack("HH", data)
    inner, rest = None, data[4:]
    if ethertype in VLAN_TYPES and len(rest) >= 4:
        inner_control, inner_type = unpack("HH", rest)
        inner, rest = _vlan(inner_control, inner_type, None), rest[4:]
    return _vlan(control, ethertype, inner), rest


def _vlan(control: int, ethertype: int, inner: Vlan | None) -> Vlan:
    return Vlan(control & 0xFFF, control >> 13, bool(control & 0x1000), ethertype, inner)


def innermost_type(ethernet: Ethernet, vlan: Vlan | None) -> int:
    """Return the ethertype of what the frame carries, behind all tags."""
    if vlan is None:
        return ethernet.ethertype
    return (vlan.inner or vlan).ethertype


def is_length(ethertype: int) -> bool:
    """Return whether the field is a length (802.3) and no ethertype."""
    return ethertype <= _LONGEST_802_3


def read_llc(data: bytes) -> tuple[Llc, bytes]:
    """Read an LLC header with the short control field, which all unnumbered frames have."""
    llc = Llc(*unpack("BBB", data))
    return llc, data[3:]


def read_stp(data: bytes) -> Stp:
    """Read a BPDU; what 802.1w and later add behind its end is not read."""
    protocol, _version, kind = unpack("HBB", data)
    names = {0x00: "configuration", 0x02: "rapid", 0x80: "topology change notification"}
    if protocol != 0 or kind not in names:
        raise UnreadableHeader("malformed")
    if kind == 0x80:
        return Stp(names[kind])
    flags, root, cost, bridge, port, *times = unpack("B8sI8sHHHHH", data[4:])
    age, longest, hello, forward = (time / 256 for time in times)
    return Stp(names[kind], _bridge_id(root), cost, _bridge_id(bridge), port, bool(flags & 0x01), bool(flags & 0x80),
               age, longest, hello, forward)


def _bridge_id(identity: bytes) -> str:
    return f"{identity[:2].hex()}.{identity[2:].hex()}"


def read_arp(data: bytes) -> Arp:
    """Read an ARP message for IPv4 over Ethernet, the only kind that is in use."""
    kind, protocol, mac_length, ip_length, operation = unpack("HHBBH", data)
    if (kind, protocol, mac_length, ip_length) != (1, TYPE_IPV4, 6, 4):
        raise UnreadableHeader("malformed")
    sender_mac, sender_ip, target_mac, target_ip = unpack("6s4s6s4s", data[8:])
    words = {1: "request", 2: "reply"}.get(operation, f"operation {operation}")
    return Arp(words, mac_text(sender_mac), ipv4_text(sender_ip), mac_text(target_mac), ipv4_text(target_ip))
