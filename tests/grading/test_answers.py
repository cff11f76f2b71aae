"""What the course promises about its exercises, proved for every one that exists.

The reference answers earn everything; every wrong answer, in a graded lab of its own, earns exactly what it must;
nothing is checked that no wrong answer fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from queue import SimpleQueue

import pytest
import shared_cluster
from course_notebooks import NOTEBOOKS, answers_of, each_notebook

from labsupport.cluster import Cluster
from labsupport.grading.answers import WrongAnswer
from labsupport.grading.course import CourseNotebook
from labsupport.grading.grade import grade
from labsupport.grading.graded_cluster import cluster_for_grading
from labsupport.grading.graft import graft
from labsupport.grading.report import Report

RUNS_AT_ONCE = 8  # most of a run is waiting for pings and servers
CLUSTERS_AT_ONCE = 2
EXERCISES = [(notebook, exercise) for notebook in NOTEBOOKS for exercise in notebook.checks]

each_exercise = pytest.mark.parametrize(("notebook", "exercise"), EXERCISES,
                                        ids=[f"{notebook.path.stem}-{name}" for notebook, name in EXERCISES])


def open_cluster_for(notebook: CourseNotebook, stack: ExitStack) -> Cluster | None:
    if not notebook.namespace:
        return None
    shared_cluster.need_programs()
    return stack.enter_context(cluster_for_grading(lambda _step: None))


@cache
def all_reports(notebook: CourseNotebook) -> tuple[Report, list[tuple[WrongAnswer, Report]]]:
    """Grade the reference answers and all wrong answers of a notebook, those of all exercises at once: it saves time.

    A cluster takes seconds to start, so a few of them are used one run after the other. A student gets a fresh one.
    """
    answers = answers_of(notebook)
    free: SimpleQueue[Cluster | None] = SimpleQueue()

    def run(cells: Mapping[str, str], only: str) -> Report:
        cluster = free.get()
        try:
            return grade(graft(notebook, answers.reference | cells), only=only, cluster=cluster)
        finally:
            free.put(cluster)

    ways = CLUSTERS_AT_ONCE if notebook.namespace else RUNS_AT_ONCE
    with ThreadPoolExecutor(ways) as pool, ExitStack() as stack:
        for cluster in pool.map(lambda _: open_cluster_for(notebook, stack), range(ways)):
            free.put(cluster)
        reference = pool.submit(run, {}, "")
        reports = pool.map(lambda wrong: run(wrong.cells, wrong.exercise), answers.wrong)
        return reference.result(), list(zip(answers.wrong, reports, strict=True))


@pytest.mark.timeout(600)  # the first one waits for all answers of its notebook
@each_notebook
def test_the_reference_answers_earn_everything(notebook):
    report, _ = all_reports(notebook)
    assert (report.raised, report.ended) == ({}, "")
    assert [item.text for exercise in report.exercises for item in exercise.items if not item.ok] == []
    for exercise in report.exercises:
        assert exercise.points == exercise.possible == sum(item.points for item in exercise.items)


@pytest.mark.timeout(600)
@each_exercise
def test_every_wrong_answer_earns_what_it_must_and_fails_something(notebook, exercise):
    whole, reports = all_reports(notebook)
    wrong = [(answer, report) for answer, report in reports if answer.exercise == exercise]
    assert len(wrong) >= 3, "an exercise needs three wrong answers or more"
    assert {answer.name: report.points for answer, report in wrong} == {
        answer.name: answer.earns for answer, _ in wrong}
    for answer, report in wrong:
        assert report.ended == "", answer.name
        assert set(report.raised) <= set(answer.cells), answer.name
    (reference,) = [part for part in whole.exercises if part.exercise == exercise]
    failed = {item.text for _, report in wrong for item in report.exercises[0].items if not item.ok}
    assert {item.text for item in reference.items} - failed == set(), "no wrong answer fails these"
