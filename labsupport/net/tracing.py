"""Starts the process that traces in a lab, and reads what it has kept."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from labsupport.errors import CaptureError
from labsupport.net.conntrack import LIST, ConntrackEntry, read_entries
from labsupport.net.nft_trace import TraceEvent, read_trace, tracing
from labsupport.sandbox import Lab
from labsupport.sandbox.agent import wire
from labsupport.sandbox.process import place

_MODULES = ("labsupport.net.inside.spaces", "labsupport.net.inside.tracer")
_DEADLINE_S = 20.0
_MOST_FRAME_BYTES = 1 << 20
_MISSING = {
    "namespace": ("the network namespace is there", "build the network first"),
    "nfnetlink": ("netlink for the packet filter (NETLINK_NETFILTER)",
                  "the kernel module nfnetlink is needed: modprobe nfnetlink"),
    "nftables": ("nftables with meta nftrace, and a table with an owner (Linux 5.12)",
                 "the kernel module nf_tables is needed (`labsupport doctor` says more); if a walk is under way in"
                 " this namespace, stop it first"),
    "conntrack": ("the list of conntrack's entries", "a kernel module is needed: modprobe nf_conntrack_netlink"),
}


@dataclass(frozen=True)
class Traced:
    """What was told.

    Attributes:
        events: in each namespace in their order.
        entries: conntrack's entries at the end, of all namespaces.
        lost: whether the kernel or the process could not keep everything.
    """

    events: tuple[TraceEvent, ...]
    entries: tuple[ConntrackEntry, ...]
    lost: bool


class Tracing:
    """The process, from its start to its end. Whatever becomes of it, the kernel then removes its tables.

    Args:
        lab: where.
        links: names of the interfaces by their indexes, for each namespace.
        protocol: "tcp", "udp" or "icmp".

    Raises:
        CaptureError: the kernel lacks something; the message says what, where, and what to do.
    """

    def __init__(self, lab: Lab, links: Mapping[str, Mapping[int, str]], protocol: str) -> None:
        self._links = links
        self._spaces: Sequence[str] = list(links)
        self._decoder = wire.Decoder(_MOST_FRAME_BYTES)
        self._frames: list[list[bytes]] = []
        self._errors = bytearray()
        table, answers = tracing(protocol)
        order = wire.encode(b"spaces", *map(os.fsencode, self._spaces))
        self._process = lab.fork(_MODULES, order, table, b"%d" % answers, LIST)
        try:
            self._wait_for(b"ready")
        except BaseException:
            self.abandon()
            raise

    def stop(self) -> Traced:
        """End it, and return what it has kept."""
        self._process.close_stdin()
        try:
            self._wait_for(b"end")
        finally:
            self.abandon()
        return self._read()

    def abandon(self) -> None:
        """End it now."""
        self._process.abandon()

    def _wait_for(self, kind: bytes) -> None:
        end = time.monotonic() + _DEADLINE_S
        while not any(frame[0] == kind for frame in self._frames[-1:]):
            news = self._process.read(max(0.0, end - time.monotonic()))
            for stream, data in news:
                if stream == "stderr":
                    self._errors += data
                else:
                    self._frames += self._decoder.feed(data)
            for frame in self._frames[-1:]:
                if frame[0] == b"failed":
                    raise self._failed(*frame[1:])
            if not news and (self._process.exit_status is not None or time.monotonic() >= end):
                raise CaptureError("the tracing of packets was ended", where="this lab",
                                   exit_status=self._process.exit_status,
                                   log_tail=self._errors.decode(errors="replace"),
                                   expected=f"{kind.decode()} within {_DEADLINE_S:g} s", next_step="start it again")

    def _failed(self, space: bytes, code: bytes, what: bytes) -> CaptureError:
        expected, advice = _MISSING[what.decode()]
        return CaptureError("packets cannot be traced here", where=place(self._spaces[int(space)]), expected=expected,
                            observed=os.strerror(int(code)), next_step=advice)

    def _read(self) -> Traced:
        events: list[TraceEvent] = []
        lists: dict[tuple[bytes, int], bytes] = defaultdict(bytes)
        for kind, *fields in self._frames:
            if kind == b"event":
                name = self._spaces[int(fields[0])]
                event = read_trace(name, fields[1], self._links[name])
                events += [event] if event else []
            elif kind in (b"before", b"after"):
                lists[kind, int(fields[0])] += fields[1]
        entries = []
        for number, name in enumerate(self._spaces):
            old = {(one.original, one.reply) for one in read_entries(name, lists[b"before", number])}
            entries += [replace(one, new=(one.original, one.reply) not in old)
                        for one in read_entries(name, lists[b"after", number])]
        lost = any(frame[0] in (b"missed", b"full") for frame in self._frames)
        return Traced(tuple(events), tuple(entries), lost)


