"""Runs a long command whose output is watched, and ends all of it when the user has had enough."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import WaitTimeout
from labsupport.waiting import wait_until

_TAIL_LINES = 20
_GRACE_S = 5.0


def to_stderr(line: str) -> None:
    """Print a line of progress where it does not mix with a program's output."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@dataclass(frozen=True)
class Result:
    """How a command ended.

    Args:
        exit_status: 0 for success, negative for a signal.
        last_lines: of what it printed, without the lines that somebody took.
    """

    exit_status: int
    last_lines: tuple[str, ...]

    def tail(self) -> str:
        """Return the last lines as one text."""
        return "\n".join(self.last_lines)


def run_watched(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: dict[str, str],
    take: Callable[[str], bool] = lambda _: False,
    tick: Callable[[], None] = lambda: None,
) -> Result:
    """Run a command in a process group of its own and watch what it prints.

    Whatever ends the waiting, Ctrl-C included, ends the whole group before this function returns. When this process
    is killed, a Go command dies of SIGPIPE as soon as it has something to say.

    Args:
        command: the program and its arguments.
        cwd: the folder it runs in.
        environment: all of its environment.
        take: gets each line, and says whether it is progress, which no error message needs.
        tick: called at least once a second.
    """
    last: deque[str] = deque(maxlen=_TAIL_LINES)
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, process_group=0)
    try:
        assert process.stdout is not None  # noqa: S101 - for mypy: it was asked for above
        for line in _lines(process.stdout.fileno(), tick):
            if not take(line):
                last.append(line)
        return Result(process.wait(), tuple(last))
    finally:
        if process.returncode is None:
            _end_group(process)
        if process.stdout:
            process.stdout.close()


def _lines(descriptor: int, tick: Callable[[], None]) -> Iterator[str]:
    """Yield what arrives, line by line, until the end of the stream."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            tick()
            if not selector.select(timeout=1):
                continue
            data = os.read(descriptor, 65536)
            *lines, rest = (rest + data).split(b"\n")
            if not data and rest:
                lines.append(rest)
            for line in lines:
                yield line.decode(errors="replace")
            if not data:
                return


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End all of the command: politely, so that it removes its temporary files, then for certain."""
    try:
        os.killpg(process.pid, signal.SIGINT)
        with suppress(WaitTimeout):
            wait_until(lambda: _has_ended(process.pid), what="the end of the build", deadline_s=_GRACE_S)
    finally:
        # It is not reaped yet, so that nobody else's group can have its number.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
