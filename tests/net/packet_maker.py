"""Makes frames from their fields, with nothing of labsupport: what a decoder must read, and tcpdump as well."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

IpAddress = IPv4Address | IPv6Address


def mac(number: int) -> bytes:
    return bytes([2, 0, 0, 0, number >> 8, number & 0xFF])


def ethernet(payload: bytes, ethertype: int, source: bytes = mac(1), destination: bytes = mac(2)) -> bytes:
    return destination + source + struct.pack("!H", ethertype) + payload


def vlan(frame: bytes, number: int, priority: int = 0, drop_eligible: bool = False, kind: int = 0x8100) -> bytes:
    control = priority << 13 | drop_eligible << 12 | number
    return frame[:12] + struct.pack("!HH", kind, control) + frame[12:]


def arp(operation: int, sender: tuple[bytes, str], target: tuple[bytes, str]) -> bytes:
    ends = b"".join(hardware + ip_address(ip).packed for hardware, ip in (sender, target))
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + ends


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(payload: bytes, protocol: int, source: str = "10.0.0.1", destination: str = "10.0.0.2", *, ttl: int = 64,
         identification: int = 0, flags: int = 0, offset: int = 0, tos: int = 0, options: bytes = b"") -> bytes:
    """`flags`: 2 don't fragment, 1 more fragments; `offset` in units of eight bytes."""
    def header(check: int) -> bytes:
        return struct.pack("!BBHHHBBH4s4s", 0x40 | 5 + len(options) // 4, tos, 20 + len(options) + len(payload),
                           identification, flags << 13 | offset, ttl, protocol, check, ip_address(source).packed,
                           ip_address(destination).packed) + options
    return header(checksum(header(0))) + payload


def ipv6(payload: bytes, protocol: int, source: str = "fd00::1", destination: str = "fd00::2", hops: int = 64) -> bytes:
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, hops, ip_address(source).packed,
                       ip_address(destination).packed) + payload


def udp(payload: bytes, source: int, destination: int) -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def tcp(payload: bytes, source: int, destination: int, flags: int, sequence: int = 0, acknowledgement: int = 0,
        window: int = 512, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    return struct.pack("!HHIIBBHHH", source, destination, sequence, acknowledgement, words << 4, flags, window, 0,
                       0) + options + payload


def icmp(kind: int, code: int, rest: int = 0, payload: bytes = b"") -> bytes:
    """`rest` is the second word of the header."""
    message = struct.pack("!BBHI", kind, code, 0, rest) + payload
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def bpdu(root: int, cost: int, bridge: int, port: int, flags: int = 0, age: float = 0.0) -> bytes:
    body = struct.pack("!BBBHBBB", 0x42, 0x42, 3, 0, 0, 0, flags) + b"\x80\x00" + mac(root)
    body += struct.pack("!I", cost) + b"\x80\x00" + mac(bridge)
    body += struct.pack("!HHHHH", port, int(age * 256), 20 * 256, 2 * 256, 15 * 256)
    return ethernet(body, len(body), mac(bridge), bytes.fromhex("0180c2000000"))


def dns(name: str, record: int = 1, flags: int = 0x0100, answers: int = 0) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 7, flags, 1, answers, 0, 0) + labels + b"\0" + struct.pack("!HH", record, 1)


def _any_ipv4(choose: random.Random) -> str:
    return str(IPv4Address(choose.randrange(0x0A000001, 0x0AFFFFFE)))


def _any_header(choose: random.Random, payload: bytes, protocol: int) -> bytes:
    return ipv4(payload, protocol, _any_ipv4(choose), _any_ipv4(choose), ttl=choose.randint(1, 255),
                tos=choose.choice([0, 4, 184]), identification=choose.randrange(65536), flags=choose.choice([0, 2]),
                options=choose.choice([b"", b"\x01" * 4, b"\x94\x04\0\0", b"\x01" * 40]))


def any_arp(choose: random.Random) -> bytes:
    ends = [(mac(choose.randrange(65536)), _any_ipv4(choose)) for _ in range(2)]
    return ethernet(arp(choose.choice([1, 2]), *ends), 0x0806, ends[0][0])


def any_echo(choose: random.Random) -> bytes:
    message = icmp(choose.choice([0, 8]), 0, choose.randrange(1 << 32), choose.randbytes(choose.randrange(60)))
    return ethernet(_any_header(choose, message, 1), 0x0800)


def any_udp(choose: random.Random) -> bytes:
    datagram = udp(choose.randbytes(choose.randrange(1400)), *(choose.randrange(40000, 45000) for _ in range(2)))
    return ethernet(_any_header(choose, datagram, 17), 0x0800)


def any_tcp(choose: random.Random) -> bytes:
    payload = choose.randbytes(choose.choice([0, 0, 10, 1000]))
    segment = tcp(payload, *(choose.randrange(40000, 45000) for _ in range(2)),
                  flags=choose.choice([0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14]), sequence=choose.randrange(1 << 32),
                  acknowledgement=choose.randrange(1 << 32), window=choose.randrange(65536),
                  options=choose.choice([b"", b"\x02\x04\x05\xb4", b"\x01" * 12]))
    return ethernet(_any_header(choose, segment, 6), 0x0800)


def any_fragment(choose: random.Random) -> bytes:
    payload = choose.randbytes(8 * choose.randint(1, 100))
    return ethernet(ipv4(payload, 17, _any_ipv4(choose), _any_ipv4(choose), flags=choose.choice([0, 1]),
                         offset=choose.randint(1, 8000), identification=choose.randrange(65536)), 0x0800)


def any_udp_v6(choose: random.Random) -> bytes:
    ends = [f"fd00::{choose.randint(1, 0xffff):x}" for _ in range(2)]
    datagram = udp(choose.randbytes(choose.randrange(1400)), *(choose.randrange(40000, 45000) for _ in range(2)))
    return ethernet(ipv6(datagram, 17, *ends, hops=choose.randint(1, 255)), 0x86DD)


def any_bpdu(choose: random.Random) -> bytes:
    root, bridge = choose.randrange(65536), choose.randrange(65536)
    return bpdu(root, choose.randrange(1 << 32), bridge, choose.randrange(0x8001, 0x8100),
                choose.choice([0, 1, 0x80, 0x81]), choose.randrange(20))


def any_tagged(choose: random.Random) -> bytes:
    return vlan(any_udp(choose), choose.randint(1, 4094), choose.randrange(8), choose.random() < 0.5)


MAKERS: dict[str, Callable[[random.Random], bytes]] = {
    "arp": any_arp, "echo": any_echo, "udp": any_udp, "tcp": any_tcp, "fragment": any_fragment, "udp_v6": any_udp_v6,
    "bpdu": any_bpdu, "tagged": any_tagged,
}
