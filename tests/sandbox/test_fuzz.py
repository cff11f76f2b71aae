"""Malformed, truncated, oversized and random messages, at the agent and at the client.

Whatever arrives: nothing hangs, the error is one of labsupport's own, and an agent keeps serving its own client
whatever a second connection sends. The randomness has fixed seeds, so a failure can be repeated.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from random import Random

import oracle
import pytest

from labsupport import Lab, LabError
from labsupport.errors import LabDied, ProtocolError
from labsupport.sandbox import connection
from labsupport.sandbox.agent import wire
from labsupport.sandbox.connection import Connection
from labsupport.waiting import wait_until

KINDS = [b"hello", b"ping", b"list", b"exec", b"stdin", b"eof", b"signal", b"resize", b"endall", b"reply", b"error",
         b"started", b"taken", b"stdout", b"stderr", b"exit", b"failed", b"cloned", b"", b"\xff"]
WORDS = [b"", b"0", b"1", b"2", b"-1", b"99999999999999999999", b"9" * 5000, b"pipes", b"merged", b"terminal",
         b"trusted", b"true", b"cat", b"sleep", b"/", b"..", b"red", b"\xff\xfe", b"a\0b", b"x" * 70000]


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311  (repeatable, not secret)


def hello(token: bytes) -> bytes:
    return wire.encode(b"hello", b"", wire.VERSION, token)


def random_frames(chance: Random, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield wire.encode(chance.choice(KINDS), *chance.choices(WORDS, k=chance.randrange(8)))


def likely_frames(chance: Random, count: int) -> Iterator[bytes]:
    """Well-formed requests in an order that no client would send them in: ids in use, ended, unknown."""
    for _ in range(count):
        request = chance.choice([b"1", b"2", b"3"])
        kind = chance.choice([b"exec", b"exec", b"stdin", b"eof", b"signal", b"resize", b"ping", b"list", b"hello",
                               b"taken", b"observe"])
        fields = {
            b"exec": (chance.choice([b"pipes", b"merged", b"terminal", b"trusted"]), chance.choice([b"", b"red"]),
                      b"24", b"80", *chance.choice([(b"true",), (b"cat",), (b"sleep", b"0.01"), (b"yes",), (b"no",)])),
            b"stdin": (b"x" * chance.choice([0, 1, 70000]),),
            b"signal": (chance.choice([b"0", b"1", b"9", b"15", b"64", b"65", b"-9"]),),
            b"resize": (b"0", chance.choice([b"0", b"70000", b"-1"])),
            b"hello": (wire.VERSION, b"wrong"),
            b"taken": (chance.choice([b"0", b"-1", b"70000", b"99999999999999999999"]),),
            b"observe": (chance.choice([b"", b"red"]), b"sleep", b"0.01"),
        }.get(kind, ())
        yield wire.encode(kind, request, *fields)


def mutated(chance: Random, data: bytes) -> bytes:
    """Flip some bits, cut off the end, or write another length somewhere."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        position = chance.randrange(len(changed))
        changed[position] ^= 1 << chance.randrange(8)
    if chance.random() < 0.3:
        del changed[chance.randrange(len(changed)):]
    return bytes(changed)


MALFORMED = {
    "empty frame": bytes(4),
    "oversized": b"\xff\xff\xff\x7f",
    "just over the limit": (wire.MAX_FRAME_BYTES + 1).to_bytes(4, "little"),
    "field beyond the end": (8).to_bytes(4, "little") + (100).to_bytes(4, "little") + b"abcd",
    "half a field length": (2).to_bytes(4, "little") + b"\x01\x00",
    "too many fields": wire.encode(*[b""] * (wire.MAX_FIELDS + 2)),
    "one field only": wire.encode(b"ping"),
    "unknown kind": wire.encode(b"dance", b"1"),
    "of the other direction": wire.encode(b"stdout", b"1", b"x"),
    "old version": wire.encode(b"hello", b"", b"0", b""),
    "no command": wire.encode(b"exec", b"1", b"pipes", b"", b"0", b"0"),
    "unknown mode": wire.encode(b"exec", b"1", b"fast", b"", b"0", b"0", b"true"),
}


def talk(lab: Lab, *data: bytes) -> bytes:
    """Send bytes on a connection of its own, close the sending side, and return what comes until the agent closes."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(5)  # an agent that keeps a useless connection open fails the test with TimeoutError
        stream.connect("\0" + lab.announcement.address[1:])
        with contextlib.suppress(ConnectionError):  # the agent may have had enough before all was sent
            stream.sendall(b"".join(data))
            stream.shutdown(socket.SHUT_WR)
        answer = bytearray()
        with contextlib.suppress(ConnectionError):
            while part := stream.recv(65536):
                answer += part
        return bytes(answer)


def frames(data: bytes) -> list[list[bytes]]:
    return wire.Decoder().feed(data)


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("known", [False, True], ids=["stranger", "with the token"])
def test_a_malformed_frame_ends_its_connection_with_a_reason(lab, data, known):
    start = [hello(lab.announcement.token.encode())] if known else []
    answer = frames(talk(lab, *start, data))
    assert answer[-1][:3] == [b"error", b"", b"malformed"]
    lab.ping()


def test_a_stranger_gets_nothing_done(lab):
    touch = wire.encode(b"exec", b"1", b"pipes", b"", b"0", b"0", b"touch", b"/tmp/touched")
    for token in (b"", b"0" * 32, lab.announcement.token.encode()[:-1], lab.announcement.token.encode() + b"0"):
        (answer,) = frames(talk(lab, hello(token), touch))
        assert answer[2] == b"malformed"
    assert frames(talk(lab, touch))[0][2] == b"malformed"
    assert frames(talk(lab, wire.encode(b"endall", b"1")))[0][2] == b"malformed"
    assert lab.run("test -e /tmp/touched", echo=False).exit_status == 1


@pytest.mark.parametrize("seed", range(6))
def test_random_bytes_on_a_second_connection_disturb_nobody(lab, seed):
    chance = seeded(seed)
    token = lab.announcement.token.encode()
    for _ in range(40):
        start = [hello(token)] if chance.random() < 0.5 else []
        talk(lab, *start, chance.randbytes(chance.choice([1, 3, 4, 5, 50, 5000])))
        talk(lab, *start, mutated(chance, b"".join(likely_frames(chance, 3))))
        talk(lab, *start, *random_frames(chance, 5))
    lab.ping()
    assert lab.run("cat", stdin="alive", echo=False).stdout == "alive"


@pytest.mark.parametrize("seed", range(6))
def test_requests_in_any_order_disturb_nobody(lab, seed):
    chance = seeded(seed)
    token = lab.announcement.token.encode()
    lab.run("ip netns add red", echo=False).check()
    for _ in range(30):
        talk(lab, hello(token), *likely_frames(chance, 30))
    lab.ping()
    assert lab.run("cat", stdin="alive", echo=False).stdout == "alive"
    wait_until(lambda: lab.run("ls /proc | grep -c '^[0-9]'", echo=False).stdout == "4\n",
               what="the commands of the connections to end with them", deadline_s=3)


def test_connections_that_say_nothing_disturb_nobody(lab):
    silent = []
    for number in range(50):
        stream = socket.socket(socket.AF_UNIX)
        silent.append(stream)
        stream.connect("\0" + lab.announcement.address[1:])
        if number % 2:
            with contextlib.suppress(ConnectionError):  # there may be more than the agent takes
                stream.send(hello(lab.announcement.token.encode())[:-3])
    lab.ping()
    with Lab.join(lab.announcement.address, lab.announcement.token) as second:
        second.ping()
        for stream in silent:
            stream.close()
        second.ping()  # the agent has seen them go
    lab.ping()


def test_a_second_client_that_takes_nothing_costs_little_memory(lab):
    (agent,) = [process for process in oracle.lab_processes_below(os.getpid()) if process.is_agent]
    before = oracle.peak_memory_bytes(agent.pid)
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect("\0" + lab.announcement.address[1:])
        yes = [wire.encode(b"exec", b"%d" % number, b"pipes", b"", b"0", b"0", b"yes") for number in range(5)]
        stream.sendall(hello(lab.announcement.token.encode()) + b"".join(yes))
        stream.setblocking(False)
        pings, sent = wire.encode(b"ping", b"9" * 1000), 0
        try:
            for _ in range(20000):
                sent += stream.send(pings)
        except BlockingIOError:
            assert sent > 0
        lab.run(["sleep", "0.3"], echo=False)
        grown = oracle.peak_memory_bytes(agent.pid) - before
    assert grown < 30 << 20
    lab.ping()


@pytest.mark.parametrize("data", [*MALFORMED.values(), seeded(7).randbytes(9999)], ids=[*MALFORMED, "random"])
def test_garbage_from_its_own_client_ends_a_lab_with_an_error(namespace_ids, data):
    with Lab() as lab:
        namespace_ids(lab)
        lab._connection._stream.send(data)
        with pytest.raises((ProtocolError, LabDied)):
            wait_until(lab.ping, what="the lab to say what is wrong", deadline_s=2)
        wait_until(lambda: not oracle.lab_processes_below(os.getpid()), what="the lab to end", deadline_s=1)
        assert lab.closed


def fake_agent(*data: bytes, silent: bool = False) -> tuple[Connection, socket.socket]:
    """A client's connection to an agent that says `data` and then nothing more, or hangs up."""
    ours, theirs = socket.socketpair()
    with contextlib.suppress(BlockingIOError):
        theirs.send(b"".join(data), socket.MSG_DONTWAIT)
    if not silent:
        theirs.shutdown(socket.SHUT_WR)
    return Connection(ours, "fake"), theirs


def uses(client: Connection) -> None:
    """Raise what the client raises; give up after a second."""
    for _ in range(3):
        client.call(b"ping", deadline_s=1)


def nonsense(chance: Random) -> bytes:
    kinds = [
        lambda: chance.randbytes(chance.choice([1, 4, 5, 100, 5000])),
        lambda: b"".join(random_frames(chance, 5)),
        lambda: wire.encode(chance.choice(KINDS), b"1", *chance.choices(WORDS, k=chance.randrange(4))),
        lambda: mutated(chance, wire.encode(b"reply", b"1") + wire.encode(b"stdout", b"2", b"text")),
        lambda: wire.encode(*[b"1"] * chance.randrange(1, 4)),
    ]
    return chance.choice(kinds)()


@pytest.mark.parametrize("kind", range(10))
def test_an_agent_that_talks_nonsense_ends_in_an_error_of_ours(kind):
    for seed in range(kind * 50, kind * 50 + 50):
        client, theirs = fake_agent(nonsense(seeded(seed)))
        start = time.monotonic()
        with theirs, contextlib.closing(client), pytest.raises(LabError):
            uses(client)
        assert time.monotonic() - start < 3.5, f"seed {seed}"


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_every_malformed_frame_from_an_agent_is_an_error_of_ours(data):
    client, theirs = fake_agent(data)
    with theirs, contextlib.closing(client), pytest.raises((ProtocolError, LabDied)):
        uses(client)


def test_an_agent_that_says_nothing_is_given_up():
    client, theirs = fake_agent(silent=True)
    with theirs:
        with pytest.raises(LabDied, match="does not answer"):
            client.call(b"ping", deadline_s=0.1)
        with pytest.raises(LabDied, match="does not answer"):
            client.greet(b"token", deadline_s=0.1)
    client.close()


def test_an_agent_that_takes_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(connection, "REQUEST_DEADLINE_S", 0.2)
    client, theirs = fake_agent(silent=True)
    channel = client.open(b"exec")
    with theirs, pytest.raises(LabDied, match="takes no more requests"):
        client.send(channel, b"stdin", bytes(16 << 20))
    client.close()


def test_the_last_words_of_an_agent_are_heard_even_if_nothing_more_can_be_sent_to_it():
    client, theirs = fake_agent(wire.encode(b"failed", b"", b"serving", b"out of luck", b"0"))
    theirs.close()
    with pytest.raises(LabDied, match="out of luck"):
        client.call(b"ping")
    client.close()


def test_every_thread_that_waits_gets_the_error():
    client, theirs = fake_agent(silent=True)
    caught: list[str] = []

    def wait() -> None:
        try:
            client.call(b"ping", deadline_s=20)
        except LabError as error:
            caught.append(type(error).__name__)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    with theirs:
        theirs.sendall(b"\xff" * 100)
        for thread in threads:
            thread.join(5)
    assert caught == ["ProtocolError"] * 5
    client.close()
