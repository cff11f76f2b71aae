"""The client's end of the byte stream: sends requests, and sorts what comes back by request.

Several threads may use one connection. Whoever waits first reads for all (the leader); the others sleep until the
leader has put something into their channel.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import threading
import time
from collections.abc import Callable

from labsupport.errors import LabClosed, LabDied, LabError, ProtocolError
from labsupport.sandbox.agent import wire
from labsupport.sandbox.channel import Channel
from labsupport.sandbox.interrupts import INTERRUPTS

REQUEST_DEADLINE_S = 10.0
_READ_BYTES = 1 << 18
_LOOKS_BEFORE_SLEEP = 50
_LAST_WORDS_S = 1.0


class Connection:
    """A stream to an agent, shared by all commands that run through it.

    Args:
        stream: a connected socket; the agent has greeted already, or will answer `greet`.
        name: how the lab is called in messages.
    """

    def __init__(self, stream: socket.socket, name: str) -> None:
        self._stream = stream
        self._stream.setblocking(False)
        self._name = name
        self._owner = os.getpid()
        self._numbers = itertools.count(1)
        self._channels: dict[bytes, Channel] = {}
        self._decoder = wire.Decoder()
        self._condition = threading.Condition()
        self._sending = threading.Lock()
        self._leading = False
        self._ended: LabError | None = None
        self._poll = select.poll()
        self._poll.register(stream, select.POLLIN)
        self._poll.register(INTERRUPTS.wake, select.POLLIN)

    @property
    def ended(self) -> bool:
        """Whether the stream is of no use any more."""
        return self._ended is not None

    def fileno(self) -> int:
        """Return the stream's descriptor, for a `poll` of one who shares this connection with nobody."""
        return self._stream.fileno()

    def close(self) -> None:
        """Close the stream; every waiting thread gets LabClosed."""
        with self._condition:
            if self._ended is None:
                self._ended = LabClosed(
                    f"the lab {self._name} is closed", where=self._name,
                    next_step="make a new one: lab = Lab()",
                )
            self._condition.notify_all()
        if os.getpid() == self._owner:
            self._shut()
        self._stream.close()

    def _shut(self) -> None:
        try:
            self._stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the agent was faster: there is nothing left to shut

    def greet(self, token: bytes, deadline_s: float = REQUEST_DEADLINE_S) -> None:
        """Say hello on a connection that this process did not start itself."""
        channel = Channel(b"")
        self._channels[b""] = channel
        self._send(wire.encode(b"hello", b"", wire.VERSION, token))
        self.wait_for_answer(channel, deadline_s)
        del self._channels[b""]
        if channel.refusal:
            raise self._protocol_error(channel.refusal[1])

    def call(self, kind: bytes, *fields: bytes, deadline_s: float = REQUEST_DEADLINE_S) -> list[bytes]:
        """Send a request and return the fields of its reply.

        Raises:
            LabClosed, LabDied, ProtocolError: there is no one to answer, or no answer within `deadline_s`.
        """
        with INTERRUPTS:
            channel = self.open(kind, *fields)
            try:
                self.wait_for_answer(channel, deadline_s)
            finally:
                self.forget(channel)
        if channel.reply is None:
            raise self._protocol_error(": ".join(channel.refusal or ("no reply",)))
        return channel.reply

    def open(self, kind: bytes, *fields: bytes) -> Channel:
        """Send a request under a new id; the caller watches the channel and forgets it at the end."""
        channel = Channel(b"%d" % next(self._numbers))
        self._channels[channel.request] = channel
        self._send(wire.encode(kind, channel.request, *fields))
        return channel

    def send(self, channel: Channel, kind: bytes, *fields: bytes) -> None:
        """Send one more frame of a request that is under way."""
        self._send(wire.encode(kind, channel.request, *fields))

    def forget(self, channel: Channel) -> None:
        """Drop what still comes for this request."""
        self._channels.pop(channel.request, None)

    def take_output(self, channel: Channel) -> list[tuple[bytes, bytes]]:
        """Return what a command has printed since the last call, and make room for more."""
        with self._condition:
            output, channel.output = channel.output, []
        channel.unreported_bytes += sum([len(data) for _, data in output])
        if channel.unreported_bytes >= wire.OUTPUT_STEP_BYTES and channel.exit_status is None:
            count, channel.unreported_bytes = channel.unreported_bytes, 0
            self.send(channel, b"taken", b"%d" % count)
        return output

    def wait_for_answer(self, channel: Channel, deadline_s: float = REQUEST_DEADLINE_S) -> None:
        """Wait for what the agent says to a request; Ctrl-C has to wait as well, since that takes no time.

        Raises:
            LabClosed, LabDied, ProtocolError: as `call`.
        """
        if not self.wait(channel.answered, deadline_s, held=True):
            raise LabDied(
                f"the lab {self._name} does not answer", where=self._name,
                expected=f"an answer within {deadline_s:g} s", observed="silence",
                next_step="the machine may be overloaded; close the lab and make a new one",
            )

    def wait(self, happened: Callable[[], bool], deadline_s: float | None, *, held: bool = False) -> bool:
        """Take frames in until `happened()`; return whether it did.

        Args:
            happened: looks at a channel; called often.
            deadline_s: how long to wait at most.
            held: go on waiting after Ctrl-C, too.
        """
        end = None if deadline_s is None else time.monotonic() + deadline_s
        with INTERRUPTS:
            while True:
                with self._condition:
                    if happened():
                        return True
                    if self._ended is not None:
                        raise self._ended
                    self._check_owner()
                    left = None if end is None else end - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    if INTERRUPTS.pending():
                        if not held:
                            return False
                        INTERRUPTS.quiet()
                    if self._leading:
                        self._condition.wait(0.1 if left is None else min(left, 0.1))
                        continue
                    self._leading = True
                self._lead(left)

    def _lead(self, wait_s: float | None) -> None:
        data: bytes | None = None
        problem = ""
        try:
            data = self._read(wait_s)
        except (OSError, ValueError) as error:  # ValueError: closed by another thread meanwhile
            problem = str(error)
            data = b""
        with self._condition:
            self._leading = False
            try:
                if data == b"":
                    self._end(problem or "its end of the stream closed")
                elif data:
                    self._dispatch(self._decoder.feed(data))
            except (wire.MalformedFrameError, IndexError, ValueError) as error:
                self._ended = self._protocol_error(str(error))
            self._condition.notify_all()

    def _read(self, wait_s: float | None) -> bytes | None:
        # Most answers come within microseconds; to sleep and be woken, on another processor, takes longer than that.
        for _ in range(_LOOKS_BEFORE_SLEEP):
            if self._poll.poll(0):
                break
        else:
            self._poll.poll(None if wait_s is None else wait_s * 1000 + 0.5)
        try:
            return self._stream.recv(_READ_BYTES)
        except BlockingIOError:
            return None

    def _dispatch(self, frames: list[list[bytes]]) -> None:
        for kind, *fields in frames:
            request = fields.pop(0)
            if kind == b"failed":
                self._fail(fields[0], fields[1])
            elif kind == b"hello":
                if request not in self._channels:
                    raise wire.MalformedFrameError("a greeting that nobody asked for")
                self._channels[request].reply = fields
            elif kind == b"error" and not request and b"" not in self._channels:
                self._ended = self._protocol_error(fields[1].decode(errors="replace"))
            elif request in self._channels:
                self._channels[request].accept(kind, fields)

    def _fail(self, step: bytes, why: bytes) -> None:
        text = why.decode(errors="replace")
        if step == b"observing":
            self._end(text)
        else:
            self._ended = LabDied(
                f"the agent of the lab {self._name} stopped working", where=self._name, log_tail=text,
                next_step="make a new lab: lab = Lab(); please report the last output: a fault of ours",
            )

    def _end(self, reason: str) -> None:
        if self._ended is None:
            self._ended = LabDied(
                f"the lab {self._name} has ended", where=self._name, expected="its agent answers", observed=reason,
                next_step="make a new lab: lab = Lab(); everything inside the old one is gone",
            )

    def _send(self, frame: bytes) -> None:
        self._check_owner()
        with INTERRUPTS, self._sending:
            if self._ended is not None:
                raise self._ended
            view = memoryview(frame)
            end = time.monotonic() + REQUEST_DEADLINE_S
            while view:
                try:
                    view = view[self._stream.send(view):]
                except BlockingIOError:
                    self._wait_for_room(end)
                except OSError as error:
                    self.wait(lambda: False, _LAST_WORDS_S)  # raises what the agent's last words say
                    self._end(str(error))
                    raise self._ended or error from None

    def _wait_for_room(self, end: float) -> None:
        left = end - time.monotonic()
        if left <= 0:
            self._ended = LabDied(
                f"the lab {self._name} takes no more requests", where=self._name,
                expected=f"room for a request within {REQUEST_DEADLINE_S:g} s", observed="none",
                next_step="make a new lab: lab = Lab()",
            )
            raise self._ended
        poll = select.poll()
        poll.register(self._stream, select.POLLOUT)
        poll.poll(left * 1000)

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise LabClosed(
                f"the lab {self._name} belongs to another process", where=f"process {os.getpid()}",
                expected=f"process {self._owner}, which made it", observed="a fork of it",
                next_step="make the lab in the process that uses it",
            )

    def _protocol_error(self, observed: str) -> ProtocolError:
        return ProtocolError(
            f"the lab {self._name} and this process do not understand each other", where=self._name,
            expected=f"frames of protocol version {wire.VERSION.decode()}", observed=observed,
            next_step="restart the notebook's kernel; if labsupport was updated meanwhile, that is why",
        )
