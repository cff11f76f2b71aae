"""Captured frames as a table: one line each, in HTML and in text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from labsupport.net import Endpoint
from labsupport.net.frames import Frame
from labsupport.views.canvas import printable
from labsupport.views.table import Table

MOST_FRAMES = 200
_HEADINGS = ("no.", "time", "interface", "in/out", "from > to", "bytes", "what")
_RIGHT_ALIGNED = frozenset({"no.", "time", "bytes"})
_TIME_WIDTH = len("+9999999.999 ms")  # fixed: the text must not get wider or narrower with the times


@dataclass(frozen=True)
class FrameTable(Table):
    """A table of frames. The last value of a cell, it is shown; printed, it is the text."""

    frames: tuple[Frame, ...]

    headings = _HEADINGS
    right_aligned = _RIGHT_ALIGNED
    widths = MappingProxyType({"time": _TIME_WIDTH})

    @property
    def caption(self) -> str:
        """How many there are."""
        count = len(self.frames)
        if count > MOST_FRAMES:
            return f"The first {MOST_FRAMES} of {count} frames; {count - MOST_FRAMES} are left out"
        return f"{count} frame{'' if count == 1 else 's'}" if count else "No frames"

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """One for each frame."""
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
