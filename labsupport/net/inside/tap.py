"""Listens on interfaces in any namespaces at once, and to changes of the neighbour tables and forwarding databases.

Frames stay in the kernel's rings (packet(7), PACKET_RX_RING, TPACKET_V3) until a block of them is full or 10 ms old.
This process passes whole blocks on and never looks into them, so it keeps up with what a lab can send.

    ready                    from now on every frame is seen
    block LINK BYTES         frames of the link with that number, as the kernel wrote them
    change SPACE TIME BYTES  a message of rtnetlink(7) about a neighbour, from the namespace with that number
    missed SPACE             changes were lost there
    synced                   everything from before a `sync` was passed on
    end LOST                 so many frames found no room in their ring

It reads a byte for each `sync`, and stops at the end of its input.
"""

import _socket
import _thread
import errno
import os
import select
import sys
import time

from labsupport.net.inside import spaces
from labsupport.sandbox.agent import syscalls, wire

TYPE_CHECKING = False  # typing itself is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable

_SOL_PACKET, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 263, 5, 6, 10
_TPACKET_V3, _EVERY_PROTOCOL = 2, 0x0003
_FRAME_BYTES, _BLOCK_BYTES = 2048, 1 << 17
_RING_BYTES, _ALL_RINGS_BYTES, _LEAST_BLOCKS = 8 << 20, 64 << 20, 8
_BLOCK_AGE_MS = 10
_OWNED_BY_USER, _STATUS_AT, _COUNT_AT, _LENGTH_AT = 1, 8, 12, 20
_NEIGHBOUR_GROUP = 1 << 2  # RTNLGRP_NEIGH
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS, _CHANGES_BYTES = 33, 35, 4 << 20
_FLUSH_LIMIT_S = 2.0
_NO_FRAMES = 0


class Tap:
    """The ring of one link.

    Attributes:
        passed: how many frames were passed on.
        kept, lost: how many the kernel has put into the ring, and how many it could not.
    """

    def __init__(self, number: int, link: str, blocks: int) -> None:
        self.number = number
        self.link = link
        self.count = blocks
        self.next = 0
        self.passed = self.kept = self.lost = 0
        # Without a protocol it hears nothing until it is bound: no frame may come before the ring is there.
        self.socket = _socket.socket(_socket.AF_PACKET, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _NO_FRAMES)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)

    def make_ring(self) -> None:
        """Have the kernel make the ring, and see it."""
        blocks = self.count
        request = (_BLOCK_BYTES, blocks, _FRAME_BYTES, _BLOCK_BYTES // _FRAME_BYTES * blocks, _BLOCK_AGE_MS, 0, 0)
        syscalls.set_socket_option(self.socket.fileno(), _SOL_PACKET, _PACKET_RX_RING,
                                   b"".join([value.to_bytes(4, sys.byteorder) for value in request]))
        self.view = syscalls.map_shared(self.socket.fileno(), _BLOCK_BYTES * blocks)

    def start(self) -> None:
        """Begin to listen."""
        # Otherwise the kernel would stamp frames only when they reach the ring, and not always in their order.
        self.socket.setsockopt(_socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.socket.bind((self.link, _EVERY_PROTOCOL))

    def pass_on(self) -> None:
        """Pass all full blocks on, and give them back to the kernel."""
        while True:
            block = self.view[self.next * _BLOCK_BYTES : (self.next + 1) * _BLOCK_BYTES]
            if not _number(block, _STATUS_AT) & _OWNED_BY_USER:
                return
            self.passed += _number(block, _COUNT_AT)
            write_frame(b"block", b"%d" % self.number, bytes(block[: _number(block, _LENGTH_AT)]))
            block[_STATUS_AT : _STATUS_AT + 4] = bytes(4)
            self.next = (self.next + 1) % self.count

    def take_error(self, events: int) -> None:
        """Take the error that an interface which is down leaves: else `poll` would come back with it for ever."""
        if events & select.POLLERR:
            self.socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)

    def ask(self) -> None:
        """Add what the kernel has counted since it was last asked."""
        counted = self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        seen, lost = (int.from_bytes(counted[at : at + 4], sys.byteorder) for at in (0, 4))
        self.kept += seen - lost  # the kernel counts the lost ones among those that it has seen
        self.lost += lost


def _number(data: "memoryview", at: int) -> int:
    return int.from_bytes(data[at : at + 4], sys.byteorder)


def write_frame(*fields: bytes) -> None:
    """Write to the client, however long it takes to take it."""
    view = memoryview(wire.encode(*fields))
    while view:
        view = view[os.write(1, view) :]


class Listener:
    """All taps, and one netlink socket per namespace."""

    def __init__(self, places: "list[tuple[bytes, list[bytes]]]") -> None:
        self.poll = select.poll()
        self.taps: dict[int, Tap] = {}
        self.changes: dict[int, tuple[int, _socket.socket]] = {}
        count = sum([len(links) for _, links in places]) or 1
        blocks = max(_LEAST_BLOCKS, min(_RING_BYTES, _ALL_RINGS_BYTES // count) // _BLOCK_BYTES)
        first, number = syscalls.current_network(), 0
        for space, (name, links) in enumerate(places):
            fd = spaces.find(os.fsdecode(name), first)
            syscalls.setns(fd, syscalls.CLONE_NEWNET)
            os.close(fd)
            self.watch_tables(space)
            for link in links:
                tap = Tap(number, os.fsdecode(link), blocks)
                self.taps[tap.socket.fileno()] = tap
                self.poll.register(tap.socket.fileno(), select.POLLIN)
                number += 1
        _at_once([tap.make_ring for tap in self.taps.values()])
        for tap in self.taps.values():
            tap.start()
        self.poll.register(0, select.POLLIN)

    def watch_tables(self, space: int) -> None:
        """Subscribe to the changes in the namespace that this process is in."""
        events = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
        try:
            events.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUFFORCE, _CHANGES_BYTES)
        except PermissionError:
            pass  # older kernels allow it to the host's root only; then it is the default size
        events.bind((0, _NEIGHBOUR_GROUP))
        events.setblocking(False)
        self.changes[events.fileno()] = space, events
        self.poll.register(events.fileno(), select.POLLIN)

    def serve(self) -> None:
        """Pass on what comes, until the input ends."""
        write_frame(b"ready")
        while True:
            for fd, events in self.poll.poll():
                if fd in self.taps:
                    self.taps[fd].take_error(events)
                    self.taps[fd].pass_on()
                elif fd in self.changes:
                    self.tell_changes(*self.changes[fd])
                else:
                    wishes = os.read(0, 4096)
                    self.flush()
                    for _ in wishes:
                        write_frame(b"synced")
                    if not wishes:
                        write_frame(b"end", b"%d" % sum([tap.lost for tap in self.taps.values()]))
                        return

    def tell_changes(self, space: int, events: _socket.socket) -> None:
        """Pass on what has changed in a namespace."""
        while True:
            try:
                data = events.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno != errno.ENOBUFS:
                    raise
                write_frame(b"missed", b"%d" % space)
                continue
            write_frame(b"change", b"%d" % space, b"%d" % time.clock_gettime_ns(time.CLOCK_REALTIME), data)

    def flush(self) -> None:
        """Pass on everything that the kernel has seen up to now."""
        for tap in self.taps.values():
            tap.ask()
        waiting = {tap.socket.fileno(): tap for tap in self.taps.values()}
        end = time.monotonic() + _FLUSH_LIMIT_S
        while waiting and time.monotonic() < end:
            for fd, tap in list(waiting.items()):
                tap.pass_on()
                if tap.passed >= tap.kept:
                    del waiting[fd]
            if waiting:
                some = select.poll()
                for fd in waiting:
                    some.register(fd, select.POLLIN)
                for fd, happened in some.poll(_BLOCK_AGE_MS):
                    waiting[fd].take_error(happened)
        for space, events in self.changes.values():
            self.tell_changes(space, events)


def _at_once(actions: "list[Callable[[], None]]") -> None:
    """Carry out all at the same time: for each ring the kernel waits some 10 ms, doing nothing (synchronize_net)."""
    problems: list[OSError] = []

    def carry_out(action: "Callable[[], None]", under_way: "_thread.LockType") -> None:
        try:
            action()
        except OSError as problem:
            problems.append(problem)
        finally:
            under_way.release()

    waiting = []
    for action in actions:
        under_way = _thread.allocate_lock()
        under_way.acquire()
        waiting.append(under_way)
        try:
            _thread.start_new_thread(carry_out, (action, under_way))
        except RuntimeError:  # the lab has as many threads as it may have
            carry_out(action, under_way)
    for under_way in waiting:
        under_way.acquire()
    if problems:
        raise problems[0]


def main(order: bytes) -> None:
    """Listen where the order says: one frame per namespace, its name and the names of links."""
    Listener([(name, links) for name, *links in wire.Decoder().feed(order)]).serve()
