"""Follows a command to its end: shows its output as it comes, keeps it, and knows when enough is enough."""

from __future__ import annotations

import codecs
import signal
import sys
import time
from collections.abc import Callable

from labsupport.errors import CommandTimeout, OutputLimitExceeded
from labsupport.sandbox.interrupts import INTERRUPTS
from labsupport.sandbox.process import Completed, Process, place

Echo = Callable[[str, str], None]
"""Called with "stdout" or "stderr" and a piece of text."""

PATIENCE_S = 2.0


def print_output(stream: str, text: str) -> None:
    """Write to this process's own standard output or error, as a terminal would show it."""
    target = sys.stderr if stream == "stderr" else sys.stdout
    target.write(text)
    target.flush()


class _Follower:
    """Feeds one process, collects its output up to a limit, and echoes it.

    Both in one loop: a process that takes its input only while somebody takes its output must not wait for ever.
    """

    def __init__(self, process: Process, stdin: bytes, echo: Echo | None, max_output_bytes: int) -> None:
        self.process = process
        self.stdin = memoryview(stdin)
        self.input_ended = False
        self.echo = echo
        self.left_bytes = max_output_bytes
        self.kept = {"stdout": bytearray(), "stderr": bytearray()}
        make = codecs.getincrementaldecoder("utf-8")
        self.decoders = {stream: make(errors="backslashreplace") for stream in self.kept}

    def follow(self, end: float) -> bool:
        """Go on until the process has ended (True), or until `end`, or until it printed too much (False)."""
        while self.process.exit_status is None and self.left_bytes >= 0:
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.feed()
            self.keep(self.process.read(left, or_room=bool(self.stdin)))
        self.keep(self.process.read(0))
        return self.process.exit_status is not None

    def feed(self) -> None:
        self.stdin = self.stdin[self.process.offer(self.stdin) :]
        if not self.stdin and not self.input_ended:
            self.input_ended = True
            self.process.close_stdin()

    def keep(self, output: list[tuple[str, bytes]]) -> None:
        for stream, data in output:
            part = data[: max(self.left_bytes, 0)]
            self.left_bytes -= len(data)
            self.kept[stream] += part
            self.show(stream, part, final=False)

    def show(self, stream: str, data: bytes, *, final: bool) -> None:
        if self.echo is not None:
            text = self.decoders[stream].decode(data, final)
            if text:
                self.echo(stream, text)

    def interrupt(self) -> None:
        """Pass Ctrl-C on, and show what the process says to that."""
        self.process.send_signal(signal.SIGINT)
        self.follow(time.monotonic() + PATIENCE_S)
        self.end()

    def end(self) -> Completed:
        for stream in self.kept:
            self.show(stream, b"", final=True)
        status = self.process.exit_status
        return Completed(self.process.command, -signal.SIGKILL if status is None else status,
                         bytes(self.kept["stdout"]), bytes(self.kept["stderr"]), self.process.namespace)


def run_to_end(start: Callable[[], Process], *, data: bytes, timeout_s: float, max_output_bytes: int,
               echo: Echo | None) -> Completed:
    """Start, feed, follow and end a process. See `Lab.run` for the arguments and errors.

    Ctrl-C goes to the command's process group, as in a terminal; a command that goes on for two more seconds, or a
    second Ctrl-C, is answered with SIGKILL. KeyboardInterrupt is raised in the end, so that the cells below do not run.
    However this ends, the process does not go on.
    """
    follower: _Follower | None = None
    try:
        with INTERRUPTS:  # raised when the process is known here, so that it can be ended
            follower = _Follower(start(), data, echo, max_output_bytes)
        return _to_the_end(follower, timeout_s, max_output_bytes)
    except KeyboardInterrupt:
        if follower is not None:
            follower.interrupt()
        raise
    finally:
        if follower is not None:
            follower.process.abandon()


def _to_the_end(follower: _Follower, timeout_s: float, max_output_bytes: int) -> Completed:
    in_time = follower.follow(time.monotonic() + timeout_s)
    if follower.left_bytes < 0:
        follower.process.stop(PATIENCE_S)
        raise _too_much(follower.end(), max_output_bytes)
    if not in_time:
        follower.process.stop(PATIENCE_S)
        raise _too_long(follower.end(), timeout_s)
    return follower.end()


def _too_long(completed: Completed, timeout_s: float) -> CommandTimeout:
    return CommandTimeout(
        f"a command was ended after its time limit of {timeout_s:g} s",
        where=place(completed.namespace), command=completed.command, expected="it ends by itself",
        log_tail="\n".join((completed.stdout + completed.stderr).splitlines()[-10:]),
        next_step="limit it (ping -c 3, timeout 5 ...), put it in the background (&), or raise timeout_s",
    )


def _too_much(completed: Completed, limit: int) -> OutputLimitExceeded:
    return OutputLimitExceeded(
        f"a command was ended because it printed more than {limit:,} bytes",
        where=place(completed.namespace), command=completed.command, expected=f"at most {limit:,} bytes of output",
        next_step="send the output to a file (> /tmp/out) or through head, or raise max_output_bytes",
    )
