"""`Lab.serve`: connections to a port of the lab arrive at a function of this process."""

from __future__ import annotations

import socket
import threading

import pytest
from forwarding import (
    HELLO,
    connect,
    echo_back,
    exchange,
    helpers,
    idle,
    make_namespace,
    open_files,
    read_to_end,
    run_client,
    start_server,
    was_reset,
)

from labsupport.errors import LabError, NamespaceNotFound
from labsupport.waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_it_listens_in_a_named_namespace(lab):
    make_namespace(lab, "red")
    with lab.serve(echo_back, "127.0.0.1", 80, namespace="red") as service:
        assert service.address == ("127.0.0.1", 80)
        assert run_client(lab, service.address, HELLO, namespace="red") == "hello"
        assert lab.run("exec 3<>/dev/tcp/127.0.0.1/80", echo=False).exit_status != 0
        idle(service)
    assert lab.run("exec 3<>/dev/tcp/127.0.0.1/80", namespace="red", echo=False).exit_status != 0
    wait_until(lambda: not helpers(lab), what="no helper", deadline_s=2)


def test_any_free_port_and_ipv6(lab):
    with lab.serve(echo_back, "::1", 0) as service:
        assert service.address[1] > 0
        assert run_client(lab, service.address, HELLO) == "hello"


def test_much_in_both_directions(lab):
    with lab.serve(echo_back, "127.0.0.1", 80) as service:
        code = """
import os
data = os.urandom(20_000_000)
with connect() as c:
    def send():
        c.sendall(data)
        c.shutdown(socket.SHUT_WR)
    threading.Thread(target=send).start()
    print(read_to_end(c) == data)
"""
        assert run_client(lab, service.address, code) == "True"


def test_the_end_of_one_direction_leaves_the_other_open(lab):
    def count(connection: socket.socket) -> None:
        connection.sendall(b"%d" % len(read_to_end(connection)))

    def hang_up_first(connection: socket.socket) -> None:
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        got.append(read_to_end(connection))

    got: list[bytes] = []
    with lab.serve(count, "127.0.0.1", 80) as service:
        code = "c = connect(); c.sendall(bytes(3000000)); c.shutdown(socket.SHUT_WR); print(read_to_end(c).decode())"
        assert run_client(lab, service.address, code) == "3000000"
    with lab.serve(hang_up_first, "127.0.0.1", 80) as service:
        code = "c = connect(); print(read_to_end(c).decode()); c.sendall(b'and after'); c.close()"
        assert run_client(lab, service.address, code) == "bye"
        wait_until(lambda: got, what="the rest", deadline_s=5)
    assert got == [b"and after"]


def test_a_handler_that_returns_at_once_closes_the_connection(lab):
    with lab.serve(lambda _: None, "127.0.0.1", 80) as service:
        assert run_client(lab, service.address, "print(len(read_to_end(connect())))") == "0"
        code = """
c = connect()
try:
    while True:
        c.sendall(bytes(65536))
except (ConnectionResetError, BrokenPipeError):
    print("reset")
"""
        assert run_client(lab, service.address, code) == "reset"
        idle(service)


def test_an_aborted_connection_ends_its_handler(lab):
    ended: list[int] = []

    def wait_for_the_end(connection: socket.socket) -> None:
        ended.append(was_reset(connection))

    with lab.serve(wait_for_the_end, "127.0.0.1", 80) as service:
        code = """
c = connect()
c.sendall(b"hello")
c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
c.close()
"""
        run_client(lab, service.address, code)
        wait_until(lambda: ended, what="the handler to end", deadline_s=5)
        idle(service)


def test_two_hundred_at_once(lab):
    met = threading.Barrier(200)

    def meet(connection: socket.socket) -> None:
        met.wait(30)
        echo_back(connection)

    code = """
from concurrent.futures import ThreadPoolExecutor
def one(number):
    with connect() as c:
        data = number.to_bytes(2, "big") * 5000
        c.sendall(data)
        c.shutdown(socket.SHUT_WR)
        return read_to_end(c) == data
with ThreadPoolExecutor(200) as pool:
    print(all(pool.map(one, range(200))))
"""
    with lab.serve(meet, "127.0.0.1", 80) as service:
        assert run_client(lab, service.address, code) == "True"
        idle(service)


def test_two_thousand_one_after_another(lab):
    with lab.serve(echo_back, "127.0.0.1", 80) as service:
        run_client(lab, service.address, HELLO)
        idle(service)
        wait_until(lambda: not service._handlers, what="the handler to end", deadline_s=5)
        threads, files = threading.active_count(), open_files()
        code = """
for _ in range(2000):
    c = connect()
    c.sendall(b"x")
    c.recv(1)
    c.close()
print("done")
"""
        assert run_client(lab, service.address, code) == "done"
        idle(service)
        wait_until(lambda: threading.active_count() == threads, what="the handlers to end", deadline_s=5)
        assert open_files() == files


def test_a_handler_that_does_not_read_holds_up_no_other_and_little_memory(lab):
    stop = threading.Event()

    def handle(connection: socket.socket) -> None:
        if connection.recv(1) == b"h":
            stop.wait(30)
        else:
            echo_back(connection)

    code = """
import time
c = connect()
c.sendall(b"h")
c.settimeout(0.5)
sent = 0
try:
    while sent < 256 << 20:
        sent += c.send(bytes(65536))
except TimeoutError:
    pass
times = []
with connect() as fast:
    fast.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    fast.sendall(b"f")
    for _ in range(200):
        start = time.monotonic()
        fast.sendall(b"x")
        fast.recv(1)
        times.append(time.monotonic() - start)
print(sent < 48 << 20, sorted(times)[100] < 0.02)
"""
    with lab.serve(handle, "127.0.0.1", 80) as service:
        assert run_client(lab, service.address, code) == "True True"
        stop.set()


def test_a_port_of_the_host_and_back_again(lab):
    """Through a forward into the lab, and from there by a service out to the host."""
    start_server(lab)
    with lab.forward("127.0.0.1", 7) as inner:
        def pass_on(connection: socket.socket) -> None:
            with connect(inner.address, "echo") as server:
                while data := connection.recv(100):
                    connection.sendall(exchange(server, data))

        with (lab.serve(pass_on, "127.0.0.1", 80) as service, lab.forward(*service.address) as outer,
              connect(outer.address) as connection):
            assert exchange(connection, b"around") == b"around"


def test_a_place_where_it_cannot_listen(lab):
    start_server(lab)
    with pytest.raises(LabError, match="Address already in use"):
        lab.serve(echo_back, "127.0.0.1", 7)
    with pytest.raises(LabError, match="Cannot assign requested address"):
        lab.serve(echo_back, "192.0.2.1", 7)
    with pytest.raises(LabError, match="a forward needs"):
        lab.serve(echo_back, "localhost", 7)
    with pytest.raises(NamespaceNotFound, match="a namespace made by `ip netns add NAME`"):
        lab.serve(echo_back, "127.0.0.1", 7, namespace="blue")
    wait_until(lambda: not helpers(lab), what="no helper", deadline_s=2)
