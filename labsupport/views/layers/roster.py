"""Many hosts of one box, as two lists left and right of it: a line for each host, with a straight cable.

Of a port of the box only its name is written, and its state if that is not "up"; loopback is left out. Routes that all
hosts have are written once, above the list.
"""

from __future__ import annotations

from labsupport.net import Network
from labsupport.views.canvas import LINE_HEIGHT, Canvas, Span, line_width
from labsupport.views.graph import cable_state, port_state
from labsupport.views.labels import Block
from labsupport.views.layers.boxes import LEAD_ROOM, Box
from labsupport.views.layers.cluster import Cluster
from labsupport.views.layers.list_box import ListBox, Side
from labsupport.views.layers.list_rows import COLUMN_GAP, ROW_PADDING, End, ListRow, column_widths, make_rows

_CABLE = 46.0
_PADDING = 13.0     # a port covers half of that
_HEADER_GAP = 8.0
_BUNDLE = 3.0       # half the distance of the two lines that stand for many cables


class ListCluster(Cluster):
    """A box with lists of hosts at its sides."""

    is_list = True

    def __init__(self, core: Box, leaves: list[Box]) -> None:
        rows = make_rows(core, leaves)
        routes = {row.routes for row in rows}
        self._header: list[tuple[Span, ...]] = [(Span("caption", f"{len(leaves)} network namespaces"),)]
        if len(routes) == 1:
            self._header += [(Span("caption", "each:"), Span("faint", text)) for text in routes.pop()]
        else:
            for row in rows:
                row.rest += [Block(((Span("faint", text),),)) for text in row.routes]
        box = ListBox(core.state, [slot for slot in core.slots if slot.way != "host"], core.bridges, core.inner)
        for slot in box.slots:
            if slot.link.master and not box.is_in_bridge(slot):   # no line leads to its bridge
                slot.block = Block((*slot.block.lines, (Span("caption", f"port of {slot.link.master}"),)))
                slot.room = max(slot.room, slot.block.width + LEAD_ROOM)
        box.put(rows, LINE_HEIGHT * len(self._header) + _HEADER_GAP)
        self._box = box
        self._columns = column_widths(rows)
        self._list_width = round(self._measure(rows), 1)
        super().__init__(box, [], [])

    @property
    def x(self) -> float:
        """Of the left edge of all of it."""
        return round(self.core.x - self._list_width - _CABLE, 1)

    @property
    def width(self) -> float:
        """Of all of it."""
        return self.core.width + 2 * (self._list_width + _CABLE)

    def draw_hosts(self, canvas: Canvas, y: float, network: Network) -> None:
        """Draw the lists, if the middle part of the box begins at y."""
        for number, line in enumerate(self._header):
            canvas.line(self.x, y + LINE_HEIGHT * number + 12.5, line)
        for side, rows in self._box.lists.items():
            for row in rows:
                for end in row.ends:
                    self._draw_cable(canvas, side, y + row.level(end), row, end, network)
                self._draw_row(canvas, side, y + row.y, row)

    def _measure(self, rows: list[ListRow]) -> float:
        cells = sum(self._columns.values()) + COLUMN_GAP * (len(self._columns) - 1)
        rest = max((block.width + self._indent(row) for row in rows for block in row.rest), default=0.0)
        header = max(map(line_width, self._header)) - _CABLE
        return max(cells + 2 * _PADDING, rest + 2 * _PADDING, header)

    def _indent(self, row: ListRow) -> float:
        """Return how far what follows the lines of a row stands to the right: below the names of its links."""
        return self._columns["name"] + COLUMN_GAP if row.lines else 0.0

    def _edges(self, side: Side) -> tuple[float, float, float]:
        """Return the left edge of a list, the edge where its cables begin, and that of the box."""
        if side == "left":
            return self.x, round(self.x + self._list_width, 1), self.core.x
        right = round(self.core.x + self.core.width, 1)
        return right + _CABLE, right + _CABLE, right

    def _draw_cable(self, canvas: Canvas, side: Side, level: float, row: ListRow, end: End, network: Network) -> None:
        _, start, stop = self._edges(side)
        assert end.port.cable is not None  # noqa: S101  (it is what the row is for)
        state = cable_state(end.port.cable, network)
        if row.count == 1:
            canvas.path(f"cable cable-{state}", f"M{start:g} {level:g}H{stop:g}")
        else:
            lines = (f"M{start:g} {level + shift:g}H{stop:g}" for shift in (-_BUNDLE, _BUNDLE))
            canvas.path(f"bundle cable-{state}", "".join(lines))

    def _draw_row(self, canvas: Canvas, side: Side, y: float, row: ListRow) -> None:
        x, start, _ = self._edges(side)
        canvas.rectangle("box", (x, y), (self._list_width, row.height))
        text_y = y + ROW_PADDING
        for cells in row.lines:
            cell_x = x + _PADDING
            for column, width in self._columns.items():
                if column in cells:
                    canvas.line(round(cell_x, 1), text_y + 12.5, (cells[column],))
                cell_x += width + COLUMN_GAP
            text_y += LINE_HEIGHT
        for block in row.rest:
            block.draw(canvas, round(x + _PADDING + self._indent(row), 1), text_y)
            text_y += block.height
        for end in row.ends:
            canvas.port(start, y - row.y + row.level(end), port_state(end.host.link))
