"""Lets this process's terminal act as the terminal of a program in a lab.

Keys go to the lab as they are, Ctrl-C included: it is the lab's terminal that turns it into a signal, for the program
that runs there. So the own terminal is switched to raw mode, and however this ends it must be switched back.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType

from labsupport.errors import LabError
from labsupport.sandbox.lab import Lab
from labsupport.sandbox.process import Process

_READ_BYTES = 65536
_FALLBACK_SIZE = (24, 80)
_JOIN_LIMIT_S = 2.0
_LEAVE = b"\x1b[?1047l\x1b[?2004l\x1b[?25h\x1b[0m\r\n"
"""Main screen, no bracketed paste, visible cursor, no colour: what a program that was killed may have left behind."""


def run_in_terminal(lab: Lab, argv: Sequence[str], *, namespace: str = "") -> int:
    """Run a program in a lab, on this process's terminal, to its end.

    Args:
        lab: where it runs.
        argv: the program and its arguments.
        namespace: the named network namespace to run it in; "" is the lab's first one.

    Returns:
        Its exit status; 128 + N when signal N ended it, as in a shell.

    Raises:
        LabError: standard input or output is no terminal.
        CommandNotFound, NamespaceNotFound, ProcessLimitReached: it could not start.
        LabClosed, LabDied: the lab ended meanwhile.

    Effects and privileges: call it from the main thread, since it handles SIGWINCH, SIGTERM and SIGHUP meanwhile.

    Source: termios(3), pty(7).
    """
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    if not (os.isatty(stdin) and os.isatty(stdout)):
        raise LabError("a shell in a lab needs a terminal", where="standard input and output", expected="a terminal",
                       observed="a file or a pipe",
                       next_step="call it in a terminal; in a notebook, %%lab and %%ns run commands without one")
    sys.stdout.flush()
    process = lab.start(argv, namespace=namespace, terminal=_size(stdin))
    with ExitStack() as undo:
        wake_read, wake_write = _pipe()
        output = _Output(process, stdout, (wake_read, wake_write))
        undo.callback(output.leave)
        _raw_mode(stdin, undo)
        _watch_window_size(wake_write, undo)
        for number in (signal.SIGTERM, signal.SIGHUP):
            _handle(number, _end, undo)
        undo.push(lambda kind, _error, _trace: _hang_up(process) if kind else None)
        output.start()
        status = _pass_on_keys(process, output, stdin, wake_read)
    return 128 - status if status < 0 else status


class _Output(threading.Thread):
    """Copies what the program prints to the terminal, until it ends or something goes wrong.

    Attributes:
        problem: the error that ended it, if one did.
        over: whether nothing more will come.
    """

    def __init__(self, process: Process, stdout: int, wake: tuple[int, int]) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.stdout = stdout
        self.wake = wake
        self.problem: Exception | None = None
        self.over = False

    def run(self) -> None:
        """See the class."""
        try:
            while self.process.exit_status is None:
                self._show(self.process.read())
            self._show(self.process.read(0))
        except (LabError, OSError) as problem:
            self.problem = problem
        finally:
            self.over = True
            _wake(self.wake[1])

    def _show(self, output: list[tuple[str, bytes]]) -> None:
        for _, data in output:
            view = memoryview(data)
            while view:
                view = view[os.write(self.stdout, view):]

    def leave(self) -> None:
        """Let the thread come to its end; put the screen right if the program had no chance to."""
        if self.is_alive():
            self.join(_JOIN_LIMIT_S)
        if not self.is_alive():
            for fd in self.wake:
                os.close(fd)
        if self.process.exit_status is None or self.process.exit_status < 0:
            _try_write(self.stdout, _LEAVE)


def _pass_on_keys(process: Process, output: _Output, stdin: int, wake: int) -> int:
    poll = select.poll()
    poll.register(stdin, select.POLLIN)
    poll.register(wake, select.POLLIN)
    told = _size(stdin)
    process.resize(*told)  # it may have changed before there was a handler for that
    while not output.over:
        ready = [fd for fd, _events in poll.poll()]
        if wake in ready:
            os.read(wake, _READ_BYTES)
        # Asked before each key: the signal of a change may still be on its way when a key typed after it is here.
        if not output.over and told != (now := _size(stdin)):
            process.resize(*now)
            told = now
        if stdin in ready:
            _pass_on(process, stdin)
    if output.problem is not None:
        raise output.problem
    return process.exit_status or 0


def _pass_on(process: Process, stdin: int) -> None:
    try:
        data = os.read(stdin, _READ_BYTES)
    except OSError:  # EIO: the terminal has gone
        data = b""
    if not data:
        raise SystemExit(128 + signal.SIGHUP)
    process.write(data)


def _size(terminal: int) -> tuple[int, int]:
    """Return rows and columns; a terminal that does not know its own size reports 0."""
    try:
        size = os.get_terminal_size(terminal)
    except OSError:
        return _FALLBACK_SIZE
    return size.lines or _FALLBACK_SIZE[0], size.columns or _FALLBACK_SIZE[1]


def _raw_mode(terminal: int, undo: ExitStack) -> None:
    before = termios.tcgetattr(terminal)
    undo.callback(_restore, terminal, before)
    tty.setraw(terminal, termios.TCSADRAIN)


def _restore(terminal: int, before: list[int | list[bytes | int]]) -> None:
    try:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    except termios.error:
        return  # the terminal has gone: there is nothing to restore


def _watch_window_size(wake: int, undo: ExitStack) -> None:
    """Wake the loop at once. A handler in Python runs too late if the signal comes just before `poll` goes to sleep."""
    undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(wake, warn_on_full_buffer=False))
    _handle(signal.SIGWINCH, lambda _number, _frame: None, undo)


def _handle(number: signal.Signals, handler: object, undo: ExitStack) -> None:
    undo.callback(signal.signal, number, signal.getsignal(number))
    signal.signal(number, handler)  # type: ignore[arg-type]


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _hang_up(process: Process) -> None:
    """End the program as a terminal that goes away does; without a lab there is nothing to end."""
    try:
        process.send_signal(signal.SIGHUP)
        process.stop()
    except LabError:
        return


def _pipe() -> tuple[int, int]:
    read, write = os.pipe()
    for fd in (read, write):
        os.set_blocking(fd, False)
    return read, write


def _wake(pipe: int) -> None:
    try:
        os.write(pipe, b".")
    except BlockingIOError:
        return  # it is full, so whoever reads it is awake


def _try_write(fd: int, data: bytes) -> None:
    try:
        os.write(fd, data)
    except OSError:
        return  # the terminal has gone
