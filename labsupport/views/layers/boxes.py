"""A box of the layered picture: a namespace with ports on its edges, and what is inside it.

From top to bottom a box has the labels of its upper ports, its bridges and whatever else is in it, and the labels of
its lower ports, with those of the ports on its two sides. The title is above or below all of it. The boxes of one row
share these heights, so that bridges stand beside each other and cables between neighbours are straight.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from labsupport.net import Endpoint, Link, NamespaceState
from labsupport.views.canvas import LINE_HEIGHT, Canvas
from labsupport.views.graph import Cable, Group, port_state
from labsupport.views.labels import (
    BAND_HEIGHT,
    PADDING,
    Block,
    band_width,
    bridge_block,
    draw_band,
    inner_blocks,
    port_block,
)

Edge = Literal["top", "bottom", "left", "right"]
# Where a cable leads: to a host of this box, to another row, along the row to its neighbour, or around others to a box
# of the same row; "" if its other end is not in the picture.
Way = Literal["host", "through", "beside", "around", ""]

UPPER_AND_LOWER: tuple[Edge, Edge] = ("top", "bottom")

LEAD_ROOM = 12.0   # from the line between a port and its bridge to the words beside it
ROW_GAP = 12.0
SLOT_GAP = 22.0
_EDGE_GAP = 14.0
_TIP = PADDING / 2      # so that the outermost lines from ports meet a bridge where its edge is straight
_SIDE_GAP = 10.0


@dataclass
class Slot:
    """A port on the edge of a box, and its label."""

    end: Endpoint
    link: Link
    block: Block
    room: float              # what the label needs to the right of x
    cable: Cable | None
    edge: Edge = "top"
    way: Way = ""
    x: float = 0.0           # of a port at the top or the bottom
    depth: float = 0.0       # of a port at a side: how far its label is below the first one

    @property
    def far(self) -> Endpoint | None:
        """The other end of its cable."""
        return self.cable.other(self.end) if self.cable else None

    @property
    def leads_to(self) -> str | None:
        """The namespace at the other end."""
        return self.far.namespace if self.far else None


class Zones(NamedTuple):
    """Where the parts of the boxes of one row begin, counted from their upper edge."""

    band: Edge
    top: float
    middle: float
    bottom: float
    height: float


class Wiring:
    """The cables of a group, found by their ends."""

    def __init__(self, group: Group) -> None:
        self.links = {Endpoint(state.name, link.name): link for state in group.members for link in state.links}
        self.cables = {end: cable for cable in group.cables for end in cable}

    def slot(self, end: Endpoint) -> Slot:
        """Return the port at an end; both ends of a cable get the same room, so that several can be straight."""
        cable = self.cables.get(end)
        blocks = [port_block(self.links[one]) for one in (end, *([cable.other(end)] if cable else []))]
        return Slot(end, self.links[end], blocks[0], max(block.width for block in blocks) + LEAD_ROOM, cable)


@dataclass
class Box:
    """One namespace of a layered picture; `x` and `width` are settled when the rows are."""

    state: NamespaceState
    slots: list[Slot]
    bridges: list[Link]
    inner: list[Block]
    x: float = 0.0
    width: float = 0.0
    bars: list[tuple[Link, float, float]] = field(default_factory=list)   # bridge, left, width
    column: float | None = None   # where the inner blocks stand beside the lower labels
    title: tuple[float, float] | None = None   # between which x the title stands, if ports lead through the band

    @property
    def name(self) -> str:
        """The namespace's."""
        return self.state.name

    @property
    def least_width(self) -> float:
        """Room for the title and for what has no port."""
        inner = max((block.width for block in self.inner), default=0.0) + 2 * PADDING
        return max(band_width(self.state), inner)

    @property
    def natural_width(self) -> float:
        """Of a host: room for its ports side by side, too."""
        ports = sum(slot.room + SLOT_GAP for slot in self.slots) - SLOT_GAP + 2 * PADDING
        return round(max(ports, self.least_width), 1)

    @property
    def bars_height(self) -> float:
        """Of all bridges; they stand side by side."""
        return max((bridge_block(link).height + 14 for link in self.bridges), default=0.0)

    @property
    def inner_place(self) -> Literal["above", "below", "column"]:
        """Where the inner blocks stand: where no line from a port to a bridge crosses them."""
        edges = {slot.edge for slot in self.slots if self.is_in_bridge(slot)}
        if edges <= {"top"}:
            return "below"
        return "column" if "top" in edges else "above"

    @property
    def middle_height(self) -> float:
        """Of the part between the labels of upper and lower ports."""
        bars = self.bars_height + ROW_GAP if self.bridges else 0.0
        return bars if self.inner_place == "column" else bars + self.inner_height

    @property
    def inner_height(self) -> float:
        """Of all that has no port."""
        return sum(block.height + ROW_GAP for block in self.inner)

    def on(self, *edges: Edge) -> list[Slot]:
        """Return the ports on some edges."""
        return [slot for slot in self.slots if slot.edge in edges]

    def is_in_bridge(self, slot: Slot) -> bool:
        """Return whether a port belongs to a bridge of this box."""
        return any(link.name == slot.link.master for link in self.bridges)

    def side_indent(self, edge: Edge) -> float:
        """Return how far the labels at a side stand from it: between are the lines from its ports to the bridge."""
        in_bridge = sum(map(self.is_in_bridge, self.on(edge)))
        return _TIP + 12 + 5 * in_bridge if in_bridge else PADDING

    def side_room(self, edge: Edge) -> float:
        """Return what the labels at a side need in all."""
        return max((slot.block.width + self.side_indent(edge) for slot in self.on(edge)), default=0.0)

    def lower_height(self) -> float:
        """Return the height of the labels of lower ports, and of all that stands beside them."""
        sides = [slot.depth + slot.block.height for slot in self.on("left", "right")]
        column = [self.inner_height - ROW_GAP] if self.inner and self.inner_place == "column" else []
        return max([0.0, *(slot.block.height for slot in self.on("bottom")), *sides, *column])

    def draw(self, canvas: Canvas, y: float, zones: Zones) -> None:
        """Draw it with its upper edge at y."""
        canvas.rectangle("box", (self.x, y), (self.width, zones.height))
        band_y = y if zones.band == "top" else y + zones.height - BAND_HEIGHT
        draw_band(canvas, self.state, (self.x, band_y), self.width, "bottom" if zones.band == "bottom" else "top",
                  self.title)
        for slot in self.on("top", "bottom"):
            self._draw_slot(canvas, slot, y, zones)
        self._draw_side(canvas, "left", y, zones)
        self._draw_side(canvas, "right", y, zones)
        self.draw_middle(canvas, y + zones.middle)
        if self.column is not None:
            _stack(canvas, self.inner, self.column, y + zones.bottom)

    def draw_middle(self, canvas: Canvas, y: float) -> None:
        """Draw the bridges, and what has no port."""
        place = self.inner_place
        if place == "above":
            y = _stack(canvas, self.inner, self.x + PADDING, y)
        for link, left, width in self.bars:
            draw_bar(canvas, link, (left, y), (width, self.bars_height))
        if place == "below":
            _stack(canvas, self.inner, self.x + PADDING, y + (self.bars_height + ROW_GAP if self.bars else 0))

    def bar_lead(self, slot: Slot, y: float) -> str:
        """Return the end of the line from a port to its bridge, if the middle part begins at y."""
        if slot.edge == "top":
            return f"V{y:g}"
        above = self.inner_height if self.inner_place == "above" else 0.0
        return f"V{y + above + self.bars_height:g}"

    def _draw_slot(self, canvas: Canvas, slot: Slot, y: float, zones: Zones) -> None:
        edge = y if slot.edge == "top" else y + zones.height
        label = y + zones.top
        if slot.edge == "bottom":
            below = BAND_HEIGHT if zones.band == "bottom" else 0.0
            label = y + zones.height - below - _EDGE_GAP - slot.block.height
        if self.is_in_bridge(slot):
            lead = self.bar_lead(slot, y + zones.middle)
        else:
            lead = f"V{label + slot.block.height if slot.edge == 'top' else label + 3:g}"
        canvas.path("lead", f"M{slot.x:g} {edge:g}{lead}")
        slot.block.draw(canvas, slot.x + LEAD_ROOM, label)
        canvas.port(slot.x, edge, port_state(slot.link))

    def _draw_side(self, canvas: Canvas, edge: Edge, y: float, zones: Zones) -> None:
        sign, x = (1, self.x) if edge == "left" else (-1, self.x + self.width)
        inward = _TIP + 8
        for slot in self.on(edge):
            label = y + zones.bottom + slot.depth
            port_y = label + LINE_HEIGHT / 2
            if self.is_in_bridge(slot):
                canvas.path("lead", f"M{x:g} {port_y:g}H{x + sign * inward:g}{self.bar_lead(slot, y + zones.middle)}")
                inward += 5
            indent = self.side_indent(edge)
            label_x = x + indent if edge == "left" else x - indent - slot.block.width
            slot.block.draw(canvas, round(label_x, 1), label)
            canvas.port(x, port_y, port_state(slot.link))


def make_box(state: NamespaceState, wiring: Wiring) -> Box:
    """Return the box of a namespace; its ports are those with a cable, and those of its bridges."""
    bridges = [link for link in state.links if link.kind == "bridge"]
    masters = {link.name for link in bridges}
    ends = [Endpoint(state.name, link.name) for link in state.links]
    slots = [wiring.slot(end) for end in ends if end in wiring.cables or wiring.links[end].master in masters]
    return Box(state, slots, bridges, inner_blocks(state, masters | {slot.link.name for slot in slots}))


def measure_zones(boxes: Iterable[Box], band: Edge) -> Zones:
    """Return the common heights of the boxes of one row."""
    boxes = list(boxes)
    uppers = [slot.block.height for box in boxes for slot in box.on("top")]
    lower = max(box.lower_height() for box in boxes)
    top = (BAND_HEIGHT if band == "top" else 0) + (_EDGE_GAP if uppers else ROW_GAP)
    middle = top + (max(uppers) + ROW_GAP if uppers else 0)
    bottom = middle + max(box.middle_height for box in boxes)
    height = bottom + (lower + _EDGE_GAP if lower else 0) + (BAND_HEIGHT if band == "bottom" else 0)
    return Zones(band, top, middle, bottom, round(height, 1))


def set_depths(lefts: list[Slot], rights: list[Slot]) -> None:
    """Give the two ends of each cable between two neighbours the same height."""
    depth = 0.0
    for one, other in zip(lefts, rights, strict=True):
        one.depth = other.depth = depth
        depth += max(one.block.height, other.block.height) + _SIDE_GAP


def bar_least_width(link: Link) -> float:
    """Return what the words in a bridge need."""
    return bridge_block(link).width + 2 * _TIP + 12


def draw_bar(canvas: Canvas, link: Link, corner: tuple[float, float], size: tuple[float, float]) -> None:
    """Draw a bridge: a bar with a tip at each side."""
    (x, y), (width, height) = corner, size
    straight, half = width - 2 * _TIP, height / 2
    canvas.path("bridge", f"M{x + _TIP:g} {y:g}h{straight:g}l{_TIP:g} {half:g}l{-_TIP:g} {half:g}h{-straight:g}"
                f"l{-_TIP:g} {-half:g}z")
    block = bridge_block(link)
    block.draw(canvas, x + _TIP + 6, y + (height - LINE_HEIGHT * len(block.lines)) / 2)


def _stack(canvas: Canvas, blocks: list[Block], x: float, y: float) -> float:
    for block in blocks:
        block.draw(canvas, x, y)
        y += block.height + ROW_GAP
    return y
