"""`kill -9` of the client at any moment, 500 times (CI: by root and by an ordinary user): nothing of its lab is left.

A child subreaper (prctl(2)) forks one client after another: whatever loses its parent becomes its child, so once
waitpid(2) has nothing left to wait for, no process of the lab exists any more, neither in the lab nor on its way there.
"""

from __future__ import annotations

import json
from pathlib import Path

import oracle
import pytest
from clients import client

TESTS, KILLS_PER_TEST = 10, 50

SUBREAPER = """
import ctypes, json, os, random, select, signal, sys, time
sys.path.insert(0, TESTS_FOLDER)
import oracle
from labsupport import Lab
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
chance = random.Random(SEED)

def be_a_client():
    try:
        lab = Lab()
        while True:
            lab.run("ip netns add red; ip link add a type veth peer name b; (setsid sleep 1000 &); "
                    "ip netns del red; ip link del a", echo=False)
    finally:
        os._exit(9)

def wait_for_all(deadline):
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            late = time.monotonic() - deadline
            left = oracle.descendants(os.getpid()) if late > 0 else []
            # In state D it waits in the kernel, for the end of other tests' networks say, and SIGKILL waits with it. In
            # state R it waits for a processor, which the clusters of other tests keep busy. One in state Z has ended
            # since we last asked for the children that did.
            stuck = late < 10 and any(process.state in ("D", "R", "Z") for process in left)
            assert late < 0 or not left or stuck, f"still there: {left}"
            select.select([], [], [], 0.0005)

def start_s():
    begin = time.monotonic()
    with Lab() as lab:
        lab.run("true", echo=False)
        return time.monotonic() - begin

latest_s = 2 * min(start_s() for _ in range(3))
took, namespaces, stages = [], set(), []
descriptors = os.listdir("/proc/self/fd")
for number in range(KILLS):
    pid = os.fork()
    if pid == 0:
        be_a_client()
    pidfd = os.pidfd_open(pid)
    ended, _, _ = select.select([pidfd], [], [], chance.uniform(0, latest_s))
    os.close(pidfd)
    assert not ended, f"client {number} ended by itself: {os.waitpid(pid, 0)}"
    if number % 2:  # a look takes time: half of the kills come without one, so that they come early as well
        found = oracle.lab_processes_below(pid)
        stages.append(len(found) and 1 + any(process.inner_pids for process in found))
        latest_s *= 0.9 if stages[-1] == 2 else 1.1  # half of the kills before a lab runs, half after
        for process in found:
            namespaces |= set(oracle.namespaces_of(process.pid).values())
    start = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_for_all(start + 1)
    took.append(time.monotonic() - start)
    assert oracle.lab_sockets(pid) == []
assert os.listdir("/proc/self/fd") == descriptors
namespaces -= set(oracle.namespaces_of(os.getpid()).values())
print(json.dumps({"took_s": sorted(took), "namespaces": sorted(namespaces), "stages": stages}))
"""


@pytest.mark.parametrize("seed", range(TESTS))
def test_nothing_is_left_after_fifty_kills(seed):
    before = oracle.Snapshot()
    values = {"TESTS_FOLDER": repr(str(Path(oracle.__file__).parent)), "SEED": str(seed),
              "KILLS": str(KILLS_PER_TEST)}
    code = SUBREAPER
    for name, value in values.items():
        code = code.replace(name, value)
    with client(code) as running:
        status, out, err = running.end(55)
    assert (status, err) == (0, "")
    results = json.loads(out)
    assert len(results["took_s"]) == KILLS_PER_TEST
    assert 2 in results["stages"], "no client was killed while its lab ran: the test is too early"
    assert {0, 1} & set(results["stages"]), "no client was killed while its lab started: the test is too late"
    assert results["namespaces"], "no namespace of a lab was seen before its client was killed"
    assert oracle.Snapshot().changes(before) == []
