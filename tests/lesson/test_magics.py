"""The magics, in a real kernel."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel import Kernel

OPEN = "from labsupport.lesson import open_lab\nlab = open_lab()"


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with tempfile.TemporaryDirectory(prefix="k") as folder, Kernel(Path(folder)) as started:
        yield started


@pytest.fixture
def opened(kernel: Kernel) -> Iterator[Kernel]:
    """A kernel with a fresh lab."""
    assert kernel.run(OPEN).status == "ok"
    yield kernel
    kernel.run("lab.close()")


def test_output_appears_in_order_then_the_exit_status(opened: Kernel) -> None:
    shown = opened.run("%%lab\necho one\necho two >&2\necho three\nexit 3")
    assert shown.text == "one\ntwo\nthree\n"
    assert shown.plain == ["exit status 3"]
    assert shown.status == "ok"


def test_output_appears_while_the_command_still_runs(opened: Kernel) -> None:
    # The command ends only because its first line was seen: the interrupt is sent when it arrives.
    shown = opened.run("%%lab\necho started\ntail -f /dev/null", interrupt_at="started")
    assert shown.text.startswith("started\n")
    assert shown.error.startswith("CommandInterrupted: the commands of this cell were stopped")
    assert "File " not in shown.traceback


def test_a_second_interrupt_ends_a_command_that_ignores_the_first(opened: Kernel) -> None:
    script = "%%lab\ntrap 'echo ignored' INT\necho started\nwhile true; do :; done"
    shown = opened.run(script, interrupt_at="started", interrupts=2)
    assert "ignored" in shown.text
    assert shown.error.startswith("CommandInterrupted: the commands of this cell were stopped")
    assert "File " not in shown.traceback
    assert opened.run("%%lab\necho alive").text == "alive\n"


def test_ns_runs_in_the_named_namespace(opened: Kernel) -> None:
    opened.run("%%lab\nip netns add red")
    outside = opened.run("%%lab\nreadlink /proc/self/ns/net").text
    inside = opened.run("%%ns red\nreadlink /proc/self/ns/net").text
    assert outside.startswith("net:[")
    assert inside.startswith("net:[")
    assert inside != outside


@pytest.mark.parametrize(("cell", "error", "parts"), [
    ("%%ns blue\nls", "NamespaceNotFound", ["'blue'", "one of: red", "ip netns add blue"]),
    ("%%ns\nls", "LessonError", ["required: NAME", "%%ns [--timeout SECONDS] NAME"]),
    ("%%lab --tmeout 3\nls", "LessonError", ["--tmeout", "%%lab [--timeout SECONDS]"]),
    ("%%lab --timeout 0.3\ntail -f /dev/null", "CommandTimeout", ["0.3 s", "tail -f"]),
    ("%%lab\nyes", "OutputLimitExceeded", ["1,048,576 bytes", "head"]),
])
def test_what_goes_wrong_is_said_without_our_insides(opened: Kernel, cell: str, error: str, parts: list[str]) -> None:
    opened.run("%%lab\nip netns add red")
    shown = opened.run(cell)
    assert shown.status == "error"
    assert shown.error.startswith(error)
    for part in parts:
        assert part in shown.traceback
    assert "File " not in shown.traceback
    assert opened.run("%%lab\necho alive").text == "alive\n"


def test_a_command_that_is_not_there(opened: Kernel) -> None:
    shown = opened.run("%%lab\nipp link")
    assert "ipp: command not found" in shown.text
    assert shown.plain == ["exit status 127: the shell found no program of that name"]


def test_a_killed_command_names_its_signal(opened: Kernel) -> None:
    assert opened.run("%%lab\nkill -9 $$").plain == ["ended by signal 9"]


def test_binary_output_is_shown_and_hurts_nothing(opened: Kernel) -> None:
    shown = opened.run("%%lab\nprintf 'a\\xff\\x00b'")
    assert shown.text == "a\\xff\x00b"


def test_without_a_lab_the_magics_say_what_to_do(opened: Kernel) -> None:
    opened.run("lab.close()")
    shown = opened.run("%%lab\nls")
    assert shown.error.startswith("LessonError")
    assert "lab = open_lab()" in shown.traceback


def test_a_namespace_is_not_made_inside_of_another(opened: Kernel) -> None:
    opened.run("%%lab\nip netns add red")
    shown = opened.run("%%ns red\necho first\nip netns add blue")
    assert shown.error.startswith("LessonError")
    assert "%%lab" in shown.traceback
    assert shown.text == ""
    assert opened.run("%%lab\nip netns list").text == "red\n"


def test_opening_again_gives_a_fresh_lab_and_ends_the_old_one(opened: Kernel) -> None:
    opened.run("%%lab\nip netns add red")
    opened.run("old = lab")
    opened.run(OPEN)
    assert opened.run("%%lab\nip netns list").text == ""
    assert opened.run("print(old.closed)").text == "True\n"


def test_the_background_outlives_its_cell(opened: Kernel) -> None:
    opened.run("%%lab\npython3 -m http.server 80 > /dev/null 2>&1 &")
    shown = opened.run("%%lab\ncurl --silent --output /dev/null --retry 9 --retry-connrefused http://127.0.0.1/")
    assert shown.plain == ["exit status 0"]


def test_names_of_namespaces_are_completed(opened: Kernel) -> None:
    opened.run("%%lab\nip netns add red\nip netns add blue")
    opened.client.complete("%%ns ", 5)
    reply = opened.client.get_shell_msg(timeout=10)
    assert {"red", "blue"} <= set(reply["content"]["matches"])
