"""`Lab.fork`: code of this package in a copy of PID 1. The lab's root may end it, and can neither see nor change it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import oracle
import pytest
from clients import FORKED_WAITS, client, probe, read_all
from test_fuzz import frames, hello, mutated, seeded, talk

from labsupport import Lab, net
from labsupport.errors import CommandFailed, CommandTimeout, LabUnavailable, OutputLimitExceeded, ProcessLimitReached
from labsupport.sandbox import Process
from labsupport.sandbox.agent import wire
from labsupport.sandbox.portable import pack
from labsupport.waiting import wait_until

WAITING = ("labsupport.net.inside.spaces", "labsupport.net.inside.relay")  # it waits for orders for ever
MODULES = {
    "forked_tells": """
import _signal, ctypes, os
def main(word):
    open_ones = []
    for fd in range(4096):
        try:
            os.fstat(fd)
            open_ones.append(fd)
        except OSError:
            pass
    handled = [number for number in range(1, 32) if _signal.getsignal(number) != _signal.SIG_DFL]
    rows = [row.split() for row in open("/proc/self/status") if row.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    mask = [int(bits, 16) & 0x7FFFFFFF for _, bits in rows]  # 1 to 31; 32 is the C library's, and may be inherited
    print_ = [word.decode(), open_ones, handled, mask, os.getsid(0) == os.getpgid(0) == os.getpid(),
              ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), os.getuid(), os.getppid()]
    os.write(1, repr(print_).encode())
""",
    "forked_echoes": """
import os
def main():
    while data := os.read(0, 65536):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view):]
""",
    "forked_waits": FORKED_WAITS,
    "forked_fails": """
def main():
    raise ValueError("no luck")
""",
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in MODULES.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)


def inside(lab: Lab) -> int:
    return int(lab.run("ls /proc | grep -c '^[0-9]'", echo=False).check().stdout) - 3  # bash, ls and grep


def test_it_has_its_own_streams_and_nothing_else_of_pid_1(lab, made):
    done = lab.run_forked(("forked_tells",), b"a word").check()
    assert eval(done.stdout) == ["a word", [0, 1, 2], [], [0, 0, 0], True, 0, 0, 1]  # noqa: S307
    assert done.stderr == ""
    assert inside(lab) == 1


def test_bytes_in_and_out(lab, made):
    data = seeded(1).randbytes(3 << 20)
    assert lab.run_forked(("forked_echoes",), stdin=data).stdout_bytes == data
    with pytest.raises(OutputLimitExceeded):
        lab.run_forked(("forked_echoes",), stdin=data, max_output_bytes=1 << 20)
    process = lab.fork(("forked_echoes",))
    for word in (b"one", b"two"):
        process.write(word)
        assert process.read(10) == [("stdout", word)]
    process.close_stdin()
    assert (read_all(process), process.exit_status) == (b"", 0)


def test_what_it_raises_is_told(lab, made):
    done = lab.run_forked(("forked_fails",))
    assert (done.exit_status, done.stdout, done.stderr) == (1, "", "ValueError: no luck")
    with pytest.raises(CommandFailed, match="ValueError: no luck"):
        done.check()
    with pytest.raises(LabUnavailable, match="no_such_module"):
        lab.run_forked(("no_such_module",))
    lab.ping()


LOOK = """
libc.syscall.restype = ctypes.c_long
pid, X86 = PID, PLATFORM
buffer = ctypes.create_string_buffer(16)
vector = ctypes.addressof(buffer).to_bytes(8, "little") + (16).to_bytes(8, "little")
call("attach", "ptrace", 16, pid, 0, 0)
call("seize", "ptrace", 0x4206, pid, 0, 0)
call("read its memory", "syscall", 310 if X86 else 270, pid, vector, 1, vector, 1, 0)
call("write its memory", "syscall", 311 if X86 else 271, pid, vector, 1, vector, 1, 0)
pidfd = os.pidfd_open(pid)
for fd in (0, 1, 2):
    call(f"take descriptor {fd}", "syscall", 438, pidfd, fd, 0)
call("compare", "syscall", 312 if X86 else 272, pid, os.getpid(), 2, 0, 0)
for name in ("mem", "environ", "maps", "stack", "syscall", "auxv", "io"):
    attempt(name, open, f"/proc/{pid}/{name}", "rb")
attempt("write mem", os.open, f"/proc/{pid}/mem", os.O_WRONLY)
attempt("descriptors", os.listdir, f"/proc/{pid}/fd")
attempt("a descriptor", os.open, f"/proc/{pid}/fd/1", os.O_WRONLY)
attempt("exe", os.readlink, f"/proc/{pid}/exe")
attempt("root", os.listdir, f"/proc/{pid}/root/")
attempt("network", os.open, f"/proc/{pid}/ns/net", os.O_RDONLY)
"""


@pytest.mark.parametrize("prefix", [(), ("unshare", "-Ur")], ids=["root", "root of a nested user namespace"])
def test_nobody_in_the_lab_looks_into_it(lab, prefix):
    process = lab.fork(WAITING, b"")
    code = LOOK.replace("PID", str(process.pid)).replace("PLATFORM", repr(os.uname().machine == "x86_64"))
    results = probe(lab, code, prefix=prefix)
    refused = {"EPERM", "EACCES"}
    assert len(results) == 21
    assert {label: result for label, result in results.items() if result not in refused} == {}
    assert results["attach"] == "EPERM"
    assert results["mem"] == results["descriptors"] == "EACCES"
    process.close_stdin()
    assert (read_all(process), process.exit_status) == (b"", 0)


def test_the_labs_root_may_end_it_and_that_is_told(lab):
    process = lab.fork(WAITING, b"")
    lab.run(["kill", "-9", str(process.pid)], echo=False).check()
    assert (read_all(process), process.exit_status) == (b"", -9)
    lab.ping()


KILLER = """
import os
print("begun", flush=True)
while True:
    try:
        os.kill(-1, 9)
    except ProcessLookupError:
        pass
"""


def test_what_is_read_while_somebody_kills_everything_is_right_or_an_error(lab):
    lab.run("ip link add name up0 type veth peer name up1", echo=False).check()
    whole = [link.name for link in net.links(lab)]
    killer = lab.start(["python3", "-I", "-c", KILLER])
    assert killer.read(10) == [("stdout", b"begun\n")]
    ended = 0
    for _ in range(40):
        try:
            assert [link.name for link in net.links(lab)] == whole
        except CommandFailed as problem:
            assert "was ended" in problem.what  # noqa: PT017
            assert problem.exit_status == -9  # noqa: PT017
            ended += 1
    assert ended > 0
    killer.stop()
    assert [link.name for link in net.links(lab)] == whole


def fill(lab: Lab) -> list[Process]:
    sleepers = []
    try:
        while True:
            sleepers.append(lab.start(["sleep", "infinity"]))
    except ProcessLimitReached:
        return sleepers


def test_a_full_lab_has_no_room_for_it():
    with Lab(process_limit=12) as lab:
        sleepers = fill(lab)
        for act in (lambda: lab.fork(WAITING, b""), lambda: lab.run_forked(WAITING, b""), lambda: net.network(lab)):
            with pytest.raises(ProcessLimitReached, match="as many processes as it may have"):
                act()
        sleepers[0].stop()
        assert list(net.network(lab).namespaces) == [""]


def test_signals_and_time_limits_end_it(lab, made):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        process = lab.fork(("forked_waits",))
        process.send_signal(number)
        assert (read_all(process), process.exit_status) in [(b"begun\n", -number), (b"", -number)]
    with pytest.raises(CommandTimeout, match="begun"):
        lab.run_forked(("forked_waits",), timeout_s=0.2)
    process = lab.fork(("forked_waits",))
    process.abandon()
    assert inside(lab) == 1


def test_malformed_requests_end_their_connection_and_nothing_else(lab):
    start, good = hello(lab.announcement.token.encode()), pack(WAITING, (b"",))
    for bad in ([b"fork", b"1"], [b"fork", b"1", good, b"more"], [b"fork"]):
        assert frames(talk(lab, start, wire.encode(*bad)))[-1][:3] == [b"error", b"", b"malformed"]
    twice = wire.encode(b"fork", b"1", good)
    assert frames(talk(lab, start, twice + twice))[-1][:3] == [b"error", b"", b"malformed"]
    assert frames(talk(lab, wire.encode(b"fork", b"1", good)))[0][2] == b"malformed"  # a stranger
    wait_until(lambda: inside(lab) == 1, what="the copies to end with their connections", deadline_s=3)


@pytest.mark.parametrize("seed", range(3))
def test_code_that_is_none_ends_the_copy_and_nothing_else(lab, seed):
    chance, good = seeded(seed), pack(WAITING, (b"",))
    start = hello(lab.announcement.token.encode())
    for _ in range(15):
        code = chance.choice([mutated(chance, good), chance.randbytes(chance.choice([0, 1, 50])), b"N", b"(\x00"])
        talk(lab, start, wire.encode(b"fork", b"1", code), wire.encode(b"signal", b"1", b"9"))
    lab.ping()
    assert lab.run_forked(WAITING, b"").exit_status == 0
    wait_until(lambda: inside(lab) == 1, what="the copies to end", deadline_s=3)


MANY = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from labsupport import Lab, net
lab = Lab()
for _ in range(150):
    lab.run_forked(("forked_echoes",), stdin=b"x").check()
held = []
for _ in range(100):
    try:
        held.append(lab.fork(("forked_echoes",)))
    except Exception as problem:
        print(type(problem).__name__)
        break
for process in held:
    process.close_stdin()
    while process.exit_status is None:
        process.read(5)
print(10 < len(held) < 40)
print(lab.run_forked(("forked_echoes",), stdin=b"alive").stdout)
"""


def test_no_descriptor_is_lost(made, tmp_path):
    with client(MANY, cwd=tmp_path) as running:
        status, out, err = running.end(40)
    assert (status, err) == (0, "")
    assert out.split() == ["LabError", "True", "alive"]


def test_it_shows_itself_as_a_process_of_the_lab(lab):
    process = lab.fork(WAITING, b"")
    (copy,) = [one for one in oracle.lab_processes_below(os.getpid()) if one.inner_pids == (process.pid,)]
    (agent,) = [one for one in oracle.lab_processes_below(os.getpid()) if one.is_agent and one.inner_pids == (1,)]
    assert copy.parent == agent.pid
    assert oracle.namespaces_of(copy.pid) == oracle.namespaces_of(agent.pid)
    lab.end_processes()
    assert (read_all(process), process.exit_status) == (b"", -9)
