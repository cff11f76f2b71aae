"""Keeps Ctrl-C from tearing a frame in two.

Python raises KeyboardInterrupt between any two steps of the main thread, also right after bytes were taken from a
socket and before they were kept. A client that lost bytes that way could never understand its stream again. So while
bytes are moved the interrupt is noted only, the wait ends at once, and it is raised when all bytes are in their place.

A process has one signal handler for SIGINT, and so there is one `INTERRUPTS`. One for each lab would have to be
finalized with it, and what Python raises in a finalizer is lost: so would be a Ctrl-C that comes in that moment.
"""

from __future__ import annotations

import _signal  # the public functions make enums of numbers, which takes ten microseconds for each request
import os
import threading
from contextlib import suppress
from types import FrameType, TracebackType


class Interrupts:
    """Holds interrupts back inside a `with` block, nested ones too; outside the main thread there are none to hold."""

    def __init__(self) -> None:
        self._wake = -1
        self._noted = False
        self._previous: object = None
        self._depth = 0

    def pending(self) -> bool:
        """Whether an interrupt waits for the calling thread to come to an end."""
        return self._noted and threading.current_thread() is threading.main_thread()

    def quiet(self) -> None:
        """Let `wake` be unreadable again; the interrupt stays noted."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.wake)

    @property
    def wake(self) -> int:
        """The descriptor that becomes readable when an interrupt was noted; for `poll`."""
        if self._wake < 0:
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return self._wake

    def leave_to_parent(self) -> None:
        """Part from the process that this one is a fork of: each is woken by its own interrupts."""
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._noted = True
        os.eventfd_write(self.wake, 1)

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            if self._depth == 0:
                if self._noted:  # it came while the last hold ended, and was raised there
                    self._noted = False
                    self.quiet()
                previous = _signal.getsignal(_signal.SIGINT)
                if callable(previous):
                    self._previous = previous
                    _signal.signal(_signal.SIGINT, self._note)
            self._depth += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._depth -= 1
        if self._depth:
            return
        previous, self._previous = self._previous, None
        if callable(previous):
            _signal.signal(_signal.SIGINT, previous)
        if self._noted:
            self._noted = False
            self.quiet()
            if callable(previous):
                previous(_signal.SIGINT, None)


INTERRUPTS = Interrupts()
os.register_at_fork(after_in_child=INTERRUPTS.leave_to_parent)
