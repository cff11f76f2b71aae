"""Makes the packet filter of several namespaces tell what it does, and keeps what it tells until the input ends.

    ready                        from now on everything is told
    failed SPACE ERRNO WHAT      the kernel cannot do this in the namespace with that number; nothing else follows
    before SPACE BYTES           conntrack's list at the beginning, an answer of nfnetlink
    event SPACE BYTES            one message about one packet
    missed SPACE                 messages were lost there
    full                         so much was told that the rest was not kept
    after SPACE BYTES            conntrack's list at the end
    end                          that was all

It keeps what it hears in memory: writing costs time, in which the kernel's buffer runs full.
"""

import _socket
import errno
import os
import select
import sys

from labsupport.net.inside import spaces
from labsupport.sandbox.agent import syscalls, wire

_NETLINK_NETFILTER, _TRACE_GROUP = 12, 1 << 8  # NFNLGRP_NFTRACE
_SO_RCVBUFFORCE, _SO_RCVBUF, _EVENT_BYTES = 33, 8, 16 << 20
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_READ_BYTES = 1 << 17
_MOST_BYTES = 64 << 20
_PIECE_BYTES = 1 << 18


class Space:
    """One namespace.

    Attributes:
        orders: the socket that owns the table.
        events: the one that hears what the table tells.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.events = _netlink(_TRACE_GROUP)
        try:
            self.events.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUFFORCE, _EVENT_BYTES)
        except PermissionError:  # older kernels allow it to the host's root only
            self.events.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUF, _EVENT_BYTES)
        self.events.setblocking(False)
        self.orders = _netlink(0)

    def ask(self, data: bytes, ends: int) -> bytes:
        """Send messages, and return the answer: so many acknowledgements or ends of lists.

        Raises:
            OSError: the kernel refused one of them.
        """
        self.orders.send(data)
        answer = bytearray()
        while ends > 0:
            part = self.orders.recv(_READ_BYTES)
            ends -= _count_ends(part)
            answer += part
        return bytes(answer)


def _netlink(groups: int) -> _socket.socket:
    made = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    made.bind((0, groups))
    return made


def _count_ends(data: bytes) -> int:
    found = position = 0
    while position + 16 <= len(data):
        length = int.from_bytes(data[position : position + 4], sys.byteorder)
        kind = int.from_bytes(data[position + 4 : position + 6], sys.byteorder)
        if kind in (_NLMSG_ERROR, _NLMSG_DONE):
            found += 1
            code = int.from_bytes(data[position + 16 : position + 20], sys.byteorder, signed=True)
            if code < 0:
                raise OSError(-code, os.strerror(-code))
        position += max(length + 3 & ~3, 16)
    return found


class Tracer:
    """All namespaces."""

    def __init__(self) -> None:
        self.spaces: dict[int, Space] = {}
        self.poll = select.poll()
        self.kept: list[tuple[bytes, int, bytes]] = []
        self.bytes = 0
        self.full = False

    def add(self, names: "list[bytes]", table: bytes, answers: int, listing: bytes) -> None:
        """Begin in all namespaces: first all lists, then all tables.

        Raises:
            OSError: something is missing; its text begins with the number of the namespace and what it is.
        """
        first = syscalls.current_network()
        for number, name in enumerate(names):
            with Step(number, "namespace"):
                fd = spaces.find(os.fsdecode(name), first)
            syscalls.setns(fd, syscalls.CLONE_NEWNET)
            os.close(fd)
            with Step(number, "nfnetlink"):
                space = Space(number)
            self.spaces[space.events.fileno()] = space
            self.poll.register(space.events.fileno(), select.POLLIN)
        self.list("before", listing)
        for space in self.spaces.values():
            with Step(space.number, "nftables"):
                space.ask(table, answers)

    def list(self, when: str, listing: bytes) -> None:
        """Keep conntrack's lists."""
        for space in self.spaces.values():
            with Step(space.number, "conntrack"):
                self.kept.append((when.encode(), space.number, space.ask(listing, 1)))

    def listen(self) -> None:
        """Keep what is told until the input ends."""
        self.poll.register(0, select.POLLIN)
        while True:
            for fd, _ in self.poll.poll():
                if fd in self.spaces:
                    self.take(self.spaces[fd])
                elif not os.read(0, 4096):
                    for space in self.spaces.values():
                        self.take(space)
                    return

    def take(self, space: Space) -> None:
        """Keep what a namespace tells."""
        while True:
            try:
                data = space.events.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno != errno.ENOBUFS:
                    raise
                self.kept.append((b"missed", space.number, b""))
                continue
            self.bytes += len(data)
            if self.bytes > _MOST_BYTES:
                self.full = True
            else:
                self.kept.append((b"event", space.number, data))

    def close(self) -> None:
        """Let the kernel remove the tables."""
        for space in self.spaces.values():
            space.orders.close()

    def tell(self) -> None:
        """Write all that was kept."""
        for kind, number, data in self.kept:
            for at in range(0, len(data) or 1, _PIECE_BYTES):
                write_frame(kind, b"%d" % number, data[at : at + _PIECE_BYTES])
        if self.full:
            write_frame(b"full")
        write_frame(b"end")


class Step:
    """Says where it happened when something fails."""

    def __init__(self, number: int, what: str) -> None:
        self.number = number
        self.what = what

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, problem: object, _trace: object) -> None:
        if isinstance(problem, OSError):
            write_frame(b"failed", b"%d" % self.number, b"%d" % (problem.errno or 5), self.what.encode())
            os._exit(0)


def write_frame(*fields: bytes) -> None:
    """Write to the client, however long it takes to take it."""
    view = memoryview(wire.encode(*fields))
    while view:
        view = view[os.write(1, view) :]


def main(order: bytes, table: bytes, answers: bytes, listing: bytes) -> None:
    """Trace in the namespaces that the order names, one frame with all names."""
    [[_, *names]] = wire.Decoder().feed(order)
    tracer = Tracer()
    tracer.add(names, table, int(answers), listing)
    write_frame(b"ready")
    tracer.listen()
    tracer.list("after", listing)
    tracer.close()
    tracer.tell()
