"""The marks of a walk's stations: each kind has a shape of its own, so colour says nothing that the shape does not.

A disc: made here. A target: delivered. A diamond: a routing decision. A small ring: a rule. A square with D or S:
address translation. A sheet with lines: conntrack's memory. A cross: dropped or lost.
"""

from __future__ import annotations

from labsupport.net.walk_steps import StepKind
from labsupport.views.canvas import Canvas, Span, text_width

_RING, _SIGN = "port cable-up", "bundle cable-up"
REACH = 8.5
"""How far a mark reaches from its middle at most, in pixels."""


def draw_mark(canvas: Canvas, kind: StepKind, x: float, y: float) -> None:
    """Draw the mark of a step with its middle at (x, y)."""
    if kind == "sent":
        _disc(canvas, "port port-up", x, y, 7)
    elif kind == "delivered":
        _disc(canvas, _RING, x, y, 7.5)
        _disc(canvas, "port port-up", x, y, 3)
    elif kind == "route":
        canvas.path(_RING, f"M{x - 8:g} {y:g}l8 -8l8 8l-8 8z")
        canvas.path(_SIGN, f"M{x - 3:g} {y:g}h6m-2.5 -2.5l2.5 2.5l-2.5 2.5")
    elif kind in ("dnat", "snat"):
        canvas.path(_RING, f"M{x - 8:g} {y - 8:g}h16v16h-16z")
        letter = Span("name", kind[0].upper())
        canvas.line(round(x - text_width(letter) / 2, 1), y + 4.5, (letter,))
    elif kind == "conntrack":
        canvas.path(_RING, f"M{x - 6:g} {y - 7.5:g}h12v15h-12z")
        canvas.path(_SIGN, f"M{x - 3:g} {y - 3.5:g}h6m-6 3.5h6m-6 3.5h6")
    elif kind in ("dropped", "lost"):
        canvas.path("port port-down", f"M{x - 7:g} {y - 7:g}l14 14m0 -14l-14 14")
    elif kind == "rule":
        _disc(canvas, _RING, x, y, 3)


def draw_interface(canvas: Canvas, x: float, y: float) -> None:
    """Draw the end of a cable on the edge of a namespace."""
    _disc(canvas, "port port-up", x, y, 3.2)


def draw_head(canvas: Canvas, tip: float, y: float, sign: int) -> None:
    """Draw the head of an arrow that points right (1) or left (-1)."""
    canvas.path("port port-up", f"M{tip:g} {y:g}l{-sign * 9:g} -4.5v9z")


def _disc(canvas: Canvas, kind: str, x: float, y: float, radius: float) -> None:
    canvas.path(kind, f"M{x - radius:g} {y:g}a{radius:g} {radius:g} 0 1 0 {2 * radius:g} 0"
                f"a{radius:g} {radius:g} 0 1 0 {-2 * radius:g} 0z")
