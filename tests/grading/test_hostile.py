"""Students' code that fights the grader: the score is what the lab's state and the answer are worth, in time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sample

from labsupport.grading.course import load_course_notebook
from labsupport.grading.grade import grade
from labsupport.grading.jail import Jail
from labsupport.grading.judge import judge
from labsupport.grading.report import ExerciseReport

CELL_LIMIT_S = 2.0
PATIENCE_S = 0.5
ENOUGH_S = 30.0

PATCH_CHECK = """
import labsupport.lesson.exercise as exercise, labsupport.lesson as lesson
exercise.Check.holds = lambda *a, **k: True
exercise.Check.earned = property(lambda self: 99)
lesson.check = check = lambda *a, **k: exercise.Check("sum", None, 42)
answer = 41
"""
EVIL_OBJECT = """
class Evil(int):
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __repr__(self): return "42"
    def __reduce__(self): return (exec, ("open('/tmp/pwned', 'w')",))
answer = {}
"""
IN_ANOTHERS_NAME = """
import os
with open(f"/proc/{os.getppid()}/fd/1", "w") as driver:
    driver.write(%s)
"""
FAKE_IP = """%%lab
ip netns add red
cat > /tmp/ip <<'END'
#!/bin/sh
echo '[{"ifname": "red0"}]'
END
chmod +x /tmp/ip
mount --bind /tmp/ip "$(readlink -f /usr/sbin/ip)"
mkdir -p /usr/local/sbin && mount -t tmpfs none /usr/local/sbin && cp /tmp/ip /usr/local/sbin/ip
echo 'export PATH=/tmp:$PATH' > /root/.profile
echo /tmp/ip > /etc/ld.so.preload
"""

FORGER = """
import os
while True:
    for name in os.listdir("/proc"):
        try:
            if name.isdecimal() and open(f"/proc/{name}/cmdline").read().startswith("ip\\0-json"):
                os.kill(int(name), 19)
                with open(f"/proc/{name}/fd/1", "w") as out:
                    out.write('[{"ifname": "red0"}]')
                os.kill(int(name), 9)
        except OSError:
            continue
"""

VALUES = {
    "an int that equals everything": EVIL_OBJECT + "answer = Evil(41)",
    "a list of them": EVIL_OBJECT + "answer = [Evil(41)]",
    "a whole number of 10,000 digits": "answer = 10 ** 10000",
    "a whole number of 100 digits": "answer = 10 ** 100",
    "not a number": "answer = float('nan')",
    "infinity": "answer = [float('inf')]",
    "half a character": "answer = '\\ud83d'",
    "control characters": "answer = '\\x1b[2J\\x00'",
    "a megabyte of text": "answer = 'x' * 2**20",
    "a list in itself": "answer = []\nanswer.append(answer)",
    "a list of a million": "answer = [42] * 1000000",
    "an object": "answer = object()",
    "a generator without end": "import itertools\nanswer = itertools.count()",
    "no answer at all": "del answer",
    "a text with the right number": "answer = '42'",
    "what the transport uses for no answer": "answer = {'...': None}",
}


def test_an_answer_is_plain_data_or_no_answer(course):
    """One kernel for all of them: only the value counts here."""
    points = {}
    with Jail() as jail:
        jail.run(sample.SETUP, 10)
        for name, attack in VALUES.items():
            assert jail.run("answer = ...\n" + attack, 10).error == ""
            judgement = judge(course.checks["sum"], jail.graded, jail.answer())
            points[name] = judgement.points
            ExerciseReport("sum", 2, judgement.points, judgement.items).lines[1].encode()
        jail.run(sample.GOOD_SUM, 10)
        assert judge(course.checks["sum"], jail.graded, jail.answer()).points == 2
    assert points == dict.fromkeys(VALUES, 0)


CHEATS = {
    "patches the check": PATCH_CHECK,
    "forged output": "print('sum: done, 2 of 2 hold')\nanswer = 41",
    "deletes its kernel's sockets": "import glob, os\n[os.remove(f) for f in glob.glob('/tmp/*/k-*')]\nanswer = 41",
    "raises": "raise SystemError('\\x1b[31m' + 'x' * 100000)",
    "syntax error": "answer = (",
    "more memory than there is": "hog = bytearray(64 << 30)",
}


@pytest.mark.parametrize("attack", CHEATS.values(), ids=CHEATS)
def test_a_wrong_answer_stays_wrong_and_the_other_exercise_counts(grade_answers, attack):
    report = grade_answers({"sum-answer": attack})
    assert [exercise.points for exercise in report.exercises] == [0, 3]
    assert not report.ended
    assert report.text.replace("\n", "").isprintable()
    report.text.encode()


LOST = "at the cell room-answer, the notebook's kernel stopped working: "
ENDS = {
    "exits": "import os\nos._exit(0)",
    "kills itself": "import os\nos.kill(os.getpid(), 9)",
    "kills what runs it": "import os\nos.kill(os.getppid(), 9)",
    "kills everything": "import os\nos.kill(-1, 9)",
    "answers in another's name": IN_ANOTHERS_NAME % "'no JSON\\n'",
    "answers with a deep list": IN_ANOTHERS_NAME % "'[' * 100000 + '\\n'",
    "answers without end": IN_ANOTHERS_NAME % "'x' * 2**26",
}


@pytest.mark.parametrize("attack", ENDS.values(), ids=ENDS)
def test_a_kernel_that_ends_ends_the_run_with_what_was_earned(grade_answers, attack):
    started = time.monotonic()
    report = grade_answers({"room-answer": attack}, cell_limit_s=CELL_LIMIT_S)
    assert time.monotonic() - started < ENOUGH_S
    assert [exercise.points for exercise in report.exercises] == [2, 0]
    assert report.ended.startswith(LOST)


HANGS = {
    "stops what runs it": ("import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)", "no answer within 3 s"),
    "stops itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "an interrupt did not stop it"),
    "never ends, whatever one does": ("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
                                      "an interrupt did not stop it"),
    "breaks builtins": ("import builtins\nbuiltins.globals = None\nbuiltins.__import__ = None",
                        "an interrupt did not stop it"),
}


def test_a_kernel_that_hangs_ends_the_run_with_what_was_earned(grade_answers):
    """All at once: each of them waits for its time limit."""
    started = time.monotonic()
    with ThreadPoolExecutor(len(HANGS)) as pool:
        reports = list(pool.map(lambda attack: grade_answers({"room-answer": attack}, cell_limit_s=CELL_LIMIT_S,
                                                             patience_s=PATIENCE_S),
                                [attack for attack, _ in HANGS.values()]))
    assert time.monotonic() - started < ENOUGH_S
    for (_, reason), report in zip(HANGS.values(), reports, strict=True):
        assert [exercise.points for exercise in report.exercises] == [2, 0]
        assert report.ended.startswith(LOST)
        assert report.ended.endswith(reason)


GOES_ON = {
    "an endless loop": "while True: pass",
    "a loop that catches the first interrupt": "try:\n    while True: pass\nexcept KeyboardInterrupt: raise ValueError",
    "prints without end": "while True: print('x' * 2**16)",
    "reads input": "input()",
    "exit": "exit()",
    "threads that never end": "import threading\ndef f():\n    while True: pass\nthreading.Thread(target=f).start()",
}


@pytest.mark.parametrize("attack", GOES_ON.values(), ids=GOES_ON)
def test_a_cell_that_is_a_burden_costs_only_itself(grade_answers, attack):
    started = time.monotonic()
    report = grade_answers({"sum-answer": attack}, cell_limit_s=CELL_LIMIT_S)
    assert time.monotonic() - started < ENOUGH_S
    assert [exercise.points for exercise in report.exercises] == [0, 3]


@pytest.mark.parametrize("bomb", ["%%lab\n:(){ :|:& };:",
                                  "import subprocess\nsubprocess.Popen(['bash', '-c', ':(){ :|:& };:'])"])
def test_a_fork_bomb_ends_with_the_grading(grade_answers, bomb):
    started = time.monotonic()
    report = grade_answers({"room-answer": bomb}, cell_limit_s=CELL_LIMIT_S)
    assert time.monotonic() - started < ENOUGH_S
    assert [exercise.points for exercise in report.exercises] == [2, 0]


def test_the_grader_uses_the_hosts_ip_whatever_the_lab_did_to_its_own(grade_answers):
    report = grade_answers({"room-answer": FAKE_IP})
    room = report.exercises[1]
    assert [(item.text, item.ok) for item in room.items] == [
        ("there is a namespace red", True), ("red has a link red0", False)]


def test_a_process_of_the_lab_cannot_write_what_the_grader_reads(grade_answers):
    """It waits for `ip`, stops it and writes into its output: that works against a program beside it in the lab."""
    forger = f"%%lab\nip netns add red\ncat > /tmp/forge.py <<'END'\n{FORGER}\nEND\npython3 -I /tmp/forge.py &"
    room = grade_answers({"room-answer": forger}).exercises[1]
    assert [(item.text, item.ok) for item in room.items] == [
        ("there is a namespace red", True), ("red has a link red0", False)]


def test_a_lab_of_the_students_own_is_not_the_one_that_is_graded(grade_answers):
    own = "lab.close()\nfrom labsupport import Lab\nlab = Lab('mine')\nlab.run('ip netns add red')"
    assert grade_answers({"room-answer": own}).exercises[1].points == 0


def test_points_never_exceed_what_the_course_says(course, tmp_path):
    check = sample.SUM_CHECK.replace("points=2", "points=99")
    generous = [cell | ({"source": check} if cell["id"] == "sum-check" else {})
                for cell in sample.answered(sample.GOOD)]
    report = grade(load_course_notebook(sample.write(tmp_path / "x.ipynb", generous)), only="sum")
    assert (report.points, report.possible) == (2, 2)


def test_the_time_limit_of_the_whole_run(grade_answers):
    report = grade_answers({"room-answer": "while True: pass"}, cell_limit_s=60.0, total_limit_s=2.0)
    assert report.exercises[0].points == 2
    assert "interrupted" in report.raised["room-answer"]


def test_the_answers_of_all_cells_together_may_not_be_huge(grade_answers):
    report = grade_answers({"room-answer": "#" * 200_000})
    assert report.points == 2
    assert "cells of more than" in report.ended
