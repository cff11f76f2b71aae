"""A capture as steps: one for each crossing of a cable, each with what it changed in the tables."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from labsupport.net import Endpoint
from labsupport.net.changes import Key, TableChange
from labsupport.net.frames import Frame
from labsupport.net.story import Cause, find_causes, line_of
from labsupport.views.crossings import Crossing, find_crossings

Tables = Mapping[Key, str]
"""What every line of every table says."""
Where = tuple[str, str, str]
"""One table: "fdb" or "neighbour", the namespace, and the bridge or link that it is of."""


class Recorded(Protocol):
    """What `step_frames` needs to know of a capture."""

    @property
    def frames(self) -> tuple[Frame, ...]:
        """What was captured."""

    @property
    def changes(self) -> tuple[TableChange, ...]:
        """What changed in the tables meanwhile."""

    @property
    def peers(self) -> Mapping[Endpoint, Endpoint]:
        """The other end of each cable, in both directions."""

    @property
    def tables_before(self) -> Tables:
        """The lines of the tables when the capture began."""


@dataclass(frozen=True)
class Step:
    """One crossing and what it did.

    Attributes:
        number: counted from 1; 0 is the moment before the first frame.
        crossing: None in step 0.
        causes: the changes that belong to it.
        before, after: all tables.
    """

    number: int
    crossing: Crossing | None
    causes: tuple[Cause, ...]
    before: Tables
    after: Tables


@dataclass(frozen=True)
class Story:
    """What a capture tells.

    Attributes:
        steps: step 0, and one for each crossing.
        tables: every table that has a line at any time: FDBs first, then ARP tables, in the order of the picture.
    """

    steps: tuple[Step, ...]
    tables: tuple[Where, ...]

    @property
    def last(self) -> int:
        """The number of the last step."""
        return len(self.steps) - 1

    @property
    def crossings(self) -> list[Crossing]:
        """All crossings in the order of time."""
        return [step.crossing for step in self.steps if step.crossing is not None]


def tell_story(capture: Recorded) -> Story:
    """Return the story of a capture, as far as it has got; steps are numbered as in the picture of `draw_frames`."""
    frames = capture.frames
    crossings = find_crossings(frames, capture.peers, {frame.end for frame in frames})
    number_of = _number_frames(frames, crossings)
    causes: dict[int, list[Cause]] = defaultdict(list)
    for cause in find_causes(frames, capture.changes):
        causes[0 if cause.frame is None else number_of[id(cause.frame)]].append(cause)
    steps: list[Step] = []
    tables = capture.tables_before
    for number, crossing in enumerate((None, *crossings)):
        mine = tuple(causes[number])
        before, tables = tables, _change(tables, mine) if mine else tables
        steps.append(Step(number, crossing, mine, before, tables))
    return Story(tuple(steps), _all_tables(steps, crossings))


def _number_frames(frames: Sequence[Frame], crossings: Sequence[Crossing]) -> dict[int, int]:
    """Return for each captured frame, by its id(), the number of the crossing that it was seen at."""
    number_of = {id(crossing.frame): number for number, crossing in enumerate(crossings, 1)}
    under_way: dict[tuple[Endpoint | None, bytes], list[tuple[int, int]]] = defaultdict(list)
    for number, crossing in enumerate(crossings, 1):
        under_way[crossing.end, crossing.frame.data].append((crossing.frame.time_ns, number))
    for frame in frames:
        if id(frame) not in number_of:
            ways = under_way[frame.end, frame.data]  # of those that had left by then, the last one has arrived
            number_of[id(frame)] = ways[bisect_right(ways, (frame.time_ns, len(crossings))) - 1][1]
    return number_of


def _change(tables: Tables, causes: Sequence[Cause]) -> Tables:
    changed = {**tables, **{line_of(cause.change): cause.change.after for cause in causes}}
    return {line: text for line, text in changed.items() if text}


def _all_tables(steps: Sequence[Step], crossings: Sequence[Crossing]) -> tuple[Where, ...]:
    places = dict.fromkeys(end.namespace for crossing in crossings for end in crossing.ends)
    order = {name: number for number, name in enumerate(places)}
    different = {id(step.after): step.after for step in steps}.values()
    found = {(table, name, device) for tables in different for name, table, _, device in tables}
    return tuple(sorted(found, key=lambda one: (one[0], order.get(one[1], len(order)), one)))
