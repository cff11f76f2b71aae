"""Frames as bytes, with what they must be called: first real ones from a lab, then some made by hand."""

from __future__ import annotations

import packet_maker as make

# Captured with AF_PACKET on veth interfaces, so the checksums of UDP and TCP are only half filled in.
REAL = {
    "ARP who has 10.0.0.2? tell 10.0.0.1":
        "ffffffffffff020000000001080600010800060400010200000000010a0000010000000000000a000002",
    "ARP 10.0.0.2 is at 02:00:00:00:00:02":
        "020000000001020000000002080600010800060400020200000000020a0000020200000000010a000001",
    "ICMP echo request seq 1, ttl 64":
        "0200000000020200000000010800450000546ef040004001b7b60a0000010a0000020800be7c0031000138b5046b000000003c5e01000000"
        "0000101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
    "ICMP time exceeded (ttl 0 in transit) for 10.0.0.1 > 10.0.1.1":
        "0200000000010200000000fe080045c0007004da000040015ff50a0000fe0a0000010b00f4ff000000004500005496e040000101cdc70a00"
        "00010a0001010800e26a0032000138b5046b00000000186f010000000000101112131415161718191a1b1c1d1e1f20212223242526272829"
        "2a2b2c2d2e2f3031323334353637",
    "ICMP port unreachable (UDP 53) for 10.0.0.1 > 10.0.0.2":
        "020000000001020000000002080045c00044eec800004001772e0a0000020a0000010303934b0000000045000028b05740004011766b0a00"
        "00010a000002c35000350014142868656c6c6f20776f726c6421",
    "UDP 10.0.0.1:50000 > 10.0.0.2:53, 12 bytes":
        "020000000002020000000001080045000028b05740004011766b0a0000010a000002c35000350014142868656c6c6f20776f726c6421",
    "TCP 10.0.0.2:80 > 10.0.0.1:49074 SYN ACK":
        "02000000000102000000000208004500003c00004000400626ba0a0000020a0000010050bfb22e45288e3292f39ca012fe88143100000204"
        "05b40402080a032dc27207ba62b60103030a",
    "STP root 8000.02000000000c, cost 0":
        "0180c200000002000000000b00264242030000000000800002000000000c00000000800002000000000c80010000140002000f00",
    "ICMPv6 multicast listener report v2":
        "33330000001602000000000a86dd600000000038000100000000000000000000000000000000ff0200000000000000000000000000163a00"
        "0502000001008f006d650000000204000000ff0200000000000000000001ff00000a04000000ff0200000000000000000001ff000001",
    "ICMPv6 neighbour solicitation: who has fd00::2?":
        "3333ff00000202000000000a86dd6000000000203afffd000000000000000000000000000001ff0200000000000000000001ff0000028700"
        "7d8e00000000fd000000000000000000000000000002010102000000000a",
    "ICMPv6 router solicitation":
        "33330000000202000000000a86dd6000000000103afffe80000000000000000000fffe00000aff0200000000000000000000000000028500"
        "7b1a00000000010102000000000a",
}

_LOST = make.ipv4(make.udp(b"x" * 20, 40000, 9), 17, "10.0.0.1", "10.0.9.9")
_V6_LOST = make.ipv6(make.udp(b"x" * 20, 40000, 9), 17, "fd00::1", "fd00::9")
_QUESTION = make.dns("www.example.com", 28)
_FRAGMENT_V6 = bytes([17, 0, 0x05, 0xA8, 0, 0, 0, 7]) + b"x" * 40  # offset 1448, the last one


def _ip(packet: bytes) -> bytes:
    return make.ethernet(packet, 0x0800)


def _ip6(packet: bytes) -> bytes:
    return make.ethernet(packet, 0x86DD)


def _icmp(kind: int, code: int, rest: int = 0, payload: bytes = b"") -> bytes:
    return _ip(make.ipv4(make.icmp(kind, code, rest, payload), 1))


HAND_MADE = {
    "ARP announcement: 10.0.0.1 is at 02:00:00:00:00:01": make.ethernet(
        make.arp(1, (make.mac(1), "10.0.0.1"), (bytes(6), "10.0.0.1")), 0x0806),
    "ARP probe: does anybody have 10.0.0.9?": make.ethernet(
        make.arp(1, (make.mac(1), "0.0.0.0"), (bytes(6), "10.0.0.9")), 0x0806),  # noqa: S104  (in a message)
    "ARP operation 8, 10.0.0.1 > 10.0.0.2": make.ethernet(
        make.arp(8, (make.mac(1), "10.0.0.1"), (bytes(6), "10.0.0.2")), 0x0806),
    "VLAN 10: ARP who has 10.0.0.2? tell 10.0.0.1": make.vlan(make.ethernet(
        make.arp(1, (make.mac(1), "10.0.0.1"), (bytes(6), "10.0.0.2")), 0x0806), 10),
    "VLAN 7: VLAN 10: IPv4, 22 bytes (truncated)": make.vlan(
        make.vlan(make.ethernet(b"", 0x0800), 10, 3), 7, kind=0x88A8),
    "ICMP echo reply seq 7, ttl 63": _ip(make.ipv4(make.icmp(0, 0, 7), 1, ttl=63)),
    "ICMP network unreachable for 10.0.0.1 > 10.0.9.9": _icmp(3, 0, 0, _LOST),
    "ICMP host unreachable for 10.0.0.1 > 10.0.9.9": _icmp(3, 1, 0, _LOST),
    "ICMP port unreachable (UDP 9) for 10.0.0.1 > 10.0.9.9": _icmp(3, 3, 0, _LOST),
    "ICMP fragmentation needed, mtu 1400, for 10.0.0.1 > 10.0.9.9": _icmp(3, 4, 1400, _LOST[:28]),
    "ICMP fragmentation needed, mtu 1401": _icmp(3, 4, 1401),
    "ICMP fragmentation needed for 10.0.0.1 > 10.0.9.9": _icmp(3, 4, 0, _LOST),  # of a router older than RFC 1191
    "ICMP communication administratively prohibited for 10.0.0.1 > 10.0.9.9": _icmp(3, 13, 0, _LOST),
    "ICMP redirect to 10.0.0.253 for 10.0.0.1 > 10.0.9.9": _icmp(5, 1, 0x0A0000FD, _LOST),
    "ICMP time exceeded (fragments missing) for 10.0.0.1 > 10.0.9.9": _icmp(11, 1, 0, _LOST),
    "ICMP type 77 code 3": _icmp(77, 3),
    "UDP 10.0.0.1:40000 > 10.0.9.9:9, 20 bytes": _ip(_LOST) + bytes(6),  # padded, as short frames on real cables
    "UDP 10.0.0.1:1 > 10.0.0.2:2, 0 bytes, ttl 1": _ip(make.ipv4(make.udp(b"", 1, 2), 17, ttl=1)),
    "UDP 10.0.0.1:9 > 10.0.0.2:53, DNS asks for AAAA of www.example.com": _ip(
        make.ipv4(make.udp(_QUESTION, 9, 53), 17)),
    "UDP 10.0.0.1:53 > 10.0.0.2:9, DNS answers A of blue.lab: 1 record": _ip(
        make.ipv4(make.udp(make.dns("blue.lab", 1, 0x8180, 1), 53, 9), 17)),
    "UDP 10.0.0.1:53 > 10.0.0.2:9, DNS answers A of nobody: NXDOMAIN": _ip(
        make.ipv4(make.udp(make.dns("nobody", 1, 0x8183), 53, 9), 17)),
    r"UDP 10.0.0.1:9 > 10.0.0.2:53, DNS asks for A of \027<b>\046\092": _ip(
        make.ipv4(make.udp(_QUESTION[:12] + b"\x06\x1b<b>.\\\x00" + bytes([0, 1, 0, 1]), 9, 53), 17)),
    "UDP 10.0.0.1:5 > 10.0.0.2:6, 3000 bytes, first fragment": _ip(
        make.ipv4(make.udp(bytes(3000), 5, 6)[:1480], 17, flags=1)),
    "UDP 10.0.0.1 > 10.0.0.2, fragment from byte 1480": _ip(make.ipv4(bytes(1480), 17, flags=1, offset=185)),
    "ICMP 10.0.0.1 > 10.0.0.2, last fragment from byte 2960": _ip(make.ipv4(bytes(48), 1, offset=370)),
    "TCP 10.0.0.1:1 > 10.0.0.2:80 PSH ACK, 5 bytes, ttl 63": _ip(
        make.ipv4(make.tcp(b"GET /", 1, 80, 0x18), 6, ttl=63)),
    "TCP 10.0.0.1:1 > 10.0.0.2:80 no flags": _ip(make.ipv4(make.tcp(b"", 1, 80, 0), 6)),
    "GRE 10.0.0.1 > 10.0.0.2": _ip(make.ipv4(bytes(20), 47)),
    "IP protocol 200 10.0.0.1 > 10.0.0.2": _ip(make.ipv4(bytes(20), 200)),
    "UDP [fd00::1]:5 > [fd00::2]:6, 3 bytes, hop limit 1": _ip6(make.ipv6(make.udp(b"abc", 5, 6), 17, hops=1)),
    "UDP [fd00::1]:5 > [fd00::2]:6, 4 bytes": _ip6(  # behind options of 16 bytes
        make.ipv6(bytes([17, 1]) + bytes(14) + make.udp(b"abcd", 5, 6), 60)),
    "UDP fd00::1 > fd00::2, last fragment from byte 1448": _ip6(make.ipv6(_FRAGMENT_V6, 44)),
    "ICMPv6 echo request seq 2, hop limit 64": _ip6(make.ipv6(make.icmp(128, 0, 2), 58)),
    "ICMPv6 neighbour advertisement: fd00::2 is here": _ip6(
        make.ipv6(make.icmp(136, 0, 0, bytes.fromhex("fd000000000000000000000000000002")), 58, hops=255)),
    "ICMPv6 packet too big, mtu 1400, for fd00::1 > fd00::9": _ip6(make.ipv6(make.icmp(2, 0, 1400, _V6_LOST), 58)),
    "ICMPv6 time exceeded (hop limit 0 in transit) for fd00::1 > fd00::9": _ip6(
        make.ipv6(make.icmp(3, 0, 0, _V6_LOST), 58)),
    "STP root 8000.020000000001, cost 4, says 8000.020000000002, topology change": make.bpdu(1, 4, 2, 0x8001, 1),
    "STP topology change notification": make.ethernet(bytes.fromhex("42420300000080"), 7),
    "LLC 0xaa > 0xaa, 22 bytes": make.ethernet(bytes.fromhex("aaaa030000000000"), 8),
    "LLDP, 34 bytes": make.ethernet(bytes(20), 0x88CC),
    "ethertype 0x1234, 14 bytes": make.ethernet(b"", 0x1234),
    # Broken ones.
    "9 bytes (truncated)": b"\xff" * 9,
    "ARP, 22 bytes (truncated)": make.ethernet(bytes.fromhex("0001080006040001"), 0x0806),
    "ARP, 42 bytes (malformed)": make.ethernet(b"\x09" * 28, 0x0806),
    "IPv4, 34 bytes (malformed)": make.ethernet(b"\x55" + bytes(19), 0x0800),
    "IPv4, 36 bytes (malformed)": make.ethernet(b"\x44" + bytes(21), 0x0800),  # a header of 16 bytes
    "UDP 10.0.0.1 > 10.0.0.2 (truncated)": _ip(make.ipv4(b"1234", 17)) + bytes(22),  # padding is no header
    "TCP 10.0.0.1 > 10.0.0.2 (malformed)": _ip(make.ipv4(make.tcp(b"", 1, 2, 2)[:12] + b"\x40" + bytes(7), 6)),
    "UDP 10.0.0.1 > 10.0.0.2 (malformed)": _ip(make.ipv4(bytes.fromhex("0001000200070000"), 17)),
    "UDP 10.0.0.1:40000 > 10.0.9.9:9, 20 bytes (truncated)": _ip(_LOST)[:-5],
    "IPv6, 54 bytes (malformed)": make.ethernet(b"\x40" + bytes(39), 0x86DD),
    "LLC 0x42 > 0x42, 24 bytes (malformed)": make.ethernet(bytes.fromhex("42420300090000000000"), 10),
}

ALL = {**{summary: bytes.fromhex(data) for summary, data in REAL.items()}, **HAND_MADE}
