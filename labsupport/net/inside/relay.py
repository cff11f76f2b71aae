"""Carries netlink messages between the client and the kernel, in any of the lab's network namespaces.

It reads orders from its standard input, one frame each (labsupport.sandbox.agent.wire), and answers each one with a
frame, in their order: "done" and what came, or "error" with an errno and a text.

    enter NAME          go on in that namespace ("" is the lab's first one)
    create NAME         make it, and go on in it
    delete NAME         take its name away
    keep NUMBER         keep the namespace open under this file descriptor, for messages that refer to it
    netlink COUNT DATA  send DATA, which asks for COUNT acknowledgements or ends of lists; answer with all that came
    write PATH TEXT     write to /proc/sys/PATH

What needs a namespace that could not be entered is answered with the same error. With `strict` it ends after the first
error instead.
"""

import _socket
import os
import resource
import sys

from labsupport.net.inside import spaces
from labsupport.sandbox.agent import syscalls, wire

TYPE_CHECKING = False  # typing itself is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable

NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK = 11, 10, 12
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_READ_BYTES = 1 << 17


class Relay:
    """The one that carries.

    Attributes:
        space: a descriptor of the namespace that this process is in; -1 if entering one failed.
    """

    def __init__(self) -> None:
        self.first = syscalls.current_network()
        self.space = os.dup(self.first)
        self.missing = OSError(2, "no namespace was entered")
        self.netlink: _socket.socket | None = None
        self.folder_shared = False

    def leave(self) -> None:
        """Forget the namespace of the moment."""
        if self.netlink is not None:
            self.netlink.close()
            self.netlink = None
        if self.space >= 0:
            os.close(self.space)
        self.space = -1

    def enter(self, name: bytes) -> bytes:
        """See the module."""
        self.leave()
        try:
            self.space = spaces.find(os.fsdecode(name), self.first)
        except OSError as error:
            self.missing = error
            raise
        syscalls.setns(self.space, syscalls.CLONE_NEWNET)
        return b""

    def create(self, name: bytes) -> bytes:
        """See the module."""
        self.leave()
        if not self.folder_shared:
            spaces.share_folder()
            self.folder_shared = True
        self.space = spaces.create(os.fsdecode(name))
        return b""

    def delete(self, name: bytes) -> bytes:
        """See the module."""
        spaces.delete(os.fsdecode(name))
        return b""

    def keep(self, number: bytes) -> bytes:
        """See the module."""
        self.check()
        os.dup2(self.space, int(number), inheritable=False)
        return b""

    def write(self, path: bytes, text: bytes) -> bytes:
        """See the module."""
        self.check()
        fd = os.open(b"/proc/sys/" + path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text)
        finally:
            os.close(fd)
        return b""

    def exchange(self, count: bytes, data: bytes) -> bytes:
        """See the module: netlink."""
        self.check()
        if self.netlink is None:
            self.netlink = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
            for option in (NETLINK_EXT_ACK, NETLINK_CAP_ACK):
                self.netlink.setsockopt(270, option, 1)  # SOL_NETLINK
            self.netlink.bind((0, 0))
        self.netlink.send(data)
        answer, left = bytearray(), int(count)
        while left > 0:
            part = self.netlink.recv(_READ_BYTES)
            answer += part
            left -= _ends(part)
        return bytes(answer)

    def check(self) -> None:
        """Raise why there is no namespace to work in."""
        if self.space < 0:
            raise self.missing


def _ends(data: bytes) -> int:
    """Return how many acknowledgements and ends of lists a datagram holds."""
    found = position = 0
    while position + 16 <= len(data):
        length = int.from_bytes(data[position : position + 4], sys.byteorder)
        kind = int.from_bytes(data[position + 4 : position + 6], sys.byteorder)
        found += kind in (_NLMSG_ERROR, _NLMSG_DONE)
        position += max(length + 3 & ~3, 16)
    return found


ORDERS: "dict[bytes, Callable[..., bytes]]" = {
    b"enter": Relay.enter, b"create": Relay.create, b"delete": Relay.delete, b"keep": Relay.keep,
    b"netlink": Relay.exchange, b"write": Relay.write,
}


def main(strict: bytes) -> None:
    """Serve until the input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a big topology keeps a namespace open for each box
    relay, decoder = Relay(), wire.Decoder()
    while True:
        data = os.read(0, _READ_BYTES)
        if not data:
            return
        answers = bytearray()
        for kind, *fields in decoder.feed(data):
            try:
                answers += wire.encode(b"done", ORDERS[kind](relay, *fields))
            except OSError as error:
                answers += wire.encode(b"error", b"%d" % (error.errno or 5), (error.strerror or str(error)).encode())
                if strict:
                    write_all(answers)
                    return
        write_all(answers)


def write_all(data: "bytes | bytearray") -> None:
    """Write to the client, however long it takes to take it."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
