"""A walk as a table: one line for each step, in HTML and in text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from labsupport.net import WalkStep
from labsupport.net.flow import Flow
from labsupport.net.walk_text import KIND_WORDS, place_of, walk_headline
from labsupport.views.canvas import printable
from labsupport.views.table import Table
from labsupport.views.walk_rows import Walked, ended

_HEADINGS = ("no.", "way", "where", "step", "packet then", "ttl", "what")
_PACKET_WIDTH = 42  # the text must not get wider or narrower with the addresses of pods


@dataclass(frozen=True)
class WalkTable(Table):
    """A table of steps. The last value of a cell, it is shown; printed, it is the text."""

    title: str
    steps: tuple[WalkStep, ...]

    headings = _HEADINGS
    right_aligned = frozenset({"no.", "ttl"})

    @property
    def widths(self) -> Mapping[str, int]:  # type: ignore[override]
        """The column of addresses has at least room for IPv4."""
        return {"packet then": max(_PACKET_WIDTH, *(len(row[4]) for row in self.rows))}

    @property
    def caption(self) -> str:
        """What it was, and how it ended."""
        return f"{self.title}. A * stands before what a step has changed."

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """One for each step."""
        return [tuple(map(printable, row)) for row in _rows(self.steps)]

    def _cell(self, heading: str, text: str) -> str:
        if "*" in text and heading in ("packet then", "ttl"):
            marked = " ".join(f"<b>{escape(word)}</b>" if word.startswith("*") else escape(word)
                              for word in text.split(" "))
            return f"<td{self._number_class(heading)}>{marked}</td>"
        return super()._cell(heading, text)


def walk_table(walk: Walked) -> WalkTable:
    """Return the steps of a walk as a table: where, what, and the packet's addresses, ports and TTL after each step.

    It makes visible which step changes the packet, with a mark at what it has changed. `walk.steps` is the same for
    programs.

    Args:
        walk: one that has ended.

    Raises:
        LessonError: it has not.
    """
    steps = ended(walk).steps
    return WalkTable(walk_headline(steps, answered=walk.answered, lost=walk.lost), steps)


def _rows(steps: Sequence[WalkStep]) -> Iterator[tuple[str, ...]]:
    for number, (before, step) in enumerate(zip((steps[0], *steps), steps, strict=False), 1):
        yield (str(number), step.way, place_of(step), KIND_WORDS[step.kind], _packet(step), _ttl(before, step),
               step.text.replace(f" {step.flow}", "", 1) if step.frame else step.text)


def _packet(step: WalkStep) -> str:
    """Return addresses and ports after a step, with a mark where it has changed them."""
    if step.before is None:
        return str(step.flow)
    (old_from, old_to), (new_from, new_to) = _ends(step.before), _ends(step.flow)
    return f"{_mark(old_from, new_from)} > {_mark(old_to, new_to)}"


def _ttl(before: WalkStep, step: WalkStep) -> str:
    """Return the TTL with a mark if it is another one than before; the answer is another packet than the request."""
    return _mark(str(before.ttl if before.way == step.way else step.ttl), str(step.ttl))


def _mark(old: str, new: str) -> str:
    return new if old == new else f"*{new}"


def _ends(flow: Flow) -> tuple[str, str]:
    source, _, destination = str(flow).partition(" > ")
    return source, destination
