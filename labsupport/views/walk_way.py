"""Draws one way of a walk, there or back, or a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from labsupport.views.canvas import Canvas, Span, text_width
from labsupport.views.walk_lanes import MARGIN, Lanes, draw_lane, number_span
from labsupport.views.walk_marks import draw_head, draw_interface, draw_mark
from labsupport.views.walk_rows import Row
from labsupport.views.walk_words import heading, kind_word, words

_HEADING = 26.0
_BEFORE_ROWS, _BEHIND_ROWS = 6.0, 8.0
_HEIGHT, _SMALL = 25.0, 17.0  # of a row; of a row that a rule takes, since there are many
_BASELINE = 4.2  # of words, below the middle of their row
_STUB = 16.0


def draw_way(canvas: Canvas, lanes: Lanes, rows: Sequence[Row], top: float, now: int = 0,
             more: tuple[bool, bool] = (False, False)) -> float:
    """Draw rows from top to bottom, under a heading and the names of the lanes.

    Args:
        canvas: where to.
        lanes: what stands where, from left to right.
        rows: all of one way.
        top: where to begin.
        now: the number of the step that is pointed at; what comes behind it is drawn faint. 0 for none.
        more: whether the way began before these rows, and whether it goes on behind them.

    Returns:
        Where it ends.
    """
    canvas.line(MARGIN, top + 15, heading(rows[0]))
    begin = top + _HEADING
    y = begin + lanes.head_height + _BEFORE_ROWS
    middles = []
    for row in rows:
        height = _SMALL if row.step.kind == "rule" else _HEIGHT
        middles.append(round(y + height / 2, 1))
        _draw_band(canvas, lanes, row, y, height, now)
        y += height
    bottom = round(y + _BEHIND_ROWS, 1)
    for lane in lanes.of.values():
        draw_lane(canvas, lane, lanes.head_height, begin, bottom)
    _draw_line(canvas, lanes, rows, [*middles, bottom if more[1] else middles[-1]], now)
    if more[0]:
        x = lanes.of[rows[0].step.namespace].middle
        canvas.path("cable cable-up", f"M{x:g} {begin + lanes.head_height:g}V{middles[0]:g}")
    for row, middle in zip(rows, middles, strict=True):
        _draw_row(canvas, lanes, row, middle)
    return bottom


def _draw_band(canvas: Canvas, lanes: Lanes, row: Row, y: float, height: float, now: int) -> None:
    """Mark the row that is pointed at, and those that change addresses."""
    corner, size = (MARGIN - 6, round(y + 1, 1)), (round(lanes.width - 2 * MARGIN + 12, 1), height - 2)
    if row.step.kind in ("dnat", "snat", "dropped", "lost") or now in row.numbers:
        canvas.rectangle("band", corner, size)
    if now in row.numbers:
        canvas.rectangle("bundle cable-up", corner, size)


def _draw_line(canvas: Canvas, lanes: Lanes, rows: Sequence[Row], levels: Sequence[float], now: int) -> None:
    """Draw the way: down the lanes, and across between them. The last level is where the way ends."""
    for row, (y, next_y) in zip(rows, pairwise(levels), strict=True):
        kind = "lead" if now and row.first > now else "cable cable-up"
        here = lanes.of[row.step.namespace]
        if row.crosses:
            there = lanes.of[row.steps[1].namespace]
            _draw_crossing(canvas, lanes, (here.middle, there.middle), y, kind)
            here = there
        if next_y > y:
            later = "lead" if now and row.numbers[-1] >= now else "cable cable-up"
            canvas.path(later, f"M{here.middle:g} {y:g}V{next_y:g}")


def _draw_crossing(canvas: Canvas, lanes: Lanes, way: tuple[float, float], y: float, kind: str) -> None:
    """Draw a line to another lane; behind lanes in between it is only hinted at."""
    (start, end), sign = way, 1 if way[1] > way[0] else -1
    between = sorted((lane for lane in lanes.of.values() if min(way) < lane.middle < max(way)),
                     key=lambda lane: lane.left, reverse=sign < 0)
    x = start
    for lane in between:
        near, far = (lane.left, lane.right)[::sign]
        canvas.path(kind, f"M{x:g} {y:g}H{near:g}")
        canvas.path("lead", f"M{near:g} {y:g}H{far:g}")
        x = far
    canvas.path(kind, f"M{x:g} {y:g}H{end:g}")
    for at in (lanes.edge(start, sign), lanes.edge(end, -sign)):
        draw_interface(canvas, at, y)
    draw_head(canvas, round(lanes.edge(end, -sign) - sign * 5, 1), y, sign)


def _draw_stub(canvas: Canvas, lanes: Lanes, row: Row, y: float) -> None:
    """Draw a frame that leaves to, or comes from, where nobody looks: half a cable."""
    lane, sign = lanes.of[row.step.namespace], 1 if row.step.way == "there" else -1
    edge = lanes.edge(lane.middle, sign if row.step.kind == "out" else -sign)
    outside = edge + _STUB * (sign if row.step.kind == "out" else -sign)
    canvas.path("cable cable-up", f"M{lane.middle:g} {y:g}H{outside:g}")
    draw_interface(canvas, edge, y)
    draw_head(canvas, outside if row.step.kind == "out" else round(edge - sign * 5, 1), y, sign)


def _draw_row(canvas: Canvas, lanes: Lanes, row: Row, y: float) -> None:
    baseline, number = round(y + _BASELINE, 1), number_span(row)
    canvas.line(round(lanes.number_right - text_width(number), 1), baseline, (number,))
    canvas.line(lanes.kind_x, baseline, (Span("word", kind_word(row)),))
    canvas.line(lanes.words_x, baseline, words(row))
    if row.step.kind in ("out", "in"):
        if not row.crosses:
            _draw_stub(canvas, lanes, row, y)
    else:
        draw_mark(canvas, row.step.kind, lanes.of[row.step.namespace].middle, y)
