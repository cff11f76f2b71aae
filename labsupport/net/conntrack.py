"""What the kernel remembers about connections: the entries of conntrack, as `conntrack -L` lists them.

Source: conntrack(8), linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h; RFC 3022.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from labsupport.net import netlink
from labsupport.net.flow import PROTOCOLS, Flow
from labsupport.net.netlink import parse_attributes

_CONNTRACK, _NEW, _GET = 1 << 8, 0, 1
_SEEN_REPLY, _ASSURED, _SOURCE_NAT, _DESTINATION_NAT = 1 << 1, 1 << 2, 1 << 4, 1 << 5
LIST = netlink.dump(_CONNTRACK | _GET, struct.pack("!BBH", 0, 0, 0))


@dataclass(frozen=True)
class ConntrackEntry:
    """One connection in the memory of one namespace; it makes visible how answers find their way back through NAT.

    Attributes:
        namespace: whose memory.
        original: the first packet's addresses and ports, before any translation.
        reply: those that answers have, as they arrive; if nothing is translated, the reverse of `original`.
        replied: whether an answer has been seen.
        assured: whether it is kept when the memory runs full.
        translated: "" or what is translated: "source", "destination", "both".
        new: whether there was no such entry when the walk began.
    """

    namespace: str
    original: Flow
    reply: Flow
    replied: bool
    assured: bool
    translated: str
    new: bool = True

    @property
    def forwarded(self) -> Flow:
        """The addresses and ports that packets of the first direction have when they leave."""
        return self.reply.reverse


def read_entries(namespace: str, data: bytes) -> Iterator[ConntrackEntry]:
    """Return the entries of TCP, UDP and ICMP echoes that an answer to `LIST` tells."""
    for message in netlink.parse(data):
        if isinstance(message, netlink.Message) and message.kind == _CONNTRACK | _NEW:
            found = parse_attributes(message.body[4:])
            original, reply = (_flow(found.get(kind, b"")) for kind in (1, 2))
            status = int.from_bytes(found.get(3, b""), "big")
            if original is not None and reply is not None:
                yield ConntrackEntry(namespace, original, reply, bool(status & _SEEN_REPLY), bool(status & _ASSURED),
                                     _translated(status))


def _translated(status: int) -> str:
    source, destination = status & _SOURCE_NAT, status & _DESTINATION_NAT
    return "both" if source and destination else "source" if source else "destination" if destination else ""


def _flow(data: bytes) -> Flow | None:
    parts = parse_attributes(data)
    addresses, ports = parse_attributes(parts.get(1, b"")), parse_attributes(parts.get(2, b""))
    protocol = PROTOCOLS.get(int.from_bytes(ports.get(1, b""), "big"), "")
    family, first = (socket.AF_INET, 1) if 1 in addresses else (socket.AF_INET6, 3)
    if not protocol or first not in addresses or first + 1 not in addresses:
        return None
    source, destination = (socket.inet_ntop(family, addresses[first + at]) for at in (0, 1))
    numbers = [int.from_bytes(ports.get(kind, b""), "big") for kind in (2, 3, 4, 7)]
    if protocol == "icmp":
        return Flow(protocol, source, numbers[2] or numbers[3], destination, numbers[2] or numbers[3])
    return Flow(protocol, source, numbers[0], destination, numbers[1])
