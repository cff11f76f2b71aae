"""The command line: what is wrong is said in one message, without a traceback, with the right exit status."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from terminals import PROGRAM

Run = Callable[..., subprocess.CompletedProcess[str]]


def labsupport(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                          check=False)


def test_without_a_running_lab_the_shell_says_how_to_get_one(run_without_terminal: Run) -> None:
    done = run_without_terminal({}, "shell")
    assert done.returncode == 1
    assert done.stderr.startswith("labsupport: no lab is running\n")
    assert "run its first code cell" in done.stderr
    assert done.stdout == ""


def test_without_a_terminal_several_labs_are_an_error_that_lists_them(run_without_terminal: Run) -> None:
    done = run_without_terminal({"01": [], "03": []}, "shell")
    assert done.returncode == 1
    assert "several labs are running" in done.stderr
    assert "/course/01.ipynb" in done.stderr
    assert "/course/03.ipynb" in done.stderr
    advised = re.search(r"next: +labsupport shell --lab (\d+)", done.stderr)
    assert advised is not None
    assert re.search(rf"01\.ipynb .*\b{advised[1]}\b", done.stderr)


def test_without_a_terminal_there_is_no_shell(run_without_terminal: Run) -> None:
    done = run_without_terminal({"03": []}, "shell")
    assert done.returncode == 1
    assert "a shell in a lab needs a terminal" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lab_that_is_not_there_is_refused_with_the_list(run_without_terminal: Run) -> None:
    done = run_without_terminal({"03": []}, "shell", "--lab", "99999")
    assert done.returncode == 1
    assert "no lab has the number or process id '99999'" in done.stderr
    assert "/course/03.ipynb" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("dance",), ("doctor", "--jso"), ("shell", "a", "b")])
def test_a_wrong_command_line_has_status_2_and_a_usage(arguments: tuple[str, ...]) -> None:
    done = labsupport(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: labsupport")
    assert "Traceback" not in done.stderr


def test_help_lists_the_commands() -> None:
    done = labsupport("--help")
    assert done.returncode == 0
    for command in ("doctor", "shell", "check"):
        assert re.search(rf"^ +{command} ", done.stdout, re.MULTILINE)


def test_a_reader_that_goes_away_is_no_error_to_talk_about() -> None:
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {PROGRAM} doctor --json | true"], capture_output=True,
                          text=True, timeout=30, check=False)
    assert done.stderr == ""


def test_the_command_line_itself_imports_nothing_heavy() -> None:
    code = ("import sys; sys.argv = ['labsupport', '--help']\n"
            "from labsupport.cli import main\n"
            "try: main()\nexcept SystemExit: pass\n"
            "print(sorted({'IPython', 'nbformat', 'kubernetes', 'pyroute2', 'matplotlib', 'jupyter_client'} "
            "& set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_check_is_the_one_of_the_grading_kit() -> None:
    done = labsupport("check", "/nowhere/lab.ipynb")
    assert done.returncode not in {0, 1}
    assert "/nowhere/lab.ipynb" in done.stderr
    assert "Traceback" not in done.stderr
