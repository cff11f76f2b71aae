"""Frames on the byte stream between client and agent.

A frame is a 32-bit little-endian length and that many bytes; these hold fields, each again a length and its bytes.
The first field is the kind of the frame, the second the id of the request that it belongs to. Nothing is executed or
evaluated while decoding, so a hostile peer can at most be refused.

    client to agent                                agent to client
    hello   "" version token                       hello   "" version pid
    ping    id                                     reply   id field...
    list    id                                     error   id code text
    exec    id mode namespace rows columns argv... started id pid
    observe id namespace argv...
    fork    id code                                (see labsupport.sandbox.portable)
    stdin   id bytes                               taken   id count      (bytes of stdin that the process has)
    eof     id                                     stdout  id bytes
    taken   id count                               stderr  id bytes
    signal  id number                              exit    id status     (-N: ended by signal N)
    resize  id rows columns                        cloned  "" pid        (while the lab starts: its PID 1)
    endall  id                                     failed  "" step text  (the lab could not start, or has to end)

Both directions of a command have a window. The client sends at most STDIN_WINDOW_BYTES of stdin that are not `taken`
yet. The agent reads a command's output only while less than OUTPUT_WINDOW_BYTES of it are not `taken` by whoever reads
it at the client, so output that nobody reads waits in the lab. The client says so once per OUTPUT_STEP_BYTES: a command
that prints little costs no frame. At a command's end the agent sends what is left in its pipes, window or not.
"""

VERSION = b"3"
MAX_FRAME_BYTES = 1 << 20
MAX_FIELDS = 4096
STDIN_WINDOW_BYTES = 1 << 18
OUTPUT_WINDOW_BYTES = 1 << 20
OUTPUT_STEP_BYTES = 1 << 18


class MalformedFrameError(ValueError):
    """The peer sent bytes that are no frame."""


def encode(*fields: bytes) -> bytes:
    """Return one frame that carries `fields`."""
    body = b"".join([len(field).to_bytes(4, "little") + field for field in fields])
    return len(body).to_bytes(4, "little") + body


def _fields(body: bytes) -> list[bytes]:
    fields: list[bytes] = []
    position = 0
    while position < len(body):
        start = position + 4
        position = start + int.from_bytes(body[position:start], "little")
        if position > len(body) or start > len(body):
            raise MalformedFrameError(f"field {len(fields)} ends at byte {position} of a frame of {len(body)} bytes")
        fields.append(body[start:position])
        if len(fields) > MAX_FIELDS:
            raise MalformedFrameError(f"a frame has more than {MAX_FIELDS} fields")
    if not fields:
        raise MalformedFrameError("a frame has no fields")
    return fields


class Decoder:
    """Collects bytes as they arrive and gives back whole frames.

    Args:
        most_bytes: a longer frame is refused.
    """

    def __init__(self, most_bytes: int = MAX_FRAME_BYTES) -> None:
        self._most_bytes = most_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[list[bytes]]:
        """Add `data`; return the frames that are complete now.

        Raises:
            MalformedFrameError: the stream cannot be understood from here on; close it.
        """
        self._buffer += data
        frames = []
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "little")
            if length > self._most_bytes:
                raise MalformedFrameError(f"a frame of {length} bytes is over the limit of {self._most_bytes}")
            if len(self._buffer) < 4 + length:
                break
            frames.append(_fields(bytes(self._buffer[4 : 4 + length])))
            del self._buffer[: 4 + length]
        return frames
