"""What the course promises about its exercises, proved for every one that exists.

The reference answers earn everything, the notebook as shipped nothing; every wrong answer earns exactly what it must;
nothing is checked that no wrong answer fails.

A run grades one wrong answer of each exercise, as a student may have several; that saves most of the time. A wrong
answer that earns something else in such company is graded once more, with the reference answers around it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest

import pytest
from course_notebooks import NOTEBOOKS, answers_of, each_notebook
from grading_clusters import COUNT, GradingClusters

from labsupport.grading.answers import WrongAnswer
from labsupport.grading.course import CourseNotebook
from labsupport.grading.grade import grade
from labsupport.grading.graft import graft
from labsupport.grading.report import ExerciseReport, Report

RUNS_AT_ONCE = 8  # most of a run is waiting for pings and servers
EXERCISES = [(notebook, exercise) for notebook in NOTEBOOKS for exercise in notebook.checks]

each_exercise = pytest.mark.parametrize(("notebook", "exercise"), EXERCISES,
                                        ids=[f"{notebook.path.stem}-{name}" for notebook, name in EXERCISES])


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


@dataclass(frozen=True)
class Reports:
    """What came of a notebook."""

    shipped: Report
    reference: Report
    wrong: list[Graded]


def grade_all(notebook: CourseNotebook, clusters: GradingClusters) -> Reports:
    """Grade a notebook as shipped, with the reference answers, and with its wrong answers, those of all exercises at
    once."""
    answers = answers_of(notebook)
    free = clusters.free_for(notebook) if notebook.namespace else None

    def run(cells: dict[str, str], only: str = "") -> Report:
        grafted = graft(notebook, cells)
        if free is None:
            return grade(grafted, only=only)
        cluster = free.get()
        try:
            return grade(grafted, only=only, cluster=cluster)
        finally:
            free.put(cluster)

    def run_together(group: list[WrongAnswer]) -> list[Graded]:
        wrong = {cell: source for answer in group for cell, source in answer.cells.items()}
        report = run(answers.reference | wrong)
        together = [Graded.of(answer, report, {cell for other in group if other is not answer for cell in other.cells})
                    for answer in group]
        return [graded if graded.is_as_it_must_be else
                Graded.of(graded.answer, run(answers.reference | graded.answer.cells, graded.answer.exercise))
                for graded in together]

    with ThreadPoolExecutor(COUNT if notebook.namespace else RUNS_AT_ONCE) as pool:
        shipped, reference = pool.submit(run, {}), pool.submit(run, dict(answers.reference))
        wrong = pool.map(run_together, rounds(answers.wrong))
        return Reports(shipped.result(), reference.result(), [graded for group in wrong for graded in group])


@pytest.fixture(scope="module")
def reports_of(lasting_clusters: set[int]) -> Iterator[Callable[[CourseNotebook], Reports]]:
    clusters = GradingClusters(lasting_clusters)
    yield cache(lambda notebook: grade_all(notebook, clusters))
    clusters.close()


@pytest.mark.timeout(600)  # the first one waits for all answers of its notebook
@each_notebook
def test_the_reference_answers_earn_everything(notebook, reports_of):
    report = reports_of(notebook).reference
    assert (report.raised, report.ended) == ({}, "")
    assert [item.text for exercise in report.exercises for item in exercise.items if not item.ok] == []
    for exercise in report.exercises:
        assert exercise.points == exercise.possible == sum(item.points for item in exercise.items)


@pytest.mark.timeout(600)
@each_notebook
def test_as_shipped_it_earns_nothing(notebook, reports_of):
    report = reports_of(notebook).shipped
    assert (report.raised, report.ended) == ({}, "")
    assert {exercise.exercise: exercise.points for exercise in report.exercises} == dict.fromkeys(notebook.checks, 0)


@pytest.mark.timeout(600)
@each_exercise
def test_every_wrong_answer_earns_what_it_must_and_fails_something(notebook, exercise, reports_of):
    reports = reports_of(notebook)
    wrong = [graded for graded in reports.wrong if graded.answer.exercise == exercise]
    assert len(wrong) >= 3, "an exercise needs three wrong answers or more"
    assert {graded.answer.name: graded.found.points for graded in wrong} == {
        graded.answer.name: graded.answer.earns for graded in wrong}
    for graded in wrong:
        assert graded.ended == "", graded.answer.name
        assert set(graded.raised) <= set(graded.answer.cells), graded.answer.name
    (reference,) = [part for part in reports.reference.exercises if part.exercise == exercise]
    failed = {item.text for graded in wrong for item in graded.found.items if not item.ok}
    assert {item.text for item in reference.items} - failed == set(), "no wrong answer fails these"
