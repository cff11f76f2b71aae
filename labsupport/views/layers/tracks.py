"""Leads cables through the channel between two rows of boxes, so that none lies on another and few cross.

A cable whose two ends stand above each other is a straight line. Every other one runs down, along a track, and down
again, or back up where both ends are on the same side. Tracks are shared by cables that do not meet.
"""

from __future__ import annotations

from typing import NamedTuple

_MARGIN = 12.0      # between two cables on one track
_MOST_SWAPS = 40    # rounds of mending the order of tracks


class Net(NamedTuple):
    """A cable in one channel: at which x it touches the upper side, and at which the lower; two of them in all."""

    upper: tuple[float, ...]
    lower: tuple[float, ...]

    @property
    def left(self) -> float:
        """Where its track begins."""
        return min(*self.upper, *self.lower)

    @property
    def right(self) -> float:
        """Where its track ends."""
        return max(*self.upper, *self.lower)

    @property
    def is_straight(self) -> bool:
        """Return whether it needs no track."""
        return len(self.upper) == 1 and self.upper == self.lower


def assign_tracks(nets: list[Net]) -> list[int]:
    """Return for each cable the number of its track, counted from above, and -1 if it needs none."""
    order = sorted((number for number, net in enumerate(nets) if not net.is_straight),
                   key=lambda number: (nets[number].right - nets[number].left, nets[number]))
    for _ in range(_MOST_SWAPS):
        if not _swap_neighbours(order, nets):
            break
    tracks = [-1] * len(nets)
    for position, number in enumerate(order):
        above = [tracks[other] for other in order[:position] if _meet(nets[number], nets[other])]
        tracks[number] = max(above, default=-1) + 1
    return tracks


def _swap_neighbours(order: list[int], nets: list[Net]) -> bool:
    """Exchange neighbouring tracks where fewer cables cross then; return whether there were any."""
    swapped = False
    for position in range(len(order) - 1):
        one, other = order[position], order[position + 1]
        if _crossings(nets[other], nets[one]) < _crossings(nets[one], nets[other]):
            order[position], order[position + 1] = other, one
            swapped = True
    return swapped


def _crossings(above: Net, below: Net) -> int:
    """Return how often two cables cross if the track of the first is above that of the second."""
    return (sum(below.left < x < below.right for x in above.lower)
            + sum(above.left < x < above.right for x in below.upper))


def _meet(one: Net, other: Net) -> bool:
    return one.left < other.right + _MARGIN and other.left < one.right + _MARGIN
