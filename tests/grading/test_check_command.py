"""`labsupport check` as a student or a teacher types it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import oracle
import pytest
import sample

from labsupport.cli import main
from labsupport.sandbox import find_running_labs
from labsupport.waiting import wait_until

COMMAND = [sys.executable, "-c", "import sys; from labsupport.cli import main; sys.exit(main())", "check"]


def check(capsys, *arguments: str | Path) -> tuple[int, str, str]:
    status = main(["check", *map(str, arguments)])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


@pytest.fixture
def student(tmp_path):
    """Writes a student's file with the good answers, but for those given."""
    return lambda **answers: sample.write(tmp_path / "01-me.ipynb", sample.answered(sample.GOOD | {
        name.replace("_", "-"): source for name, source in answers.items()}))


def test_everything_earned_is_status_0(capsys, course_folder, student):
    status, out, err = check(capsys, student(), "--course", course_folder)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "01-sample.ipynb",
        "",
        "sum: 2 of 2 points",
        "  [x] the answer is a whole number",
        "  [x] it is 42 (2 points)",
        "",
        "room: 3 of 3 points",
        "  [x] there is a namespace red (1 point)",
        "  [x] red has a link red0 (2 points)",
        "",
        "Total: 5 of 5 points",
    ]


def test_what_does_not_hold_is_shown_with_its_hint_and_the_cell_that_raised(capsys, course_folder, student):
    status, out, _ = check(capsys, student(sum_answer="answer = six * 7", room_answer="%%lab\nip netns add red"),
                           "--course", course_folder)
    assert status == 1
    assert "  note: the answer cell 'sum-answer' stopped: NameError: name 'six' is not defined" in out.splitlines()
    assert "  [ ] red has a link red0 (2 points)" in out.splitlines()
    assert out.endswith("Total: 1 of 5 points\n")


def test_json_says_the_same(capsys, course_folder, student):
    status, out, _ = check(capsys, student(sum_answer="answer = 41"), "--course", course_folder, "--json")
    report = json.loads(out)
    assert status == 1
    assert (report["notebook"], report["points"], report["possible"], report["ended"]) == ("01-sample.ipynb", 3, 5, "")
    assert report["exercises"][0] == {
        "exercise": "sum", "possible": 2, "points": 0, "remarks": [], "items": [
            {"text": "the answer is a whole number", "ok": True, "points": 0, "needed": True,
             "hint": report["exercises"][0]["items"][0]["hint"]},
            {"text": "it is 42", "ok": False, "points": 2, "needed": False, "hint": "six times seven"}]}


def test_an_answer_file_is_graded_instead_of_the_notebooks_answers(capsys, course_folder, student, tmp_path):
    answers = tmp_path / "01.toml"
    answers.write_text(f"[reference]\nsum-answer = 'answer = 42'\nroom-answer = '''{sample.GOOD_ROOM}'''\n")
    wrong = student(sum_answer="answer = 0", room_answer="")
    assert check(capsys, wrong, "--course", course_folder, "--answers", answers)[0] == 0


def test_the_time_limit_of_a_cell(capsys, course_folder, student):
    status, out, _ = check(capsys, student(sum_answer="while True: pass"), "--course", course_folder, "--timeout", 1)
    assert status == 1
    assert "note: the answer cell 'sum-answer' stopped: it ran longer than 1 s and was interrupted" in out


@pytest.mark.parametrize(("arguments", "message"), [
    (["missing.ipynb"], "there is no such file"),
    (["01-me.ipynb", "--course", "nowhere"], "this is no notebook of the course"),
    (["01-me.ipynb", "--answers", "missing.toml"], "the answer file cannot be read"),
    (["01-me.ipynb", "--answers", "odd.toml"], "the answer file does not fit its notebook"),
])
def test_what_cannot_be_graded_is_status_2_and_says_what_to_do(capsys, course_folder, student, tmp_path, monkeypatch,
                                                             arguments, message):
    student()
    (tmp_path / "odd.toml").write_text("[reference]\nsum-answer = '1'\nx = '2'\n[[wrong]]\nname = 'n'\n[extra]\n")
    monkeypatch.chdir(tmp_path)
    course = [] if "--course" in arguments else ["--course", str(course_folder)]
    status, out, err = check(capsys, *arguments, *course)
    assert (status, out) == (2, "")
    assert err.startswith(message + "\n")
    assert "  next:" in err


def test_an_answer_file_names_all_its_faults(capsys, course_folder, student, tmp_path):
    odd = tmp_path / "odd.toml"
    odd.write_text("[reference]\nsum-answer = '1'\nx = '2'\n[[wrong]]\nname = 'n'\n[extra]\n[[wrong]]\nname = 'm'\n"
                   "exercise = 'sum'\nearns = 0\ncells.room-answer = ''\n[[wrong]]\nname = 'o'\nexercise = 'z'\n"
                   "earns = 0\ncells.sum-answer = ''\n")
    _, _, err = check(capsys, student(), "--course", course_folder, "--answers", odd)
    for fault in ("there is no [extra]", "[reference] has no room-answer", "[reference] x: the notebook has no such",
                  "[[wrong]] n: it needs name", "[[wrong]] m: room-answer is no answer cell before the check of sum",
                  "[[wrong]] o: the notebook has no exercise 'z'"):
        assert fault in err


def test_progress_appears_on_a_terminal_only(course_folder, student):
    ours, theirs = pty.openpty()
    done = subprocess.run([*COMMAND, student(), "--course", course_folder], stdout=subprocess.PIPE, stderr=theirs,
                          timeout=40, check=True)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "cell 1 of 5: setup" in shown
    assert "cell 5 of 5: room-check" in shown
    assert b"cell" not in done.stdout


def test_ctrl_c_ends_it_and_leaves_nothing(course_folder, student):
    command = [*COMMAND, student(sum_answer="%%lab\nsleep 600"), "--course", course_folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        wait_until(lambda: any(child.command_line.startswith("sleep\x00600\x00")
                               for child in oracle.lab_processes_below(process.pid)), what="the cell", deadline_s=30)
        (folder,) = {lab.address.split("/door/")[0] for lab in find_running_labs()
                     if lab.client_pid == process.pid and "/door/" in lab.address}
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert time.monotonic() - started < 5
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert err == "Stopped. Nothing was graded, and nothing is left running.\n"
    assert not Path(folder).exists()
