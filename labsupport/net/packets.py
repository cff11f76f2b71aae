"""Headers of packets, from the bytes: IPv4, IPv6, UDP, TCP, and the question of a DNS message.

Source: RFC 791, 8200, 768, 9293, 1035.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from labsupport.net.headers import UnreadableHeader, ipv4_text, unpack

PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMPV6 = 1, 6, 17, 58
PORT_DNS = 53
_IPV6_FRAGMENT = 44
IPV6_EXTENSIONS = (0, 43, _IPV6_FRAGMENT, 60)  # hop-by-hop options, routing, fragment, destination options
_TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
_DNS_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 255: "ANY"}
_DNS_CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


@dataclass(frozen=True)
class Ipv4:
    """An IPv4 header.

    Attributes:
        source, destination: addresses.
        ttl: how many more routers may pass it on, this one included.
        protocol: what it carries, by number: 1 ICMP, 6 TCP, 17 UDP.
        identification: the number that the fragments of one packet share.
        dont_fragment: whether a router must drop it rather than cut it in pieces.
        more_fragments: whether this is a fragment, and not the last one.
        offset_bytes: where in the whole packet this fragment begins.
        header_length_bytes: 20, or more if there are options.
        total_length_bytes: header and payload.
        tos: type of service, which is DSCP and ECN today.
        checksum: of the header. The kernel leaves it to network cards, so on a veth it may be anything.
    """

    source: str
    destination: str
    ttl: int
    protocol: int
    identification: int
    dont_fragment: bool
    more_fragments: bool
    offset_bytes: int
    header_length_bytes: int
    total_length_bytes: int
    tos: int
    checksum: int

    @property
    def is_fragment(self) -> bool:
        """Whether it is one piece of a packet that a router or the sender has cut."""
        return self.more_fragments or self.offset_bytes > 0


@dataclass(frozen=True)
class Ipv6:
    """An IPv6 header; `protocol` is what follows its extension headers, `hop_limit` is what IPv4 calls ttl."""

    source: str
    destination: str
    hop_limit: int
    protocol: int
    payload_length_bytes: int
    offset_bytes: int = 0
    more_fragments: bool = False

    @property
    def is_fragment(self) -> bool:
        """Whether it is one piece of a packet that its sender has cut; routers do not cut IPv6 packets."""
        return self.more_fragments or self.offset_bytes > 0


@dataclass(frozen=True)
class Udp:
    """A UDP header; `payload_bytes` is without it."""

    source_port: int
    destination_port: int
    payload_bytes: int


@dataclass(frozen=True)
class Tcp:
    """A TCP header.

    Attributes:
        source_port, destination_port: which programs talk.
        flags: those that are set, of FIN SYN RST PSH ACK URG ECE CWR, in the order of their bits.
        sequence: the number of the first byte.
        acknowledgement: the number of the byte that is expected next.
        window: how many bytes may be on their way; without the scale that both sides agreed on.
        payload_bytes: how many bytes it carries. Over a veth there may be more than a cable could take.
    """

    source_port: int
    destination_port: int
    flags: tuple[str, ...]
    sequence: int
    acknowledgement: int
    window: int
    payload_bytes: int


@dataclass(frozen=True)
class Dns:
    """The first question of a DNS message.

    Attributes:
        name: what is asked for; what cannot be printed is written as in zone files, backslash and number.
        record: the type of record: A, AAAA, ...
        is_response: whether this is the answer, in which the question stands again.
        code: how it went: NOERROR, NXDOMAIN, ...
        answers: how many records answer it.
    """

    name: str
    record: str
    is_response: bool
    code: str
    answers: int


def read_ipv4(data: bytes) -> tuple[Ipv4, bytes]:
    """Read an IPv4 header with its options; what follows is cut to the length that it tells (frames are padded)."""
    first, tos, total, identification, fragment, ttl, protocol, checksum, source, destination = unpack(
        "BBHHHBBH4s4s", data)
    header_length = 4 * (first & 0x0F)
    # 0 is written for packets above 64 KiB that a network card is to cut (BIG TCP).
    if first >> 4 != 4 or header_length < 20 or 0 < total < header_length:
        raise UnreadableHeader("malformed")
    if len(data) < header_length:
        raise UnreadableHeader("truncated")
    header = Ipv4(
        source=ipv4_text(source), destination=ipv4_text(destination), ttl=ttl, protocol=protocol,
        identification=identification, dont_fragment=bool(fragment & 0x4000), more_fragments=bool(fragment & 0x2000),
        offset_bytes=8 * (fragment & 0x1FFF), header_length_bytes=header_length, total_length_bytes=total, tos=tos,
        checksum=checksum)
    return header, data[header_length:total or len(data)]


def read_ipv6(data: bytes) -> tuple[Ipv6, bytes]:
    """Read an IPv6 header, and skip its extension headers as far as they are there."""
    first, length, protocol, hop_limit, source, destination = unpack("IHBB16s16s", data)
    if first >> 28 != 6:
        raise UnreadableHeader("malformed")
    rest = data[40:40 + length] if length else data[40:]
    offset, more = 0, False
    while protocol in IPV6_EXTENSIONS and offset == 0 and len(rest) >= 8:
        following, size, fragment = unpack("BBH", rest)
        if protocol == _IPV6_FRAGMENT:
            size, offset, more = 0, fragment & 0xFFF8, bool(fragment & 1)
        protocol, rest = following, rest[8 + 8 * size:]
    header = Ipv6(str(IPv6Address(source)), str(IPv6Address(destination)), hop_limit, protocol, length, offset, more)
    return header, rest


def read_udp(data: bytes) -> tuple[Udp, bytes]:
    """Read a UDP header."""
    source, destination, length, _checksum = unpack("HHHH", data)
    if 0 < length < 8:
        raise UnreadableHeader("malformed")
    return Udp(source, destination, (length or len(data)) - 8), data[8:length or len(data)]


def read_tcp(data: bytes, length_bytes: int) -> Tcp:
    """Read a TCP header; `length_bytes` is that of header and payload, which IP knows and TCP does not."""
    source, destination, sequence, acknowledgement, first, flags, window = unpack("HHIIBBH", data)
    header_length = 4 * (first >> 4)
    if header_length < 20 or header_length > length_bytes:
        raise UnreadableHeader("malformed")
    names = tuple(name for bit, name in enumerate(_TCP_FLAGS) if flags >> bit & 1)
    return Tcp(source, destination, names, sequence, acknowledgement, window, length_bytes - header_length)


def read_dns(data: bytes) -> Dns | None:
    """Read the first question; None if these bytes are no DNS message that has one: port 53 is free for everybody."""
    try:
        _identity, flags, questions, answers = unpack("HHHH", data)
        name, rest = _read_name(data[12:])
        record, kind = unpack("HH", rest)
    except UnreadableHeader:
        return None
    if questions != 1 or kind != 1:
        return None
    code = flags & 0x0F
    return Dns(name, _DNS_TYPES.get(record, f"type {record}"), bool(flags & 0x8000), _DNS_CODES.get(code, str(code)),
               answers)


def _read_name(data: bytes) -> tuple[str, bytes]:
    labels: list[str] = []
    while True:
        (length,) = unpack("B", data)
        if length == 0:
            return ".".join(labels) or ".", data[1:]
        if length > 63:
            raise UnreadableHeader("malformed")
        (label,) = unpack(f"{length}s", data[1:])
        labels.append("".join(chr(byte) if 0x20 < byte < 0x7F and byte not in b".\\" else f"\\{byte:03}"
                              for byte in label))
        data = data[1 + length:]
