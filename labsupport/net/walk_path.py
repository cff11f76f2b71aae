"""Follows one packet through captured frames and traces, whatever address translation does to it on its way.

A packet is known by what nobody changes (`Packet.mark`: the sequence numbers of TCP, the first bytes that were sent)
and by its addresses and ports: those that it began with, and those that a namespace gave it in exchange.

Values only: nothing in here asks the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from labsupport.net.conntrack import ConntrackEntry
from labsupport.net.flow import Flow, Packet, packet_of
from labsupport.net.frames import Frame
from labsupport.net.nft_trace import TraceEvent


@dataclass(frozen=True)
class Passage:
    """The way of one packet through the packet filter of one namespace.

    Attributes:
        events: what happened, in order; the first is of the tracing rule.
        first, last: the packet at the beginning and at the end.
        local: whether it was made in this namespace, and did not come in through a link.
    """

    events: tuple[TraceEvent, ...]
    first: Packet
    last: Packet
    local: bool

    @property
    def namespace(self) -> str:
        """Where."""
        return self.events[0].namespace

    @property
    def link_in(self) -> str:
        """Through which link it came, or ""."""
        return self.events[0].link_in

    @property
    def link_out(self) -> str:
        """Through which link it leaves, as far as that was decided."""
        return next((event.link_out for event in reversed(self.events) if event.link_out), "")

    @property
    def flows(self) -> set[Flow]:
        """All addresses and ports that it had."""
        return {event.packet.flow for event in self.events if event.packet}


@dataclass(frozen=True)
class Seen:
    """A frame and the packet in it."""

    frame: Frame
    packet: Packet


@dataclass(frozen=True)
class Record:
    """Everything that is known about the time of a walk."""

    frames: tuple[Seen, ...]
    passages: tuple[Passage, ...]
    entries: tuple[ConntrackEntry, ...]


@dataclass(frozen=True)
class Path:
    """The way of one packet: frames and passages in their order, and all addresses and ports that it had."""

    packet: Packet
    stations: tuple[Seen | Passage, ...]
    flows: frozenset[Flow]


def make_record(frames: Iterable[Frame], events: Iterable[TraceEvent], entries: tuple[ConntrackEntry, ...]) -> Record:
    """Return what is known; frames without a packet of interest are left out."""
    seen = [Seen(frame, packet) for frame in frames if (packet := packet_of(frame))]
    return Record(tuple(seen), tuple(find_passages(events)), entries)


def find_passages(events: Iterable[TraceEvent]) -> list[Passage]:
    """Return the events of one packet in one namespace together, in the order in which the packets came."""
    made: list[list[TraceEvent]] = []
    open_now: dict[tuple[str, int], list[TraceEvent]] = {}
    for event in events:
        key = event.namespace, event.packet_id
        if event.own and event.chain in ("prerouting", "output") and event.handle and event.packet:
            open_now[key] = []
            made.append(open_now[key])
        if key in open_now:
            open_now[key].append(event)
    return [_passage(tuple(group)) for group in made]


def _passage(events: tuple[TraceEvent, ...]) -> Passage:
    packets = [event.packet for event in events if event.packet]
    return Passage(events, packets[0], packets[-1], local=events[0].chain == "output")


def openings(record: Record, client: str, address: str, port: int, protocol: str) -> list[Packet]:
    """Return the first packets of the connections from a namespace to an address and port, one for each."""
    found: dict[Flow, Packet] = {}
    for passage in record.passages:
        packet = passage.first
        flow = packet.flow
        if (passage.namespace == client and passage.local and packet.role == "request"
                and (flow.protocol, flow.destination) == (protocol, address)
                and (protocol == "icmp" or flow.destination_port == port)):
            found.setdefault(flow, packet)
    return list(found.values())


def follow(record: Record, packet: Packet) -> Path:
    """Return the way of a packet."""
    passages = [one for one in record.passages if one.first.mark == packet.mark]
    frames = [one for one in record.frames if one.packet.mark == packet.mark]
    flows = {packet.flow}
    while True:
        more = set().union(*(one.flows for one in passages if one.flows & flows))
        # Where the kernel lost traces, its memory of the connection still tells.
        more |= {one.forwarded for one in record.entries if one.original in flows}
        more |= {one.original.reverse for one in record.entries if one.reply in flows}
        if more <= flows:
            break
        flows |= more
    kept = _once([one for one in frames if one.packet.flow in flows])
    return Path(packet, _in_order(kept, _once_passed([one for one in passages if one.flows & flows])),
                frozenset(flows))


def find_answer(record: Record, request: Path) -> Packet | None:
    """Return the first packet that comes back, as it was made; None if none did."""
    packets = [one.first for one in record.passages if one.local]
    packets += [one.packet for one in record.frames]
    expected = {flow.reverse for flow in request.flows}
    return next((packet for packet in packets
                 if packet.flow in expected and packet.is_answer_to(request.packet)), None)


def _once(frames: Sequence[Seen]) -> list[Seen]:
    """Leave out repetitions; a packet that goes round in a circle has another TTL each time."""
    return list({(one.frame.end, one.frame.direction, one.packet.ttl, one.packet.flow): one
                 for one in reversed(frames)}.values())[::-1]


def _once_passed(passages: Sequence[Passage]) -> list[Passage]:
    return list({(one.namespace, one.link_in, one.first.ttl, one.first.flow): one
                 for one in reversed(passages)}.values())[::-1]


def _in_order(frames: list[Seen], passages: list[Passage]) -> tuple[Seen | Passage, ...]:
    """Put each passage behind the frame that brought the packet, or before the one that takes it away.

    The kernel puts a time on frames, but none on traces.
    """
    frames = sorted(frames, key=lambda one: one.frame.time_ns)
    places: list[tuple[float, Seen | Passage]] = [(float(at), one) for at, one in enumerate(frames)]
    before = -0.5
    for passage in passages:
        found = _place(frames, passage)
        before = before if found is None else found
        places.append((before, passage))
    return tuple(one for _, one in sorted(places, key=lambda pair: pair[0]))


def _place(frames: list[Seen], passage: Passage) -> float | None:
    packet = passage.last if passage.local else passage.first
    direction, link = ("out", passage.link_out) if passage.local else ("in", passage.link_in)
    same = [at for at, one in enumerate(frames)
            if one.frame.end.namespace == passage.namespace and one.frame.direction == direction
            and (one.packet.flow, one.packet.ttl) == (packet.flow, packet.ttl)]
    at = next((at for at in same if frames[at].frame.end.link == link), same[0] if same else None)
    return None if at is None else at - 0.5 if passage.local else at + 0.5
