"""Which frame made a table change: how bridges learn from frames, and hosts from ARP.

A capture sees frames and changes of tables side by side, each with its time. But the time of a change is when somebody
read about it, and by then the next frames may be under way. So the time alone proves little, and physics decides: a
bridge learns an address from a frame that comes in with that source, a host learns from an ARP message.

Values only: nothing in here asks the kernel.

Source: IEEE 802.1D-2004 section 7.8, RFC 826, RFC 4861 section 7.3, ip-neighbour(8), arp(7).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from labsupport.net.changes import Key, TableChange
from labsupport.net.frames import Frame
from labsupport.net.icmp import ADVERTISEMENT_V6, SOLICITATION_V6
from labsupport.net.model import Endpoint

# The kernel writes an entry, tells about it, and sends the frame, in any order, within microseconds.
_LATEST_FRAME_NS = 20_000_000

_Test = Callable[[Frame], bool]


@dataclass(frozen=True)
class Cause:
    """A change of a table, and the frame that it belongs to.

    Attributes:
        change: the change.
        frame: the frame that caused it. If none did (an entry got too old, or somebody typed a command), the last one
            before it; None if there is none.
        certain: whether the frame caused it.
    """

    change: TableChange
    frame: Frame | None
    certain: bool


def find_causes(frames: Iterable[Frame], changes: Iterable[TableChange]) -> tuple[Cause, ...]:
    """Return for every change the frame that caused it, in time order of the changes.

    Of the frames that could have caused a change, the first one did: when the next came, the entry was there.
    """
    ordered = sorted(frames, key=lambda frame: (frame.time_ns, frame.direction == "in"))
    times = [frame.time_ns for frame in ordered]
    seen_at = {frame.end for frame in ordered}
    last: dict[Key, int] = {}  # for each line of a table, the position of the frame of its last change
    found = []
    for change in sorted(changes, key=lambda change: change.time_ns):
        line = line_of(change)
        after = last.get(line, -1)
        possible = range(after + 1, bisect_right(times, change.time_ns + _LATEST_FRAME_NS))
        test = _test_for(change, seen_at)
        cause = next((position for position in possible if test(ordered[position])), None) if test else None
        last[line] = max(after, bisect_right(times, change.time_ns) - 1) if cause is None else cause
        frame = ordered[last[line]] if last[line] >= 0 else None
        found.append(Cause(change, frame, cause is not None))
    return tuple(found)


def line_of(change: TableChange) -> Key:
    """Return which line of which table has changed."""
    return change.namespace, change.table, change.key, change.device


def _test_for(change: TableChange, seen_at: set[Endpoint]) -> _Test | None:
    """Return how to know a frame that makes such a change; None if no frame does."""
    if change.table == "fdb":
        port = Endpoint(change.namespace, change.after)
        return lambda frame: frame.end == port and frame.direction == "in" and frame.source == change.key
    evidence = _evidence_for(change)
    if evidence is None:
        return None
    direction, test = evidence
    device = Endpoint(change.namespace, change.device)
    if device in seen_at:
        return lambda frame: frame.end == device and frame.direction == direction and test(frame)
    # Only the ports of a bridge were captured, not the bridge itself, which has the address.
    return lambda frame: frame.end.namespace == change.namespace and frame.direction == direction and test(frame)


def _evidence_for(change: TableChange) -> tuple[str, _Test] | None:
    """Return which frames, in which direction, bring a neighbour into the state that it is in after the change."""
    (mac_before, before), (mac, state) = _neighbour(change.before), _neighbour(change.after)
    if state in ("INCOMPLETE", "PROBE"):
        return "out", lambda frame: _asked_for(frame) == change.key
    if state == "DELAY":  # in use again, so it has to prove itself
        return "out", lambda frame: frame.destination == mac and not frame.arp
    if state == "REACHABLE" and before == "DELAY":  # whatever comes back from it proves it
        return "in", lambda frame: frame.source == mac
    if state == "REACHABLE" or (state == "STALE" and mac != mac_before):
        return "in", lambda frame: _told_by(frame) == change.key
    return None


def _neighbour(entry: str) -> tuple[str, str]:
    """Return the MAC address ("" if none is known) and the state of an entry such as "02:00:00:00:00:02 STALE"."""
    mac, _, state = entry.rpartition(" ")
    return mac, state


def _asked_for(frame: Frame) -> str:
    """Return the IP address whose MAC address a frame asks for, or ""."""
    if frame.arp and frame.arp.operation == "request":
        return frame.arp.target_ip
    return frame.icmpv6.target if frame.icmpv6 and frame.icmpv6.type == SOLICITATION_V6 else ""


def _told_by(frame: Frame) -> str:
    """Return the IP address whose MAC address can be learned from a frame, or ""."""
    if frame.arp:
        return frame.arp.sender_ip
    if frame.icmpv6 and frame.ipv6 and frame.icmpv6.type in (SOLICITATION_V6, ADVERTISEMENT_V6):
        return frame.icmpv6.target if frame.icmpv6.type == ADVERTISEMENT_V6 else frame.ipv6.source
    return ""
