"""Ctrl-C, forks: what a notebook's process goes through while a lab is at work."""

from __future__ import annotations

import signal
import time

import oracle
import pytest
from clients import client

RUN_AND_TELL = """
import sys, time
from labsupport import Lab
lab = Lab()
start = time.monotonic()
try:
    lab.run(COMMAND, echo=lambda stream, text: print(text.strip()))
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - start)
print(lab.run("ls /proc | grep -c '^[0-9]'", echo=False).stdout.strip())
print(lab.run("echo alive", echo=False).stdout.strip())
"""
BUSY_INSIDE = 4  # PID 1, bash, ls and grep: nothing of the interrupted command


def interrupted_run(command: str, times: int) -> float:
    """Run a command that prints "begun", interrupt it, and return how long it took to say so."""
    with client(RUN_AND_TELL.replace("COMMAND", repr(command))) as running:
        assert running.read_line() == "begun"
        start = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        if times > 1:
            assert running.read_line() == "first"
            running.process.send_signal(signal.SIGINT)
        assert running.read_line().startswith("interrupted")
        took = time.monotonic() - start
        assert int(running.read_line()) <= BUSY_INSIDE
        assert running.read_line() == "alive"
        assert running.end()[0] == 0
    return took


def test_ctrl_c_ends_the_command_and_the_cell():
    assert interrupted_run("echo begun; sleep 1000; echo not reached", 1) < 1


def test_ctrl_c_reaches_the_whole_process_group():
    assert interrupted_run("(echo begun; sleep 1000) | cat | cat", 1) < 1


def test_a_command_that_ignores_ctrl_c_is_killed():
    assert interrupted_run("trap '' INT; echo begun; while :; do sleep 1000; done", 1) < 4


def test_a_second_ctrl_c_kills_at_once():
    assert interrupted_run("trap 'echo first' INT; echo begun; while :; do sleep 0.01; done", 2) < 1.5


def test_ctrl_c_while_nothing_is_read_in_a_thread_and_a_long_output_runs():
    assert interrupted_run("echo begun; exec yes > /dev/null", 1) < 1


STORM = """
import os, random, select, signal, threading
from labsupport import Lab
chance = random.Random(SEED)
go = threading.Event()
def storm():
    for _ in range(COUNT):
        go.wait()
        go.clear()
        select.select([], [], [], chance.uniform(0, LONGEST_S))
        os.kill(os.getpid(), signal.SIGINT)
sender = threading.Thread(target=storm, daemon=True)
sender.start()
caught = 0
"""
STORM_OF_RUNS = STORM + """
big = bytes(range(256)) * 2000
lab = Lab()
lab.run("ip netns add red", echo=False).check()
def step(number):
    kind = number % 5
    if kind == 0:
        assert lab.run(f"echo {number}", echo=False).stdout == f"{number}\\n"
    elif kind == 1:
        assert lab.run(["cat"], stdin=big, echo=False).stdout_bytes == big
    elif kind == 2:
        assert lab.namespaces() == ["red"]
    elif kind == 3:
        assert lab.run("seq 20000", echo=False).stdout.endswith("\\n20000\\n")
    else:
        assert '"lo"' in lab.observe(["ip", "-json", "link"], namespace="red").stdout
number = 0
for _ in range(COUNT):
    try:
        go.set()
        while True:
            number += 1
            step(number)
    except KeyboardInterrupt:
        caught += 1
sender.join()
for number in range(10):
    step(number)
print(caught, number, flush=True)
for _ in range(300):
    inside = int(lab.run("ls /proc | grep -c '^[0-9]'", echo=False).stdout)
    if inside <= 4:
        break
print(inside, len(lab._connection._channels))
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_a_hundred_interrupts_leave_the_stream_intact(seed):
    code = STORM_OF_RUNS.replace("COUNT", "100").replace("SEED", str(seed)).replace("LONGEST_S", "0.02")
    with client(code) as running:
        status, out, err = running.end(50)
    assert (status, err) == (0, "")
    caught, inside, channels = out.split()[0], *out.splitlines()[1].split()
    assert caught == "100"
    assert int(inside) <= BUSY_INSIDE, "an interrupted command still runs"
    assert channels == "0", "requests that were interrupted are never forgotten"


STORM_OF_STARTS = STORM + """
import gc
for _ in range(COUNT):
    lab = None
    try:
        go.set()
        while True:
            lab = Lab()
            lab.close()
    except KeyboardInterrupt:
        caught += 1
sender.join()
lab = None
gc.collect()
descriptors = len(os.listdir("/proc/self/fd"))
with Lab() as last:
    assert last.run("echo alive", echo=False).stdout == "alive\\n"
print(caught, descriptors, flush=True)
try:
    print("children:", os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("children: none", flush=True)
input()
"""


def test_interrupts_while_labs_start_leave_nothing():
    code = STORM_OF_STARTS.replace("COUNT", "60").replace("SEED", "3").replace("LONGEST_S", "0.06")
    with client(code) as running:
        caught, descriptors = running.read_line(50).split()
        children = running.read_line()
        sockets = oracle.lab_sockets(running.pid)
        processes = oracle.lab_processes_below(running.pid)
        _, err = running.process.communicate(b"\n", timeout=10)
    assert (caught, err) == ("60", b"")
    assert (processes, sockets) == ([], [])
    assert children == "children: none"
    assert int(descriptors) < 12


FORK = """
import os, sys
from labsupport import Lab
lab = Lab(name="mine")
lab.run("ip netns add red", echo=False).check()
child = os.fork()
if child == 0:
    try:
        lab.run("true")
    except Exception as error:
        print(type(error).__name__, str(error).splitlines()[0], flush=True)
    CLOSE
    sys.exit(0)  # the interpreter's own way out: finalizers run
os.waitpid(child, 0)
print(lab.namespaces(), lab.run("echo alive", echo=False).stdout)
"""


@pytest.mark.parametrize("close", ["lab.close()", "del lab", "pass"])
def test_a_fork_of_the_client_cannot_use_the_lab_nor_end_it(close):
    with client(FORK.replace("CLOSE", close)) as running:
        status, out, err = running.end()
    assert (status, err) == (0, "")
    first, second, _ = out.split("\n", 2)
    assert first == "LabClosed the lab mine belongs to another process"
    assert second == "['red'] alive"
