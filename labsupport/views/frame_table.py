"""Captured frames as a table: one line each, in HTML and in text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from labsupport.net import Endpoint
from labsupport.net.frames import Frame
from labsupport.views.canvas import NOTEBOOK_COLOURS, printable

MOST_FRAMES = 200
_HEADINGS = ("no.", "time", "interface", "in/out", "from > to", "bytes", "what")
_RIGHT_ALIGNED = frozenset({"no.", "time", "bytes"})
_TIME_WIDTH = len("+9999999.999 ms")  # fixed: the text must not get wider or narrower with the times
# The class stands twice because JupyterLab's own rule for cells, which aligns them to the right, is a strong one.
_TABLE = "div.labsupport-frames.labsupport-frames"
_STYLE = f"""
{_TABLE}{{overflow-x:auto;color:{NOTEBOOK_COLOURS.text}}}
{_TABLE} table{{border-collapse:collapse;margin:0;font-size:11.5px;border:0}}
{_TABLE} caption{{caption-side:top;text-align:left;padding:0 0 6px;color:inherit;opacity:.75}}
{_TABLE} th,{_TABLE} td{{text-align:left;white-space:pre;padding:3px 9px 3px 0;border:0;
border-bottom:1px solid rgba(128,128,128,.35);font-family:Menlo,Consolas,'DejaVu Sans Mono',monospace;color:inherit}}
{_TABLE} th{{font-weight:700;border-bottom-width:2px}}
{_TABLE} .number{{text-align:right}}
{_TABLE} td:last-child{{white-space:pre-wrap;overflow-wrap:anywhere;min-width:20em}}
""".strip()


@dataclass(frozen=True)
class FrameTable:
    """A table of frames. The last value of a cell, it is shown; printed, it is the text."""

    frames: tuple[Frame, ...]

    def __str__(self) -> str:
        if not self.frames:
            return self._caption
        rows = [_HEADINGS, *self._rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        widths[_HEADINGS.index("time")] = _TIME_WIDTH
        lines = []
        for row in rows:
            cells = [cell.rjust(width) if heading in _RIGHT_ALIGNED else cell.ljust(width)
                     for cell, width, heading in zip(row, widths, _HEADINGS, strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([self._caption, *lines])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col"{_number_class(name)}>{escape(name)}</th>' for name in _HEADINGS)
        body = "\n".join(f"<tr>{''.join(map(_cell, _HEADINGS, row))}</tr>" for row in self._rows)
        table = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n" if self.frames else ""
        return (f'<div class="labsupport-frames">\n<style>\n{_STYLE}\n</style>\n'
                f"<table>\n<caption>{escape(self._caption)}</caption>\n{table}</table>\n</div>\n")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    @property
    def _caption(self) -> str:
        count = len(self.frames)
        if count > MOST_FRAMES:
            return f"The first {MOST_FRAMES} of {count} frames; {count - MOST_FRAMES} are left out"
        return f"{count} frame{'' if count == 1 else 's'}" if count else "No frames"

    @property
    def _rows(self) -> list[tuple[str, ...]]:
        shown = self.frames[:MOST_FRAMES]
        start_ns = min((frame.time_ns for frame in shown), default=0)
        return [tuple(map(printable, (
            str(number), _time_text(frame.time_ns - start_ns), interface(frame.end), frame.direction,
            f"{frame.source or '?'} > {frame.destination or '?'}", str(frame.length_bytes), _what(frame),
        ))) for number, frame in enumerate(shown, start=1)]


def frame_table(frames: Iterable[Frame]) -> FrameTable:
    """Return a table of frames in the order given: when, where, from whom to whom, and what they say.

    It makes visible what a cable carries. A frame is in it once for each interface at which it was captured: "out"
    where a namespace sent it, "in" where one received it. Times count from the first frame. With more than 200 frames
    the first ones are shown.

    Args:
        frames: for example `capture.frames`, or some of them.
    """
    return FrameTable(tuple(frames))


def interface(end: Endpoint) -> str:
    """Return how an interface is written: NAMESPACE:LINK; nothing stands for the lab's first namespace."""
    return f"{end.namespace}:{end.link}"


def addresses(frame: Frame) -> str:
    """Return from which IP address to which a packet goes, if its summary does not say so."""
    packet = frame.ipv4 or frame.ipv6
    if packet is None or (frame.icmp is None and frame.icmpv6 is None):
        return ""
    return f"{packet.source} > {packet.destination}"


def _what(frame: Frame) -> str:
    who = addresses(frame)
    return f"{who}, {frame.summary}" if who else frame.summary


def _time_text(elapsed_ns: int) -> str:
    elapsed_us = elapsed_ns // 1000
    return f"+{elapsed_us // 1000}.{elapsed_us % 1000:03} ms"


def _cell(heading: str, text: str) -> str:
    return f"<td{_number_class(heading)}>{escape(text)}</td>"


def _number_class(heading: str) -> str:
    return ' class="number"' if heading in _RIGHT_ALIGNED else ""
