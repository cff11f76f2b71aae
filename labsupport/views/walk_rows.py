"""The steps of a walk as rows of a picture: a frame that leaves a cable's end and comes in at the other is one row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from labsupport.errors import LessonError
from labsupport.net import Endpoint, WalkStep


class Captured(Protocol):
    """What a picture needs to know of a walk's capture."""

    @property
    def peers(self) -> Mapping[Endpoint, Endpoint]:
        """The other end of each cable, in both directions."""


class Walked(Protocol):
    """What the views need to know of a walk."""

    @property
    def steps(self) -> tuple[WalkStep, ...]:
        """What the packets met."""

    @property
    def answered(self) -> bool:
        """Whether an answer reached the client."""

    @property
    def lost(self) -> bool:
        """Whether steps may be missing."""

    @property
    def capture(self) -> Captured:
        """The frames of that time."""


@dataclass(frozen=True)
class Row:
    """One step, or two: out of one end of a cable and into the other.

    Attributes:
        first: the number of its first step, counted from 1.
        steps: of it.
    """

    first: int
    steps: tuple[WalkStep, ...]

    @property
    def step(self) -> WalkStep:
        """The first one."""
        return self.steps[0]

    @property
    def crosses(self) -> bool:
        """Whether it goes through a cable from one namespace to another."""
        return len(self.steps) == 2

    @property
    def numbers(self) -> range:
        """The numbers of its steps."""
        return range(self.first, self.first + len(self.steps))


def ended(walk: Walked) -> Walked:
    """Return a walk that has steps.

    Raises:
        LessonError: it is still under way.
    """
    if not walk.steps:
        raise LessonError("this walk has no steps yet", where="labsupport.views", expected="a walk that has ended",
                          next_step="show it behind its `with` block, not inside")
    return walk


def rows_of(walk: Walked) -> list[Row]:
    """Return the rows of a walk, in order.

    Raises:
        LessonError: it is still under way.
    """
    return list(_rows(ended(walk).steps, walk.capture.peers))


def _rows(steps: Sequence[WalkStep], peers: Mapping[Endpoint, Endpoint]) -> Iterator[Row]:
    at = 0
    while at < len(steps):
        count = 2 if at + 1 < len(steps) and _is_crossing(steps[at], steps[at + 1], peers) else 1
        yield Row(at + 1, tuple(steps[at:at + count]))
        at += count


def _is_crossing(one: WalkStep, other: WalkStep, peers: Mapping[Endpoint, Endpoint]) -> bool:
    return ((one.kind, other.kind, one.way) == ("out", "in", other.way) and one.namespace != other.namespace
            and peers.get(Endpoint(one.namespace, one.link)) == Endpoint(other.namespace, other.link))
