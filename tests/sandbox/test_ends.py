"""A lab ends as a whole: its client, its PID 1 and its observer, whichever of them is killed or stopped."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import oracle
import pytest
from clients import Client, client

from labsupport import Lab
from labsupport.errors import LabDied
from labsupport.waiting import wait_until

BUSY = """\
import threading
from labsupport import Lab
lab = Lab()
lab.run("(setsid sleep 1000 &); ip netns add red", echo=False).check()
line = "(setsid sleep 100 &); sleep 100 & sleep 100"
threading.Thread(target=lab.observe, args=(["bash", "-c", line],), kwargs={"timeout_s": 100}, daemon=True).start()
threading.Thread(target=lab.observe, args=(["sleep", "100"],), kwargs={"namespace": "red", "timeout_s": 100},
                 daemon=True).start()
threading.excepthook = lambda *_: None
print("ready", flush=True)
input()
"""
PARTS = ["client", "PID 1", "observer"]


def below(pid: int) -> list[oracle.Process]:
    """Return the processes of labs below `pid`; those of a client that has ended are below this process."""
    return [process for process in oracle.lab_processes_below(os.getpid()) if process.pid != pid]


def busy_lab(running: Client) -> dict[str, int]:
    """Wait until a client's lab runs with what it has to observe; return its parts' process ids."""
    assert running.read_line() == "ready"

    def all_there() -> bool:
        commands = [process.command_line for process in below(running.pid)]
        return commands.count("sleep\x00100\x00") == 4 and commands.count("sleep\x001000\x00") == 1

    wait_until(all_there, what="the observed programs to run", deadline_s=5)
    (agent,) = [process.pid for process in below(running.pid) if process.is_agent]
    (observer,) = [process.pid for process in below(running.pid) if process.is_observer]
    return {"client": running.pid, "PID 1": agent, "observer": observer}


def all_gone(running: Client) -> None:
    wait_until(lambda: not below(running.pid), what="the lab, its observer and what that ran to be gone", deadline_s=1)


@pytest.mark.parametrize("part", PARTS)
def test_one_that_is_killed_takes_all_along(unchanged_host, part):
    with client(BUSY) as running:
        os.kill(busy_lab(running)[part], signal.SIGKILL)
        all_gone(running)


@pytest.mark.parametrize("part", PARTS)
def test_one_that_is_stopped_ends_with_the_client(unchanged_host, part):
    with client(BUSY) as running:
        pids = busy_lab(running)
        os.kill(pids[part], signal.SIGSTOP)
        wait_until(lambda: oracle.read_process(pids[part]).state == "T", what=f"{part} to stop", deadline_s=1)
        running.kill()
        all_gone(running)


def test_a_stopped_observer_ends_with_pid_1(unchanged_host):
    with client(BUSY) as running:
        pids = busy_lab(running)
        os.kill(pids["observer"], signal.SIGSTOP)
        os.kill(pids["PID 1"], signal.SIGKILL)
        all_gone(running)


@pytest.mark.parametrize("part", ["is_agent", "is_observer"])
def test_close_kills_what_was_stopped(part):
    with Lab() as lab:
        found = oracle.lab_processes_below(os.getpid())
        (pid,) = [process.pid for process in found if getattr(process, part)]
        os.kill(pid, signal.SIGSTOP)
        start = time.monotonic()
        lab.close()
        assert time.monotonic() - start < 5
    assert len(found) == 2
    assert [oracle.read_process(process.pid) for process in found] == [None, None]  # no zombie either


def test_a_killed_observer_is_said_to_be_gone():
    with Lab() as lab, ThreadPoolExecutor() as pool:
        looking = pool.submit(lab.observe, ["sleep", "100"], timeout_s=100)
        wait_until(lambda: any(process.command_line == "sleep\x00100\x00" for process in below(0)), what="the program",
                   deadline_s=5)
        (observer,) = [process.pid for process in below(0) if process.is_observer]
        os.kill(observer, signal.SIGKILL)
        with pytest.raises(LabDied, match="its observer, a process outside of it, was ended"):
            looking.result(5)
        for use in (lambda: lab.observe(["ip", "link"]), lambda: lab.run("true"), lab.ping):
            with pytest.raises(LabDied, match=r"make a new lab: lab = Lab\(\)"):
                use()


def test_nothing_in_the_lab_sees_the_observer_or_what_it_runs(lab):
    with ThreadPoolExecutor() as pool:
        looking = pool.submit(lab.observe, ["sleep", "3"], timeout_s=10)
        wait_until(lambda: any(process.command_line == "sleep\x003\x00" for process in below(0)), what="the program",
                   deadline_s=5)
        shown = lab.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", echo=False).check().stdout
        (program,) = [process for process in below(0) if process.command_line == "sleep\x003\x00"]
        os.kill(program.pid, signal.SIGKILL)
        assert looking.result(5).exit_status == -signal.SIGKILL
    assert "labsupport-agent" in shown
    assert "labsupport-observer" not in shown
    assert "sleep" not in shown
