"""What has come back for one request so far."""

from __future__ import annotations

from labsupport.sandbox.agent import wire


class Channel:
    """What has come back for one request so far.

    Several threads use one: whoever leads (see Connection) writes to it by `accept`, whoever waits for it reads.

    Attributes:
        reply: the fields of the answer, or None.
        refusal: the code and the text of an error, or None.
        started: whether the command was started.
        pid: its process id inside the lab; 0 for one that the observer runs.
        output: what it printed since this was last taken: (b"stdout" or b"stderr", bytes).
        unreported_bytes: how much output was taken here that the agent does not know of yet.
        sent_bytes, taken_bytes: how much stdin was sent, and how much of it the process has.
        exit_status: set when it has ended; negative for a signal.
    """

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.reply: list[bytes] | None = None
        self.refusal: tuple[str, str] | None = None
        self.started = False
        self.pid = 0
        self.output: list[tuple[bytes, bytes]] = []
        self.unreported_bytes = 0
        self.sent_bytes = 0
        self.taken_bytes = 0
        self.exit_status: int | None = None

    def accept(self, kind: bytes, fields: list[bytes]) -> None:
        """Keep one frame from the agent."""
        if kind in {b"stdout", b"stderr"}:
            self.output.append((kind, fields[0]))
        elif kind == b"taken":
            self.taken_bytes += int(fields[0])
        elif kind == b"started":
            self.started = True
            self.pid = int(fields[0])
        elif kind == b"exit":
            self.exit_status = int(fields[0])
        elif kind == b"reply":
            self.reply = fields
        elif kind == b"error":
            self.refusal = fields[0].decode(), fields[1].decode(errors="replace")
        else:
            raise wire.MalformedFrameError(f"unexpected frame {kind[:40]!r}")

    def answered(self) -> bool:
        """Whether the agent has said anything about the request's fate."""
        return self.reply is not None or self.refusal is not None or self.started

    def has_news(self) -> bool:
        """Whether there is output to take, or none to come."""
        return bool(self.output) or self.exit_status is not None

    def stdin_room(self) -> int:
        """How many bytes of stdin may be sent now."""
        return wire.STDIN_WINDOW_BYTES - (self.sent_bytes - self.taken_bytes)
