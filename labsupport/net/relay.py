"""Orders to the kernel of a lab: collected first, then carried out by one process inside it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from labsupport.errors import CommandFailed
from labsupport.sandbox import Lab
from labsupport.sandbox.agent import wire

_MODULES = ("labsupport.net.inside.spaces", "labsupport.net.inside.relay")
_MOST_OUTPUT_BYTES = 256 << 20
_TIMEOUT_S = 60.0
FIRST_DESCRIPTOR = 1 << 6
"""The lowest number for `Orders.keep`; the relay opens a dozen descriptors by itself."""


@dataclass(frozen=True)
class Answer:
    """What came back for one order.

    Attributes:
        data: netlink messages.
        errno: 0 if it was carried out.
        problem: the kernel's words, if it was not.
    """

    data: bytes = b""
    errno: int = 0
    problem: str = ""


@dataclass
class Orders:
    """A list of orders; see labsupport.net.inside.relay for what each one does.

    Attributes:
        strict: stop after the first that fails; else go on with the others.
    """

    strict: bool = False
    _frames: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._frames)

    def enter(self, namespace: str) -> None:
        """Go on in a namespace; "" is the lab's first one."""
        self._add(b"enter", os.fsencode(namespace))

    def create(self, namespace: str) -> None:
        """Make a namespace and go on in it."""
        self._add(b"create", os.fsencode(namespace))

    def delete(self, namespace: str) -> None:
        """Take a namespace's name away."""
        self._add(b"delete", os.fsencode(namespace))

    def keep(self, number: int) -> None:
        """Keep the namespace open under a file descriptor."""
        self._add(b"keep", b"%d" % number)

    def netlink(self, *messages: bytes) -> None:
        """Send messages, each of which asks for one acknowledgement or one list."""
        self._add(b"netlink", b"%d" % len(messages), b"".join(messages))

    def write(self, path: str, value: str) -> None:
        """Write to /proc/sys/PATH."""
        self._add(b"write", path.encode(), value.encode())

    def _add(self, *fields: bytes) -> None:
        self._frames.append(wire.encode(*fields))

    def run(self, lab: Lab) -> list[Answer]:
        """Carry them out; return the answers in their order, fewer if a strict list stopped.

        Raises:
            CommandFailed: somebody ended the process that carries them out.
            CommandTimeout, LabClosed, LabDied: as `Lab.run`.
        """
        if not self._frames:
            return []
        done = lab.run_forked(_MODULES, b"strict" if self.strict else b"", stdin=b"".join(self._frames),
                              timeout_s=_TIMEOUT_S, max_output_bytes=_MOST_OUTPUT_BYTES)
        answers = [_answer(frame) for frame in wire.Decoder(_MOST_OUTPUT_BYTES).feed(done.stdout_bytes)]
        complete = len(answers) == len(self._frames) or (self.strict and answers and answers[-1].errno)
        if done.exit_status or not complete:
            raise CommandFailed(
                "the process that works on the lab's network was ended", where="this lab", command=done.command,
                exit_status=done.exit_status, expected=f"{len(self._frames)} answers", observed=f"{len(answers)}",
                log_tail=done.stderr[-2000:], next_step="try again; if nobody in the lab ended it, please report it",
            )
        return answers


def _answer(frame: list[bytes]) -> Answer:
    if frame[0] == b"done":
        return Answer(data=frame[1])
    return Answer(errno=int(frame[1]), problem=frame[2].decode(errors="replace"))
