"""ICMP and ICMPv6 messages, from the bytes, in the words of their standards.

Source: RFC 792, 1122, 1191, 1812 (ICMP); RFC 4443, 4861, 2710, 3810 (ICMPv6).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from labsupport.net.headers import UnreadableHeader, ipv4_text, unpack
from labsupport.net.packets import Ipv4, Ipv6, read_ipv4, read_ipv6

ECHO_REPLY, UNREACHABLE, REDIRECT, ECHO_REQUEST, TIME_EXCEEDED = 0, 3, 5, 8, 11
FRAGMENTATION_NEEDED = 4  # a code of UNREACHABLE
TOO_BIG_V6, ECHO_REQUEST_V6, ECHO_REPLY_V6, SOLICITATION_V6, ADVERTISEMENT_V6 = 2, 128, 129, 135, 136
_WITH_ORIGINAL = (UNREACHABLE, 4, REDIRECT, TIME_EXCEEDED, 12)

_NAMES = {
    ECHO_REPLY: "echo reply", UNREACHABLE: "destination unreachable", 4: "source quench", REDIRECT: "redirect",
    ECHO_REQUEST: "echo request", 9: "router advertisement", 10: "router solicitation", TIME_EXCEEDED: "time exceeded",
    12: "parameter problem", 13: "timestamp request", 14: "timestamp reply",
}
_NAMES_WITH_CODE = {
    (UNREACHABLE, 0): "network unreachable", (UNREACHABLE, 1): "host unreachable",
    (UNREACHABLE, 2): "protocol unreachable", (UNREACHABLE, 3): "port unreachable",
    (UNREACHABLE, 4): "fragmentation needed", (UNREACHABLE, 5): "source route failed",
    (UNREACHABLE, 6): "destination network unknown", (UNREACHABLE, 7): "destination host unknown",
    (UNREACHABLE, 8): "source host isolated", (UNREACHABLE, 9): "network administratively prohibited",
    (UNREACHABLE, 10): "host administratively prohibited", (UNREACHABLE, 11): "network unreachable for this tos",
    (UNREACHABLE, 12): "host unreachable for this tos", (UNREACHABLE, 13): "communication administratively prohibited",
    (UNREACHABLE, 14): "host precedence violation", (UNREACHABLE, 15): "precedence cutoff in effect",
    (TIME_EXCEEDED, 0): "time exceeded (ttl 0 in transit)", (TIME_EXCEEDED, 1): "time exceeded (fragments missing)",
}
_NAMES_V6 = {
    1: "destination unreachable", TOO_BIG_V6: "packet too big", 3: "time exceeded", 4: "parameter problem",
    ECHO_REQUEST_V6: "echo request", ECHO_REPLY_V6: "echo reply", 130: "multicast listener query",
    131: "multicast listener report", 132: "multicast listener done", 133: "router solicitation",
    134: "router advertisement", SOLICITATION_V6: "neighbour solicitation",
    ADVERTISEMENT_V6: "neighbour advertisement", 137: "redirect", 143: "multicast listener report v2",
}
_NAMES_V6_WITH_CODE = {
    (1, 0): "no route to destination", (1, 1): "communication administratively prohibited",
    (1, 2): "beyond the scope of the source", (1, 3): "address unreachable", (1, 4): "port unreachable",
    (3, 0): "time exceeded (hop limit 0 in transit)", (3, 1): "time exceeded (fragments missing)",
}


@dataclass(frozen=True)
class Icmp:
    """An ICMP message: how IP reports trouble, and how `ping` asks.

    Attributes:
        type, code: its numbers.
        name: what they mean, for example "port unreachable".
        identifier, sequence: of an echo, to tell one `ping` from another; None elsewhere.
        next_hop_mtu_bytes: what fits, in "fragmentation needed" (RFC 1191); None elsewhere, or if the router is silent.
        gateway: the better router, in a redirect; "" elsewhere.
        original: the header of the packet that an error is about; None elsewhere.
        original_ports: source and destination port of that packet, if it was UDP or TCP.
    """

    type: int
    code: int
    name: str
    identifier: int | None = None
    sequence: int | None = None
    next_hop_mtu_bytes: int | None = None
    gateway: str = ""
    original: Ipv4 | None = None
    original_ports: tuple[int, int] | None = None


@dataclass(frozen=True)
class Icmpv6:
    """An ICMPv6 message: errors and echoes, as in ICMP, and what ARP is for IPv4.

    Attributes:
        type, code: its numbers.
        name: what they mean, for example "neighbour solicitation".
        identifier, sequence: of an echo; None elsewhere.
        mtu_bytes: what fits, in "packet too big"; None elsewhere.
        target: the address that a neighbour solicitation or advertisement is about; "" elsewhere.
        original: the header of the packet that an error is about; None elsewhere.
    """

    type: int
    code: int
    name: str
    identifier: int | None = None
    sequence: int | None = None
    mtu_bytes: int | None = None
    target: str = ""
    original: Ipv6 | None = None


def read_icmp(data: bytes) -> Icmp:
    """Read an ICMP message; of the packet that an error quotes, as much as is there."""
    kind, code, _checksum, high, low = unpack("BBHHH", data)
    name = _NAMES_WITH_CODE.get((kind, code)) or _NAMES.get(kind) or f"type {kind} code {code}"
    is_echo = kind in (ECHO_REQUEST, ECHO_REPLY)
    original, ports = _read_original(data[8:]) if kind in _WITH_ORIGINAL else (None, None)
    return Icmp(
        type=kind, code=code, name=name, identifier=high if is_echo else None, sequence=low if is_echo else None,
        next_hop_mtu_bytes=(low or None) if (kind, code) == (UNREACHABLE, FRAGMENTATION_NEEDED) else None,
        gateway=ipv4_text(data[4:8]) if kind == REDIRECT else "", original=original, original_ports=ports)


def _read_original(data: bytes) -> tuple[Ipv4 | None, tuple[int, int] | None]:
    """Return what an error quotes: the packet's header and, of its first eight bytes, the ports."""
    try:
        header, rest = read_ipv4(data)
    except UnreadableHeader:
        return None, None
    if header.protocol not in (6, 17) or header.offset_bytes > 0 or len(rest) < 4:
        return header, None
    source, destination = unpack("HH", rest)
    return header, (source, destination)


def read_icmpv6(data: bytes) -> Icmpv6:
    """Read an ICMPv6 message; of the packet that an error quotes, as much as is there."""
    kind, code, _checksum, high, low = unpack("BBHHH", data)
    name = _NAMES_V6_WITH_CODE.get((kind, code)) or _NAMES_V6.get(kind) or f"type {kind} code {code}"
    is_echo = kind in (ECHO_REQUEST_V6, ECHO_REPLY_V6)
    target = ""
    if kind in (SOLICITATION_V6, ADVERTISEMENT_V6):
        (address,) = unpack("16s", data[8:])
        target = str(IPv6Address(address))
    original = None
    if kind < 128:
        try:
            original, _ = read_ipv6(data[8:])
        except UnreadableHeader:
            original = None
    return Icmpv6(
        type=kind, code=code, name=name, identifier=high if is_echo else None, sequence=low if is_echo else None,
        mtu_bytes=high << 16 | low if kind == TOO_BIG_V6 else None, target=target, original=original)
