"""Changes of the neighbour tables and of the forwarding databases, as the kernel announces them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from labsupport.net import rtnetlink
from labsupport.net.model import FdbEntry, Neighbour

Table = Literal["fdb", "neighbour"]
Key = tuple[str, Table, str, str]
"""Namespace, table, MAC or IP address, and the link of a neighbour or the bridge of an FDB entry."""


@dataclass(frozen=True)
class TableChange:
    """One line of a table that came, changed or went.

    Attributes:
        time_ns: when it was announced, in nanoseconds since 1970; the frame that caused it came a little earlier.
        namespace: whose table it is.
        table: "fdb" (of a bridge) or "neighbour" (ARP and NDP).
        key: what the line is about: a MAC address (fdb) or an IP address (neighbour).
        device: the bridge, or the link of the neighbour.
        before: what the line said, "" if there was none: a port ("to-red") or a MAC address and a state
            ("02:00:00:00:00:02 REACHABLE").
        after: what it says now, "" if it is gone.
    """

    time_ns: int
    namespace: str
    table: Table
    key: str
    device: str
    before: str
    after: str


@dataclass(frozen=True)
class Announcement:
    """What the kernel says about one line: like a `TableChange`, without what was before."""

    time_ns: int
    line: Key
    after: str


def neighbour_text(entry: Neighbour) -> str:
    """Return what a line of the neighbour table says about its address."""
    return f"{entry.mac} {entry.state}".strip()


def lines_of(namespace: str, fdb: tuple[FdbEntry, ...], neighbours: tuple[Neighbour, ...]) -> dict[Key, str]:
    """Return the lines of a namespace's tables; permanent FDB entries are the bridge's own, not learned: left out."""
    known: dict[Key, str] = {(namespace, "neighbour", entry.ip, entry.device): neighbour_text(entry)
                             for entry in neighbours}
    return known | {(namespace, "fdb", entry.mac, entry.bridge): entry.port for entry in fdb
                    if entry.kind != "permanent"}


def announcements(namespace: str, time_ns: int, data: bytes, names: Mapping[int, str]) -> Iterator[Announcement]:
    """Return what a message of the kernel announces."""
    for gone, part in rtnetlink.split_neighbour_messages(data):
        neighbours = rtnetlink.parse_neighbours(part, names)
        fdb = tuple(rtnetlink.parse_fdb(part, names))
        for line, text in lines_of(namespace, fdb, tuple(neighbours)).items():
            yield Announcement(time_ns, line, "" if gone else text)


def to_changes(before: Mapping[Key, str], announced: list[Announcement]) -> list[TableChange]:
    """Return what changed, given what the lines were at the start; an announcement of what was known is no change."""
    lines, found = dict(before), []
    for one in announced:
        known = lines.get(one.line, "")
        if known != one.after:
            namespace, table, key, device = one.line
            found.append(TableChange(one.time_ns, namespace, table, key, device, known, one.after))
            lines[one.line] = one.after
    return found
