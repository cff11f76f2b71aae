"""What the course promises about its exercises, proved for every one that exists.

The reference answers earn everything; every wrong answer, in a graded lab of its own, earns exactly what it must;
nothing is checked that no wrong answer fails.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from course_notebooks import NOTEBOOKS, answers_of, each_notebook

from labsupport.grading.answers import WrongAnswer
from labsupport.grading.course import CourseNotebook
from labsupport.grading.grade import grade
from labsupport.grading.graft import graft
from labsupport.grading.report import Report

RUNS_AT_ONCE = 8  # most of a run is waiting for pings and servers
EXERCISES = [(notebook, exercise) for notebook in NOTEBOOKS for exercise in notebook.checks]

each_exercise = pytest.mark.parametrize(("notebook", "exercise"), EXERCISES,
                                        ids=[f"{notebook.path.stem}-{name}" for notebook, name in EXERCISES])


@cache
def reference_report(notebook: CourseNotebook) -> Report:
    return grade(graft(notebook, answers_of(notebook).reference))


@cache
def wrong_reports(notebook: CourseNotebook) -> list[tuple[WrongAnswer, Report]]:
    """Grade all wrong answers of a notebook, those of all exercises at once: it saves half of the time."""
    answers = answers_of(notebook)
    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        reports = pool.map(lambda wrong: grade(graft(notebook, answers.reference | wrong.cells), only=wrong.exercise),
                           answers.wrong)
    return list(zip(answers.wrong, reports, strict=True))


@each_notebook
def test_the_reference_answers_earn_everything(notebook):
    report = reference_report(notebook)
    assert (report.raised, report.ended) == ({}, "")
    assert [item.text for exercise in report.exercises for item in exercise.items if not item.ok] == []
    for exercise in report.exercises:
        assert exercise.points == exercise.possible == sum(item.points for item in exercise.items)


@pytest.mark.timeout(240)  # the first one waits for all wrong answers of its notebook
@each_exercise
def test_every_wrong_answer_earns_what_it_must_and_fails_something(notebook, exercise):
    wrong = [(answer, report) for answer, report in wrong_reports(notebook) if answer.exercise == exercise]
    assert len(wrong) >= 3, "an exercise needs three wrong answers or more"
    assert {answer.name: report.points for answer, report in wrong} == {
        answer.name: answer.earns for answer, _ in wrong}
    for answer, report in wrong:
        assert report.ended == "", answer.name
        assert set(report.raised) <= set(answer.cells), answer.name
    (reference,) = [part for part in reference_report(notebook).exercises if part.exercise == exercise]
    failed = {item.text for _, report in wrong for item in report.exercises[0].items if not item.ok}
    assert {item.text for item in reference.items} - failed == set(), "no wrong answer fails these"
