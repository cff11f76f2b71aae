"""What the course promises about its exercises, proved for every one that exists.

The reference answers earn everything; every wrong answer earns exactly what it must; nothing is checked that no wrong
answer fails.

A run grades one wrong answer of each exercise, as a student may have several; that saves most of the time. A wrong
answer that earns something else in such company is graded once more, with the reference answers around it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
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
from labsupport.grading.report import ExerciseReport, Report

RUNS_AT_ONCE = 8  # most of a run is waiting for pings and servers
CLUSTERS_AT_ONCE = 2
EXERCISES = [(notebook, exercise) for notebook in NOTEBOOKS for exercise in notebook.checks]

each_exercise = pytest.mark.parametrize(("notebook", "exercise"), EXERCISES,
                                        ids=[f"{notebook.path.stem}-{name}" for notebook, name in EXERCISES])


def open_cluster_for(notebook: CourseNotebook, stack: ExitStack) -> Cluster | None:
    if not notebook.namespace:
        return None
    shared_cluster.need_programs()
    return stack.enter_context(cluster_for_grading(lambda _step: None, notebook.addons))


@dataclass(frozen=True)
class Graded:
    """What came of a wrong answer; `raised` are the cells of its own that did."""

    answer: WrongAnswer
    found: ExerciseReport
    raised: dict[str, str]
    ended: str

    @classmethod
    def of(cls, answer: WrongAnswer, report: Report, others: Collection[str] = ()) -> Graded:
        (found,) = [exercise for exercise in report.exercises if exercise.exercise == answer.exercise]
        raised = {cell: error for cell, error in report.raised.items() if cell not in others}
        return cls(answer, found, raised, report.ended)

    @property
    def is_as_it_must_be(self) -> bool:
        return self.found.points == self.answer.earns and not self.ended and set(self.raised) <= set(self.answer.cells)


def rounds(wrong: Sequence[WrongAnswer]) -> list[list[WrongAnswer]]:
    """Return the wrong answers in groups that have one or none of each exercise."""
    by_exercise = defaultdict(list)
    for answer in wrong:
        by_exercise[answer.exercise].append(answer)
    return [[answer for answer in group if answer] for group in zip_longest(*by_exercise.values())]


@cache
def all_reports(notebook: CourseNotebook) -> tuple[Report, list[Graded]]:
    """Grade the reference answers and all wrong answers of a notebook, those of all exercises at once.

    A cluster takes seconds to start, so a few of them are used one run after the other. A student gets a fresh one.
    """
    answers = answers_of(notebook)
    free: SimpleQueue[Cluster | None] = SimpleQueue()

    def run(cells: Mapping[str, str], only: str = "") -> Report:
        cluster = free.get()
        try:
            return grade(graft(notebook, answers.reference | cells), only=only, cluster=cluster)
        finally:
            free.put(cluster)

    def run_together(group: list[WrongAnswer]) -> list[Graded]:
        report = run({cell: source for answer in group for cell, source in answer.cells.items()})
        together = [Graded.of(answer, report, {cell for other in group if other is not answer for cell in other.cells})
                    for answer in group]
        return [graded if graded.is_as_it_must_be else
                Graded.of(graded.answer, run(graded.answer.cells, graded.answer.exercise)) for graded in together]

    ways = CLUSTERS_AT_ONCE if notebook.namespace else RUNS_AT_ONCE
    with ThreadPoolExecutor(ways) as pool, ExitStack() as stack:
        for cluster in pool.map(lambda _: open_cluster_for(notebook, stack), range(ways)):
            free.put(cluster)
        reference = pool.submit(run, {})
        reports = pool.map(run_together, rounds(answers.wrong))
        return reference.result(), [graded for group in reports for graded in group]


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
    wrong = [graded for graded in reports if graded.answer.exercise == exercise]
    assert len(wrong) >= 3, "an exercise needs three wrong answers or more"
    assert {graded.answer.name: graded.found.points for graded in wrong} == {
        graded.answer.name: graded.answer.earns for graded in wrong}
    for graded in wrong:
        assert graded.ended == "", graded.answer.name
        assert set(graded.raised) <= set(graded.answer.cells), graded.answer.name
    (reference,) = [part for part in whole.exercises if part.exercise == exercise]
    failed = {item.text for graded in wrong for item in graded.found.items if not item.ok}
    assert {item.text for item in reference.items} - failed == set(), "no wrong answer fails these"
