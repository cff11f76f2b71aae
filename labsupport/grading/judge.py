"""Runs a check of the course in the grader's own process, on the grader's own handle, with the answer as plain data."""

from __future__ import annotations

import symtable
from dataclasses import dataclass

from labsupport.errors import GradingError
from labsupport.grading.course import Cell
from labsupport.lesson import Check, Item
from labsupport.lesson.notebook_cluster import NotebookCluster
from labsupport.sandbox import Lab


@dataclass(frozen=True)
class Judgement:
    """What a check found, and what that earns."""

    items: tuple[Item, ...]
    points: int


def judge(cell: Cell, lab: Lab, answer: object, cluster: NotebookCluster | None = None) -> Judgement:
    """Run a check cell.

    Args:
        cell: the course's.
        lab: what its `lab` is; with a cluster, the cluster's.
        answer: what its `answer` is.
        cluster: what its `cluster` is, if the notebook has one.

    Raises:
        GradingError: the cell does not do what a check does; a fault of the course.
    """
    found: list[Check] = []

    class Collected(Check):
        def finish(self) -> None:
            found.append(self)

    names = {"__name__": "check", "check": Collected, "lab": lab, "answer": answer, "cluster": cluster}
    code = compile(cell.source, f"<check of {cell.exercise}>", "exec")
    try:
        exec(code, names)  # noqa: S102
    except Exception as error:  # as in Check.__exit__: what could not be seen does not hold
        text = f"the check had to stop: {type(error).__name__}: {error}"
        return Judgement((Item(text, ok=False, needed=True),), 0)
    if [check.exercise for check in found] != [cell.exercise]:
        raise GradingError("a check cell does not check its exercise", where=f"the cell {cell.id}",
                           expected=f"one `with check({cell.exercise!r}, lab, ...) as c:`",
                           observed=f"checks of {[check.exercise for check in found]}",
                           next_step="this is a fault of the course, not of the student: correct the notebook")
    return Judgement(tuple(found[0].items), min(found[0].earned, cell.points))


def uses_answer(cell: Cell) -> bool:
    """Whether a check looks at `answer` at all; many look at the lab only.

    symtable and not ast tells that: graders run in threads, and ast.parse of Python 3.11 fails now and then when two
    threads call it at once (SystemError: AST constructor recursion depth mismatch).
    """
    return _mentions(symtable.symtable(cell.source, cell.id, "exec"), "answer")


def _mentions(scope: symtable.SymbolTable, name: str) -> bool:
    return name in scope.get_identifiers() or any(_mentions(inner, name) for inner in scope.get_children())
