"""Has the kernel tell what its packet filter does with packets: a table of our own, and the messages that follow.

The table belongs to the socket that made it (NFT_TABLE_F_OWNER), so the kernel removes it when that socket closes,
however its process ends. Its rules match the beginnings of connections only, and let everything pass. None of them uses
conntrack, which would begin to track connections in namespaces that did not before.

Source: nft(8) "meta nftrace", linux/netfilter/nf_tables.h, nfnetlink.h; net/netfilter/nf_tables_trace.c.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from labsupport.net.flow import Packet, read_packet
from labsupport.net.headers import TYPE_IPV4, TYPE_IPV6
from labsupport.net.netlink import CREATE, Attributes, attribute, message, nested, parse_attributes, parse_text, text
from labsupport.net.packets import PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP

TABLE = "labsupport-walk"
EventKind = Literal["policy", "return", "rule"]

_NF_TABLES, _NEW_TABLE, _NEW_CHAIN, _NEW_RULE, _TRACE = 10 << 8, 0, 3, 6, 17
_BATCH_BEGIN, _BATCH_END, _ACK, _APPEND = 16, 17, 0x4, 0x800
_INET, _OWNER = 1, 2
_FIRST, _LAST = -390, 500  # before everything but defragmentation; after everybody's filters and address translation
_HOOKS = {"prerouting": (0, _FIRST), "input": (1, _FIRST), "forward": (2, _FIRST), "output": (3, _FIRST),
          "postrouting": (4, _FIRST), "delivered": (1, _LAST), "leaving": (4, _LAST)}
_TRACING = ("prerouting", "output")
_META_NFTRACE, _META_L4PROTO, _TRANSPORT_HEADER = 12, 16, 2
_EQUAL, _DIFFERENT = 0, 1
_KINDS: dict[int, EventKind] = {1: "policy", 2: "return", 3: "rule"}
_VERDICTS = {0: "drop", 1: "accept", 2: "stolen", 3: "queue", 4: "repeat", -1: "continue", -2: "break", -3: "jump",
             -4: "goto", -5: "return"}
_FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}
_ETHERTYPES = {2: TYPE_IPV4, 10: TYPE_IPV6}


@dataclass(frozen=True)
class TraceEvent:
    """One decision about one packet.

    Attributes:
        namespace: where.
        packet_id: the kernel's number for the packet, for as long as it is in this namespace.
        kind: a "rule" that matched, the "policy" at the end of a base chain, or the "return" from another chain.
        family, table, chain: where the rule stands.
        handle: the rule's number in its table, 0 for a policy.
        verdict: "accept", "drop", "continue" with the next rule, "jump" and "goto" to a chain, "return", ...
        target: the chain that it jumps or goes to.
        link_in, link_out: where it came in, and where it will go out as far as that is known then; "" otherwise.
        packet: what it looked like; the kernel tells this once in each base chain, otherwise None.
    """

    namespace: str
    packet_id: int
    kind: EventKind
    family: str
    table: str
    chain: str
    handle: int
    verdict: str
    target: str
    link_in: str
    link_out: str
    packet: Packet | None

    @property
    def own(self) -> bool:
        """Whether it is of the table that makes the tracing."""
        return self.table == TABLE


def tracing(protocol: str) -> tuple[bytes, int]:
    """Return what makes the table for a protocol ("tcp", "udp" or "icmp"), and how many answers the kernel gives."""
    orders = [_order(_NEW_TABLE, 0, text(1, TABLE), _number(2, _OWNER))]
    orders += [_order(_NEW_CHAIN, 0, text(1, TABLE), text(3, name), text(7, "filter"),
                      nested(4, _number(1, hook), _number(2, priority)))
               for name, (hook, priority) in _HOOKS.items()]
    orders += [_order(_NEW_RULE, _APPEND, text(1, TABLE), text(2, chain), nested(4, *match, *_set_trace()))
               for match in _matches(protocol) for chain in _TRACING]
    limits = [message(kind, 0, struct.pack("!BBH", 0, 0, 10)) for kind in (_BATCH_BEGIN, _BATCH_END)]
    return b"".join([limits[0], *orders, limits[1]]), len(orders)


def _order(kind: int, flags: int, *attributes: bytes) -> bytes:
    return message(_NF_TABLES | kind, _ACK | CREATE | flags, struct.pack("!BBH", _INET, 0, 0), attributes)


def _matches(protocol: str) -> list[list[bytes]]:
    """Return for each rule the expressions that a packet must match."""
    if protocol == "tcp":  # of the flags one of SYN and RST
        return [[*_is_protocol(PROTOCOL_TCP), *_masked(13, 0x06), _compare(_DIFFERENT, 0)]]
    if protocol == "udp":
        return [_is_protocol(PROTOCOL_UDP)]
    # Types 8 and 0; 128 and 129.
    return [[*_is_protocol(PROTOCOL_ICMP), *_masked(0, 0xF7), _compare(_EQUAL, 0)],
            [*_is_protocol(PROTOCOL_ICMPV6), *_masked(0, 0xFE), _compare(_EQUAL, 128)]]


def _is_protocol(number: int) -> list[bytes]:
    return [_expression("meta", _number(1, 1), _number(2, _META_L4PROTO)), _compare(_EQUAL, number)]


def _masked(offset: int, mask: int) -> list[bytes]:
    """Load one byte of the transport header, and some of its bits."""
    load = _expression("payload", _number(1, 1), _number(2, _TRANSPORT_HEADER), _number(3, offset), _number(4, 1))
    return [load, _expression("bitwise", _number(1, 1), _number(2, 1), _number(3, 1), _byte(4, mask), _byte(5, 0))]


def _compare(how: int, value: int) -> bytes:
    return _expression("cmp", _number(1, 1), _number(2, how), _byte(3, value))


def _set_trace() -> list[bytes]:
    return [_expression("immediate", _number(1, 1), _byte(2, 1)),
            _expression("meta", _number(2, _META_NFTRACE), _number(3, 1))]


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *attributes))


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!i", value))


def _byte(kind: int, value: int) -> bytes:
    return nested(kind, attribute(1, bytes([value])))


def read_trace(namespace: str, data: bytes, links: Mapping[int, str]) -> TraceEvent | None:
    """Return what a message of the kernel tells; None if it is not about a packet."""
    if len(data) < 20 or int.from_bytes(data[4:6], "little") != _NF_TABLES | _TRACE:
        return None
    found = parse_attributes(data[20:])
    kind = _KINDS.get(_big(found, 4))
    if kind is None:
        return None
    verdict = parse_attributes(found.get(5, b""))
    code = _big(found, 16) if kind == "policy" else struct.unpack("!i", verdict.get(1, b"\0\0\0\1"))[0]
    ethertype = _ETHERTYPES.get(_big(found, 15), 0)
    header = found.get(8, b"")
    return TraceEvent(
        namespace, _big(found, 6), kind, _FAMILIES.get(data[16], str(data[16])), parse_text(found.get(1, b"")),
        parse_text(found.get(2, b"")), _big(found, 3), _VERDICTS.get(code, str(code)),
        parse_text(verdict.get(2, b"")), _link(links, _big(found, 10)), _link(links, _big(found, 12)),
        read_packet(ethertype, header + found.get(9, b"")) if header else None)


def _big(found: Attributes, kind: int) -> int:
    return int.from_bytes(found.get(kind, b""), "big")


def _link(links: Mapping[int, str], index: int) -> str:
    return links.get(index, f"link {index}") if index else ""
