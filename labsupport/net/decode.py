"""Takes a frame apart, header by header, as far as its bytes can be read."""

from __future__ import annotations

from dataclasses import dataclass

from labsupport.net.headers import (
    STP_ACCESS_POINT,
    TYPE_ARP,
    TYPE_IPV4,
    TYPE_IPV6,
    VLAN_TYPES,
    Arp,
    Ethernet,
    Llc,
    Problem,
    Stp,
    UnreadableHeader,
    Vlan,
    innermost_type,
    is_length,
    read_arp,
    read_ethernet,
    read_llc,
    read_stp,
    read_vlan,
)
from labsupport.net.icmp import Icmp, Icmpv6, read_icmp, read_icmpv6
from labsupport.net.packets import (
    IPV6_EXTENSIONS,
    PORT_DNS,
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    Dns,
    Ipv4,
    Ipv6,
    Tcp,
    Udp,
    read_dns,
    read_ipv4,
    read_ipv6,
    read_tcp,
    read_udp,
)


@dataclass
class Headers:
    """The headers of one frame, None where there is none; `problem` is why reading stopped early, if it did."""

    ethernet: Ethernet | None = None
    vlan: Vlan | None = None
    llc: Llc | None = None
    stp: Stp | None = None
    arp: Arp | None = None
    ipv4: Ipv4 | None = None
    ipv6: Ipv6 | None = None
    icmp: Icmp | None = None
    icmpv6: Icmpv6 | None = None
    udp: Udp | None = None
    tcp: Tcp | None = None
    dns: Dns | None = None
    problem: Problem = ""


def decode(data: bytes, length_bytes: int) -> Headers:
    """Return the headers of a frame. Whatever the bytes are, this does not raise.

    Args:
        data: the bytes that were captured, from the destination's MAC address on.
        length_bytes: how many there were on the wire; not less than those captured.
    """
    found = Headers()
    try:
        _read_frame(found, data, max(0, length_bytes - len(data)))
    except UnreadableHeader as stop:
        found.problem = stop.problem
    return found


def _read_frame(found: Headers, data: bytes, uncaptured: int) -> None:
    found.ethernet, rest = read_ethernet(data)
    if found.ethernet.ethertype in VLAN_TYPES:
        found.vlan, rest = read_vlan(rest)
    ethertype = innermost_type(found.ethernet, found.vlan)
    if is_length(ethertype):
        _read_llc(found, rest[:ethertype], missing=ethertype > len(rest) + uncaptured)
    elif ethertype == TYPE_ARP:
        found.arp = read_arp(rest)
    elif ethertype == TYPE_IPV4:
        _read_ipv4(found, rest, uncaptured)
    elif ethertype == TYPE_IPV6:
        _read_ipv6(found, rest, uncaptured)


def _read_llc(found: Headers, data: bytes, *, missing: bool) -> None:
    found.problem = "truncated" if missing else ""
    found.llc, rest = read_llc(data)
    if found.llc.destination == found.llc.source == STP_ACCESS_POINT:
        found.stp = read_stp(rest)


def _read_ipv4(found: Headers, data: bytes, uncaptured: int) -> None:
    header, payload = read_ipv4(data)
    found.ipv4 = header
    length = (header.total_length_bytes or len(data) + uncaptured) - header.header_length_bytes
    found.problem = "truncated" if header.total_length_bytes > len(data) + uncaptured else ""
    if header.protocol == PROTOCOL_ICMP and header.offset_bytes == 0:
        found.icmp = read_icmp(payload)
    else:
        _read_transport(found, header, payload, length)


def _read_ipv6(found: Headers, data: bytes, uncaptured: int) -> None:
    header, payload = read_ipv6(data)
    found.ipv6 = header
    whole = 40 + header.payload_length_bytes
    options_missing = header.protocol in IPV6_EXTENSIONS and header.offset_bytes == 0
    found.problem = "truncated" if options_missing or whole > len(data) + uncaptured else ""
    captured = min(len(data), whole) if header.payload_length_bytes else len(data)
    length = (header.payload_length_bytes or len(data) + uncaptured - 40) - (captured - 40 - len(payload))
    if header.protocol == PROTOCOL_ICMPV6 and header.offset_bytes == 0:
        found.icmpv6 = read_icmpv6(payload)
    else:
        _read_transport(found, header, payload, length)


def _read_transport(found: Headers, header: Ipv4 | Ipv6, payload: bytes, length: int) -> None:
    if header.offset_bytes > 0:
        return  # the header was in the first fragment
    if header.protocol == PROTOCOL_UDP:
        found.udp, rest = read_udp(payload)
        if found.udp.payload_bytes + 8 > length and not header.is_fragment:
            found.problem = "truncated"
        if PORT_DNS in (found.udp.source_port, found.udp.destination_port):
            found.dns = read_dns(rest)
    elif header.protocol == PROTOCOL_TCP:
        found.tcp = read_tcp(payload, length)
