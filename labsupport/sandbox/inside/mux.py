"""Carries many connections over one byte stream. Both ends are made of this: the host's, and the one in the lab.

Each frame (labsupport.sandbox.agent.wire) begins with its kind and the number of its connection:

    open NUMBER         somebody has connected to the end that listens; numbers only grow
    data NUMBER BYTES   bytes of one direction, CHUNK_BYTES at most
    room NUMBER COUNT   so many bytes were passed on: as many more may be sent
    eof NUMBER          no more bytes in this direction; the other one goes on
    reset NUMBER        the connection has failed, or there is none: both directions are over

An end sends at most WINDOW_BYTES of a connection for which no `room` has come yet. So one that nobody reads holds that
much memory and no other connection, as in SSH (RFC 4254, section 5.2). `out` has a limit as well, BACKLOG_BYTES: above
it nothing is read from the sockets, and what comes from the other end is still taken.
"""

import _socket
import errno
import os
import select

from labsupport.sandbox.agent import wire
from labsupport.sandbox.inside.flow import WINDOW_BYTES, Flow

TYPE_CHECKING = False  # typing itself is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_BYTES = 1 << 16
BACKLOG_BYTES = 1 << 17
MOST_OUT_BYTES = 4 << 20
MOST_CONNECTIONS = 1024
_ROOM_STEP_BYTES = WINDOW_BYTES // 4
_MOST_FRAME_BYTES = CHUNK_BYTES + 256
_READS_PER_TURN = 8
_LONGEST_NUMBER = 18


class Mux:
    """One end.

    Args:
        listener: whom it connects to the other end, a socket that listens; or None.
        dial: makes a socket for a connection that the other end has opened; None if that may not open any.

    Attributes:
        poll: what this end waits for; its owner adds descriptors of its own.
        out: bytes for the other end; the owner takes them.
        flows: the open connections by their number.
        answers: frames of other kinds than above, for the owner.
    """

    def __init__(self, listener: "_socket.socket | None" = None,
                 dial: "Callable[[], _socket.socket] | None" = None) -> None:
        self.listener = listener
        self.dial = dial
        self.poll = select.epoll()
        self.readable = select.epoll()
        self.spare = os.dup(self.poll.fileno())
        self.out = bytearray()
        self.flows: dict[int, Flow] = {}
        self.answers: list[list[bytes]] = []
        self._by_fd: dict[int, Flow] = {}
        self._ended: list[_socket.socket] = []
        self._last = 0
        self._decoder = wire.Decoder(_MOST_FRAME_BYTES)
        self._accepting = self._collecting = False
        self.settle()

    def handle(self, fd: int) -> None:
        """Do what `poll` asks for with one of its descriptors; `settle` follows after all of them."""
        if fd == self.readable.fileno():
            for ready, _ in self.readable.poll(0, _READS_PER_TURN):
                self._read(self._by_fd[ready])
        elif fd in self._by_fd:
            self._write(self._by_fd[fd])
        elif self.listener is not None and fd == self.listener.fileno():
            self._accept(self.listener)

    def settle(self) -> None:
        """Close what has ended, and stop or start to accept and to read."""
        for socket in self._ended:
            socket.close()
        self._ended.clear()
        if self.listener is not None:
            wanted = len(self.flows) < MOST_CONNECTIONS
            self._accepting = self._switch(self.listener.fileno(), self._accepting, wanted)
        self._collecting = self._switch(self.readable.fileno(), self._collecting, len(self.out) < BACKLOG_BYTES)

    def _switch(self, fd: int, before: bool, now: bool) -> bool:
        if now != before:
            _set(self.poll, fd, select.EPOLLIN, now)
        return now

    def feed(self, data: bytes) -> None:
        """Take bytes from the other end.

        Raises:
            MalformedFrameError: they make no sense; reset everything.
        """
        for kind, *fields in self._decoder.feed(data):
            if kind not in _FRAMES:
                self.answers.append([kind, *fields])
                continue
            try:
                number = int(fields[0][:_LONGEST_NUMBER])
                if kind == b"open":
                    self._open(number, *fields[1:])
                elif number in self.flows:  # else it has ended here, and the other end does not know yet
                    _FRAMES[kind](self, self.flows[number], *fields[1:])
            except (IndexError, TypeError, ValueError) as problem:
                raise wire.MalformedFrameError(f"frame {kind!r}: {problem}") from None
        if len(self.out) > MOST_OUT_BYTES:
            raise wire.MalformedFrameError("frames that ask for more answers than are taken")

    def reset_all(self) -> None:
        """End all connections, and forget what was under way: the other end is gone, and a new one may follow."""
        for flow in list(self.flows.values()):
            self._end(flow, abort=True)
        self._last = 0
        self.out.clear()
        self.answers.clear()
        self._decoder = wire.Decoder(_MOST_FRAME_BYTES)
        self.settle()

    def close(self) -> None:
        """End all connections, and stop to listen."""
        self.reset_all()
        if self.listener is not None:
            self.listener.close()
            self.listener = None
        self.readable.close()
        self.poll.close()
        os.close(self.spare)

    def _accept(self, listener: _socket.socket) -> None:
        try:
            fd, _ = listener._accept()  # type: ignore[attr-defined]
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                self._turn_away(listener)
            return  # else the one who knocked has gone already
        socket = _socket.socket(fileno=fd)
        os.set_inheritable(fd, False)
        socket.setblocking(False)
        self._last += 1
        if self._add(self._last, socket):
            self.out += wire.encode(b"open", b"%d" % self._last)

    def _turn_away(self, listener: _socket.socket) -> None:
        """There is no descriptor left for the one who knocks: use the spare one to close it, or it would knock on."""
        os.close(self.spare)
        try:
            os.close(listener._accept()[0])  # type: ignore[attr-defined]
        except OSError:
            pass  # it has gone, or another thread was faster
        self.spare = os.dup(self.poll.fileno())

    def _add(self, number: int, socket: _socket.socket) -> bool:
        try:
            if socket.family != _socket.AF_UNIX:
                socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError:
            socket.close()
            return False
        flow = self.flows[number] = Flow(number, socket)
        self._by_fd[flow.fd] = flow
        self._watch(flow)
        return True

    def _open(self, number: int) -> None:
        if self.dial is None or number <= self._last:
            raise wire.MalformedFrameError(f"connection {number} cannot be opened from there")
        self._last = number
        try:
            done = len(self.flows) < MOST_CONNECTIONS and self._add(number, self.dial())
        except OSError:
            done = False
        if not done:
            self.out += wire.encode(b"reset", b"%d" % number)

    def _data(self, flow: Flow, data: bytes) -> None:
        flow.owed += len(data)
        if flow.owed > WINDOW_BYTES or flow.eof:
            raise wire.MalformedFrameError("more bytes than there is room for, or after their end")
        if flow.pending:
            flow.pending += data
            return
        sent = self._send(flow, data)
        if 0 <= sent < len(data):
            flow.pending += data[sent:]
            self._watch(flow)

    def _room(self, flow: Flow, count: bytes) -> None:
        flow.room += int(count[:_LONGEST_NUMBER])
        if not 0 <= flow.room <= WINDOW_BYTES:
            raise wire.MalformedFrameError("room for bytes that were never sent")
        self._watch(flow)

    def _eof(self, flow: Flow) -> None:
        flow.eof = True
        self._watch(flow)  # a socket that is not connected yet cannot be shut: when it takes bytes, it is

    def _reset(self, flow: Flow) -> None:
        self._end(flow, abort=True)

    def _read(self, flow: Flow) -> None:
        try:
            data = flow.socket.recv(min(CHUNK_BYTES, flow.room))
        except BlockingIOError:
            return
        except OSError:
            self._fail(flow)
            return
        if data:
            self.out += wire.encode(b"data", b"%d" % flow.number, data)
            flow.room -= len(data)
            if flow.room:
                return
        else:
            self.out += wire.encode(b"eof", b"%d" % flow.number)
            flow.read_ended = True
        self._watch(flow)

    def _write(self, flow: Flow) -> None:
        if flow.pending:
            with memoryview(flow.pending) as view:
                sent = self._send(flow, view[:CHUNK_BYTES])
            del flow.pending[:max(0, sent)]
        if flow.number in self.flows:
            if flow.eof and not flow.pending:
                self._shut(flow)
            self._watch(flow)

    def _send(self, flow: Flow, data: "bytes | memoryview") -> int:
        """Return how many bytes the socket took, -1 if it takes no more at all."""
        try:
            sent = flow.socket.send(data, _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            self._fail(flow)
            return -1
        flow.written += sent
        if flow.written >= _ROOM_STEP_BYTES:
            self.out += wire.encode(b"room", b"%d" % flow.number, b"%d" % flow.written)
            flow.owed -= flow.written
            flow.written = 0
        return sent

    def _shut(self, flow: Flow) -> None:
        flow.write_ended = True
        try:
            flow.socket.shutdown(_socket.SHUT_WR)
        except OSError:
            self._fail(flow)

    def _watch(self, flow: Flow) -> None:
        """Wait for what the connection needs next; with both directions over it ends."""
        if flow.read_ended and flow.write_ended:
            self._end(flow)
            return
        reading = not flow.read_ended and flow.room > 0
        writing = bool(flow.pending) or (flow.eof and not flow.write_ended)
        if reading != flow.reading:
            flow.reading = reading
            _set(self.readable, flow.fd, select.EPOLLIN, reading)
        if writing != flow.writing:
            flow.writing = writing
            _set(self.poll, flow.fd, select.EPOLLOUT, writing)

    def _fail(self, flow: Flow) -> None:
        self.out += wire.encode(b"reset", b"%d" % flow.number)
        self._end(flow, abort=True)

    def _end(self, flow: Flow, *, abort: bool = False) -> None:
        """Forget a connection; its descriptor stays until `settle`, as events of this turn may still name it."""
        if self.flows.pop(flow.number, None) is None:
            return
        del self._by_fd[flow.fd]
        if flow.reading:
            self.readable.unregister(flow.fd)
        if flow.writing:
            self.poll.unregister(flow.fd)
        flow.read_ended = flow.write_ended = True
        if abort:
            flow.abort()
        self._ended.append(flow.socket)


def _set(poll: "select.epoll", fd: int, events: int, wanted: bool) -> None:
    if wanted:
        poll.register(fd, events)
    else:
        poll.unregister(fd)


_FRAMES: "dict[bytes, Callable[..., None]]" = {
    b"open": Mux._open, b"data": Mux._data, b"room": Mux._room, b"eof": Mux._eof, b"reset": Mux._reset,
}
