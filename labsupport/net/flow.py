"""Which packets belong together: the addresses and ports of a flow, and what no router changes in a packet.

Values only: nothing in here asks the kernel.

Source: RFC 9293 section 3.4 (initial sequence numbers), RFC 792, RFC 4443, nf_conntrack's notion of a tuple.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from labsupport.net.frames import Frame
from labsupport.net.headers import TYPE_IPV4, TYPE_IPV6, VLAN_TYPES, UnreadableHeader, unpack
from labsupport.net.packets import PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, read_ipv4, read_ipv6

PROTOCOLS = {PROTOCOL_TCP: "tcp", PROTOCOL_UDP: "udp", PROTOCOL_ICMP: "icmp", PROTOCOL_ICMPV6: "icmp"}
ECHO_REQUESTS, ECHO_REPLIES = {8, 128}, {0, 129}
_MARK_BYTES = 12  # of the payload: a trace of nftables holds no more
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_TYPE_AT, _TAG_BYTES = 12, 4


class Flow(NamedTuple):
    """Who talks to whom, in one direction: conntrack's tuple.

    Attributes:
        protocol: "tcp", "udp" or "icmp".
        source, destination: IP addresses.
        source_port, destination_port: of TCP and UDP; of an echo both are its identifier.
    """

    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int

    @property
    def reverse(self) -> Flow:
        """The other direction."""
        return Flow(self.protocol, self.destination, self.destination_port, self.source, self.source_port)

    def __str__(self) -> str:
        if self.protocol == "icmp":
            return f"{self.source} > {self.destination} id {self.source_port}"
        return f"{_end(self.source, self.source_port)} > {_end(self.destination, self.destination_port)}"


@dataclass(frozen=True)
class Packet:
    """What is of interest of one packet at one place.

    Attributes:
        flow: its addresses and ports, as they are there.
        ttl: how many more routers may pass it on (IPv6: hop limit).
        mark: what neither a router nor address translation changes: tells this packet from the others of its flow.
        role: "request" for a SYN, an echo request or any UDP datagram; "answer" for the first thing that can come
            back (SYN and ACK, RST, echo reply); "" for others.
        answers: of TCP the sequence number that is acknowledged, less one; of an echo nothing but its `mark`.
        sequence: of TCP.
    """

    flow: Flow
    ttl: int
    mark: bytes
    role: str
    sequence: int = 0
    answers: int = 0

    def is_answer_to(self, request: Packet) -> bool:
        """Return whether it can be the first answer to a request; addresses are the business of the caller."""
        if self.flow.protocol == "tcp":
            return self.role == "answer" and self.answers == request.sequence
        if self.flow.protocol == "icmp":
            return self.role == "answer" and self.mark == request.mark
        return True


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def packet_of(frame: Frame) -> Packet | None:
    """Return the packet that a frame carries; None if it carries none of TCP, UDP or ICMP echo."""
    at = _TYPE_AT  # not by frame.headers: of thousands of frames few are of interest, and decoding all takes long
    while int.from_bytes(frame.data[at:at + 2], "big") in VLAN_TYPES:
        at += _TAG_BYTES
    return read_packet(int.from_bytes(frame.data[at:at + 2], "big"), frame.data[at + 2:])


def read_packet(ethertype: int, data: bytes) -> Packet | None:
    """Return what the bytes of an IP packet, or of its first part, say; None if it is none of these protocols."""
    try:
        if ethertype == TYPE_IPV4:
            v4, rest = read_ipv4(data)
            ends, ttl, protocol, offset = (v4.source, v4.destination), v4.ttl, v4.protocol, v4.offset_bytes
        elif ethertype == TYPE_IPV6:
            v6, rest = read_ipv6(data)
            ends, ttl, protocol, offset = (v6.source, v6.destination), v6.hop_limit, v6.protocol, v6.offset_bytes
        else:
            return None
        if protocol not in PROTOCOLS or offset:
            return None
        return _transport(ends, ttl, protocol, rest)
    except UnreadableHeader:
        return None


def _transport(ends: tuple[str, str], ttl: int, protocol: int, data: bytes) -> Packet | None:
    name = PROTOCOLS[protocol]
    if name == "tcp":
        source, destination, sequence, acknowledged, _, flags = unpack("HHIIBB", data)
        role = "answer" if flags & _RST or flags & (_SYN | _ACK) == _SYN | _ACK else "request" if flags & _SYN else ""
        flow = Flow(name, ends[0], source, ends[1], destination)
        mark = data[4:12] + bytes([flags])
        return Packet(flow, ttl, mark, role, sequence, (acknowledged - 1) % (1 << 32))
    if name == "udp":
        source, destination = unpack("HH", data)
        return Packet(Flow(name, ends[0], source, ends[1], destination), ttl, data[8:8 + _MARK_BYTES], "request")
    kind, _, _, identifier, sequence = unpack("BBHHH", data)
    if kind not in ECHO_REQUESTS | ECHO_REPLIES:
        return None
    flow = Flow(name, ends[0], identifier, ends[1], identifier)
    # The identifier may be translated, the sequence number and what was sent along are not.
    return Packet(flow, ttl, data[6:8 + _MARK_BYTES], "request" if kind in ECHO_REQUESTS else "answer", sequence)
