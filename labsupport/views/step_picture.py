"""One crossing as a small picture: the namespaces side by side, and an arrow from one to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labsupport.views.canvas import Canvas, Span, printable, text_width
from labsupport.views.crossings import Crossing
from labsupport.views.picture import Picture

_MARGIN = 10.0
_BOX_HEIGHT = 26.0
_LINE_Y = 66.0       # of the arrow
_LABEL_Y = 58.0      # baseline of the names of interfaces above it
_HEIGHT = 84.0
_PADDING = 9.0
_HEAD = 10.0
_LONGEST_NAME = 28
_GAP = 30.0


def draw_step(crossing: Crossing | None, crossings: Sequence[Crossing], title: str) -> Picture:
    """Return the picture of one crossing; without one, just the namespaces.

    Args:
        crossing: what to draw.
        crossings: all of the capture, so that every namespace has its place and nothing moves from step to step.
        title: what the picture shows, one line.
    """
    canvas, reach = Canvas(), _reach(crossings)
    lanes = _lanes(reach)
    for name, x in lanes.items():
        width = text_width(_name(name)) + 2 * _PADDING
        canvas.path("lead", f"M{x:g} {_MARGIN + _BOX_HEIGHT:g}V{_HEIGHT - 4:g}")
        canvas.rectangle("box", (round(x - width / 2, 1), _MARGIN), (round(width, 1), _BOX_HEIGHT))
        canvas.line(round(x - width / 2 + _PADDING, 1), _MARGIN + 17.5, (_name(name),))
    if crossing is not None:
        _draw_crossing(canvas, crossing, lanes)
    right = max((x + reach[name] for name, x in lanes.items()), default=_MARGIN)
    return Picture(printable(title), printable(title), round(right + _MARGIN, 1), _HEIGHT, str(canvas))


def _reach(crossings: Sequence[Crossing]) -> dict[str, float]:
    """Return how much room each namespace needs to each side, in pixels: for its box and the names of its links."""
    reach: dict[str, float] = {}
    for crossing in crossings:
        for end in crossing.ends:
            box = text_width(_name(end.namespace)) / 2 + _PADDING
            reach[end.namespace] = max(reach.get(end.namespace, 0.0), box, text_width(Span("faint", end.link)) + 8)
    return reach


def _lanes(reach: Mapping[str, float]) -> dict[str, float]:
    lanes: dict[str, float] = {}
    right = _MARGIN
    for name, room in reach.items():
        lanes[name] = round(right + room, 1)
        right = lanes[name] + room + _GAP
    return lanes


def _name(name: str) -> Span:
    text = name or "lab"
    return Span("name", text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…")


def _draw_crossing(canvas: Canvas, crossing: Crossing, lanes: dict[str, float]) -> None:
    first, last = crossing.ends[0], crossing.ends[-1]
    start, tip = lanes[first.namespace], lanes[last.namespace]
    if start == tip:
        canvas.port(start, _LINE_Y, "up" if crossing.frame.direction == "in" else "no carrier")
        canvas.line(start + 12, _LINE_Y + 4, (Span("value", " > ".join(end.link for end in crossing.ends)),))
        return
    sign = 1 if tip > start else -1
    kind = "down" if crossing.lost else "up"
    stop = tip - sign * (24 if crossing.lost else _HEAD)
    canvas.path(f"cable cable-{kind}", f"M{start:g} {_LINE_Y:g}H{stop:g}")
    if crossing.lost:
        canvas.path("port port-down", f"M{stop - 6:g} {_LINE_Y - 6:g}l12 12m0 -12l-12 12")
    else:
        canvas.path("port port-up", f"M{tip - sign * 1.5:g} {_LINE_Y:g}l{-sign * _HEAD:g} -4.5v9z")
    for x, link, side in ((start, first.link, sign), (tip, last.link, -sign)):
        label = Span("faint", link)
        canvas.line(round(x + 7 if side > 0 else x - 7 - text_width(label), 1), _LABEL_Y, (label,))
