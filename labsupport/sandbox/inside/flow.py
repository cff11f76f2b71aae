"""One of the connections that a byte stream carries; see mux."""

import _socket
import sys

WINDOW_BYTES = 1 << 18
_ABORT = (1).to_bytes(4, sys.byteorder) + bytes(4)  # SO_LINGER for no time at all


class Flow:
    """One connection.

    Attributes:
        pending: bytes for the socket that it does not take yet.
        room: how many bytes the other end may still be sent.
        owed: how many bytes came from the other end for which it got no `room` yet.
        written: how many of these the socket has taken.
        read_ended: the socket's end of file was read, and the other end was told.
        eof: the other end sends no more.
        reading, writing: what is waited for.
    """

    __slots__ = ("eof", "fd", "number", "owed", "pending", "read_ended", "reading", "room", "socket", "write_ended",
                 "writing", "written")

    def __init__(self, number: int, socket: _socket.socket) -> None:
        self.number = number
        self.socket = socket
        self.fd = socket.fileno()
        self.pending = bytearray()
        self.room = WINDOW_BYTES
        self.owed = self.written = 0
        self.read_ended = self.write_ended = self.eof = False
        self.reading = self.writing = False

    def abort(self) -> None:
        """Let the socket's end be a reset, which the one at its other side cannot take for the end of all bytes."""
        self.socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _ABORT)
