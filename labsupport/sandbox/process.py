"""A command that runs in a lab, and what is left of it when it has ended."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

from labsupport.errors import (
    CommandFailed,
    CommandNotFound,
    LabClosed,
    LabDied,
    LabError,
    NamespaceNotFound,
    ProcessLimitReached,
)
from labsupport.sandbox.agent import wire
from labsupport.sandbox.connection import Connection
from labsupport.sandbox.interrupts import INTERRUPTS

_CHUNK_BYTES = 65536
_ABANDON_S = 2.0
MOST_WORDS, MOST_BYTES = wire.MAX_FIELDS - 16, wire.MAX_FRAME_BYTES // 2


@dataclass(frozen=True)
class Completed:
    """A command that has ended.

    Attributes:
        command: as it can be pasted into a shell.
        exit_status: 0 for success; negative when a signal ended it.
        stdout_bytes: everything it printed to its standard output.
        stderr_bytes: everything it printed to its standard error.
        namespace: the network namespace that it ran in, "" for the lab's first one.
    """

    command: str
    exit_status: int
    stdout_bytes: bytes = field(repr=False)
    stderr_bytes: bytes = field(repr=False)
    namespace: str = ""

    @property
    def stdout(self) -> str:
        """Standard output as text; bytes that are no UTF-8 appear as \\xNN."""
        return self.stdout_bytes.decode(errors="backslashreplace")

    @property
    def stderr(self) -> str:
        """Standard error as text; bytes that are no UTF-8 appear as \\xNN."""
        return self.stderr_bytes.decode(errors="backslashreplace")

    def check(self) -> Completed:
        """Return this if the command succeeded.

        Raises:
            CommandFailed: its exit status was not 0.
        """
        if self.exit_status:
            raise CommandFailed(
                "a command failed in the lab", where=place(self.namespace), command=self.command,
                exit_status=self.exit_status, expected="exit status 0",
                log_tail="\n".join((self.stderr or self.stdout).splitlines()[-10:]),
                next_step="read its last output; `labsupport shell` opens a terminal in this lab to try it by hand",
            )
        return self


def place(namespace: str) -> str:
    """Return how a namespace is called in a message."""
    return f"network namespace {namespace}" if namespace else "the lab's first network namespace"


def _request(mode: str, namespace: bytes, size: tuple[int, int], words: list[bytes], code: bytes) -> list[bytes]:
    if mode == "forked":
        return [b"fork", code]
    if mode == "observed":
        return [b"observe", namespace, *words]
    return [b"exec", mode.encode(), namespace, b"%d" % size[0], b"%d" % size[1], *words]


class Process:
    """A command under way in a lab; made by `Lab.start`.

    Several may run at once. Its output waits in the lab until `read` takes it, so a command that prints much and is
    never read comes to a halt, as in a shell pipe.
    """

    def __init__(self, connection: Connection, command: str | Sequence[str], *, mode: str, namespace: str = "",
                 size: tuple[int, int] = (0, 0), code: bytes = b"") -> None:
        self.command = command if isinstance(command, str) else shlex.join(command)
        self.namespace = namespace
        words = self._words(["bash", "-c", command] if isinstance(command, str) else command)
        self._connection = connection
        with INTERRUPTS:
            self._channel = connection.open(*_request(mode, os.fsencode(namespace), size, words, code))
            try:
                connection.wait_for_answer(self._channel)
            except LabError:
                connection.forget(self._channel)
                raise
        if self._channel.refusal:
            connection.forget(self._channel)
            raise self._refused(*self._channel.refusal)

    @property
    def pid(self) -> int:
        """Its process id inside the lab, which is its process group's and its session's as well."""
        return self._channel.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs (as far as was read); negative when a signal ended it."""
        return self._channel.exit_status

    def read(self, timeout_s: float | None = None, *, or_room: bool = False) -> list[tuple[str, bytes]]:
        """Wait for output or for the end, and return the output: pairs of "stdout" or "stderr" and bytes.

        An empty list means that the command has ended, if `exit_status` is set, or that `timeout_s` has passed.

        Args:
            timeout_s: how long to wait at most.
            or_room: return as well when `offer` can send something.
        """
        channel = self._channel
        self._connection.wait(lambda: channel.has_news() or (or_room and channel.stdin_room() >= _CHUNK_BYTES),
                              timeout_s)
        output = self._connection.take_output(channel)
        if channel.exit_status is not None:
            self._connection.forget(channel)
        return [(stream.decode(), data) for stream, data in output]

    def offer(self, data: bytes | memoryview) -> int:
        """Send as many bytes to its standard input as there is room for now; return how many."""
        channel, sent = self._channel, 0
        while sent < len(data) and channel.stdin_room() >= _CHUNK_BYTES:
            chunk = bytes(data[sent : sent + _CHUNK_BYTES])
            channel.sent_bytes += len(chunk)
            self._connection.send(channel, b"stdin", chunk)
            sent += len(chunk)
        return sent

    def write(self, data: bytes) -> None:
        """Send bytes to its standard input; waits while the process does not take them.

        A process that prints as much as it takes needs a `read` in another thread meanwhile, as with any two pipes.
        """
        channel, left = self._channel, memoryview(data)
        while left and channel.exit_status is None:
            left = left[self.offer(left) :]
            if left:
                self._connection.wait(
                    lambda: channel.stdin_room() >= _CHUNK_BYTES or channel.exit_status is not None, None)

    def close_stdin(self) -> None:
        """End its standard input."""
        self._connection.send(self._channel, b"eof")

    def send_signal(self, number: int) -> None:
        """Send a signal to its whole process group; without effect when it has ended."""
        if self.exit_status is None:
            self._connection.send(self._channel, b"signal", b"%d" % number)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal."""
        self._connection.send(self._channel, b"resize", b"%d" % rows, b"%d" % columns)

    def stop(self, patience_s: float = 2.0) -> None:
        """End it: SIGTERM to its process group, and SIGKILL to what is left after `patience_s` seconds."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.send_signal(number)
            if self._connection.wait(lambda: self._channel.exit_status is not None, patience_s):
                break
        self._connection.forget(self._channel)

    def abandon(self) -> None:
        """End it with SIGKILL if it has not ended, and drop what it still prints."""
        with INTERRUPTS:
            try:
                if self.exit_status is None and not self._connection.ended:
                    self.send_signal(signal.SIGKILL)
                    self._connection.wait(lambda: self._channel.exit_status is not None, _ABANDON_S)
            except (LabClosed, LabDied):
                return  # it has ended with its lab
            finally:
                self._connection.forget(self._channel)

    def _words(self, argv: Sequence[str]) -> list[bytes]:
        try:
            words = [os.fsencode(word) for word in argv]
        except UnicodeEncodeError as problem:
            raise self._unsendable(str(problem)) from None
        length = sum(map(len, words))
        if not words or any(b"\0" in word for word in words):
            raise self._unsendable("a NUL byte in a word" if words else "no word at all")
        if len(words) > MOST_WORDS or length > MOST_BYTES:
            raise self._unsendable(f"{len(words):,} words, {length:,} bytes")
        if not words[0]:
            raise self._refused("no-command", "its name is empty")
        return words

    def _unsendable(self, observed: str) -> LabError:
        return LabError(
            "this is no command that a lab can run", where=place(self.namespace), command=self.command[:200],
            expected=f"1 to {MOST_WORDS:,} words without NUL bytes, {MOST_BYTES:,} bytes in all", observed=observed,
            next_step="give long data to the command as stdin",
        )

    def _refused(self, code: str, text: str) -> LabError:
        where = place(self.namespace)
        if code == "no-namespace":
            return NamespaceNotFound(
                f"no network namespace is called {self.namespace!r}", where="this lab", command=self.command,
                expected=f"one of: {text}" if text else "a namespace made by `ip netns add NAME`",
                observed="" if text else "the lab has no named namespace yet",
                next_step="check the spelling, or make it: ip netns add " + shlex.quote(self.namespace),
            )
        if code == "no-command":
            return CommandNotFound(
                f"the lab has no such program: {text}", where=where, command=self.command,
                expected="a program on the lab's PATH",
                next_step="check the spelling; `labsupport doctor` lists the tools that labs use and how to get them",
            )
        if code == "process-limit":
            return ProcessLimitReached(
                "the lab has as many processes as it may have", where=where, command=self.command,
                next_step="end some of them: lab.end_processes() ends all; a new lab starts empty",
            )
        return LabError("the lab could not start a command", where=where, command=self.command, observed=text,
                        next_step="close what runs in the lab, or make a new lab")
