"""Draws crossings of cables as a ladder: a line for each namespace, an arrow for each crossing, its words to the right.

No word stands on an arrow's way, so rows can be close together, and a line of text may be as long as it needs to be.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from labsupport.views.canvas import Canvas, Span, line_width, text_width
from labsupport.views.crossings import Crossing
from labsupport.views.frame_table import addresses

_MARGIN = 14.0
_ROW_HEIGHT = 24.0
_LINE_Y = 14.5        # of an arrow, below the top of its row
_BASELINE = 17.5      # of the words beside it
_ABOVE_LINE = 10.0     # baseline of words above it
_HEADER_HEIGHT = 26.0
_HEADER_GAP = 8.0
_ROWS_PER_HEADER = 20  # so that the names are in sight wherever one looks
_LEAST_GAP = 84.0
_NAME_PADDING = 9.0
_BETWEEN_NAMES = 16.0
_BEFORE_WORDS = 28.0
_HEAD_LENGTH = 10.0
_LONGEST_NAME = 28
_LONGEST_WORDS = 110
_CROSS_FROM_TIP = 24.0
_LOOP = 16.0
_DIAMOND = 6.5
_LOST = Span("word", "lost")


@dataclass(frozen=True)
class _Layout:
    lanes: dict[str, float]
    number_x: float
    words_x: float
    width: float
    with_links: Collection[frozenset[str]]


def draw_ladder(crossings: list[Crossing], names: tuple[str, ...], with_links: Collection[frozenset[str]],
                note: str) -> tuple[Canvas, float, float]:
    """Draw crossings from top to bottom.

    Args:
        crossings: in time order.
        names: the namespaces from left to right.
        with_links: between which of them the names of the interfaces are needed to tell cables apart.
        note: a line below everything, or "".

    Returns:
        The drawing, its width and its height in pixels.
    """
    layout = _lay_out(crossings, names, with_links, note)
    content = Canvas()
    y = _MARGIN
    for first in range(0, max(1, len(crossings)), _ROWS_PER_HEADER):
        rows = crossings[first:first + _ROWS_PER_HEADER]
        _draw_header(content, layout, y)
        top = y + _HEADER_HEIGHT
        y = top + _HEADER_GAP + _ROW_HEIGHT * len(rows) + _HEADER_GAP
        for x in layout.lanes.values():
            content.path("lead", f"M{x:g} {top:g}V{y:g}")
        _draw_bands(content, layout, rows, top + _HEADER_GAP)
        for number, crossing in enumerate(rows):
            _draw_row(content, layout, crossing, first + number + 1, top + _HEADER_GAP + _ROW_HEIGHT * number)
    if note:
        content.line(_MARGIN, y + 18, (Span("word", note),))
        y += 24
    canvas = Canvas()
    canvas.add(content, 0, 0)
    return canvas, layout.width, round(y + _MARGIN, 1)


def _lay_out(crossings: list[Crossing], names: tuple[str, ...], with_links: Collection[frozenset[str]],
             note: str) -> _Layout:
    number_x = _MARGIN + 6
    lanes: dict[str, float] = {}
    beside, above = _room_beside(crossings, with_links), _room_above(crossings, with_links)
    right = number_x + text_width(_number(len(crossings))) + 14  # of everything so far
    for name in names:
        half = text_width(_name(name)) / 2 + _NAME_PADDING
        least = lanes[list(lanes)[-1]] + max(_LEAST_GAP, above) if lanes else 0.0
        lanes[name] = round(max(right + half, least), 1)
        right = lanes[name] + max(half + _BETWEEN_NAMES, beside.get(name, 0.0))
    words_x = round(right + _BEFORE_WORDS - _BETWEEN_NAMES, 1)
    widest = max((line_width(_words(crossing)) for crossing in crossings), default=0.0)
    width = max(words_x + widest + 10, _MARGIN + text_width(Span("word", note))) + _MARGIN
    return _Layout(lanes, number_x, words_x, round(width, 1), with_links)


def _room_beside(crossings: list[Crossing], with_links: Collection[frozenset[str]]) -> dict[str, float]:
    """Return for each namespace how much room the words beside its marks need, in pixels."""
    room: dict[str, float] = {}
    for crossing in crossings:
        label, here = _label(crossing, with_links), crossing.ends[0].namespace
        if label is not None and not _is_arrow(crossing):
            room[here] = max(room.get(here, 0.0), _LOOP + 10 + text_width(label) + 14)
    return room


def _room_above(crossings: list[Crossing], with_links: Collection[frozenset[str]]) -> float:
    """Return how long each arrow must be, so that the words above it have room, in pixels."""
    arrows = [crossing for crossing in crossings if _is_arrow(crossing)]
    labels = [label for crossing in arrows if (label := _label(crossing, with_links)) is not None]
    widest = max(map(text_width, labels), default=-12.0) + 12
    lost = text_width(_LOST) + 12 if any(crossing.lost for crossing in arrows) else 0.0
    return widest + lost + _CROSS_FROM_TIP + _HEAD_LENGTH


def _is_arrow(crossing: Crossing) -> bool:
    return len({end.namespace for end in crossing.ends}) == 2


def _label(crossing: Crossing, with_links: Collection[frozenset[str]]) -> Span | None:
    """Return what is written at the start of an arrow or beside a mark."""
    namespaces = frozenset(end.namespace for end in crossing.ends)
    if len(namespaces) == 2:
        return Span("faint", crossing.ends[0].link) if namespaces in with_links else None
    if len(crossing.ends) == 2:
        lost = " lost" if crossing.lost else ""
        return Span("faint", " > ".join(end.link for end in crossing.ends) + lost)
    return Span("faint", f"{crossing.ends[0].link} {crossing.frame.direction}")


def _words(crossing: Crossing) -> tuple[Span, ...]:
    summary = crossing.frame.summary
    if len(summary) > _LONGEST_WORDS:
        summary = summary[:_LONGEST_WORDS - 1] + "…"
    who = addresses(crossing.frame)
    first = Span("faint" if crossing.repeats else "value", summary)
    return (first, Span("faint", who)) if who else (first,)


def _number(number: int) -> Span:
    return Span("faint", str(number))


def _name(name: str) -> Span:
    text = name or "lab"
    return Span("name", text if len(text) <= _LONGEST_NAME else text[:_LONGEST_NAME - 1] + "…")


def _draw_header(canvas: Canvas, layout: _Layout, y: float) -> None:
    for name, x in layout.lanes.items():
        width = text_width(_name(name))
        left = round(x - width / 2 - _NAME_PADDING, 1)
        canvas.rectangle("box", (left, y), (round(width + 2 * _NAME_PADDING, 1), _HEADER_HEIGHT))
        canvas.line(round(x - width / 2, 1), y + 17.5, (_name(name),))


def _draw_bands(canvas: Canvas, layout: _Layout, rows: list[Crossing], y: float) -> None:
    """Put a band behind all rows of one frame."""
    starts = [number for number, crossing in enumerate(rows) if number == 0 or not crossing.repeats]
    for start, end in pairwise([*starts, len(rows)]):
        canvas.rectangle("band", (_MARGIN, y + _ROW_HEIGHT * start + 1.5),
                         (round(layout.width - 2 * _MARGIN, 1), _ROW_HEIGHT * (end - start) - 3))


def _draw_row(canvas: Canvas, layout: _Layout, crossing: Crossing, number: int, y: float) -> None:
    canvas.line(layout.number_x, y + _BASELINE, (_number(number),))
    canvas.line(layout.words_x, y + _BASELINE, _words(crossing))
    label = _label(crossing, layout.with_links)
    x = layout.lanes[crossing.ends[0].namespace]
    if _is_arrow(crossing):
        _draw_arrow(canvas, (x, layout.lanes[crossing.ends[1].namespace]), y, label, lost=crossing.lost)
        return
    if len(crossing.ends) == 2:
        _draw_loop(canvas, x, y, lost=crossing.lost)
    elif crossing.frame.direction == "in":
        canvas.port(x, y + _ROW_HEIGHT / 2, "up")
    else:
        canvas.path("port port-up", f"M{x:g} {y + _ROW_HEIGHT / 2 - _DIAMOND:g}l{_DIAMOND:g} {_DIAMOND:g}"
                    f"l{-_DIAMOND:g} {_DIAMOND:g}l{-_DIAMOND:g} {-_DIAMOND:g}z")
    if label is not None:
        canvas.line(round(x + _LOOP + 10, 1), y + _BASELINE, (label,))


def _draw_arrow(canvas: Canvas, way: tuple[float, float], y: float, label: Span | None, *, lost: bool) -> None:
    start, tip = way
    sign, line = (1 if tip > start else -1), y + _LINE_Y
    if label is not None:
        x = start + 7 if sign > 0 else start - 7 - text_width(label)
        canvas.line(round(x, 1), y + _ABOVE_LINE, (label,))
    if not lost:
        canvas.path("cable cable-up", f"M{start:g} {line:g}H{tip - sign * _HEAD_LENGTH:g}")
        _draw_head(canvas, tip, line, sign)
        return
    cross = tip - sign * _CROSS_FROM_TIP
    canvas.path("cable cable-down", f"M{start:g} {line:g}H{cross - sign * 6:g}")
    _draw_cross(canvas, cross, line, 6)
    x = cross - 12 - text_width(_LOST) if sign > 0 else cross + 12
    canvas.line(round(x, 1), y + _ABOVE_LINE, (_LOST,))


def _draw_loop(canvas: Canvas, x: float, y: float, *, lost: bool) -> None:
    """Draw a cable with both ends in one namespace."""
    canvas.path(f"cable cable-{'down' if lost else 'up'}", f"M{x:g} {y + 7:g}h{_LOOP:g}v10h{_HEAD_LENGTH - _LOOP:g}")
    if lost:
        _draw_cross(canvas, x + _HEAD_LENGTH / 2, y + 17, 3.5)
    else:
        _draw_head(canvas, x, y + 17, -1)


def _draw_head(canvas: Canvas, tip: float, line: float, sign: int) -> None:
    canvas.path("port port-up", f"M{tip - sign * 1.5:g} {line:g}l{-sign * _HEAD_LENGTH:g} -4.5v9z")


def _draw_cross(canvas: Canvas, x: float, y: float, reach: float) -> None:
    canvas.path("port port-down", f"M{x - reach:g} {y - reach:g}l{2 * reach:g} {2 * reach:g}m0 {-2 * reach:g}"
                f"l{-2 * reach:g} {2 * reach:g}")
