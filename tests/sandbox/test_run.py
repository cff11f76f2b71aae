"""`Lab.run`: what a command prints, how it ends, and what bad input leads to."""

from __future__ import annotations

import os
import signal
import threading
import time

import oracle
import pytest
from clients import read_all

from labsupport import Lab, LabError
from labsupport.errors import (
    CommandFailed,
    CommandNotFound,
    CommandTimeout,
    LabClosed,
    LabDied,
    NamespaceNotFound,
    OutputLimitExceeded,
)
from labsupport.sandbox import Process
from labsupport.sandbox.agent import wire
from labsupport.waiting import wait_until

MEBIBYTE = 1 << 20
READ_BYTES = 65536


def inner_processes(lab_pid_namespace: str) -> int:
    return len(oracle.processes_in_pid_namespace(lab_pid_namespace))


def still_works(lab: Lab) -> None:
    assert lab.run("echo alive", echo=False).stdout == "alive\n"


def test_output_streams_and_exit_status_are_kept_apart(lab):
    done = lab.run("echo out; echo err >&2; exit 7", echo=False)
    assert (done.stdout, done.stderr, done.exit_status) == ("out\n", "err\n", 7)
    with pytest.raises(CommandFailed, match="exit status: 7") as caught:
        done.check()
    assert "err" in caught.value.log_tail


def test_a_list_is_not_a_shell_line(lab):
    assert lab.run(["printf", "%s|", "a b", "$HOME", "*"], echo=False).stdout == "a b|$HOME|*|"


def test_output_arrives_before_the_command_ends(lab):
    seen: list[tuple[str, float]] = []
    fifo = "/tmp/go-on"
    lab.run(["mkfifo", fifo], echo=False).check()

    def answer(stream, text):
        seen.append((stream, text))
        lab.start(["bash", "-c", f"echo go > {fifo}"])  # the command ends only if its first line has come out already

    done = lab.run(f"echo first; read word < {fifo}; exit 5", echo=answer, timeout_s=10)
    assert seen == [("stdout", "first\n")]
    assert done.exit_status == 5


def test_merged_output_keeps_the_order(lab):
    done = lab.run("for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done", merge=True, echo=False)
    assert done.stdout.split() == [f"{stream}{i}" for i in range(1, 6) for stream in "oe"]
    assert done.stderr == ""


def test_a_mebibyte_goes_through_cat_and_comes_back(lab):
    data = os.urandom(MEBIBYTE)
    assert lab.run(["cat"], stdin=data, echo=False).stdout_bytes == data


def test_a_command_that_does_not_read_makes_its_writer_wait(lab):
    lab.run(["mkfifo", "/tmp/gate"], echo=False).check()
    slow = lab.start("read -r _ < /tmp/gate; cat | wc -c")
    written = threading.Event()

    def write():
        slow.write(b"x" * (4 * MEBIBYTE))
        written.set()
        slow.close_stdin()

    writer = threading.Thread(target=write)
    writer.start()
    assert not written.wait(0.3)
    lab.run("echo go > /tmp/gate", echo=False).check()
    assert int(read_all(slow)) == 4 * MEBIBYTE
    writer.join(10)


def test_stdin_of_a_command_that_ends_early_is_dropped(lab):
    assert lab.run("head -c 3", stdin=b"abc" * MEBIBYTE, echo=False).stdout == "abc"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_is_a_negative_status(lab, number):
    assert lab.run(f"kill -{int(number)} $$", echo=False).exit_status == -number


def test_the_time_limit_ends_the_whole_process_group(lab, namespace_ids):
    identity = namespace_ids(lab)["pid"]
    idle = inner_processes(identity)
    start = time.monotonic()
    with pytest.raises(CommandTimeout, match=r"time limit of 0\.3 s") as caught:
        lab.run("trap '' TERM; echo begun; sleep 1000 & (sleep 1000; true) | cat", timeout_s=0.3, echo=False)
    assert time.monotonic() - start < 5
    assert "begun" in caught.value.log_tail
    wait_until(lambda: inner_processes(identity) == idle, what="the group's children to be gone", deadline_s=1)
    still_works(lab)


def test_too_much_output_ends_the_command_and_costs_no_memory(lab):
    before = oracle.peak_memory_bytes(os.getpid())
    with pytest.raises(OutputLimitExceeded, match="more than 4,194,304 bytes"):
        lab.run("yes 0123456789abcdef | head -c 100000000", echo=False)
    still_works(lab)
    (agent,) = [process for process in oracle.descendants(os.getpid()) if process.is_agent]
    assert oracle.peak_memory_bytes(agent.pid) < 40 * MEBIBYTE
    assert oracle.peak_memory_bytes(os.getpid()) - before < 60 * MEBIBYTE


@pytest.mark.parametrize("terminal", [None, (24, 80)], ids=["pipes", "terminal"])
def test_output_that_nobody_reads_waits_in_the_lab(lab, terminal):
    """`Process` promises that: it must hold as well while other requests take frames from the same stream."""
    flood = lab.start("yes 0123456789abcdef", terminal=terminal)
    before = oracle.peak_memory_bytes(os.getpid())
    lab.run(["sleep", "0.5"], echo=False).check()
    grown = oracle.peak_memory_bytes(os.getpid()) - before
    received = sum(len(data) for _, data in flood.read(0))
    assert wire.OUTPUT_WINDOW_BYTES <= received < wire.OUTPUT_WINDOW_BYTES + 4 * READ_BYTES
    more = 0
    while more < 3 * wire.OUTPUT_WINDOW_BYTES:  # once it is read, it goes on
        more += sum(len(data) for _, data in flood.read(5))
    flood.stop()
    assert grown < 20 * MEBIBYTE


def test_a_command_may_print_as_much_as_it_is_given(lab):
    """More than all buffers on the way hold, so its input must go on while its output is taken."""
    data = os.urandom(MEBIBYTE) * 8
    assert lab.run(["cat"], stdin=data, echo=False, max_output_bytes=len(data)).stdout_bytes == data


def test_a_command_that_takes_no_input_meets_its_time_limit(lab):
    with pytest.raises(CommandTimeout):
        lab.run(["sleep", "1000"], stdin=b"x" * MEBIBYTE, timeout_s=0.3, echo=False)
    still_works(lab)


def test_end_processes_returns_when_they_are_gone(lab, namespace_ids):
    identity = namespace_ids(lab)["pid"]
    idle = inner_processes(identity)
    started = [lab.start("(setsid sleep 1000 &); sleep 1000 & sleep 1000") for _ in range(30)]
    assert inner_processes(identity) > 30
    lab.end_processes()
    assert inner_processes(identity) == idle
    assert [process.exit_status for process in started] == [-signal.SIGKILL] * 30
    lab.end_processes()  # with none there is nothing to wait for
    still_works(lab)


def test_binary_output_is_kept_as_it_is(lab):
    done = lab.run(["printf", r"\xff\x00\xfe\n\x80"], echo=False)
    assert done.stdout_bytes == b"\xff\x00\xfe\n\x80"
    assert done.stdout == "\\xff\x00\\xfe\n\\x80"
    shown = []
    lab.run(["printf", r"\xff\xc3\xa4"], echo=lambda _stream, text: shown.append(text))
    assert "".join(shown) == "\\xffä"


@pytest.mark.parametrize(
    "command",
    [["echo", "a\0b"], "echo a\0b", [], ["echo", "x" * (2 * MEBIBYTE)], ["echo", *["x"] * 5000], ["bash\0", "-c", ""]],
    ids=["nul in a word", "nul in a line", "no word", "a long word", "many words", "nul in a program"],
)
def test_a_command_that_cannot_be_sent_is_refused_and_the_lab_lives(lab, command):
    with pytest.raises(LabError) as caught:
        lab.run(command, echo=False)
    assert not isinstance(caught.value, (LabDied, LabClosed)), caught.value
    still_works(lab)


def test_an_unknown_namespace_is_named_with_those_there_are(lab):
    with pytest.raises(NamespaceNotFound, match="the lab has no named namespace yet"):
        lab.run("true", namespace="red", echo=False)
    lab.run("ip netns add red; ip netns add blue", echo=False).check()
    for name in ("rde", "..", "../../etc", "red\0", "red/"):
        with pytest.raises(NamespaceNotFound, match="one of: blue, red"):
            lab.run("true", namespace=name, echo=False)
    assert lab.namespaces() == ["blue", "red"]
    assert lab.run("ip netns identify $$", namespace="red", echo=False).stdout.strip() == "red"


@pytest.mark.parametrize("namespace", ["", "red"], ids=["first namespace", "named namespace"])
@pytest.mark.parametrize("command", [["no-such-program"], [""], ["/etc/hostname"], ["/etc"], ["/etc/hosts/x"], ["./x"],
                                     ["/usr/bin/no-such-program"]])
def test_a_command_that_is_not_there_is_named(lab, command, namespace):
    lab.run("ip netns add red", echo=False).check()
    with pytest.raises(CommandNotFound, match="the lab has no such program"):
        lab.run(command, namespace=namespace, echo=False)
    still_works(lab)


def test_a_program_in_a_namespace_is_found_as_in_the_first_one(lab):
    lab.run("ip netns add red; printf '#!/bin/sh\necho mine\n' > /root/x; chmod +x /root/x", echo=False).check()
    for command in (["./x"], ["/root/x"], ["echo", "mine"], "echo mine"):
        for namespace in ("", "red"):
            assert lab.run(command, namespace=namespace, echo=False).stdout == "mine\n"


def test_a_closed_lab_says_so():
    lab = Lab(name="shut")
    process = lab.start(["sleep", "1000"])
    lab.close()
    lab.close()
    assert lab.closed
    for use in (lambda: lab.run("true"), lab.ping, lab.namespaces, lab.end_processes, lambda: process.read(5),
                lambda: lab.observe(["ip", "link"]), lambda: process.write(b"x"), process.close_stdin):
        with pytest.raises(LabClosed, match="the lab shut is closed"):
            use()


def test_threads_share_a_lab(lab):
    results: dict[int, str] = {}

    def work(number):
        data = f"{number}\n" * 20000
        for _ in range(10):
            results[number] = lab.run(["cat"], stdin=data, echo=False, timeout_s=20).stdout
            assert results[number] == data

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert results == {number: f"{number}\n" * 20000 for number in range(4)}


def test_a_background_process_outlives_its_command_and_may_still_print(lab):
    line = ("trap 'echo HUP >> /tmp/log' HUP PIPE; mkfifo /tmp/go; "
            "{ read -r _ < /tmp/go; for i in {1..20000}; do echo line $i; done; echo done > /tmp/end; } & echo begun")
    assert lab.run(line, echo=False, timeout_s=5).stdout == "begun\n"
    lab.run("echo > /tmp/go", echo=False).check()
    wait_until(lambda: lab.run("cat /tmp/end", echo=False).stdout, what="the background job to end", deadline_s=10)
    assert lab.run("cat /tmp/log", echo=False).exit_status == 1


def test_an_echo_that_fails_ends_the_command(lab, namespace_ids):
    identity = namespace_ids(lab)["pid"]
    idle = inner_processes(identity)

    def broken(stream, text):
        raise BrokenPipeError(stream)

    with pytest.raises(BrokenPipeError):
        lab.run("echo x; sleep 1000", echo=broken)
    wait_until(lambda: inner_processes(identity) == idle, what="the command to be gone", deadline_s=1)
    still_works(lab)


def start_many(lab, running):
    for _ in range(2000):
        running.append(lab.start(["sleep", "1000"]))


def test_hundreds_of_commands_at_once_and_none_too_many(lab):
    """The agent's descriptors run out, or the process limit is met: either is refused, and given back afterwards."""
    counts = []
    for _ in range(2):
        running: list[Process] = []
        with pytest.raises(LabError) as caught:
            start_many(lab, running)
        assert not isinstance(caught.value, (LabDied, LabClosed)), caught.value
        lab.end_processes()
        for process in running:
            while process.exit_status is None:
                process.read(5)
        counts.append(len(running))
        still_works(lab)
    assert counts[0] > 100
    assert abs(counts[0] - counts[1]) <= 2
