"""Every error that labsupport raises on purpose.

    LabError
    ├── LabUnavailable        this machine cannot run a lab; `labsupport doctor` says why
    ├── LabClosed             the lab was closed, or belongs to another process
    ├── LabDied               the lab ended although nobody closed it
    ├── NamespaceNotFound     no network namespace of that name in the lab
    ├── CommandNotFound       the program is not there
    ├── CommandFailed         it ran, and its exit status was not 0
    ├── CommandInterrupted    somebody pressed Ctrl-C or the stop button
    ├── CommandTimeout        it ran longer than its time limit, and was ended
    ├── OutputLimitExceeded   it printed more than its limit, and was ended
    ├── ProcessLimitReached   the lab has as many processes as it may have
    ├── WaitTimeout           something that was waited for did not become true in time
    ├── ProtocolError         the two ends of a lab do not understand each other
    ├── TopologyError         a planned network has faults, or cannot be built; all faults at once
    ├── CaptureError          frames cannot be captured or saved
    ├── ClusterError          a cluster, or what it is made of, cannot do what was asked
    ├── LessonError           a notebook used its helpers in a way that cannot work
    └── GradingError          a notebook, an answer file or a report cannot be graded as it is

A message says what failed, where, what was expected and observed, and what to do next.
"""

from __future__ import annotations


class LabError(Exception):
    """Something about a lab went wrong, and the message says what to do about it.

    Args:
        what: what failed, one sentence.
        where: the lab, namespace, file or cell where it happened.
        expected: what should have been.
        observed: what was there instead.
        next_step: what the reader can do now.
        command: the command as it can be pasted into a shell.
        exit_status: the command's exit status; negative for a signal.
        log_tail: the last lines that the failing program printed.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        expected: str = "",
        observed: str = "",
        next_step: str = "",
        command: str = "",
        exit_status: int | None = None,
        log_tail: str = "",
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.observed = observed
        self.next_step = next_step
        self.command = command
        self.exit_status = exit_status
        self.log_tail = log_tail
        super().__init__(self._message())

    def _message(self) -> str:
        status = "" if self.exit_status is None else str(self.exit_status)
        details = (
            ("where", self.where),
            ("command", self.command),
            ("exit status", status),
            ("expected", self.expected),
            ("observed", self.observed),
            ("last output", self.log_tail.rstrip()),
            ("next", self.next_step),
        )
        lines = [self.what]
        for name, text in details:
            if text:
                indented = text.replace("\n", "\n" + " " * 15)
                lines.append(f"  {name + ':':<13}{indented}")
        return "\n".join(lines)


class LabUnavailable(LabError):
    """This machine cannot run a lab."""


class LabClosed(LabError):
    """The lab was closed, or belongs to another process."""


class LabDied(LabError):
    """The lab ended although nobody closed it."""


class NamespaceNotFound(LabError):
    """No network namespace of that name exists in the lab."""


class CommandNotFound(LabError):
    """The program is not on the lab's PATH."""


class CommandFailed(LabError):
    """The command's exit status was not 0."""


class CommandInterrupted(LabError):
    """The command was stopped by Ctrl-C or by the stop button; the lab goes on."""


class CommandTimeout(LabError):
    """The command ran longer than its time limit; its process group was ended."""


class OutputLimitExceeded(LabError):
    """The command printed more than its limit; its process group was ended."""


class ProcessLimitReached(LabError):
    """The lab has as many processes as it may have."""


class WaitTimeout(LabError):
    """Something that was waited for did not become true in time."""


class ProtocolError(LabError):
    """The two ends of a lab do not understand each other."""


class TopologyError(LabError):
    """A planned network has faults, or cannot be built; all faults are told at once."""


class CaptureError(LabError):
    """Frames cannot be captured or saved."""


class ClusterError(LabError):
    """A cluster, or what it is made of, cannot do what was asked."""


class LessonError(LabError):
    """A notebook used its helpers in a way that cannot work."""


class GradingError(LabError):
    """A notebook, an answer file or a report cannot be graded as it is."""
