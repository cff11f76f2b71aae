"""A box between two lists of hosts: its ports are on its sides, and its bridges stand upright between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from labsupport.net import Link
from labsupport.views.canvas import LINE_HEIGHT, Canvas, line_width
from labsupport.views.graph import port_state
from labsupport.views.labels import PADDING, bridge_block
from labsupport.views.layers.boxes import ROW_GAP, Box, Slot
from labsupport.views.layers.list_rows import End, ListRow

_LIST_GAP = 5.0
_GROUP_GAP = 14.0
_FOOTER = 12.0
_TIP = 10.0
_LEAD = 16.0

Side = Literal["left", "right"]


@dataclass
class ListBox(Box):
    """A box with lists of hosts at its sides; its bridges stand upright between them. Its slots are its other ports."""

    lists: dict[Side, list[ListRow]] = field(default_factory=dict)
    uprights: list[tuple[Link, float, float]] = field(default_factory=list)   # bridge, top, height
    list_height: float = 0.0

    def put(self, rows: list[ListRow], top: float) -> None:
        """Distribute hosts over the two sides, those of one bridge beside it, beginning at `top`."""
        self.lists = {"left": [], "right": []}
        bridges = {link.name: link for link in self.bridges}
        for master in dict.fromkeys([*(row.master for row in rows), *bridges]):
            alike = [row for row in rows if row.master == master]
            half = (len(alike) + 1) // 2
            height = max(self._put_side("left", alike[:half], top), self._put_side("right", alike[half:], top))
            if master in bridges:
                height = max(height, bridge_block(bridges[master]).height + 2 * _TIP + 4)
                self.uprights.append((bridges[master], top, height))
            top += height + _GROUP_GAP
        self.list_height = round(top - _GROUP_GAP + _FOOTER, 1)

    def _put_side(self, side: Side, rows: list[ListRow], top: float) -> float:
        y = top
        for row in rows:
            row.y = y
            y = round(y + row.height + _LIST_GAP, 1)
        self.lists[side] += rows
        return max(0.0, y - _LIST_GAP - top)

    @property
    def least_width(self) -> float:
        """Room for the title, the labels of all ports, and the bridges between them."""
        bar = self.bar_width + 2 * _LEAD if self.uprights else 3 * _LEAD
        labels = sum(self.label_width(side) for side in self.lists)
        return max(super().least_width, bar + labels + 2 * PADDING)

    @property
    def bar_width(self) -> float:
        """Of the upright bridges."""
        return max((bridge_block(link).width for link, _, _ in self.uprights), default=0.0) + 2 * _TIP

    @property
    def bar_x(self) -> float:
        """Of the left edge of the upright bridges."""
        left, right = (self.label_width(side) for side in ("left", "right"))
        return round(self.x + (self.width + left - right - self.bar_width) / 2, 1)

    @property
    def inner_place(self) -> Literal["above", "below", "column"]:
        """Where the inner blocks stand: where no line from a port to a bridge crosses them."""
        return "column" if any(map(self.is_in_bridge, self.on("bottom"))) else "below"

    @property
    def middle_height(self) -> float:
        """Of the lists and all that has no port."""
        return self.list_height + (0.0 if self.inner_place == "column" else self.inner_height)

    def label_width(self, side: Side) -> float:
        """Return what the labels of the ports of one side need."""
        return max((line_width(end.label) for row in self.lists[side] for end in row.ends), default=0.0)

    def is_in_bridge(self, slot: Slot) -> bool:
        """Return whether a line leads from a port at the top or the bottom to a bridge: if there is just one."""
        return len(self.bridges) == 1 and slot.link.master == self.bridges[0].name

    def bar_lead(self, slot: Slot, y: float) -> str:
        """Return the end of the line from a port to the bridge."""
        middle = self.bar_x + self.bar_width / 2
        _, top, height = self.uprights[0]
        if slot.edge == "top":
            return f"V{y + 4:g}H{middle:g}V{y + top:g}"
        return f"V{y + self.list_height - 3:g}H{middle:g}V{y + top + height:g}"

    def draw_middle(self, canvas: Canvas, y: float) -> None:
        """Draw the ports and the bridges."""
        for side, rows in self.lists.items():
            for row in rows:
                for end in row.ends:
                    self._draw_port(canvas, side, end, row, y)
        for link, top, height in self.uprights:
            _draw_upright(canvas, link, (self.bar_x, y + top), (self.bar_width, height))
        if self.inner_place == "below":
            for block in self.inner:
                block.draw(canvas, self.x + PADDING, y + self.list_height)
                y += block.height + ROW_GAP

    def _draw_port(self, canvas: Canvas, side: Side, end: End, row: ListRow, y: float) -> None:
        level = y + row.level(end)
        width = line_width(end.label)
        x, sign = (self.x, 1) if side == "left" else (self.x + self.width, -1)
        text_x = x + PADDING if side == "left" else x - PADDING - width
        canvas.line(round(text_x, 1), level + 4, end.label)
        in_bar = [link.name for link, _, _ in self.uprights if link.name == row.master == end.port.link.master]
        if in_bar:
            bar = self.bar_x if side == "left" else self.bar_x + self.bar_width
            canvas.path("lead", f"M{x + sign * (PADDING + width + 6):g} {level:g}H{bar:g}")
        canvas.port(x, level, port_state(end.port.link))


def _draw_upright(canvas: Canvas, link: Link, corner: tuple[float, float], size: tuple[float, float]) -> None:
    """Draw a bridge: a bar with a tip at its upper and its lower end."""
    (x, y), (width, height) = corner, size
    half, straight = width / 2, height - 2 * _TIP
    canvas.path("bridge", f"M{x:g} {y + _TIP:g}l{half:g} {-_TIP:g}l{half:g} {_TIP:g}v{straight:g}"
                f"l{-half:g} {_TIP:g}l{-half:g} {-_TIP:g}z")
    block = bridge_block(link)
    block.draw(canvas, round(x + (width - block.width) / 2, 1), y + (height - LINE_HEIGHT * len(block.lines)) / 2)
