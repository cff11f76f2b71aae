"""The ends of a service: its helper's, its own, its handlers' and its lab's."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from forwarding import CLIENT, HELLO, echo_back, helpers, read_to_end, run_client

from labsupport import Lab
from labsupport.errors import CommandFailed, LabClosed, LabDied
from labsupport.waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")


def kill_helper(lab: Lab) -> None:
    wait_until(lambda: helpers(lab), what="a helper", deadline_s=5)
    (helper,) = helpers(lab)
    lab.run(["kill", "-KILL", str(helper)], echo=False).check()
    wait_until(lambda: helper not in helpers(lab), what="its end", deadline_s=5)


def says_hello(lab: Lab, address: tuple[str, int]) -> bool:
    done = lab.run(["python3", "-c", CLIENT + HELLO, address[0], str(address[1])], echo=False)
    return done.stdout == "hello\n"


def test_the_helper_is_started_again_when_somebody_ended_it(lab):
    with lab.serve(echo_back, "127.0.0.1", 80) as service:
        with ThreadPoolExecutor(1) as pool:
            code = "c = connect(); c.sendall(b'x'); c.recv(1); print(len(read_to_end(c)))"
            waiting = pool.submit(run_client, lab, service.address, code)
            wait_until(lambda: service.connections == 1, what="a connection", deadline_s=5)
            kill_helper(lab)
            with suppress(CommandFailed):  # it has met a reset, not an end
                assert waiting.result(10) == "0"
        for _ in range(3):
            wait_until(lambda: says_hello(lab, service.address), what="the service to be there again", deadline_s=5)
            kill_helper(lab)
        lab.end_processes()
        wait_until(lambda: says_hello(lab, service.address), what="the service to be there again", deadline_s=5)
        assert service.ended is None


THIEF = """
import socket, time
while True:  # until the helper's socket is closed
    try:
        thief = socket.create_server(("127.0.0.1", 80))
    except OSError:
        time.sleep(0.001)
    else:
        print("up", flush=True)
        input()
"""


def test_a_port_that_was_taken_meanwhile_is_listened_on_when_it_is_free(lab):
    with lab.serve(echo_back, "127.0.0.1", 80) as service:
        kill_helper(lab)
        kill_helper(lab)  # the next one comes a second later
        thief = lab.start(["python3", "-c", THIEF])
        assert thief.read(10) == [("stdout", b"up\n")]
        tried = service._next_start_s
        wait_until(lambda: service._next_start_s > tried + 1, what="two more tries", deadline_s=10)
        assert service.ended is None
        thief.stop()
        wait_until(lambda: says_hello(lab, service.address), what="the service to be there again", deadline_s=5)


def test_closing_ends_the_handlers(lab):
    seen: list[bytes] = []

    def wait_for_the_end(connection: socket.socket) -> None:
        seen.append(connection.recv(10))
        seen.append(connection.recv(10))

    with lab.serve(wait_for_the_end, "127.0.0.1", 80) as service, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run_client, lab, service.address, "c = connect(); c.sendall(b'x'); print(was_reset(c))")
        wait_until(lambda: seen == [b"x"], what="the handler", deadline_s=10)
        service.close()
        assert seen == [b"x", b""]
        waiting.result(10)
    assert isinstance(service.ended, LabClosed)


def test_a_handler_that_does_not_end_holds_up_close_for_a_moment_only(lab):
    stop = threading.Event()
    try:
        with lab.serve(lambda _: stop.wait(30), "127.0.0.1", 80) as service:
            lab.start("exec 3<>/dev/tcp/127.0.0.1/80; sleep 100")
            wait_until(lambda: service._handlers, what="the handler", deadline_s=5)
            start = time.monotonic()
            service.close()
            assert time.monotonic() - start < 5
    finally:
        stop.set()
    wait_until(lambda: not service._handlers, what="the handler to end", deadline_s=5)


def test_a_handler_may_close_its_service_and_its_lab():
    with Lab() as lab:
        service = lab.serve(lambda _: service.close(), "127.0.0.1", 80)
        lab.run("exec 3<>/dev/tcp/127.0.0.1/80; cat <&3", echo=False)
        wait_until(lambda: service.ended, what="the service to end", deadline_s=5)
        service = lab.serve(lambda _: lab.close(), "127.0.0.1", 80)
        lab.start("exec 3<>/dev/tcp/127.0.0.1/80; sleep 100")
        wait_until(lambda: lab.closed, what="the lab to be closed", deadline_s=5)
        wait_until(lambda: not service._handlers, what="the handler to end", deadline_s=5)


def test_what_a_handler_raises_is_shown_and_ends_its_connection_only(lab, monkeypatch):
    def fail(_: socket.socket) -> None:
        raise ValueError("no luck")

    shown: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda told: shown.append(str(told.exc_value)))
    with lab.serve(fail, "127.0.0.1", 80) as service:
        for _ in range(2):
            assert run_client(lab, service.address, "print(read_to_end(connect()))") == "b''"
        wait_until(lambda: len(shown) == 2, what="the second one", deadline_s=5)
        assert service.ended is None
    assert shown == ["no luck"] * 2


def test_it_ends_with_its_lab():
    with Lab() as lab:
        there = threading.Event()

        def wait_for_the_end(connection: socket.socket) -> None:
            there.set()
            read_to_end(connection)

        service = lab.serve(wait_for_the_end, "127.0.0.1", 80)
        lab.start("exec 3<>/dev/tcp/127.0.0.1/80; sleep 100")
        assert there.wait(10)
        (agent,) = {lab._finalizer.peek()[2][3].pid}
        os.kill(agent, signal.SIGKILL)
        wait_until(lambda: service.ended, what="the service to end", deadline_s=5)
        assert isinstance(service.ended, LabDied)
        service.close()
