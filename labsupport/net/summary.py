"""Says in one line what a frame is.

The same experiment gives the same lines: no random numbers (identifiers, sequence numbers of TCP) but the ports.
"""

from __future__ import annotations

from labsupport.net.decode import Headers
from labsupport.net.headers import Arp, Stp, innermost_type
from labsupport.net.icmp import ADVERTISEMENT_V6, SOLICITATION_V6, UNREACHABLE, Icmp, Icmpv6
from labsupport.net.packets import IPV6_EXTENSIONS, Dns, Ipv4, Ipv6

_PORT_UNREACHABLE = 3  # a code of UNREACHABLE
_USUAL_TTL = 64  # what Linux sends with; any other value says something, so it is told
_ETHERTYPES = {0x0800: "IPv4", 0x0806: "ARP", 0x86DD: "IPv6", 0x8035: "RARP", 0x8847: "MPLS", 0x88CC: "LLDP",
               0x8100: "VLAN", 0x88A8: "VLAN", 0x8863: "PPPoE", 0x8864: "PPPoE", 0x88E5: "MACsec"}
_PROTOCOLS = {**dict.fromkeys(IPV6_EXTENSIONS, "IPv6"), 1: "ICMP", 2: "IGMP", 4: "IP in IP", 6: "TCP", 17: "UDP",
              41: "IPv6 in IP", 47: "GRE", 50: "ESP", 51: "AH", 58: "ICMPv6", 89: "OSPF", 103: "PIM",
              112: "VRRP", 132: "SCTP"}


def summarise(headers: Headers, length_bytes: int) -> str:
    """Return one line that says what a frame is, and whether it could be read to its end."""
    words = _say(headers, length_bytes)
    if headers.vlan is not None:
        tags = [headers.vlan, headers.vlan.inner] if headers.vlan.inner else [headers.vlan]
        words = "".join(f"VLAN {tag.number}: " for tag in tags) + words
    return f"{words} ({headers.problem})" if headers.problem else words


def _say(headers: Headers, length_bytes: int) -> str:
    packet = headers.ipv4 or headers.ipv6
    if packet is not None:
        return _say_packet(headers, packet)
    if headers.arp is not None:
        return _say_arp(headers.arp)
    if headers.stp is not None:
        return _say_stp(headers.stp)
    if headers.llc is not None:
        return f"LLC {headers.llc.source:#04x} > {headers.llc.destination:#04x}, {length_bytes} bytes"
    if headers.ethernet is not None:
        ethertype = innermost_type(headers.ethernet, headers.vlan)
        return f"{_ETHERTYPES.get(ethertype, f'ethertype {ethertype:#06x}')}, {length_bytes} bytes"
    return f"{length_bytes} bytes"


def _say_arp(arp: Arp) -> str:
    if arp.operation == "reply":
        return f"ARP {arp.sender_ip} is at {arp.sender_mac}"
    if arp.operation != "request":
        return f"ARP {arp.operation}, {arp.sender_ip} > {arp.target_ip}"
    if arp.sender_ip == arp.target_ip:
        return f"ARP announcement: {arp.sender_ip} is at {arp.sender_mac}"
    if arp.sender_ip == "0.0.0.0":  # noqa: S104  (an address in a message: the sender has none yet)
        return f"ARP probe: does anybody have {arp.target_ip}?"
    return f"ARP who has {arp.target_ip}? tell {arp.sender_ip}"


def _say_stp(stp: Stp) -> str:
    if not stp.root:
        return f"STP {stp.kind}"
    words = f"STP root {stp.root}, cost {stp.root_cost}"
    if stp.bridge != stp.root:
        words += f", says {stp.bridge}"
    if stp.topology_change:
        words += ", topology change"
    return words + (", topology change acknowledged" if stp.topology_change_acknowledged else "")


def _say_packet(headers: Headers, packet: Ipv4 | Ipv6) -> str:
    if headers.icmp is not None and isinstance(packet, Ipv4):
        words = _say_icmp(headers.icmp, packet)
    elif headers.icmpv6 is not None and isinstance(packet, Ipv6):
        words = _say_icmpv6(headers.icmpv6, packet)
    else:
        words = _say_transport(headers, packet) + _say_ttl(packet)
    if not packet.is_fragment:
        return words
    if packet.offset_bytes == 0:
        return f"{words}, first fragment"
    return f"{words}, {'' if packet.more_fragments else 'last '}fragment from byte {packet.offset_bytes}"


def _say_icmp(icmp: Icmp, packet: Ipv4) -> str:
    if icmp.sequence is not None:
        return f"ICMP {icmp.name} seq {icmp.sequence}, ttl {packet.ttl}"
    words = f"ICMP {icmp.name}"
    if icmp.next_hop_mtu_bytes is not None:
        words += f", mtu {icmp.next_hop_mtu_bytes},"
    if icmp.gateway:
        words += f" to {icmp.gateway}"
    if (icmp.type, icmp.code) == (UNREACHABLE, _PORT_UNREACHABLE) and icmp.original and icmp.original_ports:
        words += f" ({_protocol(icmp.original.protocol)} {icmp.original_ports[1]})"
    if icmp.original is None:
        return words.rstrip(",")
    return f"{words} for {icmp.original.source} > {icmp.original.destination}"


def _say_icmpv6(icmp: Icmpv6, packet: Ipv6) -> str:
    words = f"ICMPv6 {icmp.name}"
    if icmp.sequence is not None:
        return f"{words} seq {icmp.sequence}, hop limit {packet.hop_limit}"
    if icmp.type == SOLICITATION_V6:
        return f"{words}: who has {icmp.target}?"
    if icmp.type == ADVERTISEMENT_V6:
        return f"{words}: {icmp.target} is here"
    if icmp.mtu_bytes is not None:
        words += f", mtu {icmp.mtu_bytes}" + ("," if icmp.original else "")
    return words if icmp.original is None else f"{words} for {icmp.original.source} > {icmp.original.destination}"


def _say_transport(headers: Headers, packet: Ipv4 | Ipv6) -> str:
    name = _protocol(packet.protocol)
    if headers.udp is not None:
        ports = _with_ports(packet, headers.udp.source_port, headers.udp.destination_port)
        carried = _say_dns(headers.dns) if headers.dns else f"{headers.udp.payload_bytes} bytes"
        return f"{name} {ports}, {carried}"
    if headers.tcp is not None:
        ports = _with_ports(packet, headers.tcp.source_port, headers.tcp.destination_port)
        flags = " ".join(headers.tcp.flags) or "no flags"
        return f"{name} {ports} {flags}" + (f", {headers.tcp.payload_bytes} bytes" if headers.tcp.payload_bytes else "")
    return f"{name} {packet.source} > {packet.destination}"


def _say_dns(dns: Dns) -> str:
    if not dns.is_response:
        return f"DNS asks for {dns.record} of {dns.name}"
    found = f"{dns.answers} record{'' if dns.answers == 1 else 's'}" if dns.code == "NOERROR" else dns.code
    return f"DNS answers {dns.record} of {dns.name}: {found}"


def _say_ttl(packet: Ipv4 | Ipv6) -> str:
    hops, word = (packet.ttl, "ttl") if isinstance(packet, Ipv4) else (packet.hop_limit, "hop limit")
    return "" if hops == _USUAL_TTL else f", {word} {hops}"


def _with_ports(packet: Ipv4 | Ipv6, source: int, destination: int) -> str:
    if isinstance(packet, Ipv6):
        return f"[{packet.source}]:{source} > [{packet.destination}]:{destination}"
    return f"{packet.source}:{source} > {packet.destination}:{destination}"


def _protocol(number: int) -> str:
    return _PROTOCOLS.get(number, f"IP protocol {number}")
