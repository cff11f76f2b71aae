"""The lines of a list of hosts: what stands in each, and which of them are alike."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple

from labsupport.views.canvas import LINE_HEIGHT, Span, text_width
from labsupport.views.graph import Cable, port_state
from labsupport.views.labels import Block, gateway_routes, told_addresses
from labsupport.views.layers.boxes import Box, Slot

COLUMN_GAP = 12.0
ROW_PADDING = 3.5
_MOST_ROWS = 60       # hosts of one box; of more, those that are alike are folded
_LEAST_FOLDED = 4

Cells = dict[str, Span]   # by column
_COLUMNS = ("name", "link", "word", "address", "mac")


class End(NamedTuple):
    """A cable from a list to the box beside it."""

    line: int
    port: Slot        # of the box
    host: Slot
    label: tuple[Span, ...]   # of the port


@dataclass
class ListRow:
    """A host, or several that are alike."""

    master: str
    lines: list[Cells]
    ends: list[End]
    rest: list[Block] = field(default_factory=list)   # below the lines: links without a cable, routes; or what is alike
    routes: tuple[str, ...] = ()
    count: int = 1
    y: float = 0.0

    @property
    def height(self) -> float:
        """In pixels."""
        return LINE_HEIGHT * len(self.lines) + sum(block.height for block in self.rest) + 2 * ROW_PADDING

    def level(self, end: End) -> float:
        """Return at which height a cable leaves, counted as `y` is."""
        return self.y + ROW_PADDING + LINE_HEIGHT * (end.line + 0.5)


def make_rows(core: Box, leaves: list[Box]) -> list[ListRow]:
    """Return the rows for the hosts of a box, in their order, grouped by the bridges that they are plugged into."""
    ports = {slot.cable: slot for slot in core.slots}
    rows = [_make_row(core, leaf, ports) for leaf in leaves]
    masters = list(dict.fromkeys(row.master for row in rows))
    rows.sort(key=lambda row: masters.index(row.master))
    if len(rows) <= _MOST_ROWS:
        return rows
    return [row for _, alike in groupby(rows, key=_likeness) for row in _fold(list(alike))]


def column_widths(rows: list[ListRow]) -> dict[str, float]:
    """Return how wide each column must be that is used."""
    widths: dict[str, float] = {}
    for column in _COLUMNS:
        used = [text_width(line[column]) for row in rows for line in row.lines if column in line]
        if used:
            widths[column] = max(used)
    return widths


def _make_row(core: Box, leaf: Box, ports: dict[Cable | None, Slot]) -> ListRow:
    masters = [ports[slot.cable].link.master if core.is_in_bridge(ports[slot.cable]) else "" for slot in leaf.slots]
    row = ListRow(masters[0], [], [], routes=tuple(gateway_routes(leaf.state)))
    for slot, master in zip(leaf.slots, masters, strict=True):
        port = ports[slot.cable]
        label = [Span("name", port.link.name), *_word(port)]
        if master != row.master:
            label.append(Span("caption", f"port of {master}" if master else "port of no bridge"))
        row.ends.append(End(len(row.lines), port, slot, tuple(label)))
        row.lines += _lines(slot)
    row.lines[0]["name"] = Span("name", leaf.name)
    row.rest = [block for block in leaf.inner if not row.routes or block is not leaf.inner[-1]]
    return row


def _word(slot: Slot) -> list[Span]:
    """Return what is wrong with a port, if anything is."""
    word = port_state(slot.link)
    return [] if word == "up" else [Span("word", word)]


def _lines(slot: Slot) -> list[Cells]:
    first: Cells = {"link": Span("faint", slot.link.name)}
    if _word(slot):
        first["word"] = _word(slot)[0]
    if slot.link.mac:
        first["mac"] = Span("faint", slot.link.mac)
    lines = [first]
    for number, address in enumerate(told_addresses(slot.link)):
        if number:
            lines.append({})
        lines[-1]["address"] = Span("value", str(address))
    return lines


def _likeness(row: ListRow) -> tuple[object, ...]:
    """Return what two hosts must have in common to be one line: all but names, numbers and addresses."""
    if len(row.ends) > 1 or row.rest:
        return (id(row),)
    port, host = row.ends[0].port.link, row.ends[0].host.link
    shape = tuple((address.family, address.prefix_length) for address in told_addresses(host))
    return row.master, port_state(port), port.kind, port_state(host), bool(host.mac), shape, row.routes


def _fold(alike: list[ListRow]) -> list[ListRow]:
    """Fold all but the first two and the last of many that are alike."""
    middle = alike[2:-1]
    if len(middle) < _LEAST_FOLDED:
        return alike
    first, last = middle[0].ends[0], middle[-1].ends[0]
    addresses = [[str(one) for one in told_addresses(end.host.link)] for end in (first, last)]
    words = [[Span("name", _range(first.host.end.namespace, last.host.end.namespace)), *_word(first.host),
              Span("caption", f"{len(middle)} alike")]]
    words += [[Span("value", _range(*pair))] for pair in zip(*addresses, strict=True)]
    label = (Span("name", _range(first.port.link.name, last.port.link.name)), *first.label[1:])
    block = Block(tuple(tuple(line) for line in words))
    folded = replace(middle[0], lines=[], rest=[block], ends=[first._replace(label=label)], count=len(middle))
    return [*alike[:2], folded, alike[-1]]


def _range(first: str, last: str) -> str:
    return f"{first} … {last}"
