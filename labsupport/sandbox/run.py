"""Follows a command to its end: shows its output as it comes, keeps it, and knows when enough is enough."""

from __future__ import annotations

import codecs
import signal
import sys
import time
from collections.abc import Callable

from labsupport.errors import CommandTimeout, OutputLimitExceeded
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
    """Collects the output of one process up to a limit, and echoes it."""

    def __init__(self, process: Process, echo: Echo | None, max_output_bytes: int) -> None:
        self.process = process
        self.echo = echo
        self.left_bytes = max_output_bytes
        self.kept = {"stdout": bytearray(), "stderr": bytearray()}
        make = codecs.getincrementaldecoder("utf-8")
        self.decoders = {stream: make(errors="backslashreplace") for stream in self.kept}

    def follow(self, end: float | None) -> bool:
        """Read until the process has ended (True), or until `end`, or until it printed too much (False)."""
        while self.process.exit_status is None and self.left_bytes >= 0:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return False
            self.keep(self.process.read(left))
        self.keep(self.process.read(0))
        return self.process.exit_status is not None

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

    def end(self) -> Completed:
        for stream in self.kept:
            self.show(stream, b"", final=True)
        status = self.process.exit_status
        return Completed(self.process.command, -signal.SIGKILL if status is None else status,
                         bytes(self.kept["stdout"]), bytes(self.kept["stderr"]), self.process.namespace)


def run_to_end(process: Process, *, data: bytes | None, timeout_s: float, max_output_bytes: int,
               echo: Echo | None) -> Completed:
    """Feed, follow and end a process. See `Lab.run` for the arguments and errors.

    Ctrl-C goes to the command's process group, as in a terminal; a command that goes on for two more seconds, or a
    second Ctrl-C, is answered with SIGKILL. KeyboardInterrupt is raised in the end, so that the cells below do not run.
    """
    follower = _Follower(process, echo, max_output_bytes)
    try:
        if data is not None:
            process.write(data)
        process.close_stdin()
        in_time = follower.follow(time.monotonic() + timeout_s)
    except KeyboardInterrupt:
        _interrupt(follower)
        follower.end()
        raise
    if not in_time:
        too_much = follower.left_bytes < 0
        process.stop(PATIENCE_S)
        completed = follower.end()
        raise _too_much(completed, max_output_bytes) if too_much else _too_long(completed, timeout_s)
    if follower.left_bytes < 0:
        raise _too_much(follower.end(), max_output_bytes)
    return follower.end()


def _interrupt(follower: _Follower) -> None:
    try:
        follower.process.send_signal(signal.SIGINT)
        ended = follower.follow(time.monotonic() + PATIENCE_S)
    except KeyboardInterrupt:
        ended = False
    if not ended:
        follower.process.send_signal(signal.SIGKILL)
        follower.follow(time.monotonic() + PATIENCE_S)


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
