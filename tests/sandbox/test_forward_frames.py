"""The frames of port forwards: both ends against each other, and one end against what nobody may send."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from test_fuzz import mutated, seeded

from labsupport.sandbox.agent import wire
from labsupport.sandbox.inside.flow import WINDOW_BYTES
from labsupport.sandbox.inside.mux import BACKLOG_BYTES, CHUNK_BYTES, MOST_CONNECTIONS, MOST_OUT_BYTES, Mux
from labsupport.waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
HOSTILE = [
    [b"open", b"1"],  # an end that listens opens, the other one may not
    [b"data", b"1"], [b"data"], [b"data", b"1", b"2", b"3"], [b"data", b"x", b"y"], [b"eof", b"", b""],
    [b"data", b"1", bytes(CHUNK_BYTES + 1000)],
    [b"room", b"1", b"1"], [b"room", b"1", b"-1000000"], [b"room", b"1", b"9" * 60_000], [b"room", b"1", b"1e3"],
]


def frame(*fields: bytes) -> bytes:
    return wire.encode(*fields)


def turn(mux: Mux, wait_s: float = 0) -> None:
    """Let an end do what is to do now."""
    for fd, _ in mux.poll.poll(wait_s):
        mux.handle(fd)
    mux.settle()


class Pair:
    """Two ends, one that listens and one that dials; the bytes between them go through this."""

    def __init__(self, stack: ExitStack) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        listener.setblocking(False)
        self.address = listener.getsockname()
        self.dialled: list[socket.socket] = []
        self.stack = stack
        self.near = Mux(listener=listener)
        self.far = Mux(dial=self.dial)
        for mux in (self.near, self.far):
            stack.callback(mux.close)

    def dial(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.dialled.append(self.stack.enter_context(theirs))
        return ours

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Return both ends of a new connection."""
        count = len(self.dialled)
        client = self.stack.enter_context(socket.create_connection(self.address))
        wait_until(lambda: self.carry() or len(self.dialled) > count, what="a connection", deadline_s=5)
        return client, self.dialled[-1]

    def carry(self, rounds: int = 20) -> None:
        for _ in range(rounds):
            for here, there in ((self.near, self.far), (self.far, self.near)):
                turn(here)
                data = bytes(here.out)
                here.out.clear()
                there.feed(data)
                turn(there)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(stack)


def test_one_that_is_not_read_stops_at_its_window_and_goes_on_later(pair):
    client, server = pair.connect()
    client.setblocking(False)
    server.settimeout(5)
    sent = 0
    for _ in range(200):
        try:
            sent += client.send(bytes(CHUNK_BYTES))
        except BlockingIOError:
            pair.carry()
    (near,), (far,) = pair.near.flows.values(), pair.far.flows.values()
    assert near.room == 0
    assert 0 < len(far.pending) <= WINDOW_BYTES
    assert not near.reading
    other, its_server = pair.connect()
    other.sendall(b"hello")
    wait_until(lambda: pair.carry() or select.select([its_server], [], [], 0)[0], what="the other", deadline_s=5)
    assert its_server.recv(10) == b"hello"
    received = 0
    while received < sent:
        received += len(server.recv(1 << 20))
        pair.carry()
    assert not far.pending
    assert near.room > WINDOW_BYTES // 2


def test_what_the_other_end_does_not_take_stops_the_reading(pair):
    clients = [pair.connect()[0] for _ in range(8)]
    for client in clients:
        client.setblocking(False)
        client.send(bytes(CHUNK_BYTES))
    for _ in range(100):
        turn(pair.near)
    held = len(pair.near.out)
    assert BACKLOG_BYTES <= held < BACKLOG_BYTES + 9 * CHUNK_BYTES
    turn(pair.near)
    assert len(pair.near.out) == held


def test_no_more_connections_than_the_limit_at_either_end(pair, monkeypatch):
    monkeypatch.setattr("labsupport.sandbox.inside.mux.MOST_CONNECTIONS", 3)
    opened = [pair.connect() for _ in range(3)]
    with socket.create_connection(pair.address) as waiting:
        pair.carry()
        assert len(pair.near.flows) == 3
        pair.far.feed(frame(b"open", b"100"))
        assert pair.far.out == frame(b"reset", b"100")
        pair.far.out.clear()
        opened[0][0].close()
        opened[0][1].close()
        pair.far._last = 3
        wait_until(lambda: pair.carry() or len(pair.dialled) == 4, what="the one that waited", deadline_s=5)
        assert len(pair.near.flows) == 3
        waiting.shutdown(socket.SHUT_RDWR)


def test_without_descriptors_who_knocks_is_turned_away(pair, monkeypatch):
    real = socket.socket._accept
    turned = []

    class Listener(socket.socket):
        refused = False

        def _accept(self):
            Listener.refused = not Listener.refused
            if Listener.refused:
                raise OSError(24, "Too many open files")
            turned.append(1)
            return real(self)

    fd = pair.near.listener.detach()
    pair.near.listener = Listener(fileno=fd)
    with socket.create_connection(pair.address, timeout=5) as client:
        wait_until(lambda: pair.carry() or turned, what="the answer", deadline_s=5)
        assert client.recv(1) == b""
    assert not pair.near.flows


@pytest.mark.parametrize("fields", HOSTILE, ids=lambda fields: b" ".join(fields)[:20].decode())
def test_a_frame_that_nobody_may_send(pair, fields):
    client, _ = pair.connect()
    with pytest.raises(wire.MalformedFrameError):
        pair.near.feed(frame(*fields))
    pair.near.reset_all()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert not pair.near.flows


def test_what_is_in_order_but_too_much(pair):
    client, _ = pair.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    data = frame(b"data", b"1", bytes(CHUNK_BYTES))
    with pytest.raises(wire.MalformedFrameError, match="more bytes than there is room for"):
        pair.near.feed(data * 200)
    pair.near.reset_all()
    pair.far.reset_all()
    pair.connect()
    pair.near.feed(frame(b"eof", b"1"))
    with pytest.raises(wire.MalformedFrameError, match="after their end"):
        pair.near.feed(data)


def test_frames_of_connections_that_have_ended_are_dropped(pair):
    pair.near.feed(b"".join(frame(kind, b"77", *rest) for kind, *rest in (
        (b"data", b"x"), (b"eof",), (b"room", b"5"), (b"reset",))))
    assert not pair.near.out
    assert not pair.near.flows


def test_numbers_only_grow(pair):
    pair.far.feed(frame(b"open", b"5") + frame(b"reset", b"5"))
    for number in (b"5", b"4", b"-1", b"0"):
        with pytest.raises(wire.MalformedFrameError):
            pair.far.feed(frame(b"open", number))
    assert len(pair.dialled) == 1


def test_many_that_are_opened_and_none_that_is_answered(pair):
    flood = b"".join(frame(b"open", b"%d" % number) for number in range(1, MOST_CONNECTIONS * 300))
    real, pair.far.dial = pair.far.dial, refuse

    def feed() -> None:
        for start in range(0, len(flood), 1 << 16):
            pair.far.feed(flood[start : start + (1 << 16)])

    with pytest.raises(wire.MalformedFrameError, match="more answers than are taken"):
        feed()
    assert len(pair.far.out) < MOST_OUT_BYTES + (1 << 20)
    pair.far.dial = real


def refuse() -> socket.socket:
    raise OSError(24, "Too many open files")


@pytest.mark.parametrize("seed", range(30))
def test_bytes_at_random_are_refused_or_understood(pair, seed):
    source = seeded(seed)
    good = b"".join(frame(*fields) for fields in (
        [b"open", b"9"], [b"data", b"9", b"hello"], [b"room", b"9", b"0"], [b"eof", b"9"], [b"reset", b"9"],
        [b"data", b"1", b"hello"], [b"eof", b"1"], [b"ready", b"80"]))
    for _ in range(100):
        if not pair.near.flows:
            pair.connect()
        for mux in (pair.near, pair.far):
            try:
                mux.feed(mutated(source, good))
                turn(mux)
            except wire.MalformedFrameError:
                mux.reset_all()
        pair.near.reset_all()
        pair.far.reset_all()


def test_an_idle_end_waits(pair):
    """It must not turn round and round: neither with a connection, nor with one that is half closed."""
    client, server = pair.connect()
    for step in (lambda: None, lambda: client.shutdown(socket.SHUT_WR)):
        step()
        pair.carry()
        start = time.monotonic()
        for mux in (pair.near, pair.far):
            assert mux.poll.poll(0.05) == []
        assert time.monotonic() - start >= 0.09
    server.close()
    wait_until(lambda: pair.carry() or not (pair.near.flows or pair.far.flows), what="the end", deadline_s=5)
