"""A cluster: a switch or router of the layered picture, with the hosts above and below it.

Hosts stand right above or below their ports, so that their cables are straight. The ports of one bridge stay together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from labsupport.net import Link, Network
from labsupport.views.canvas import Canvas
from labsupport.views.labels import PADDING, band_width
from labsupport.views.layers.boxes import (
    LEAD_ROOM,
    ROW_GAP,
    SLOT_GAP,
    UPPER_AND_LOWER,
    Box,
    Edge,
    Slot,
    bar_least_width,
)

BOX_GAP = 28.0
_AWAY_FROM_TITLE = 10.0
_STRETCH = 40.0
_LEAST_CENTRED = 20.0
MOST_SHIFT = 18.0    # a port moves so far at most to keep its cable off others
_MUCH_WIDER = 1.3   # hosts of one box have one width, unless one needs so much more than another


@dataclass
class Entry:
    """What stands at one place of an edge: a port, or some ports with the host that they lead to."""

    slots: list[Slot]
    leaf: Box | None = None


@dataclass
class Section:
    """The part of a box that belongs to one bridge, or to the ports of none."""

    bridge: Link | None
    entries: dict[Edge, list[Entry]] = field(default_factory=lambda: {"top": [], "bottom": []})
    left: float = 0.0
    right: float = 0.0


@dataclass
class Cluster:
    """A box and its hosts."""

    core: Box
    above: list[Box]
    below: list[Box]
    sections: list[Section] = field(default_factory=list)
    band: Edge = "bottom"
    joins: int = 0              # so many boxes of the row above: a wider box lets their cables be straight
    title_first: bool = False   # keep the ports of the edge with the title to the right of it

    is_list: ClassVar[bool] = False

    @property
    def x(self) -> float:
        """Of the left edge of all of it."""
        return self.core.x

    @property
    def width(self) -> float:
        """Of all of it."""
        return self.core.width

    @property
    def leaves(self) -> list[Box]:
        """All hosts."""
        return [*self.above, *self.below]

    def is_free(self, edge: Edge) -> bool:
        """Return whether ports of an edge may move: no host hangs on it."""
        return all(entry.leaf is None for section in self.sections for entry in section.entries[edge])

    def section_of(self, slot: Slot) -> Section:
        """Return the section with a port."""
        return next(section for section in self.sections
                    if any(slot in entry.slots for entry in section.entries[slot.edge]))

    def measure(self) -> None:
        """Place everything with the left edge at 0, and learn the width."""
        self.core.x = 0.0
        widths = [leaf.natural_width for leaf in self.leaves]
        for leaf in self.leaves:
            leaf.width = max(widths) if max(widths) < _MUCH_WIDER * leaf.natural_width else leaf.natural_width
        self._place_entries()
        if self._free_of_title() is None:
            last = max(slot.x for slot in self.core.on(self.band))
            self.core.width = round(last + LEAD_ROOM - PADDING + band_width(self.core.state) + self._play(), 1)
            self._stretch_sections()
        for edge in UPPER_AND_LOWER:
            self._centre(edge)

    def move_to(self, x: float) -> None:
        """Move everything."""
        shift = round(x - self.x, 1)
        for box in (self.core, *self.leaves):
            box.x = round(box.x + shift, 1)
            for slot in box.slots:
                slot.x = round(slot.x + shift, 1)
        for section in self.sections:
            section.left, section.right = round(section.left + shift, 1), round(section.right + shift, 1)

    def settle(self, edge: Edge, wanted: Callable[[Slot], float | None]) -> None:
        """Move the ports of an edge towards where their cables want them, if no host hangs on it."""
        if not self.is_free(edge):
            return
        before = {slot.end: slot.x for slot in self.core.on(edge)}
        for title_first in (False, True):
            self.title_first = title_first
            if self._settle(edge, wanted) and (edge != self.band or self._free_of_title()):
                return
        self.title_first = False
        for slot in self.core.on(edge):
            slot.x = before[slot.end]

    def draw_hosts(self, canvas: Canvas, y: float, network: Network) -> None:
        """Draw hosts that stand beside the box, if its middle part begins at y; only lists do."""

    def finish(self) -> None:
        """Stretch the bridges, and put the title where no port leads through it."""
        core = self.core
        core.bars = [(section.bridge, round(section.left + PADDING / 2, 1),
                      round(section.right - section.left - PADDING, 1)) for section in self.sections if section.bridge]
        core.title = self._free_of_title(play=0.0)
        if core.inner and core.inner_place == "column":
            right = self.sections[-1].right - core.side_room("right")
            core.column = round(right - PADDING - max(block.width for block in core.inner), 1)

    def span(self, section: Section, edge: Edge) -> tuple[float, float]:
        """Return from where to where the ports of a section may reach, labels included."""
        left, right = section.left + PADDING, section.right - PADDING
        if section.left == self.sections[0].left:
            left = max(left, self.core.x + self._taken(edge, "left"))
        if section.right == self.sections[-1].right:
            right = min(right, self.core.x + self.core.width - self._taken(edge, "right"))
        return left, right

    def _taken(self, edge: Edge, side: Edge) -> float:
        """Return how much of an edge its ports must leave free at one side."""
        room = PADDING
        if edge == "bottom":
            room = self.core.side_room(side) + SLOT_GAP if self.core.on(side) else PADDING
            if side == "right" and self.core.inner_place == "column":
                room += max((block.width for block in self.core.inner), default=0.0) + SLOT_GAP
        if self.title_first and edge == self.band and side == "left":
            room = max(room, band_width(self.core.state) - PADDING + _AWAY_FROM_TITLE)
        return room

    def _place_entries(self) -> None:
        cursor = 0.0
        stacked = self._is_stacked()
        for number, section in enumerate(self.sections):
            section.left = cursor + BOX_GAP if number and not stacked else 0.0
            right = section.left + (bar_least_width(section.bridge) + PADDING if section.bridge else 0.0)
            for edge, entries in section.entries.items():
                room = self._taken(edge, "left") - PADDING if section.left == 0 else 0.0
                end = _place(entries, section.left + room)
                if stacked or section is self.sections[-1]:
                    end += self._taken(edge, "right") - PADDING
                right = max(right, end)
            section.right = cursor = max(cursor, right)
        stretch = _STRETCH * self.joins if self.joins > 1 else 0.0
        self.core.width = round(max(cursor, self.core.least_width) + stretch, 1)
        self._stretch_sections()

    def _is_stacked(self) -> bool:
        """Return whether all ports of the only bridge are above it and all others below, or the other way round."""
        edges = [{edge for edge, entries in section.entries.items() if entries} for section in self.sections]
        return (sorted(bool(section.bridge) for section in self.sections) == [False, True]
                and edges in ([{"top"}, {"bottom"}], [{"bottom"}, {"top"}]) and not self.core.on("left", "right"))

    def _stretch_sections(self) -> None:
        """Let the last section reach the right side of the box; of stacked ones, each."""
        for section in self.sections if self._is_stacked() else self.sections[-1:]:
            section.right = round(self.core.x + self.core.width, 1)

    def _centre(self, edge: Edge) -> None:
        """Move hosts to the middle of a box that is wider than they are."""
        if self.is_free(edge) or (len(self.sections) > 1 and not self._is_stacked()):
            return
        _, right = self.span(self.sections[0], edge)
        slots = self.core.on(edge)
        hosts = self.above if edge == "top" else self.below
        reach = max(*(slot.x + slot.room for slot in slots), *(leaf.x + leaf.width - PADDING for leaf in hosts))
        shift = round((right - reach) / 2, 1)
        if shift < _LEAST_CENTRED:
            return
        moved: list[Slot | Box] = [*slots, *hosts, *(slot for leaf in hosts for slot in leaf.slots)]
        for one in moved:
            one.x = round(one.x + shift, 1)
        if edge == self.band and self._free_of_title() is None:
            for one in moved:
                one.x = round(one.x - shift, 1)

    def _settle(self, edge: Edge, wanted: Callable[[Slot], float | None]) -> bool:
        """Move ports; return whether there was room for them."""
        fits = True
        for section in self.sections:
            slots = [slot for entry in section.entries[edge] for slot in entry.slots]
            left, right = self.span(section, edge)
            for slot in slots:
                slot.x = round(max(wanted(slot) or left, left), 1)
                left = slot.x + slot.room + SLOT_GAP
            for slot in reversed(slots):
                slot.x = round(min(slot.x, right - slot.room), 1)
                right = slot.x - SLOT_GAP
            fits = fits and right + SLOT_GAP > self.span(section, edge)[0] - 0.5
        return fits

    def _play(self) -> float:
        """Return how much more room the title needs while ports on its edge may still move a little."""
        return MOST_SHIFT if self.band == "top" and self.core.on("top") else 0.0

    def _free_of_title(self, play: float | None = None) -> tuple[float, float] | None:
        """Return between which x the title finds room beside the ports of its edge; None: nowhere."""
        leads = sorted(slot.x for slot in self.core.on(self.band))
        lefts = [self.core.x, *(x + LEAD_ROOM - PADDING for x in leads)]
        rights = [*(x - _AWAY_FROM_TITLE + PADDING for x in leads), self.core.x + self.core.width]
        needed = band_width(self.core.state) - 0.5 + (self._play() if play is None else play)
        return next((gap for gap in zip(lefts, rights, strict=True) if gap[1] - gap[0] >= needed), None)


def _place(entries: list[Entry], left: float) -> float:
    """Place ports and hosts from left to right; return how far they reach."""
    cursor, right, after_leaf = left, left, False
    for number, entry in enumerate(entries):
        if entry.leaf is None:
            slot = entry.slots[0]
            slot.x = round(cursor + (SLOT_GAP if number else PADDING), 1)
            cursor = slot.x + slot.room
            right = cursor + PADDING
        else:
            x = cursor + (0 if not number else BOX_GAP if after_leaf else ROW_GAP)
            cursor = right = _place_leaf(entry, round(x, 1))
        after_leaf = entry.leaf is not None
    return right


def _place_leaf(entry: Entry, x: float) -> float:
    """Place a host, and the ports that it leads to; return its right edge."""
    leaf = entry.leaf
    assert leaf is not None  # noqa: S101  (the caller asked)
    leaf.x = x
    opposite = {slot.cable: slot for slot in entry.slots}
    x += PADDING
    for slot in leaf.slots:
        slot.x = round(x, 1)
        if slot.cable in opposite:
            opposite[slot.cable].x = slot.x
        x += slot.room + SLOT_GAP
    return leaf.x + leaf.width
