"""The walk of one connection: everything that its first packet and the first answer meet, across namespaces."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from types import TracebackType

from labsupport.errors import CaptureError
from labsupport.net.capture import Capture
from labsupport.net.conntrack import ConntrackEntry
from labsupport.net.flow import Flow, Packet
from labsupport.net.model import Network
from labsupport.net.nft_rules import rule_words
from labsupport.net.read import network
from labsupport.net.tracing import Tracing
from labsupport.net.walk_path import Path, Record, find_answer, follow, make_record, openings
from labsupport.net.walk_steps import Rules, WalkStep, Way, make_steps
from labsupport.net.walk_text import walk_headline, walk_lines
from labsupport.sandbox import Lab
from labsupport.sandbox.process import place

_MOST_PORT = 65535


class Walk:
    """Follows one connection while it is made: links, routing, rules, address translation, conntrack, there and back.

    It makes visible in one place what `tcpdump`, `conntrack -L` and `nft monitor trace` tell in pieces, in every
    namespace for itself. Use it as a context manager, and make the connection inside:

        with Walk(lab, "red", to="10.0.0.2", port=80) as walk:
            lab.run("curl -s 10.0.0.2", namespace="red")

    Printed, it tells its steps. `draw_walk` and `step_walk` of labsupport.views show them.

    It follows the first packet of the first connection from the client to that address and port, and the first packet
    that comes back; others that are under way at the same time do not confuse it.

    Args:
        lab: where; of a cluster, `cluster.lab`.
        client: the namespace that the connection comes from; "" is the lab's first one.
        to: the IP address that the client uses: of a host, of a NAT router, of a Service.
        port: the TCP or UDP port that the client uses; 0 for an echo ("icmp").
        protocol: "tcp", "udp", or "icmp" for the echo of `ping`.
        source_port: of several connections at once, the one with this port (of an echo: its identifier); 0 is the
            first one.

    Raises:
        CaptureError: an argument makes no sense (all faults are told), or the kernel cannot trace; when it ends: there
            was no such connection.
        LabClosed, LabDied: there is no lab to look into.

    Attributes:
        steps: what the packets met, in order; there as soon as it has ended.
        flow: addresses and ports as the client used them.
        answered: whether an answer reached the client.
        entries: what conntrack noted about this connection, in all namespaces.
        flows: all connections that it could have followed, in their order.
        capture: every frame of that time, for `draw_frames` and for Wireshark.
        lost: whether the kernel could not tell everything; then steps may be missing.

    Effects and privileges: a table `inet labsupport-walk` in every namespace, whose rules only switch tracing on; for
    TCP, for packets with SYN or RST. The kernel removes it when the process that made it ends, in whatever way. What
    rules of the old iptables (iptables-legacy) decide is not seen.

    Source: nft(8) "meta nftrace", conntrack(8), packet(7), netfilter.org's picture of the packet flow.
    """

    def __init__(self, lab: Lab, client: str, *, to: str, port: int = 0, protocol: str = "tcp",
                 source_port: int = 0) -> None:
        there = network(lab)
        _refuse(list(_faults(there, client, to, port, protocol, source_port)))
        self.client, self.to, self.port, self.protocol = client, str(ipaddress.ip_address(to)), port, protocol
        self.source_port = source_port
        self.steps: tuple[WalkStep, ...] = ()
        self.entries: tuple[ConntrackEntry, ...] = ()
        self.flows: tuple[Flow, ...] = ()
        self.flow: Flow | None = None
        self.answered = self.lost = self._over = False
        self._lab = lab
        links = {name: {link.index: link.name for link in state.links} for name, state in there.namespaces.items()}
        self.capture = Capture(lab)
        try:
            self._tracing = Tracing(lab, links, protocol)
        except BaseException:
            self.capture.__exit__(BaseException, None, None)
            raise

    def stop(self) -> None:
        """End it and work out the steps. Stopping twice is no error.

        Raises:
            CaptureError: no such connection was made meanwhile, or somebody ended what listens.
        """
        if self._over:
            return
        self._over = True
        try:
            traced = self._tracing.stop()
        except BaseException:
            self.capture.__exit__(BaseException, None, None)
            raise
        self.capture.stop()
        self.lost = traced.lost or self.capture.lost > 0 or self.capture.full
        record = make_record(self.capture.frames, traced.events, traced.entries)
        begun = openings(record, self.client, self.to, self.port, self.protocol)
        self.flows = tuple(packet.flow for packet in begun)
        chosen = [one for one in begun if self.source_port in (0, one.flow.source_port)]
        if not chosen:
            raise self._nothing()
        self._tell(record, chosen[0])

    def _tell(self, record: Record, request: Packet) -> None:
        there = follow(record, request)
        paths: list[tuple[Way, Path]] = [("there", there)]
        answer = find_answer(record, there)
        if answer is not None:
            paths.append(("back", follow(record, answer)))
        rules = self._rules([path for _, path in paths])
        self.flow = request.flow
        self.entries = tuple(one for one in record.entries
                             if {one.original, one.forwarded} <= there.flows)
        self.steps = tuple(step for way, path in paths for step in make_steps(way, path, self.entries, rules))
        self.answered = any((step.way, step.kind, step.namespace) == ("back", "delivered", self.client)
                            for step in self.steps)

    def _rules(self, paths: list[Path]) -> Rules:
        """Return the words of the rules in the namespaces in which one matched."""
        spaces = {event.namespace for path in paths for one in path.stations if not hasattr(one, "frame")
                  for event in one.events if not event.own}
        return {name: rule_words(self._lab, name) for name in sorted(spaces)}

    def _nothing(self) -> CaptureError:
        target = f"{self.to} port {self.port}" if self.port else self.to
        which = f" from source port {self.source_port}" if self.source_port else ""
        seen = ", ".join(map(str, self.flows[:5])) or "none"
        lost = "; the kernel could not tell everything, so it may have been there" if self.lost else ""
        return CaptureError(f"no {self.protocol} connection to {target}{which} was begun", where=place(self.client),
                            expected="a new connection while the walk was under way", observed=f"{seen}{lost}",
                            next_step="make it inside the `with` block, from this namespace and to this very address;"
                                      " without a route to it no packet is sent at all: ip route get ADDRESS")

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            self.stop()
        else:
            self._over = True
            self._tracing.abandon()
            self.capture.__exit__(kind, error, trace)

    def __str__(self) -> str:
        if not self.steps:
            return repr(self)
        head = walk_headline(self.steps, answered=self.answered, lost=self.lost)
        return "\n".join([head, *walk_lines(self.steps)])

    def __repr__(self) -> str:
        state = f"{len(self.steps)} steps" if self._over else "under way"
        return f"<Walk from {self.client or 'the first namespace'} to {self.to} {self.protocol} {self.port}: {state}>"


def _faults(there: Network, client: str, to: str, port: int, protocol: str, source_port: int) -> Iterator[str]:
    if client not in there.namespaces:
        names = ", ".join(name for name in there.namespaces if name) or "none has a name yet"
        yield f"client: there is no namespace {client!r}; there are: {names}"
    try:
        ipaddress.ip_address(to)
    except ValueError:
        yield f"to: {to!r} is no IP address; a name has to be looked up first: getent hosts NAME"
    if protocol not in ("tcp", "udp", "icmp"):
        yield f'protocol: {protocol!r} cannot be followed; "tcp", "udp" and "icmp" can'
    elif protocol == "icmp" and port:
        yield f"port: an echo has none, and {port!r} was given"
    elif protocol != "icmp" and not (isinstance(port, int) and 1 <= port <= _MOST_PORT):
        yield f"port: {port!r} is no {protocol} port; 1 to {_MOST_PORT} are"
    if not (isinstance(source_port, int) and 0 <= source_port <= _MOST_PORT):
        yield f"source_port: {source_port!r} is no port; 0 to {_MOST_PORT} are"


def _refuse(faults: list[str]) -> None:
    if faults:
        raise CaptureError(f"this walk has {len(faults)} fault{'' if len(faults) == 1 else 's'}", where="Walk",
                           observed="\n".join(faults), next_step="mend the arguments that are named; nothing was begun")
