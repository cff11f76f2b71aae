"""`labsupport shell` at a real terminal."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import oracle
import pytest
from terminals import Terminal
from world import kernel_mark

from labsupport.waiting import wait_until

OpenTerminal = Callable[..., Terminal]
RunWithoutTerminal = Callable[..., object]


def below(terminal: Terminal, word: str) -> oracle.Process:
    """Return the one process in a terminal whose command line contains `word`."""
    found = [process for process in oracle.descendants(terminal.process.pid)
             if word in process.command_line.split("\0") and "world.py" not in process.command_line]
    assert len(found) == 1, found
    return found[0]


def test_a_prompt_appears_and_the_exit_status_comes_back(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal({"03": []}, "shell")
    terminal.read_until("lab:~# ")
    terminal.type("hostname\n")
    assert "\nlab\r\n" in terminal.read_until("lab:~# ")
    terminal.type("exit 7\n")
    assert terminal.wait() == 7
    assert terminal.restored


def test_ctrl_d_leaves_the_shell(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal({"03": []}, "shell")
    terminal.read_until("lab:~# ")
    terminal.type("\x04")
    assert terminal.wait() == 0
    assert terminal.restored


def test_a_shell_in_a_namespace_has_its_network_and_its_name(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal({"03": ["red", "blue"]}, "shell", "red")
    terminal.read_until("red:~# ")
    terminal.type("ip netns identify $$; ip -br link | cut -d' ' -f1\n")
    shown = terminal.read_until("red:~# ")
    assert "\nred\r\nlo\r\n" in shown


def test_a_namespace_name_is_no_program_for_the_prompt(open_terminal: OpenTerminal) -> None:
    name = "a$(echo b)`echo c`"
    terminal = open_terminal({"03": [name]}, "shell", name)
    terminal.read_until(f"{name}:~# ")


def test_the_window_size_arrives_at_the_start_and_when_it_changes(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal({"03": []}, "shell")
    terminal.read_until("lab:~# ")
    terminal.type("stty size\n")
    assert "31 97" in terminal.read_until("lab:~# ")
    for rows in range(40, 90):  # what is typed after a change is read after it as well, every time
        terminal.resize(rows, 120)
        terminal.type("stty size\n")
        terminal.read_until(f"{rows} 120\r\n")
        # Before each prompt readline reads the size and sets it again; a change in between is lost in any terminal.
        terminal.read_until("lab:~# ")


def test_ctrl_c_interrupts_the_program_and_not_the_shell(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal({"03": []}, "shell")
    terminal.read_until("lab:~# ")
    terminal.type("echo start; sleep 1000\n")
    terminal.read_until("\nstart\r\n")
    wait_until(lambda: any(process.command_line == "sleep\x001000\0"
                           for process in oracle.descendants(terminal.process.pid)), what="sleep", deadline_s=5)
    terminal.type("\x03")
    terminal.read_until("lab:~# ")
    terminal.type("echo status $?\n")
    terminal.read_until("status 130\r\n")


def test_much_output_arrives_whole_and_in_order(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal({"03": []}, "shell")
    terminal.read_until("lab:~# ")
    terminal.type("seq 1 30000; echo done\n")
    shown = terminal.read_until("\ndone\r\n")
    assert re.findall(r"^\d+", shown, re.MULTILINE) == [str(number) for number in range(1, 30001)]


def test_of_several_labs_it_lists_them_and_asks(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal({"01": ["left"], "03": ["red"]}, "shell")
    shown = terminal.read_until("Which lab? [1-2] ")
    assert re.search(r"1 +01 +/course/01.ipynb +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\d+", shown)
    assert re.search(r"2 +03 +/course/03.ipynb", shown)
    terminal.type("5\n")
    assert "no lab has the number or process id '5'" in terminal.read_until("Which lab? [1-2] ")
    terminal.type("2\n")
    terminal.read_until("lab:~# ")
    terminal.type("ip netns list\n")
    assert "\nred\r\n" in terminal.read_until("lab:~# ")


def test_ctrl_c_at_the_question_ends_it(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal({"01": [], "03": []}, "shell")
    terminal.read_until("Which lab? [1-2] ")
    # Python forgets a signal that comes between its question and its reading; a person is not so fast.
    wait_until(lambda: below(terminal, "shell").state == "S", what="it to wait for the answer", deadline_s=5)
    os.kill(below(terminal, "shell").pid, signal.SIGINT)
    assert terminal.wait() == 130
    assert "Traceback" not in terminal.seen


@pytest.mark.parametrize("by", ["number", "pid"])
def test_a_lab_can_be_chosen_by_number_and_by_pid(open_terminal: OpenTerminal, by: str) -> None:
    question = open_terminal({"01": ["left"], "03": ["red"]}, "shell", *(["--lab", "2"] if by == "number" else []))
    if by == "pid":
        shown = question.read_until("Which lab? ")
        pid = re.search(r"03.ipynb .* (\d+)\r", shown)
        assert pid is not None
        question.type(f"{pid[1]}\n")
    question.read_until("lab:~# ")
    question.type("ip netns list\n")
    assert "\nred\r\n" in question.read_until("lab:~# ")


def test_when_the_lab_is_killed_the_error_is_clear_and_the_terminal_restored(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal({"03": []}, "shell")
    terminal.read_until("lab:~# ")
    assert not terminal.restored, "the terminal is raw meanwhile, or this test could not fail"
    os.kill(below(terminal, kernel_mark("03")).pid, signal.SIGKILL)
    shown = terminal.read_until("make a new lab")
    assert "the lab 03 has ended" in shown
    assert terminal.wait() == 1
    assert terminal.restored
    assert "Traceback" not in shown + terminal.seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_client_ends_the_shell_and_restores_the_terminal(open_terminal: OpenTerminal,
                                                                         number: signal.Signals) -> None:
    terminal = open_terminal({"03": []}, "shell")
    terminal.read_until("lab:~# ")
    inside = below(terminal, "--norc")
    os.kill(below(terminal, "shell").pid, number)
    assert terminal.wait() == 128 + number
    assert terminal.restored
    assert oracle.read_process(inside.pid) is None
    assert "Traceback" not in terminal.seen


def test_a_shell_that_a_signal_ends_gives_128_and_its_number(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal({"03": []}, "shell")
    terminal.read_until("lab:~# ")
    terminal.type("kill -9 $$\n")
    assert terminal.wait() == 137
    assert terminal.restored


def test_an_unknown_namespace_is_named_with_those_that_are_there(open_terminal: OpenTerminal) -> None:
    terminal = open_terminal({"03": ["red", "blue"]}, "shell", "rad")
    assert terminal.wait() == 1
    assert "no network namespace is called 'rad'" in terminal.seen
    assert "one of: blue, red" in terminal.seen
    assert terminal.restored
