"""What a packet meets, one step after the other, in words that a table and a picture can use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from labsupport.net.conntrack import ConntrackEntry
from labsupport.net.flow import Flow
from labsupport.net.frames import Frame
from labsupport.net.nft_rules import RuleKey
from labsupport.net.nft_trace import TraceEvent
from labsupport.net.walk_path import Passage, Path, Seen

StepKind = Literal["sent", "out", "in", "conntrack", "rule", "dnat", "snat", "route", "delivered", "dropped", "lost"]
Way = Literal["there", "back"]
Rules = Mapping[str, Mapping[RuleKey, str]]


@dataclass(frozen=True)
class WalkStep:
    """One thing that a packet met.

    Attributes:
        way: "there" for the first packet of the connection, "back" for the first answer.
        kind: "sent" by a process; "out" and "in" of a link; "route", a routing decision; "rule", a rule of the packet
            filter that matched and decided something; "dnat" and "snat", the destination or the source was translated;
            "conntrack", the connection was noted, or the answer recognised; "delivered" to a process; "dropped" by a
            rule; "lost", where its trace ends without a rule's doing.
        namespace: where.
        flow: addresses and ports after the step.
        before: those before it, of "dnat" and "snat".
        link: of "out" and "in", and the one that a "route" leads to; "" elsewhere.
        ttl: after the step.
        text: what happened, in one line.
        time_ns: of frames, in nanoseconds since 1970. The kernel puts no time on decisions: None.
        frame: of "out" and "in".
        event: of "rule", "dropped" and "route": what the kernel told.
        entry: of "conntrack".
    """

    way: Way
    kind: StepKind
    namespace: str
    flow: Flow
    ttl: int
    text: str
    link: str = ""
    before: Flow | None = None
    time_ns: int | None = None
    frame: Frame | None = None
    event: TraceEvent | None = None
    entry: ConntrackEntry | None = None


def make_steps(way: Way, path: Path, entries: tuple[ConntrackEntry, ...], rules: Rules) -> list[WalkStep]:
    """Return the steps of one packet."""
    steps: list[WalkStep] = []
    for station in path.stations:
        if isinstance(station, Seen):
            steps.append(_crossing(way, station))
        else:
            here = [entry for entry in entries if entry.namespace == station.namespace]
            steps += _Telling(way, station, here, rules.get(station.namespace, {})).steps()
    return steps


def _crossing(way: Way, seen: Seen) -> WalkStep:
    frame, packet = seen.frame, seen.packet
    text = f"{frame.summary}, {frame.source} > {frame.destination}"
    return WalkStep(way, frame.direction, frame.end.namespace, packet.flow, packet.ttl, text, frame.end.link,
                    time_ns=frame.time_ns, frame=frame)


class _Telling:
    """Tells one passage."""

    def __init__(self, way: Way, passage: Passage, entries: list[ConntrackEntry], rules: Mapping[RuleKey, str]) -> None:
        self.way, self.passage, self.rules = way, passage, rules
        self.flow, self.ttl, self.link = passage.first.flow, passage.first.ttl, ""
        self.made = next((one for one in entries if one.original == self.flow), None)
        self.known = next((one for one in entries if one.reply == self.flow and one.original != self.flow), None)
        self.ended = False

    def steps(self) -> Iterator[WalkStep]:
        if self.passage.local:
            yield self.step("sent", "a process sends it" if self.flow.protocol != "icmp" else "sent from here")
        if self.known:
            yield self.step("conntrack", f"answer of a known connection: {self.known.original}", entry=self.known)
        wanted = _deciding(self.passage.events)
        for event in self.passage.events:
            yield from self.translation(event)
            if event.own:
                yield from self.hook(event)
            elif event in wanted:
                yield from self.rule(event)
        if not self.ended:
            yield self.step("lost", self.end_of_trace())

    def step(self, kind: StepKind, text: str, *, link: str = "", before: Flow | None = None,
             event: TraceEvent | None = None, entry: ConntrackEntry | None = None) -> WalkStep:
        return WalkStep(self.way, kind, self.passage.namespace, self.flow, self.ttl, text, link, before, event=event,
                        entry=entry)

    def translation(self, event: TraceEvent) -> Iterator[WalkStep]:
        """Tell what has changed since the kernel last showed the packet."""
        if event.packet is None:
            return
        old, new = self.flow, event.packet.flow
        ends = (("dnat", old[3:5], new[3:5]), ("snat", old[1:3], new[1:3]))
        why = " (conntrack undoes the translation)" if self.known else ""
        for kind, was, now in ends:
            if was != now and not (old.protocol == "icmp" and was[0] == now[0]):
                self.flow = Flow(old.protocol, *(old[1:3] + now if kind == "dnat" else now + self.flow[3:5]))
                word = "destination" if kind == "dnat" else "source"
                before = old if kind == "dnat" else Flow(old.protocol, *old[1:3], *self.flow[3:5])
                yield self.step("dnat" if kind == "dnat" else "snat",
                                f"{word} {_end(old, was)} becomes {_end(new, now)}{why}", before=before)
        self.flow, self.ttl = new, event.packet.ttl  # a router takes one off the TTL when it has chosen a route

    def hook(self, event: TraceEvent) -> Iterator[WalkStep]:
        """Tell what the arrival at a hook of the kernel means."""
        if event.packet is None:
            return
        if event.chain == "input":
            yield self.step("route", "the address is one of this namespace", event=event)
        elif event.chain in ("forward", "output", "postrouting") and event.link_out != self.link:
            self.link = event.link_out
            # Through a bridge with br_netfilter go frames, which nobody routes: they keep their TTL.
            if self.passage.local or self.ttl < self.passage.first.ttl:
                yield self.step("route", f"leaves through {self.link}, TTL {self.ttl}", link=self.link, event=event)
        if event.chain in ("delivered", "leaving"):
            self.ended = True
            if self.made:
                yield self.step("conntrack", _noted(self.made), entry=self.made)
            if event.chain == "delivered":
                yield self.step("delivered", _receiver(self.flow))

    def rule(self, event: TraceEvent) -> Iterator[WalkStep]:
        words = self.rules.get((event.family, event.table, event.handle), f"rule {event.handle}")
        words = "policy of the chain" if event.kind == "policy" else words
        verdict = f"{event.verdict} {event.target}".strip()
        yield self.step("rule", f"{event.family} {event.table} {event.chain}: {words} -> {verdict}", event=event)
        if event.verdict == "drop":
            self.ended = True
            yield self.step("dropped", f"dropped in {event.family} {event.table} {event.chain}", event=event)

    def end_of_trace(self) -> str:
        hooks = {event.chain for event in self.passage.events if event.own}
        if self.passage.local or hooks & {"input", "forward"}:
            return "the trace ends here: the packet was rejected, queued, or taken by something that is not traced"
        return "not passed on: no route, or not a router (net.ipv4.ip_forward), or rp_filter refused the source"


def _deciding(events: tuple[TraceEvent, ...]) -> list[TraceEvent]:
    """Return the events that decide something: a jump counts if a rule behind it does."""
    kept: list[TraceEvent] = []
    for event in reversed(events):
        if event.own or (event.kind == "policy" and event.verdict != "drop") or event.kind == "return":
            continue
        if event.kind == "rule" and (not event.handle or event.verdict in ("return", "break")):
            continue
        into = (event.family, event.table, event.target)
        if event.verdict in ("jump", "goto") and into not in [(one.family, one.table, one.chain) for one in kept]:
            continue
        kept.append(event)
    return kept


def _noted(entry: ConntrackEntry) -> str:
    noted = "noted" if entry.new else "known already"
    return f"connection {noted}: {entry.original}; answers will be {entry.reply}"


def _end(flow: Flow, end: tuple[object, ...]) -> str:
    address, port = end
    return str(address) if flow.protocol == "icmp" else f"{address}:{port}"


def _receiver(flow: Flow) -> str:
    return "taken by the kernel itself" if flow.protocol == "icmp" else (
        f"to the socket of {flow.protocol} port {flow.destination_port}")
