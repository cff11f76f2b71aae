"""`Lab.forward`: connections to a port of the host arrive in the lab, and nothing of them is left."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from forwarding import (
    abort,
    ask,
    connect,
    exchange,
    helpers,
    idle,
    make_namespace,
    open_files,
    read_to_end,
    start_server,
    turns_away,
    was_reset,
)

from labsupport.errors import LabError, NamespaceNotFound
from labsupport.sandbox.forward import Forward
from labsupport.waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_it_reaches_a_named_namespace_and_no_other(lab):
    make_namespace(lab, "red")
    start_server(lab, namespace="red")
    with lab.forward("127.0.0.1", 7, namespace="red") as red, lab.forward("127.0.0.1", 7) as first:
        assert red.address[0] == "127.0.0.1"
        with connect(red.address, "echo") as connection:
            assert exchange(connection, b"hello") == b"hello"
            assert red.connections == 1
        idle(red)
        assert turns_away(first.address)  # nobody listens there
        assert red.ended is None
        assert first.ended is None


def test_ipv6(lab):
    start_server(lab, "::1")
    with lab.forward("::1", 7) as forward, connect(forward.address, "echo") as connection:
        assert exchange(connection, b"hello") == b"hello"


def test_a_port_of_choice(lab):
    start_server(lab)
    with lab.forward("127.0.0.1", 7) as forward:
        address = forward.address
    for _ in range(2):  # a connection that has just ended does not keep the port taken
        with lab.forward("127.0.0.1", 7, listen=address) as forward:
            assert forward.address == address
            assert ask(address, "send 1000") == (bytes(range(256)) * 4)[:1000]


def test_http_with_large_bodies(lab):
    lab.run("head -c 50000000 /dev/urandom > /tmp/big; cd /tmp; sha256sum big > sum", echo=False).check()
    lab.start(["python3", "-u", "-m", "http.server", "-b", "127.0.0.1", "-d", "/tmp", "80"]).read(10)
    with lab.forward("127.0.0.1", 80) as forward:
        def get(name: str) -> bytes:
            connection = http.client.HTTPConnection(*forward.address, timeout=20)
            try:
                connection.request("GET", name)
                return connection.getresponse().read()
            finally:
                connection.close()

        big = get("/big")
        assert len(big) == 50_000_000
        done = lab.run("sha256sum | diff - <(sed 's/big/-/' /tmp/sum)", stdin=big, echo=False)
        assert done.exit_status == 0
        with ThreadPoolExecutor(4) as pool:
            assert all(other == big for other in pool.map(get, ["/big"] * 4))


def test_bytes_in_both_directions_at_once(forward):
    data = os.urandom(8 << 20)
    with connect(forward.address, "echo") as connection, ThreadPoolExecutor(1) as pool:
        def send() -> None:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

        sending = pool.submit(send)
        assert read_to_end(connection) == data
        sending.result()


def test_the_end_of_one_direction_leaves_the_other_open(forward):
    with connect(forward.address, "count") as connection:
        connection.sendall(b"x" * 3_000_000)
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == b"3000000"
    with connect(forward.address, "send 2000000") as connection:  # here the server is the first to end
        assert len(read_to_end(connection)) == 2_000_000
        assert forward.connections == 1
    idle(forward)


def test_refused_and_aborted_connections_are_reset(lab, forward):
    with lab.forward("127.0.0.1", 9) as nobody, lab.forward("192.0.2.1", 9) as nowhere:
        for refused in (nobody, nowhere):
            start = time.monotonic()
            assert turns_away(refused.address)
            assert time.monotonic() - start < 2
    assert was_reset(connect(forward.address, "abort"))
    connection = connect(forward.address, "echo")
    exchange(connection, b"hello")
    abort(connection)
    idle(forward)


def test_two_hundred_at_once(forward):
    def one(number: int) -> bool:
        with connect(forward.address, "echo") as connection:
            met.wait(30)
            data = number.to_bytes(2, "big") * 5000
            return all(exchange(connection, data) == data for _ in range(5))

    met = threading.Barrier(200)
    with ThreadPoolExecutor(200) as pool:
        assert all(pool.map(one, range(200)))
    idle(forward)


def test_two_thousand_one_after_another(forward):
    threads, files = threading.active_count(), open_files()
    for _ in range(2000):
        assert ask(forward.address, "send 1") == b"\0"
    idle(forward)
    assert threading.active_count() == threads
    assert open_files() == files


@pytest.mark.timeout(120)
def test_one_that_nobody_reads_holds_up_no_other_and_little_memory(lab):
    server = start_server(lab)
    forward = lab.forward("127.0.0.1", 7)
    much = 256 << 20
    stalled = [connect(forward.address, f"send {much}") for _ in range(3)]
    holding = connect(forward.address, "hold")
    assert holding.recv(100) == b"holding\n"
    holding.setblocking(False)
    sent = 0

    def full() -> bool:
        nonlocal sent
        try:
            while True:
                sent += holding.send(bytes(1 << 16))
        except BlockingIOError:
            return sent > 0

    def sent_inside() -> int:
        return int(ask(forward.address, "sent"))

    def steady() -> bool:
        nonlocal before
        full()
        before, last = (sent_inside(), sent), before
        return before == last

    before = (-1, -1)
    wait_until(steady, what="no more bytes to go", deadline_s=30, interval_s=0.3)
    assert before[0] < 3 * (48 << 20)  # the sockets' own buffers, and a window each
    assert sent < 48 << 20
    with connect(forward.address, "echo") as fast:
        times = []
        for _ in range(200):
            start = time.monotonic()
            exchange(fast, b"x" * 100)
            times.append(time.monotonic() - start)
    assert sorted(times)[100] < 0.02
    assert len(ask(forward.address, "send 20000000")) == 20_000_000
    for connection in stalled:
        connection.close()
    wait_until(lambda: forward.connections == 1, what="the stalled ones to be gone", deadline_s=5)
    server.stop()
    holding.settimeout(5)
    assert was_reset(holding)
    idle(forward)


def test_a_port_that_is_taken(lab):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(LabError) as told:
            lab.forward("127.0.0.1", 7, listen=taken.getsockname())
        port = taken.getsockname()[1]
    message = str(told.value)
    assert f"127.0.0.1 port {port} of this machine" in message
    assert f"process {os.getpid()} listens there: " in message
    assert "choose another port" in message
    lab.ping()


@pytest.mark.parametrize(("listen", "words"), [
    (("192.0.2.1", 0), "an address of this machine"),
    (("localhost", 0), "an IP address"),
    (("127.0.0.1", 70000), "a TCP port"),
])
def test_an_address_that_cannot_be_listened_on(lab, listen, words):
    with pytest.raises(LabError, match=words):
        lab.forward("127.0.0.1", 7, listen=listen)


@pytest.mark.parametrize(("address", "port"), [("server.example", 7), ("127.0.0.1", 0), ("fe80::1%lo", 7)])
def test_an_address_that_is_none(lab, address, port):
    with pytest.raises(LabError, match="a forward needs"):
        lab.forward(address, port)


def test_a_namespace_that_is_none(lab):
    make_namespace(lab, "red")
    with pytest.raises(NamespaceNotFound, match="one of: red"):
        lab.forward("127.0.0.1", 7, namespace="blue")
    wait_until(lambda: not helpers(lab), what="no helper", deadline_s=2)


def test_more_clients_than_a_lab_takes(lab):
    forwards: list[Forward] = []
    with pytest.raises(LabError, match="as many clients as it may have"):
        forwards.extend(lab.forward("127.0.0.1", 7) for _ in range(100))
    assert len(forwards) > 20
    lab.ping()
    forwards[0].close()
    wait_until(lambda: len(helpers(lab)) < len(forwards), what="a helper to be gone", deadline_s=2)
    lab.forward("127.0.0.1", 7)
