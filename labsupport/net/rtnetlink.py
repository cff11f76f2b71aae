"""What the kernel tells about links, addresses, routes, neighbours and bridges, turned into values (rtnetlink(7)).

The words are those that `ip` and `bridge` print. What makes no sense, and no kernel says, is left out.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from labsupport.net import netlink
from labsupport.net.model import Address, AddressFamily, FdbEntry, Neighbour, Route
from labsupport.net.netlink import Attributes, Message, Problem, parse_attributes

NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, GETADDR = 20, 22
NEWROUTE, GETROUTE = 24, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
GETNETCONF = 82
GETNSID = 90
AF_BRIDGE = 7
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
CLOCK_TICKS_PER_S = 100  # USER_HZ, the same on every architecture that we run on

_LINK, _ADDRESS, _ROUTE = struct.Struct("=BxHiII"), struct.Struct("=BBBBI"), struct.Struct("=BBBBBBBBI")
_NEIGHBOUR, _HOP = struct.Struct("=BxxxiHBB"), struct.Struct("=HBBi")
_NUMBER = struct.Struct("=i")
_MAIN_TABLE = 254
_EVERY_LINK, _NO_NUMBER = -1, -1  # NETCONFA_IFINDEX_ALL, NETNSA_NSID_NOT_ASSIGNED
_ARPHRD_LOOPBACK = 772
_SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS
_OPERSTATES = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")
_PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
_ROUTE_KINDS = {1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole",
                7: "unreachable", 8: "prohibit", 9: "throw", 10: "nat"}
_TABLES = {253: "default", 254: "main", 255: "local"}
_NEIGHBOUR_STATES = {0x01: "INCOMPLETE", 0x02: "REACHABLE", 0x04: "STALE", 0x08: "DELAY", 0x10: "PROBE",
                     0x20: "FAILED", 0x40: "NOARP", 0x80: "PERMANENT"}
_NOARP, _PERMANENT = 0x40, 0x80

LIST_LINKS = netlink.dump(GETLINK, _LINK.pack(0, 0, 0, 0, 0), [netlink.u32(29, _SKIP_STATISTICS)])
LIST_ADDRESSES = netlink.dump(GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0))
LIST_ROUTES = {family: netlink.dump(GETROUTE, _ROUTE.pack(number, 0, 0, 0, 0, 0, 0, 0, 0))
               for family, number in (("inet", socket.AF_INET), ("inet6", socket.AF_INET6))}
LIST_NEIGHBOURS = netlink.dump(GETNEIGH, _NEIGHBOUR.pack(0, 0, 0, 0, 0))
LIST_SETTINGS = netlink.dump(GETNETCONF, bytes([socket.AF_INET]))
LIST_FDB = netlink.dump(GETNEIGH, _NEIGHBOUR.pack(AF_BRIDGE, 0, 0, 0, 0))


@dataclass(frozen=True)
class RawLink:
    """A link as its own namespace tells it: other links by their indexes.

    Attributes:
        peer_index: the index of a veth's other end, or 0.
        peer_netnsid: the number by which this namespace calls the one that the other end is in; None: its own.
    """

    name: str
    index: int
    kind: str
    mac: str
    mtu_bytes: int
    up: bool
    carrier: bool
    operstate: str
    master_index: int
    peer_index: int
    peer_netnsid: int | None
    port_state: str


def _messages(data: bytes, fixed: struct.Struct) -> Iterator[Message]:
    return (one for one in netlink.parse(data) if isinstance(one, Message) and len(one.body) >= fixed.size)


def _number(attributes: Attributes, kind: int) -> int:
    return int.from_bytes(attributes.get(kind, b""), "little")


def mac_text(value: bytes) -> str:
    """Return a layer 2 address as `ip link` prints it."""
    return value.hex(":")


def ip_text(value: bytes) -> str:
    """Return an IPv4 or IPv6 address in its usual form."""
    return str(ipaddress.ip_address(value)) if len(value) in {4, 16} else value.hex(":")


def _family(number: int) -> AddressFamily | None:
    families: dict[int, Literal["inet", "inet6"]] = {socket.AF_INET: "inet", socket.AF_INET6: "inet6"}
    return families.get(number)


def parse_links(data: bytes) -> list[RawLink]:
    """Return the links in the order of their indexes."""
    return sorted((_link(message) for message in _messages(data, _LINK) if message.kind == NEWLINK),
                  key=lambda link: link.index)


def _link(message: Message) -> RawLink:
    _, hardware, index, flags, _ = _LINK.unpack_from(message.body)
    found = parse_attributes(message.body[16:])
    info = parse_attributes(found.get(18, b""))
    port = parse_attributes(info.get(5, b"")) if netlink.parse_text(info.get(4, b"")) == "bridge" else {}
    kind = netlink.parse_text(info.get(1, b""))
    state, port_state = _number(found, 16), _number(port, 1)
    return RawLink(
        name=netlink.parse_text(found.get(3, b"")), index=index,
        kind=kind or ("loopback" if hardware == _ARPHRD_LOOPBACK else "ether"), mac=mac_text(found.get(1, b"")),
        mtu_bytes=_number(found, 4), up=bool(flags & IFF_UP), carrier=bool(flags & IFF_LOWER_UP),
        operstate=_OPERSTATES[state] if state < len(_OPERSTATES) else str(state), master_index=_number(found, 10),
        peer_index=_number(found, 5), peer_netnsid=_number(found, 37) if 37 in found else None,
        port_state=_PORT_STATES[port_state] if 1 in port and port_state < len(_PORT_STATES) else "",
    )


def parse_addresses(data: bytes) -> dict[int, list[Address]]:
    """Return the IP addresses by the index of their link, in the kernel's order."""
    by_link: dict[int, list[Address]] = {}
    for message in _messages(data, _ADDRESS):
        number, length, _, scope, index = _ADDRESS.unpack_from(message.body)
        found, family = parse_attributes(message.body[8:]), _family(number)
        value = found.get(2) or found.get(1)
        if family and value:
            by_link.setdefault(index, []).append(
                Address(ip_text(value), length, family, _SCOPES.get(scope, str(scope))))
    return by_link


def parse_routes(data: bytes, names: Mapping[int, str], *, table: int | None = _MAIN_TABLE) -> list[Route]:
    """Return the routes of one table, or of all (None); `names` are those of the links, by index."""
    found: list[Route] = []
    for message in _messages(data, _ROUTE):
        attributes = parse_attributes(message.body[12:])
        if table is None or (_number(attributes, 15) or message.body[4]) == table:
            found += _routes(message, attributes, names)
    return found


def _routes(message: Message, found: Attributes, names: Mapping[int, str]) -> Iterator[Route]:
    number, length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(message.body)
    family = _family(number)
    if family is None:
        return
    table = _number(found, 15) or table
    for hop, device in _hops(found):
        yield Route(
            destination=_destination(found.get(1), length, family), gateway=_gateway(hop),
            device="" if kind in (6, 7, 8) and family == "inet" else names.get(device, str(device) if device else ""),
            source=ip_text(found[7]) if 7 in found else "", family=family, metric=_number(found, 6),
            kind=_ROUTE_KINDS.get(kind, str(kind)), table=_TABLES.get(table, str(table)),
        )


def _destination(value: bytes | None, length: int, family: AddressFamily) -> str:
    if value is None or not length:
        return "default"
    whole = 32 if family == "inet" else 128
    return ip_text(value) if length == whole else f"{ip_text(value)}/{length}"


def _hops(found: Attributes) -> Iterator[tuple[Attributes, int]]:
    """Return the next hops of a route, each with the index of its link."""
    several = found.get(9, b"")
    if not several:
        yield found, _number(found, 4)
    position = 0
    while position + 8 <= len(several):
        length, _, _, device = _HOP.unpack_from(several, position)
        if length < 8:
            return
        yield parse_attributes(several[position + 8 : position + length]), device
        position += length + 3 & ~3


def _gateway(hop: Attributes) -> str:
    if 5 in hop:
        return ip_text(hop[5])
    return ip_text(hop[18][2:]) if 18 in hop else ""  # RTA_VIA: a family of its own, then the address


def parse_neighbours(data: bytes, names: Mapping[int, str]) -> list[Neighbour]:
    """Return the entries that `ip neighbour` shows, sorted by link and address."""
    found = []
    for message in _messages(data, _NEIGHBOUR):
        number, index, state, _, _ = _NEIGHBOUR.unpack_from(message.body)
        attributes = parse_attributes(message.body[12:])
        if _family(number) and state & ~_NOARP and 1 in attributes:
            found.append(Neighbour(ip=ip_text(attributes[1]), mac=mac_text(attributes.get(2, b"")),
                                   device=names.get(index, str(index)), state=neighbour_state(state)))
    return sorted(found, key=lambda neighbour: (neighbour.device, neighbour.ip))


def neighbour_state(state: int) -> str:
    """Return the state of a neighbour in the words of ip-neighbour(8)."""
    return "+".join(word for bit, word in _NEIGHBOUR_STATES.items() if state & bit) or "NONE"


def parse_fdb(data: bytes, names: Mapping[int, str]) -> list[FdbEntry]:
    """Return the forwarding databases of all bridges, sorted by bridge, kind, address and VLAN."""
    found = []
    for message in _messages(data, _NEIGHBOUR):
        _, index, state, _, _ = _NEIGHBOUR.unpack_from(message.body)
        attributes = parse_attributes(message.body[12:])
        if 9 in attributes:  # the others are addresses that a network card listens to
            kind: Literal["learned", "static", "permanent"]
            kind = "permanent" if state & _PERMANENT else "static" if state & _NOARP else "learned"
            found.append(FdbEntry(
                mac=mac_text(attributes.get(2, b"")), port=names.get(index, str(index)),
                bridge=names.get(_number(attributes, 9), ""), vlan=_number(attributes, 5), kind=kind,
                age_s=int.from_bytes(attributes.get(3, b"")[8:12], "little") / CLOCK_TICKS_PER_S,
            ))
    return sorted(found, key=lambda entry: (entry.bridge, entry.kind, entry.mac, entry.vlan, entry.port))


def parse_forwarding(data: bytes) -> bool:
    """Return whether the namespace forwards IPv4 packets: its net.ipv4.ip_forward (rtnetlink's RTM_GETNETCONF)."""
    for message in _messages(data, _NUMBER):
        found = parse_attributes(message.body[4:])  # the family, padded
        if found.get(1) == _NUMBER.pack(_EVERY_LINK):
            return bool(_number(found, 2))
    return False


def split_neighbour_messages(data: bytes) -> Iterator[tuple[bool, bytes]]:
    """Return each message about a neighbour or an FDB entry by itself, and whether it says that the entry is gone."""
    for message in _messages(data, _NEIGHBOUR):
        if message.kind in (NEWNEIGH, DELNEIGH):
            yield message.kind == DELNEIGH, netlink.message(NEWNEIGH, 0, message.body)


def ask_for_route(destination: str) -> bytes:
    """Return the message that asks which route the kernel takes (`ip route get`)."""
    address = ipaddress.ip_address(destination)
    number, bits = (socket.AF_INET, 32) if address.version == 4 else (socket.AF_INET6, 128)
    return netlink.message(GETROUTE, netlink.ACK, _ROUTE.pack(number, bits, 0, 0, 0, 0, 0, 0, 0x1000),
                           [netlink.attribute(1, address.packed)])


def ask_for_nsid(descriptor: int) -> bytes:
    """Return the message that asks for the number by which a namespace calls another one, open as `descriptor`."""
    return netlink.message(GETNSID, netlink.ACK, bytes(4), [netlink.u32(3, descriptor)])


def parse_nsid(data: bytes) -> int | None:
    """Return that number, or None if it has none."""
    for message in netlink.parse(data):
        if isinstance(message, Problem):
            return None
        value = parse_attributes(message.body[4:]).get(1, b"")
        number = _NUMBER.unpack(value)[0] if len(value) == _NUMBER.size else _NO_NUMBER
        return number if number > _NO_NUMBER else None
    return None
