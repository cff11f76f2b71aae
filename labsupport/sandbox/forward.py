"""Port forwards: TCP connections between this machine and a lab, carried by a byte stream to the lab's agent.

The network of a lab is not the host's: nothing routes between them, and no descriptor is handed over. A copy of the
lab's PID 1 (`Lab.fork`) connects or listens there; between it and a thread here go the frames of
labsupport.sandbox.inside.mux. What comes from the lab is not trusted: all that it can do is to end its forward.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from labsupport.errors import LabClosed, LabDied, LabError, NamespaceNotFound, ProtocolError
from labsupport.sandbox import ports
from labsupport.sandbox.agent import wire
from labsupport.sandbox.connection import Connection
from labsupport.sandbox.inside.mux import MOST_CONNECTIONS, Mux
from labsupport.sandbox.interrupts import INTERRUPTS
from labsupport.sandbox.portable import pack
from labsupport.sandbox.process import Process, place

Handler = Callable[[socket.socket], object]
Reach = Callable[[], Connection]

_MODULES = ("labsupport.sandbox.inside.flow", "labsupport.sandbox.inside.mux", "labsupport.sandbox.inside.forward")
_START_DEADLINE_S = 10.0
_PATIENCE_S = 2.0
_RESTART_INTERVAL_S = 1.0
_STREAM_HAS_ENDED = (LabClosed, LabDied, ProtocolError)


class Tunnel:
    """What both directions have in common: the thread that carries connections, and its helper in the lab.

    Attributes:
        address: the IP address and the port on which it listens.
        ended: why it works no longer, or None while it does.
        last_used_s: when a connection was last made, used or ended, as time.monotonic() tells the time.
    """

    def __init__(self, reach: Reach, mux: Mux, side: bytes, inside: tuple[str, str, int], *, lasting: bool) -> None:
        self._side = side
        self._namespace, address, port = inside
        self.address: tuple[str, int] = address, port
        self._settle_on(port)
        self._lasting = lasting  # the helper has to be there all the time, not only when there is something to send
        self._mux = mux
        self._lock = threading.RLock()
        self._closing = False
        self._process: Process | None = None
        self._last_words = b""
        self._next_start_s = 0.0
        self.ended: LabError | None = None
        self.last_used_s = time.monotonic()
        with INTERRUPTS, ExitStack() as undo:
            undo.callback(mux.close)
            self._connection = reach()
            undo.callback(self._connection.close)
            self._settle_on(self._first_start())
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self._wake)
            for fd in (self._connection.fileno(), self._wake):
                mux.poll.register(fd, select.EPOLLIN)
            self._thread = threading.Thread(target=self._run, daemon=True, name=f"labsupport forward: {self._where}")
            self._thread.start()
            undo.pop_all()

    def _settle_on(self, port: int) -> None:
        """Use this port of the lab from now on."""
        address = self.address[0]
        self.address = address, port
        self._order = self._side, os.fsencode(self._namespace), address.encode(), b"%d" % port
        self._where = f"{address} port {port} in {place(self._namespace)}"

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._mux.flows)

    def close(self) -> None:
        """End it and all of its connections; closing twice is no error."""
        with self._lock:
            self._closing = True
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        """What the thread does. It never raises what the lab or the end of the lab has brought about."""
        problem: LabError | None = None
        try:
            while not self._closing:
                self._turn()
        except LabError as error:
            problem = error
        except wire.MalformedFrameError as error:
            problem = self._protocol_error(error)
        except OSError as error:
            problem = LabError("a forward has ended", where=self._where, observed=str(error), next_step="make it again")
        finally:
            if self._mux.listener is not None:  # whoever reads `ended` finds the port closed
                self._mux.listener.close()
            self.ended = problem or LabClosed("a forward was closed", where=self._where, next_step="make it again")
            self._mux.close()
            self._connection.close()
            with self._lock:
                os.close(self._wake)
                self._wake = -1

    def _turn(self) -> None:
        if self._lasting and self._process is None and time.monotonic() >= self._next_start_s:
            self._restart()
        for fd, _ in self._mux.poll.poll(self._longest_wait_s()):
            if fd == self._connection.fileno():
                self._take_in()
            elif fd != self._wake:
                self._mux.handle(fd)
                self.last_used_s = time.monotonic()
        if self._mux.out:
            self._flush()
        self._mux.settle()

    def _longest_wait_s(self) -> float | None:
        if self._lasting and self._process is None:
            return max(0.0, self._next_start_s - time.monotonic())
        return None

    def _take_in(self) -> None:
        """Take one read's worth of frames, which is there, and what they bring from the helper."""
        rounds = iter((False, True))
        self._connection.wait(lambda: next(rounds), None)
        self._feed(self._process, 0)
        if any(kind not in {b"ready", b"failed"} for kind, *_ in self._mux.answers):
            raise wire.MalformedFrameError(f"an unexpected frame {self._mux.answers[0][0][:40]!r}")
        self._mux.answers.clear()

    def _feed(self, process: Process | None, timeout_s: float) -> None:
        if process is None:
            return
        for stream, data in process.read(timeout_s):
            if stream == "stdout":
                self._mux.feed(data)
                self.last_used_s = time.monotonic()
            else:
                self._last_words = (self._last_words + data)[-2000:]
        if process.exit_status is not None and process is self._process:
            self._process = None
            self._mux.reset_all()

    def _flush(self) -> None:
        """Send as much as there is room for; an answer of the lab's agent says when there is more."""
        if self._process is None and not self._restart():
            self._mux.reset_all()
            return
        assert self._process is not None  # noqa: S101
        with memoryview(self._mux.out) as view:
            sent = self._process.offer(view)
        del self._mux.out[:sent]

    def _start(self) -> Process:
        self._next_start_s = time.monotonic() + _RESTART_INTERVAL_S
        return Process(self._connection, [_MODULES[-1]], mode="forked", code=pack(_MODULES, self._order))

    def _restart(self) -> bool:
        """Start the helper again, which somebody in the lab has ended; return whether that was possible."""
        try:
            self._process = self._start()
        except _STREAM_HAS_ENDED:
            raise
        except LabError:  # the lab has as many processes as it may have: the next one who knocks may be luckier
            return False
        self._feed(self._process, 0)  # it may have come along with the answer
        return self._process is not None

    def _first_start(self) -> int:
        """Start the helper; return the port on which it listens."""
        process = self._start()
        end = time.monotonic() + _START_DEADLINE_S
        try:
            self._feed(process, _START_DEADLINE_S)  # it may have ended already, and its words be there
            while not self._mux.answers and process.exit_status is None and time.monotonic() < end:
                self._feed(process, max(0.0, end - time.monotonic()))
            answers = self._mux.answers or [[b"", b"", self._last_words or b"no answer"]]
            kind, code, *text = answers.pop()
            if kind == b"ready":
                self._process = process
                return int(code)
            problem = text[0].decode(errors="replace")
        except (IndexError, ValueError) as error:
            raise self._protocol_error(error) from None
        raise self._refused(code, problem)

    def _refused(self, code: bytes, text: str) -> LabError:
        if code == b"no-namespace":
            return NamespaceNotFound(
                f"no network namespace is called {self._namespace!r}", where="this lab",
                expected=f"one of: {text}" if text else "a namespace made by `ip netns add NAME`",
                next_step=f"check the spelling, or make it: ip netns add {self._namespace}",
            )
        return LabError("a forward could not start in the lab", where=self._where, observed=text,
                        next_step="`ss -tlnp` in the lab shows which ports are taken, `ip addr` which addresses it has")

    def _protocol_error(self, problem: Exception) -> ProtocolError:
        return ProtocolError("a forward got bytes from the lab that it does not understand", where=self._where,
                             observed=str(problem), next_step="make a new lab; please report it: a fault of ours")


class Forward(Tunnel):
    """Connections to a port of this machine arrive at a port of a lab; made by `Lab.forward`.

    TCP as one knows it: either side may end its direction first, and a connection that is refused in the lab, or
    aborted, is reset here. If the lab's root ends the helper in the lab, open connections are reset, and the next one
    starts it again.

    Attributes:
        address: the IP address and the port of this machine to connect to.
        ended, last_used_s: see Tunnel.
    """

    def __init__(self, reach: Reach, address: str, port: int, *, namespace: str, listen: tuple[str, int]) -> None:
        ports.family_of(address)
        ports.check_port(port, 1)
        listener = ports.listen(*listen)
        bound = listener.getsockname()
        super().__init__(reach, Mux(listener=listener), b"connect", (namespace, address, port), lasting=False)
        self.address = bound[0], bound[1]

    def __repr__(self) -> str:
        return f"<Forward {self.address[0]} port {self.address[1]} to {self._where}>"


class Service(Tunnel):
    """Connections to a port of a lab arrive at a function of this process; made by `Lab.serve`.

    If the lab's root ends the helper in the lab, open connections are reset, and the port is there again within a
    second.

    Attributes:
        address: the IP address and the port in the lab to connect to.
        ended, last_used_s: see Tunnel.
    """

    def __init__(self, reach: Reach, handler: Handler, address: str, port: int, *, namespace: str) -> None:
        ports.family_of(address)
        ports.check_port(port, 0)
        self._handler = handler
        self._handlers: set[threading.Thread] = set()
        super().__init__(reach, Mux(dial=self._dial), b"listen", (namespace, address, port), lasting=True)

    def close(self) -> None:
        """End it and its connections, which the handlers see as their end; wait for these, two seconds at most."""
        super().close()
        end = time.monotonic() + _PATIENCE_S
        for thread in set(self._handlers) - {threading.current_thread()}:
            thread.join(max(0.0, end - time.monotonic()))

    def _dial(self) -> socket.socket:
        """Start a handler; return the other end of its connection."""
        if len(self._handlers) >= MOST_CONNECTIONS:  # of handlers that go on although their connection has ended
            raise OSError(errno.EAGAIN, "too many handlers")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        thread = threading.Thread(target=self._handle, args=(theirs,), daemon=True,
                                  name=f"labsupport connection: {self._where}")
        self._handlers.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            self._handlers.discard(thread)
            ours.close()
            theirs.close()
            raise OSError(errno.EAGAIN, str(error)) from None
        return ours

    def _handle(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._handler(connection)
        finally:
            self._handlers.discard(threading.current_thread())

    def __repr__(self) -> str:
        return f"<Service at {self._where}>"
