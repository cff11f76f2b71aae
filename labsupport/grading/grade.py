"""Grades one notebook: runs its cells in a jail, and the course's checks outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from labsupport.cluster import Cluster
from labsupport.errors import GradingError
from labsupport.grading.course import Cell, CourseNotebook
from labsupport.grading.graded_cluster import cluster_for_grading
from labsupport.grading.jail import PATIENCE_S, Jail
from labsupport.grading.judge import judge, uses_answer
from labsupport.grading.report import ExerciseReport, Report
from labsupport.lesson.notebook_cluster import NotebookCluster
from labsupport.lesson.opening import use_cluster

CELL_LIMIT_S = 60.0
TOTAL_LIMIT_S = 900.0

Progress = Callable[[int, int, str], None]
"""Called with the cell's number, how many there are, and its id."""
Say = Callable[[str], None]


def _say_nothing(_line: str) -> None:
    return


def grade(notebook: CourseNotebook, *, remarks: Mapping[str, list[str]] | None = None, only: str = "",
          cell_limit_s: float = CELL_LIMIT_S, total_limit_s: float = TOTAL_LIMIT_S,
          patience_s: float = PATIENCE_S, progress: Progress | None = None, say: Say = _say_nothing,
          cluster: Cluster | None = None) -> Report:
    """Run a notebook of the course, with a student's answers in it, and score its exercises.

    Only the cells with a role run: setup, answers and checks, not the lesson.

    A cell that raises costs only what depends on it. A kernel that ends, ends the run; what was earned by then counts.

    Args:
        notebook: see `graft`.
        remarks: what to add to the report of an exercise, by its id.
        only: score this exercise alone, and stop behind its check.
        cell_limit_s: after so many seconds a cell is interrupted.
        total_limit_s: after so many seconds of cells no further one is run.
        patience_s: see `Jail`.
        progress: is told of each cell before it runs.
        say: is told of the steps before that, if a cluster has to be started.
        cluster: a running one to grade on, instead of a new one. Only for answers that can be trusted to leave
            nothing but what the notebook's setup removes: the course's own.

    Raises:
        GradingError: it cannot be graded: the kernel does not start, or the course's notebook is at fault.
        ClusterError: it needs a cluster, and none can be started.
        LabUnavailable: this machine cannot run labs.
    """
    cells = notebook.cells_to_grade(only)
    with ExitStack() as stack:
        jail, view = _open(notebook, cluster, stack, patience_s, say)
        run = _Run(notebook, remarks or {}, only, view)
        end = time.monotonic() + total_limit_s
        for number, cell in enumerate(cells, 1):
            if run.report.ended:
                break
            if progress is not None:
                progress(number, len(cells), cell.id)
            if cell.role == "check":
                run.check(cell, jail)
            elif time.monotonic() >= end:
                run.report.ended = f"at the cell {cell.id}, after the time limit of {total_limit_s:g} s"
            else:
                run.cell(cell, jail, min(cell_limit_s, end - time.monotonic()))
    return run.report


def _open(notebook: CourseNotebook, cluster: Cluster | None, stack: ExitStack, patience_s: float,
          say: Say) -> tuple[Jail, NotebookCluster | None]:
    """Start what a notebook is graded in."""
    if not notebook.namespace:
        return stack.enter_context(Jail(patience_s)), None
    used = cluster or stack.enter_context(cluster_for_grading(say, notebook.addons))
    view = use_cluster(used, notebook.namespace)
    pool = stack.enter_context(ThreadPoolExecutor(1))
    # The setup cell would do it as well; meanwhile the kernel starts.
    tidied = pool.submit(view.make_fresh, say)
    jail = stack.enter_context(Jail(patience_s, used))
    tidied.result()
    return jail, view


class _Run:
    """The report as it grows."""

    def __init__(self, notebook: CourseNotebook, remarks: Mapping[str, list[str]], only: str,
                 cluster: NotebookCluster | None) -> None:
        self.cluster = cluster
        wanted = [check for check in notebook.checks.values() if only in {"", check.exercise}]
        self.exercises = {check.exercise: ExerciseReport(check.exercise, check.points,
                                                         remarks=list(remarks.get(check.exercise, ())))
                          for check in wanted}
        self.report = Report(notebook.path.name, list(self.exercises.values()))

    def cell(self, cell: Cell, jail: Jail, limit_s: float) -> None:
        """Run a cell in the jail, and note it if that goes wrong."""
        try:
            error = jail.run(cell.source, limit_s).error
        except GradingError as lost:
            self.report.ended = f"at the cell {cell.id}, {lost.what}: {lost.observed}"
            return
        if error and not cell.may_raise:
            self.report.raised[cell.id] = error
            if cell.role == "answer" and cell.exercise in self.exercises:
                self.exercises[cell.exercise].remarks.append(f"the answer cell {cell.id!r} stopped: {error}")

    def check(self, cell: Cell, jail: Jail) -> None:
        """Fetch the answer, run the check, keep what it found."""
        try:
            answer = jail.answer() if uses_answer(cell) else ...
        except GradingError as lost:
            self.report.ended = f"at the cell {cell.id}, {lost.what}: {lost.observed}"
            return
        judgement = judge(cell, jail.graded, answer, self.cluster)
        self.exercises[cell.exercise].items = judgement.items
        self.exercises[cell.exercise].points = judgement.points
