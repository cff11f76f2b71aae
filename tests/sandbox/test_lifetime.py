"""A lab ends with its client, however that one ends, and takes everything along."""

from __future__ import annotations

import gc
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import oracle
import pytest
from clients import Client, client
from jupyter_client.manager import KernelManager

from labsupport import Lab
from labsupport.errors import LabClosed, LabDied
from labsupport.waiting import wait_until

LOAD = """\
import os, sys, time
from labsupport import Lab
lab = Lab()
lab.run('''
for i in 1 2 3 4 5 6 7 8 9 10; do ip netns add n$i; ip link add v$i type veth peer name w$i netns n$i; done
for i in $(seq 20); do
  (setsid bash -c "(sleep 1000; true) & trap '' TERM HUP INT; sleep 1000; true" >/dev/null 2>&1 &)
done
unshare -Urmpf --mount-proc sh -c 'unshare -Urmpf sh -c "setsid sleep 1000 & sleep 1000" & sleep 1000' >/dev/null 2>&1 &
mkfifo /tmp/full; (cat /dev/zero > /tmp/full &); (setsid ip netns exec n3 ping -q 127.0.0.1 >/dev/null 2>&1 &)
''', echo=False).check()
busy = lab.start("yes")  # nobody reads it: the agent's queue is full
"""
LEAST_PROCESSES = 40


def gone_after(pid: int, end: str) -> None:
    """Assert that within a second nothing is left of the labs below a process that has ended or will."""
    wait_until(lambda: not oracle.lab_processes_below(os.getpid()), what=f"all processes to be gone after {end}",
               deadline_s=1)
    wait_until(lambda: not oracle.lab_sockets(pid), what=f"the lab's socket to be gone after {end}", deadline_s=1)


def loaded(running: Client) -> list[oracle.Process]:
    assert running.read_line() == "ready"
    assert oracle.lab_sockets(running.pid)

    def all_there() -> list[oracle.Process]:
        processes = oracle.lab_processes_below(running.pid)
        nested = [process for process in processes if len(process.inner_pids) > 2]
        return processes if len(processes) > LEAST_PROCESSES and nested else []

    return wait_until(all_there, what="the lab's load to be there", deadline_s=5)


WAIT = "\nprint('ready')\nsys.stdin.read()\n"
FORKS = """
import multiprocessing
multiprocessing.set_start_method("fork")
children = [multiprocessing.Process(target=time.sleep, args=(30,)) for _ in range(2)]
for child in children:
    child.start()
print("ready")
time.sleep(30)
"""
STOPS = "\nimport signal\nprint('ready')\nos.kill(os.getpid(), signal.SIGSTOP)\n"


@pytest.mark.parametrize("ending", [WAIT, FORKS, STOPS], ids=["alone", "with forks of it", "while stopped"])
def test_a_killed_client_takes_its_lab_along(unchanged_host, ending):
    with client(LOAD + ending) as running:
        loaded(running)
        if ending == STOPS:
            wait_until(lambda: oracle.read_process(running.pid).state == "T", what="the client to stop", deadline_s=2)
        running.kill()
        gone_after(running.pid, "SIGKILL of the client")
        for process in oracle.descendants(os.getpid()):
            if "multiprocessing" in process.command_line or process.command_line.split("\0")[1:2] == ["-c"]:
                os.kill(process.pid, signal.SIGKILL)  # the client's forks, which are no part of the lab


def test_a_client_that_execs_takes_its_lab_along(unchanged_host):
    ending = "\nprint('ready')\nsys.stdin.readline()\nos.execvp('sleep', ['sleep', '1000'])\n"
    with client(LOAD + ending) as running:
        loaded(running)
        running.process.stdin.write(b"\n")
        running.process.stdin.flush()
        gone_after(running.pid, "exec of the client")
        assert oracle.read_process(running.pid).command_line == "sleep\x001000\0"


def test_a_client_that_ends_without_close_takes_its_lab_along(unchanged_host):
    with client(LOAD + "\nprint('ready')\nsys.stdin.readline()\n") as running:
        loaded(running)
        _, err = running.process.communicate(b"\n", timeout=10)
        assert (running.process.returncode, err) == (0, b"")
        gone_after(running.pid, "the end of the interpreter")


def test_a_killed_agent_takes_its_lab_along(unchanged_host):
    ending = """
print("ready")
sys.stdin.readline()
for _ in range(3):
    try:
        lab.run("true")
    except Exception as error:
        print(type(error).__name__, lab.closed, str(error).splitlines()[-1].strip())
"""
    with client(LOAD + ending) as running:
        (agent,) = [process for process in loaded(running) if process.is_agent]
        os.kill(agent.pid, signal.SIGKILL)
        wait_until(lambda: not oracle.lab_processes_below(running.pid), what="the lab to be gone", deadline_s=1)
        running.process.stdin.write(b"\n")
        running.process.stdin.flush()
        for _ in range(3):
            kind, closed, *rest = running.read_line().split()
            assert (kind, closed) == ("LabDied", "True")
            assert "make a new lab" in " ".join(rest)


def test_a_killed_agent_ends_what_waits_for_it():
    with Lab() as lab, ThreadPoolExecutor() as pool:
        (agent,) = [process for process in oracle.lab_processes_below(os.getpid()) if process.is_agent]
        waiting = [pool.submit(lab.run, "echo begun; sleep 1000", echo=False) for _ in range(3)]
        wait_until(lambda: lab.run("pgrep -c sleep", echo=False).stdout == "3\n", what="three commands", deadline_s=5)
        os.kill(agent.pid, signal.SIGKILL)
        for result in waiting:
            with pytest.raises(LabDied):
                result.result(5)
        assert lab.closed
    with pytest.raises((LabDied, LabClosed)):
        lab.ping()


def test_a_collected_lab_ends(namespace_ids):
    lab = Lab()
    namespace_ids(lab)
    assert oracle.lab_processes_below(os.getpid())
    del lab
    gc.collect()
    gone_after(os.getpid(), "garbage collection")


def test_close_waits_for_the_end(namespace_ids):
    lab = Lab()
    namespace_ids(lab)
    lab.run("for i in $(seq 30); do (setsid sleep 1000 &); done", echo=False)
    pids = [process.pid for process in oracle.lab_processes_below(os.getpid())]
    assert len(pids) > 30
    lab.close()
    assert [oracle.read_process(pid) for pid in pids] == [None] * len(pids)  # not even a zombie


def test_the_thread_that_made_a_lab_may_end():
    with ThreadPoolExecutor(1) as pool:
        lab = pool.submit(Lab).result(10)
    with lab:
        assert lab.run("echo alive", echo=False).stdout == "alive\n"


def test_a_restarted_kernel_leaves_nothing(unchanged_host, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    make = "from labsupport import Lab; lab = Lab(); lab.run('ip netns add red; (setsid sleep 1000 &)', echo=False)"
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    try:
        for end in (lambda: manager.restart_kernel(now=False), lambda: manager.restart_kernel(now=True),
                    lambda: os.kill(manager.provisioner.pid, signal.SIGKILL)):
            with ExitStack() as stack:
                notebook = manager.blocking_client()
                notebook.start_channels()
                stack.callback(notebook.stop_channels)
                notebook.wait_for_ready(timeout=30)
                assert notebook.execute_interactive(make, timeout=20)["content"]["status"] == "ok"
                kernel = manager.provisioner.pid
            assert oracle.lab_sockets(kernel)
            assert len(oracle.lab_processes_below(kernel)) >= 2
            end()
            gone_after(kernel, "the kernel's end")
    finally:
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_twenty_labs_at_once_do_not_meet(namespace_ids, unchanged_host):
    count = 20
    with ExitStack() as stack:
        with ThreadPoolExecutor(8) as pool:
            labs = [stack.enter_context(lab) for lab in pool.map(lambda _: Lab(), range(count))]
            line = ("ip netns add red; ip link add v0 type veth peer name v1 netns red; "
                    "ip addr add 10.0.0.1/24 dev v0; ip link set v0 up; "
                    "ip -n red addr add 10.0.0.{0}/24 dev v1; ip -n red link set v1 up")
            for number, result in enumerate(pool.map(
                    lambda pair: pair[1].run(line.format(100 + pair[0]), echo=False), enumerate(labs))):
                assert result.exit_status == 0, (number, result.stderr)
        identities = [namespace_ids(lab) for lab in labs]
        for kind in oracle.NAMESPACE_KINDS:
            assert len({ids[kind] for ids in identities}) == count
        for number, lab in enumerate(labs):
            own, other = 100 + number, 100 + (number + 1) % count
            assert lab.namespaces() == ["red"]
            answers = lab.run(f"ping -qc1 -w2 10.0.0.{own} >/dev/null && echo own; "
                              f"ping -qc1 -w0.2 10.0.0.{other} >/dev/null && echo other", echo=False).stdout
            assert answers == "own\n"
            assert lab.run("ls /proc | grep -c '^[0-9]'", echo=False).stdout.strip() in {"3", "4"}
