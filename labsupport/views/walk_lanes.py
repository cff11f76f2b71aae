"""Where the lanes, numbers and words of a walk's picture stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labsupport.views.canvas import Canvas, Span, line_width, text_width
from labsupport.views.walk_rows import Row
from labsupport.views.walk_words import heading, kind_word, words

MARGIN = 14.0
NAME_LINE = 16.0
_LEAST_WIDTH = 56.0
_GAP = 32.0
_PADDING = 8.0
_LONGEST_LINE = 11  # letters of a name
_MOST_LINES = 3


@dataclass(frozen=True)
class Lane:
    """One namespace.

    Attributes:
        left, right: its edges, in pixels.
        name: it, in lines.
    """

    left: float
    right: float
    name: tuple[Span, ...]

    @property
    def middle(self) -> float:
        """Where the way goes through it."""
        return round((self.left + self.right) / 2, 1)


@dataclass(frozen=True)
class Lanes:
    """All that stands side by side, in pixels.

    Attributes:
        of: the lane of each namespace, from left to right.
        number_right: where numbers end.
        kind_x: where the words for kinds begin.
        words_x: where all else begins.
        width: of the picture.
    """

    of: dict[str, Lane]
    number_right: float
    kind_x: float
    words_x: float
    width: float

    def edge(self, middle: float, side: int) -> float:
        """Return where the lane with this middle ends on the right (1) or left (-1)."""
        lane = next(lane for lane in self.of.values() if lane.middle == middle)
        return lane.right if side > 0 else lane.left

    @property
    def head_height(self) -> float:
        """Of the names above the lanes."""
        return NAME_LINE * max(len(lane.name) for lane in self.of.values()) + 12


def lay_out(rows: Sequence[Row]) -> Lanes:
    """Return the places of everything, for all rows of a walk: then nothing moves between its parts."""
    number_right = MARGIN + max(text_width(number_span(row)) for row in rows) + 4
    x = round(number_right + 16, 1)
    of: dict[str, Lane] = {}
    for name in dict.fromkeys(step.namespace for row in rows for step in row.steps):
        lines = tuple(Span("name", line) for line in _lines(name or "lab"))
        width = max(_LEAST_WIDTH, *(text_width(line) + 2 * _PADDING for line in lines))
        of[name] = Lane(x, round(x + width, 1), lines)
        x = round(x + width + _GAP, 1)
    kind_x = round(x - _GAP + 26, 1)
    words_x = round(kind_x + max(text_width(Span("word", kind_word(row))) for row in rows) + 14, 1)
    needed = [words_x + line_width(words(row)) for row in rows]
    needed += [MARGIN + line_width(heading(row)) for row in rows]
    return Lanes(of, round(number_right, 1), kind_x, words_x, round(max(needed) + 8 + MARGIN, 1))


def number_span(row: Row) -> Span:
    """Return the number of a row, or both."""
    return Span("faint", "-".join(map(str, dict.fromkeys((row.numbers[0], row.numbers[-1])))))


def draw_lane(canvas: Canvas, lane: Lane, head: float, top: float, bottom: float) -> None:
    """Draw a lane and its name."""
    canvas.rectangle("box", (lane.left, top), (round(lane.right - lane.left, 1), round(bottom - top, 1)))
    first = top + 6 + (head - 12 - NAME_LINE * len(lane.name)) / 2
    for number, line in enumerate(lane.name):
        x = (lane.left + lane.right - text_width(line)) / 2
        canvas.line(round(x, 1), round(first + NAME_LINE * number + 12.5, 1), (line,))


def _lines(name: str) -> list[str]:
    """Break a name behind hyphens, and shorten it to what three short lines hold."""
    lines: list[str] = []
    rest = name
    while rest and len(lines) < _MOST_LINES:
        cut = rest.rfind("-", 0, _LONGEST_LINE) + 1 if len(rest) > _LONGEST_LINE else len(rest)
        cut = min(cut or _LONGEST_LINE, _LONGEST_LINE)
        lines.append(rest[:cut])
        rest = rest[cut:]
    return [*lines[:-1], f"{lines[-1][:_LONGEST_LINE - 1]}…"] if rest else lines
