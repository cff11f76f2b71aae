"""Captures frames on any interfaces of a lab at once, and the changes that they cause in its tables."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from labsupport.errors import CaptureError, LabClosed, LabDied, LabError
from labsupport.net.changes import Announcement, Key, TableChange, announcements, lines_of, to_changes
from labsupport.net.frames import Frame
from labsupport.net.model import Endpoint
from labsupport.net.pcapng import write_pcapng
from labsupport.net.places import resolve, write_end
from labsupport.net.read import network, tables
from labsupport.net.ring import frames_of
from labsupport.sandbox import Lab
from labsupport.sandbox.agent import wire

_MODULES = ("labsupport.net.inside.spaces", "labsupport.net.inside.tap")
_DEADLINE_S = 10.0
_PATIENCE_S = 0.5
_MOST_FRAME_BYTES = 1 << 20
DEFAULT_LIMIT_BYTES = 256 << 20


class Capture:
    """Sees every frame that passes chosen interfaces, from now on until it is stopped.

    It makes visible what a table or a `ping` only hints at: who really sent what to whom, where it stopped, and which
    line of which table it changed. Several interfaces share one clock, so their frames are in one order.

    Args:
        lab: where to listen.
        places: interfaces such as "red:red0", or whole namespaces such as "red" (all links but loopback; "" is the
            lab's first namespace). Nothing: every link but loopback, everywhere.
        limit_bytes: when so much was captured it stops by itself, and `full` says so.

    Raises:
        CaptureError: there is no such interface; all that are missing are named.
        LabClosed, LabDied: there is no lab to listen in.

    Attributes:
        peers: which interface is the other end of the cable, for every cable of the lab at the start.
        tables_before: the lines of the FDBs and neighbour tables at the start.
        full: whether it stopped at its limit.

    Effects and privileges: a process in the lab, and up to 64 MiB of the kernel's memory while it runs; both end with
    the lab at the latest. It sees frames where packet(7) does: before the firewall when they come in, after it when
    they go out.
    """

    def __init__(self, lab: Lab, *places: str, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        before = network(lab)
        self.ends = resolve(before, places)
        self.peers: dict[Endpoint, Endpoint] = {
            Endpoint(name, link.name): link.peer
            for name, state in before.namespaces.items() for link in state.links if link.peer}
        self.tables_before: dict[Key, str] = {}
        self.full = False
        self._spaces = list(dict.fromkeys(end.namespace for end in self.ends))
        self._names = {name: {link.index: link.name for link in before.namespaces[name].links}
                       for name in self._spaces}
        self._limit_bytes = limit_bytes
        self._arrived = threading.Condition()
        self._blocks: list[tuple[int, bytes]] = []
        self._frames: list[Frame] = []
        self._announced: list[Announcement] = []
        self._bytes = self._synced = self._wished = self._lost = 0
        self._ready = self._over = False
        self._problem: LabError | None = None
        by_space = {name: [end.link for end in self.ends if end.namespace == name] for name in self._spaces}
        self.ends = [Endpoint(name, link) for name, links in by_space.items() for link in links]
        order = b"".join(wire.encode(os.fsencode(name), *map(os.fsencode, links)) for name, links in by_space.items())
        self._process = lab.fork(_MODULES, order)
        self._reader = threading.Thread(target=self._read, name="labsupport-capture", daemon=True)
        self._reader.start()
        try:
            self._wait(lambda: self._ready)
            for name, (bridged, known) in tables(lab, self._spaces).items():
                self.tables_before |= lines_of(name, bridged, known)
        except BaseException:
            self._process.abandon()
            raise

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Every frame so far, in the order of time.

        Raises:
            CaptureError, LabClosed, LabDied: the capture was ended by somebody else.
        """
        self._sync()
        with self._arrived:
            blocks, self._blocks = self._blocks, []
        if blocks:
            for number, block in blocks:
                self._frames += frames_of(self.ends[number], block)
            # A port and its bridge see a frame at the same moment: the port comes first.
            self._frames.sort(key=lambda frame: (frame.time_ns, frame.end not in self.peers))
        return tuple(self._frames)

    @property
    def changes(self) -> tuple[TableChange, ...]:
        """Every change of a table so far, in the order of time."""
        self._sync()
        with self._arrived:
            return tuple(to_changes(self.tables_before, self._announced))

    @property
    def lost(self) -> int:
        """How many frames the kernel could not keep; known when the capture has stopped."""
        return self._lost

    @property
    def running(self) -> bool:
        """Whether frames are still taken in."""
        return not self._over

    def stop(self) -> None:
        """Take in what is on the way, and end. Stopping twice is no error.

        Raises:
            CaptureError, LabClosed, LabDied: somebody else has ended it before.
        """
        if not self._over:
            self._process.close_stdin()
            self._wait(lambda: self._over)  # the process itself ends a little later: its rings take their time
        if self._problem is not None:
            raise self._problem

    def save(self, path: str | Path) -> None:
        """Write the frames to a pcapng file, which Wireshark and `tcpdump -r` open.

        Raises:
            CaptureError: it cannot be written.
        """
        try:
            write_pcapng(path, self.frames)
        except OSError as problem:
            raise CaptureError("the capture could not be saved", where=str(path), expected="a file that you may write",
                               observed=str(problem), next_step="choose another folder; the capture is kept") from None

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            self.stop()
        else:
            self._process.abandon()

    def __repr__(self) -> str:
        where = ", ".join(write_end(end) for end in self.ends)
        return f"<Capture on {where}: {'running' if self.running else 'stopped'}>"

    def _sync(self) -> None:
        """Wait until everything that was sent before this call is here."""
        if self._over:
            if self._problem is not None and not self._frames and not self._blocks:
                raise self._problem
            return
        with self._arrived:
            self._wished += 1
            wished = self._wished
        self._process.write(b"s")
        self._wait(lambda: self._synced >= wished or self._over)

    def _wait(self, happened: Callable[[], bool]) -> None:
        end = time.monotonic() + _DEADLINE_S
        with self._arrived:
            while not happened():
                if self._problem is not None:
                    raise self._problem
                if self._over:
                    return
                if not self._arrived.wait(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                    raise CaptureError("the capture does not answer", where="this lab",
                                       expected=f"an answer within {_DEADLINE_S:g} s", observed="silence",
                                       next_step="stop it and start another one")

    def _read(self) -> None:
        """Take in what comes, until the end; this is a thread."""
        decoder, errors = wire.Decoder(_MOST_FRAME_BYTES), bytearray()
        problem: LabError | None = None
        try:
            while self._process.exit_status is None:
                self._take(decoder, errors, self._process.read(_PATIENCE_S))
            self._take(decoder, errors, self._process.read(0))
            if not self._over:
                problem = CaptureError("the capture was ended", where="this lab",
                                       exit_status=self._process.exit_status, log_tail=errors.decode(errors="replace"),
                                       next_step="start another one; what was captured is kept")
        except (LabClosed, LabDied) as error:
            problem = error
        with self._arrived:
            self._problem, self._over = problem, True
            self._arrived.notify_all()

    def _take(self, decoder: wire.Decoder, errors: bytearray, output: Sequence[tuple[str, bytes]]) -> None:
        for stream, data in output:
            if stream == "stderr":
                errors += data
                continue
            for frame in decoder.feed(data):
                with self._arrived:
                    self._accept(*frame)
                    self._arrived.notify_all()
        if self._bytes > self._limit_bytes and not self.full:
            self.full = True
            self._process.close_stdin()

    def _accept(self, kind: bytes, *fields: bytes) -> None:
        if kind == b"block":
            self._blocks.append((int(fields[0]), fields[1]))
            self._bytes += len(fields[1])
        elif kind == b"change":
            name = self._spaces[int(fields[0])]
            self._announced += announcements(name, int(fields[1]), fields[2], self._names[name])
        elif kind == b"synced":
            self._synced += 1
        elif kind == b"ready":
            self._ready = True
        elif kind == b"end":
            self._lost = int(fields[0])
            self._over = True
