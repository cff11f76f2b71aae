"""Captured frames as a picture: who sent what to whom, one below the other in time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from labsupport.net import Endpoint, Network
from labsupport.net.frames import Frame
from labsupport.views.canvas import printable
from labsupport.views.crossings import Crossing, find_crossings, peers_of
from labsupport.views.frame_table import MOST_FRAMES, addresses, interface
from labsupport.views.ladder import draw_ladder
from labsupport.views.picture import Picture

if TYPE_CHECKING:
    from labsupport.net.capture import Capture


def draw_frames(frames: Capture | Iterable[Frame], cables: Network | Mapping[Endpoint, Endpoint] | None = None,
                order: Sequence[str] = ()) -> Picture:
    """Return a picture of who sent what to whom.

    It makes visible the way of a frame: which cables it crosses, where it is copied, changed or dropped.
    Each vertical line is a network namespace, each arrow one crossing of a cable; time runs downwards. Arrows in one
    band carry the same frame, byte for byte. A dashed arrow with a cross is a frame that was sent, but did not come out
    of the cable. A disc on a line is a frame that came in at an interface without a cable (a bridge hands it to its own
    machine), a diamond one that went out there. Names of interfaces stand at arrows where two namespaces have several
    cables. Times are not shown, so that one experiment gives one picture; `frame_table` has them. With more than 200
    crossings the first ones are drawn.

    Args:
        frames: a capture; or frames, for example some of `capture.frames`, together with `cables`.
        cables: the network that the frames were captured in (`labsupport.net.network`), or the other end of each cable,
            as in `capture.peers`. Not needed with a capture.
        order: namespaces from left to right; they are drawn even without frames. Others follow as they appear.
    """
    captured: Collection[Endpoint] = ()
    if not isinstance(frames, Iterable):
        cables = frames.peers if cables is None else cables
        captured, frames = frames.ends, frames.frames
    frames = tuple(frames)
    peers = peers_of(cables) if isinstance(cables, Network) else dict(cables or {})
    # Where nothing came in, perhaps nobody listened, or these are only the frames that went out.
    captured = captured or {frame.end for frame in frames if frame.direction == "in"}
    crossings = find_crossings(frames, peers, captured)
    shown = crossings[:MOST_FRAMES]
    note = "" if len(shown) == len(crossings) else (
        f"The first {len(shown)} of {len(crossings)} are drawn; {len(crossings) - len(shown)} are left out.")
    names = tuple(dict.fromkeys((*order, *(end.namespace for crossing in shown for end in crossing.ends))))
    drawing, width, height = draw_ladder(shown, names, parallel_cables(peers), note)
    return Picture(_headline(shown, names), _describe(shown, names, note), width, height, str(drawing))


def parallel_cables(peers: Mapping[Endpoint, Endpoint]) -> set[frozenset[str]]:
    """Return the pairs of namespaces that more than one cable joins."""
    pairs = [frozenset((one.namespace, other.namespace)) for one, other in peers.items() if one < other]
    return {pair for pair in pairs if pairs.count(pair) > 1}


def _headline(crossings: list[Crossing], names: tuple[str, ...]) -> str:
    frames = sum(not crossing.repeats for crossing in crossings)
    return (f"Who sent what to whom: {_count(len(names), 'network namespace')}, {_count(frames, 'frame')}, "
            f"{_count(sum(len(crossing.ends) == 2 for crossing in crossings), 'crossing')} of cables")


def _describe(crossings: list[Crossing], names: tuple[str, ...], note: str) -> str:
    lines = [_headline(crossings, names), "Lines from left to right: " + (", ".join(map(_call, names)) or "none")]
    lines += [f"{number}. {_describe_crossing(crossing)}" for number, crossing in enumerate(crossings, start=1)]
    return "\n".join(map(printable, [*lines, note] if note else lines))


def _describe_crossing(crossing: Crossing) -> str:
    if crossing.start is None or crossing.end is None:
        way = " ".join(f"{interface(end)} {crossing.frame.direction}" for end in crossing.ends)
    else:
        way = f"{interface(crossing.start)} > {interface(crossing.end)}"
    facts = [way, "lost" if crossing.lost else "", "the same frame" if crossing.repeats else ""]
    who = addresses(crossing.frame)
    return ", ".join(filter(None, facts)) + ": " + (f"{who}, " if who else "") + crossing.frame.summary


def _call(name: str) -> str:
    return name or "the lab's first namespace"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
