"""Finds out which frames crossed which cables: a capture sees a crossing at both ends of a cable, or at one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from labsupport.net import Endpoint, Network
from labsupport.net.frames import Frame

Peers = Mapping[Endpoint, Endpoint]
# A frame is at the other end within microseconds, on a busy machine within some milliseconds. The same bytes again, a
# second later, are a repetition (ARP, spanning tree).
_LONGEST_CROSSING_NS = 500_000_000


@dataclass
class Crossing:
    """A frame that went through a cable, or in or out at an interface that no cable is known of.

    Attributes:
        frame: as it was captured first.
        start: where it left; None if it was seen coming in at an interface without a known peer.
        end: where it arrived, or should have; None if it was seen going out at an interface without a known peer.
        delivered: whether it was seen coming in at `end`.
        lost: whether it was not, although frames that come in there were captured.
        repeats: whether it is the frame of the crossing before it, byte for byte, on its way over another cable.
    """

    frame: Frame
    start: Endpoint | None
    end: Endpoint | None
    delivered: bool = False
    lost: bool = False
    repeats: bool = False

    @property
    def ends(self) -> tuple[Endpoint, ...]:
        """The interfaces that are known, the first one first."""
        return tuple(end for end in (self.start, self.end) if end is not None)


def peers_of(network: Network) -> dict[Endpoint, Endpoint]:
    """Return the other end of every cable of a network, in both directions."""
    return {Endpoint(name, link.name): link.peer
            for name, state in network.namespaces.items() for link in state.links if link.peer is not None}


def find_crossings(frames: Iterable[Frame], peers: Peers, captured: Collection[Endpoint]) -> list[Crossing]:
    """Return what happened on the cables, in time order.

    Args:
        frames: in any order.
        peers: the other end of each cable.
        captured: the interfaces that were captured at; where such a one did not get a frame, it was lost.
    """
    found: list[Crossing] = []
    under_way: dict[tuple[Endpoint, bytes], list[Crossing]] = {}
    # At the same time: out of one end before into the other, and into a port before into its bridge.
    for frame in sorted(frames, key=lambda frame: (frame.time_ns, frame.direction == "in", frame.end not in peers)):
        peer = peers.get(frame.end)
        if frame.direction == "out":
            crossing = Crossing(frame, frame.end, peer)
            found.append(crossing)
            if peer is not None:
                under_way.setdefault((peer, frame.data), []).append(crossing)
        elif not _arrive(frame, under_way.get((frame.end, frame.data), [])):
            found.append(Crossing(frame, peer, frame.end, delivered=True))
    for crossing in found:
        crossing.lost = not crossing.delivered and crossing.end in captured
    _mark_repetitions(found)
    return found


def _arrive(frame: Frame, candidates: list[Crossing]) -> bool:
    """Note that the crossing that left last has arrived; one that left long ago is another frame with equal bytes."""
    if not candidates or frame.time_ns - candidates[-1].frame.time_ns > _LONGEST_CROSSING_NS:
        return False
    candidates.pop().delivered = True
    return True


def _mark_repetitions(crossings: list[Crossing]) -> None:
    data, passed = b"", set[tuple[Endpoint, ...]]()
    for crossing in crossings:
        # Equal bytes over the same cable once more: sent again, or going round in a circle.
        crossing.repeats = bool(passed) and crossing.frame.data == data and crossing.ends not in passed
        if not crossing.repeats:
            passed = set()
        data = crossing.frame.data
        passed.add(crossing.ends)
