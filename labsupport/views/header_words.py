"""The headers of a frame in words, from the outermost to the innermost."""

from __future__ import annotations

from labsupport.net.frames import Frame
from labsupport.views.frame_table import addresses

_EVERYBODY = "ff:ff:ff:ff:ff:ff"
_NOBODY_YET = "00:00:00:00:00:00"


def summary_of(frame: Frame) -> str:
    """Return in one line what a frame is."""
    who = addresses(frame)
    return f"{who}, {frame.summary}" if who else frame.summary


def header_words(frame: Frame) -> list[tuple[str, str]]:
    """Return the name and the meaning of each header; nothing in it differs from run to run but ports."""
    layers = [("Ethernet", _ethernet(frame)), ("VLAN", _vlan(frame)), ("ARP", _arp(frame)), ("IPv4", _ipv4(frame)),
              ("IPv6", _ipv6(frame)), *_transport(frame)]
    return [(name, words) for name, words in layers if words]


def _ethernet(frame: Frame) -> str:
    if frame.ethernet is None:
        return ""
    first = int(frame.destination[:2], 16)
    kind = " (everybody)" if frame.destination == _EVERYBODY else " (a group)" if first & 1 else ""
    return f"from {frame.source} to {frame.destination}{kind}, {frame.length_bytes} bytes"


def _vlan(frame: Frame) -> str:
    return "" if frame.vlan is None else f"number {frame.vlan.number}"


def _arp(frame: Frame) -> str:
    arp = frame.arp
    if arp is None:
        return ""
    target = "not known yet" if arp.target_mac == _NOBODY_YET else arp.target_mac
    return f"{arp.operation}: sender {arp.sender_ip} is at {arp.sender_mac}, target {arp.target_ip} is {target}"


def _ipv4(frame: Frame) -> str:
    packet = frame.ipv4
    if packet is None:
        return ""
    more = f", fragment from byte {packet.offset_bytes}" if packet.is_fragment else ""
    return f"from {packet.source} to {packet.destination}, ttl {packet.ttl}, {packet.total_length_bytes} bytes{more}"


def _ipv6(frame: Frame) -> str:
    packet = frame.ipv6
    return "" if packet is None else f"from {packet.source} to {packet.destination}, hop limit {packet.hop_limit}"


def _transport(frame: Frame) -> list[tuple[str, str]]:
    """Return what is behind the IP header."""
    layers = []
    for name, message in (("ICMP", frame.icmp), ("ICMPv6", frame.icmpv6)):
        if message is not None:
            layers.append((name, message.name + ("" if message.sequence is None else f", number {message.sequence}")))
    if frame.udp is not None:
        layers.append(("UDP", f"from port {frame.udp.source_port} to port {frame.udp.destination_port},"
                              f" {frame.udp.payload_bytes} bytes"))
    if frame.tcp is not None:
        layers.append(("TCP", f"from port {frame.tcp.source_port} to port {frame.tcp.destination_port},"
                              f" {' '.join(frame.tcp.flags) or 'no flags'}, {frame.tcp.payload_bytes} bytes"))
    return layers
