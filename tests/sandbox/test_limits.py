"""Limits: what a lab can use up is its own."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import oracle
import pytest
from clients import client, read_all

from labsupport import Lab
from labsupport.errors import ProcessLimitReached
from labsupport.waiting import wait_until

LIMIT = 150
FORK_TO_THE_LIMIT = """
import os, signal, sys
count = 0
try:
    while count < 3000:
        if os.fork() == 0:
            BEFORE
            signal.pause()
            os._exit(0)
        count += 1
    print("no limit")
except OSError as error:
    print(os.strerror(error.errno))
print(count, flush=True)
signal.pause()
"""
AS_MANY_USERS = """
            try:
                os.setresuid(count % 50 + 1000, count % 50 + 1000, count % 50 + 1000)
                while os.fork():
                    pass
            except OSError:
                pass
"""


@pytest.fixture
def small_lab(namespace_ids):
    with Lab(process_limit=LIMIT) as lab:
        namespace_ids(lab)
        yield lab


def size() -> int:
    return len([process for process in oracle.lab_processes_below(os.getpid()) if process.inner_pids])


@pytest.mark.parametrize("prefix", [(), ("unshare", "-Ur"), ("unshare", "-Urpf"), ("unshare", "-Ur", "unshare", "-Ur")],
                         ids=["lab", "user namespace", "user and PID namespace", "two user namespaces"])
def test_a_command_that_forks_too_often_is_refused_and_the_lab_lives(small_lab, prefix):
    bomb = small_lab.start([*prefix, "python3", "-I", "-c", FORK_TO_THE_LIMIT.replace("BEFORE", "pass")])
    printed = b""
    while printed.count(b"\n") < 2:
        printed += b"".join(data for _, data in bomb.read(10))
        assert bomb.exit_status is None, printed
    error, count = printed.decode().splitlines()
    assert error == "Resource temporarily unavailable"
    assert LIMIT - 10 < int(count) < LIMIT
    assert size() <= LIMIT
    with pytest.raises(ProcessLimitReached, match="as many processes as it may have"):
        small_lab.run("true", echo=False)
    assert small_lab.observe(["ip", "link"]).exit_status == 0  # a check still sees the lab's network
    small_lab.ping()
    small_lab.end_processes()
    read_all(bomb)
    assert small_lab.run("echo alive", echo=False).stdout == "alive\n"


def test_other_users_of_the_lab_count_as_well(small_lab):
    bomb = small_lab.start(["python3", "-I", "-c", FORK_TO_THE_LIMIT.replace("            BEFORE\n", AS_MANY_USERS)])
    wait_until(lambda: b"unavailable" in b"".join(data for _, data in bomb.read(1)), what="the limit", deadline_s=20)
    # The kernel counts a fork before it refuses it: many users who fork at once refuse each other a little early.
    assert LIMIT // 2 < size() <= LIMIT
    small_lab.end_processes()
    assert small_lab.run("echo alive", echo=False).stdout == "alive\n"


BOMBS = [":(){ :|:& };:", "python3 -I -c 'import os\nwhile True:\n try: os.fork()\n except OSError: pass'"]


@pytest.mark.parametrize("bomb", BOMBS, ids=["bash", "python"])
def test_a_fork_bomb_ends_with_end_processes(small_lab, bomb):
    process = small_lab.start(bomb, merge=True)

    def limit_is_met() -> bool:
        try:
            small_lab.run("true", echo=False)
        except ProcessLimitReached:
            return True
        return False

    wait_until(limit_is_met, what="the bomb to meet the limit", deadline_s=20, interval_s=0.001)
    assert size() <= LIMIT
    small_lab.end_processes()
    read_all(process)
    wait_until(lambda: small_lab.run("ls /proc | grep -c '^[0-9]'", echo=False).stdout == "4\n",
               what="the bomb's processes to be gone", deadline_s=5)


@pytest.mark.parametrize("line", ["ulimit -u 100000", "ulimit -Hu 100000", "ulimit -u unlimited", "ulimit -c 1",
                                  "ulimit -c unlimited", "prlimit --nproc=100000:100000 true",
                                  "unshare -Ur bash -c 'ulimit -u 100000'"])
def test_no_limit_can_be_raised(lab, line):
    done = lab.run(line, echo=False)
    assert done.exit_status != 0
    assert "ermitted" in done.stderr or "Invalid argument" in done.stderr


def test_limits_stand_where_they_should(small_lab):
    assert small_lab.run("ulimit -u; ulimit -Hu; ulimit -c; ulimit -Hc", echo=False).stdout.split() == [
        str(LIMIT), str(LIMIT), "0", "0"]


def test_no_core_is_dumped(lab):
    code = "import os\nif os.fork() == 0: os.abort()\nprint(os.WCOREDUMP(os.wait()[1]))"
    assert lab.run(["python3", "-I", "-c", code], echo=False).stdout == "False\n"


@pytest.mark.parametrize("folder", ["/tmp", "/run", "/dev/shm", "/etc", "/dev", "/var/tmp", "/root", "/home"])
def test_a_full_folder_is_the_labs_own(lab, folder):
    path = f"{folder}/labsupport-full"
    done = lab.run(f"df -BM --output=size {folder} | tail -1; cat /dev/zero > {path}", echo=False)
    assert "No space left on device" in done.stderr
    assert int(done.stdout.split()[0].rstrip("M")) <= 256
    with contextlib.suppress(PermissionError):  # an ordinary user does not see into the host's /root
        assert not Path(path).exists()
    assert lab.run(f"rm {path}; echo again > {path} && cat {path}", echo=False).stdout == "again\n"


def test_a_folder_takes_only_so_many_files(lab):
    code = ("import os\ncount = 0\ntry:\n  while count < 100000:\n    os.close(os.open(f'/tmp/{count}', os.O_CREAT)); "
            "count += 1\nexcept OSError as error:\n  print(os.strerror(error.errno), count)")
    *error, count = lab.run(["python3", "-I", "-c", code], echo=False).stdout.split()
    assert " ".join(error) == "No space left on device"
    assert 60000 < int(count) < 66000


FEW_DESCRIPTORS = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from labsupport import Lab, LabError
lab = Lab()
found = lab.announcement
for _ in range(3):
    running = []
    try:
        while True:
            running.append(lab.start(["sleep", "1000"]))
    except LabError as error:
        print(type(error).__name__, len(running), flush=True)
    for attempt in (lambda: lab.observe(["ip", "link"]), lambda: lab.start("true", terminal=(24, 80)),
                    lambda: lab.run("true"), lambda: Lab.join(found.address, found.token).close()):
        try:
            attempt()
        except LabError:
            pass
    assert lab.namespaces() == []
    lab.end_processes()
    for process in running:
        while process.exit_status is None:
            process.read(5)
print(lab.run("echo alive", echo=False).stdout)
"""


def test_an_agent_without_descriptors_refuses_and_goes_on():
    with client(FEW_DESCRIPTORS) as running:
        status, out, err = running.end(40)
    assert (status, err) == (0, "")
    *rounds, alive, _ = out.split("\n")[:-1]
    assert alive == "alive"
    counts = [int(line.split()[1]) for line in rounds]
    assert {line.split()[0] for line in rounds} == {"LabError"}
    assert counts[0] > 20
    assert counts[1:] == counts[:1] * 2, "descriptors were lost"


def test_a_busy_lab_answers(lab):
    for line in ("while :; do :; done", "yes > /dev/null", "cat /dev/zero > /tmp/x", "exec yes"):
        lab.start(line)
    start = time.monotonic()
    lab.ping()
    lab.run("true", echo=False)
    assert time.monotonic() - start < 5
    lab.end_processes()
