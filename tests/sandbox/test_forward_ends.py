"""The ends of a forward: its helper's, its own, its namespace's and its lab's."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time

import pytest
from clients import client
from forwarding import (
    ask,
    connect,
    exchange,
    helpers,
    idle,
    make_namespace,
    start_server,
    turns_away,
    was_reset,
)

from labsupport import Lab
from labsupport.errors import LabClosed, LabDied, ProcessLimitReached
from labsupport.sandbox import Process
from labsupport.sandbox.inside.mux import Mux
from labsupport.waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_the_helper_is_started_again_when_somebody_ended_it(lab, forward):
    connection = connect(forward.address, "echo")
    exchange(connection, b"hello")
    (helper,) = helpers(lab)
    lab.run(["kill", "-KILL", str(helper)], echo=False).check()
    assert was_reset(connection)
    idle(forward)
    for _ in range(3):
        with connect(forward.address, "echo") as again:
            assert exchange(again, b"again") == b"again"
    assert len(helpers(lab)) == 1
    assert helpers(lab) != [helper]
    lab.end_processes()
    start_server(lab)
    with connect(forward.address, "echo") as again:
        assert exchange(again, b"again") == b"again"


def test_a_helper_that_cannot_start_again_costs_one_connection():
    with Lab(process_limit=8) as small, small.forward("127.0.0.1", 9) as forward:
        (helper,) = helpers(small)
        small.run(["kill", "-KILL", str(helper)], echo=False).check()
        full: list[Process] = []
        with pytest.raises(ProcessLimitReached):
            full.extend(small.start(["sleep", "1000"]) for _ in range(9))
        assert turns_away(forward.address)
        for process in full:
            process.stop()
        start_server(small, port=9)
        assert ask(forward.address, "send 3") == b"\0\1\2"


def test_a_helper_that_is_stopped_does_not_hold_up_close(lab, forward):
    (helper,) = helpers(lab)
    lab.run(["kill", "-STOP", str(helper)], echo=False).check()
    connection = connect(forward.address, "echo")
    connection.sendall(b"hello")
    start = time.monotonic()
    forward.close()
    assert time.monotonic() - start < 2
    assert was_reset(connection)
    wait_until(lambda: not helpers(lab), what="the helper to be gone", deadline_s=2)


def test_a_namespace_that_is_made_anew_is_found(lab):
    make_namespace(lab, "red")
    with lab.forward("127.0.0.1", 7, namespace="red") as forward:
        for _ in range(2):
            server = start_server(lab, namespace="red")
            assert ask(forward.address, "send 1") == b"\0"
            server.stop()
            lab.run("ip netns del red", echo=False).check()
            assert turns_away(forward.address)
            make_namespace(lab, "red")


def test_an_idle_forward_does_not_keep_a_namespace_alive(lab):
    lab.run("ip netns add red; ip link add near type veth peer name far netns red", echo=False).check()
    with lab.forward("127.0.0.1", 7, namespace="red") as forward:
        turns_away(forward.address)
        lab.run("ip netns del red", echo=False).check()
        wait_until(lambda: "near" not in lab.run("ip link", echo=False).stdout, what="no cable", deadline_s=5)


def test_when_it_was_last_used(forward):
    made = forward.last_used_s
    assert made <= time.monotonic()
    with connect(forward.address, "echo") as connection:
        exchange(connection, b"hello")
        used = forward.last_used_s
        assert made < used <= time.monotonic()
        exchange(connection, b"hello")
        assert used < forward.last_used_s


def test_a_closed_one_has_no_port_no_connection_and_no_helper(lab, forward):
    connection = connect(forward.address, "echo")
    exchange(connection, b"hello")
    forward.close()
    forward.close()
    assert was_reset(connection)
    with pytest.raises(ConnectionRefusedError):
        connect(forward.address)
    assert isinstance(forward.ended, LabClosed)
    assert forward.connections == 0
    wait_until(lambda: not helpers(lab), what="the helper to be gone", deadline_s=2)
    lab.ping()


def test_when_it_says_that_it_has_ended_nobody_gets_in_any_more(forward, monkeypatch):
    end_connections, go_on = Mux.reset_all, threading.Event()

    def end_connections_slowly(mux):
        assert go_on.wait(10)
        end_connections(mux)

    monkeypatch.setattr(Mux, "reset_all", end_connections_slowly)
    closing = threading.Thread(target=forward.close)
    closing.start()
    try:
        wait_until(lambda: forward.ended, what="it to say so", deadline_s=5)
        with pytest.raises(ConnectionRefusedError):
            connect(forward.address)
    finally:
        go_on.set()
        closing.join()


def test_it_ends_with_its_lab():
    with Lab() as lab:
        start_server(lab)
        forward = lab.forward("127.0.0.1", 7)
        with connect(forward.address, "echo") as connection:
            exchange(connection, b"hello")
            stalled = connect(forward.address, "send 100000000")
            lab.close()
            assert was_reset(connection)
            assert was_reset(stalled)
        assert isinstance(forward.ended, LabClosed)
        with pytest.raises(ConnectionRefusedError):
            connect(forward.address)
        with pytest.raises(LabClosed):
            lab.forward("127.0.0.1", 7)


def test_it_ends_with_a_lab_that_is_forgotten():
    lab = Lab()
    forward = lab.forward("127.0.0.1", 7)
    del lab
    gc.collect()
    assert isinstance(forward.ended, LabClosed)


def test_it_says_that_its_lab_died():
    with Lab() as lab:
        forward = lab.forward("127.0.0.1", 7)
        agent = lab._finalizer.peek()[2][3].pid
        os.kill(agent, signal.SIGKILL)
        wait_until(lambda: forward.ended, what="the forward to end", deadline_s=5)
        assert isinstance(forward.ended, LabDied)
        with pytest.raises(ConnectionRefusedError):
            connect(forward.address)
        forward.close()


def test_a_joined_lab_forwards_as_well(lab):
    start_server(lab)
    joined = Lab.join(lab.announcement.address, lab.announcement.token)
    forward = joined.forward("127.0.0.1", 7)
    assert ask(forward.address, "send 1") == b"\0"
    joined.close()
    assert isinstance(forward.ended, LabClosed)
    lab.ping()
    wait_until(lambda: not helpers(lab), what="the helper to be gone", deadline_s=2)


FORGETS = """
from labsupport import Lab
lab = Lab()
forward = lab.forward("127.0.0.1", 7)
service = lab.serve(print, "127.0.0.1", 0)
print(forward.address[1], flush=True)
input()
"""


def test_a_program_that_forgets_to_close_it_ends_all_the_same():
    with client(FORGETS) as program:
        address = "127.0.0.1", int(program.read_line())
        assert turns_away(address)
        program.process.stdin.write(b"\n")
        assert program.end() == (0, "", "")
    with pytest.raises(ConnectionRefusedError):
        connect(address)
