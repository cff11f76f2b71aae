"""Exercises that check themselves.

A check looks at the live system and says what holds and what does not yet, with a hint, never the solution:

    with check("two-rooms", lab, answer) as c:
        c.needs("there is a namespace red", "red" in lab.namespaces(), hint="ip netns add NAME")
        c.holds("red has 10.0.0.1/24", ..., points=1)

It never raises. A teacher's grader runs the very same cell, from the course's own notebook and in a process of its
own, with a lab that the student's code could not have faked, and with `answer` as plain data.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from IPython.display import display

from labsupport.errors import LabError
from labsupport.sandbox import Lab

if TYPE_CHECKING:
    from labsupport.lesson.notebook_cluster import NotebookCluster

MAX_NESTING = 5
_KINDS = {
    int: ("a whole number", "3"), float: ("a number", "2.5"), str: ("a text", '"red"'), bool: ("True or False", "True"),
    list: ("a list", '["a", "b"]'), dict: ("a dictionary", '{"a": 1}'),
}


def count_points(number: int) -> str:
    """Return "1 point", "2 points" and so on."""
    return f"{number} {'point' if number == 1 else 'points'}"


@dataclass(frozen=True)
class Item:
    """One thing that a check looked at.

    Attributes:
        text: what should hold, as a sentence.
        ok: whether it does.
        points: what it earns; 0 for something the whole exercise needs.
        needed: without it the exercise earns nothing.
        hint: what to look at next; shown only if it does not hold.
    """

    text: str
    ok: bool
    points: int = 0
    needed: bool = False
    hint: str = ""

    @property
    def worth(self) -> str:
        """What it earns, as it is written behind the text; nothing if it earns nothing."""
        if self.needed and not self.ok:
            return " (without this, nothing counts)"
        return f" ({count_points(self.points)})" if self.points else ""

    @property
    def lines(self) -> list[str]:
        """The item as lines of text, with its hint if it does not hold."""
        lines = [f"  {'[x]' if self.ok else '[ ]'} {self.text}{self.worth}"]
        if not self.ok and self.hint:
            lines.append(f"      hint: {self.hint}")
        return lines


class NotData(ValueError):
    """An answer is something else than numbers, texts, and lists, sets and dictionaries of these."""


def as_data(value: object, depth: int = 0) -> Any:
    """Return an answer as plain data: tuples and sets become lists (sets sorted), keys become texts.

    Raises:
        NotData: it is something else, or nested too deeply.
    """
    if value is None or value is ... or isinstance(value, bool | int | float | str):
        return value
    if depth >= MAX_NESTING:
        raise NotData(f"more than {MAX_NESTING} lists inside each other")
    if isinstance(value, set | frozenset):
        return sorted((as_data(item, depth + 1) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [as_data(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {str(key): as_data(item, depth + 1) for key, item in value.items()}
    raise NotData(f"a {type(value).__name__}")


class Check:
    """What a check found; used as a context manager in a check cell.

    Args:
        exercise: the exercise's id, the one in the cell's metadata.
        lab: the lab or the cluster to look at.
        answer: the student's value, for exercises that ask for one.
        needs: "nodes" if it cannot work without the nodes of the cluster. With one that does not offer them it is
            skipped: nothing that it looks at counts, and it carries no points.

    Attributes:
        answer: the value as plain data; `...` while there is none.
        items: what was looked at so far.
        skipped: whether it is skipped.
    """

    def __init__(self, exercise: str, lab: Lab | NotebookCluster, answer: object = None, *, needs: str = "") -> None:
        self.exercise = exercise
        self.lab = lab
        self.items: list[Item] = []
        self.skipped = bool(needs) and not isinstance(lab, Lab) and not lab.offers(needs)
        self.answer: Any = ...
        try:
            self.answer = as_data(answer)
        except NotData as problem:
            self.needs(f"the answer is a number, a text, or a list of these, not {problem}", ok=False)

    def needs(self, text: str, ok: object, *, hint: str = "") -> bool:
        """Note something without which the exercise earns nothing; return whether it holds."""
        return self._note(Item(text, bool(ok), needed=True, hint=hint))

    def holds(self, text: str, ok: object, *, points: int = 1, hint: str = "") -> bool:
        """Note something that earns points; return whether it holds."""
        return self._note(Item(text, bool(ok), points=points, hint=hint))

    def _note(self, item: Item) -> bool:
        if self.skipped:
            return False
        self.items.append(item)
        return item.ok

    def needs_answer(self, *kinds: type) -> bool:
        """Note whether there is an answer of one of these types yet (bool is not taken for int)."""
        if self.answer is ...:
            hint = "write it behind `answer =`, run that cell, then this one"
            return self.needs("there is an answer", ok=False, hint=hint)
        names = " or ".join(_KINDS[kind][0] for kind in kinds)
        examples = " or ".join(f"answer = {_KINDS[kind][1]}" for kind in kinds)
        return self.needs(f"the answer is {names}", type(self.answer) in kinds, hint=f"write it like this: {examples}")

    @property
    def possible(self) -> int:
        """The points of the items that were looked at."""
        return sum(item.points for item in self.items)

    @property
    def earned(self) -> int:
        """The points of those that hold, or 0 if something needed is missing."""
        if any(item.needed and not item.ok for item in self.items):
            return 0
        return sum(item.points for item in self.items if item.ok)

    @property
    def passed(self) -> bool:
        """Whether everything holds."""
        return bool(self.items) and all(item.ok for item in self.items)

    def __enter__(self) -> Check:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> bool:
        """Take a failed look as a result: what could not be seen does not hold."""
        if isinstance(error, LabError):
            self.needs(f"the check had to stop: {error.what}", ok=False, hint=error.next_step)
        elif isinstance(error, Exception):
            self.needs(f"the check had to stop: {type(error).__name__}: {error}", ok=False,
                       hint="the state is one that the check did not expect; compare it with the task")
        self.finish()
        return error is None or isinstance(error, Exception)

    def finish(self) -> None:
        """Called once, when everything was looked at; a grader keeps the result here."""

    def _verdict(self) -> str:
        if self.skipped:
            return f"skipped, 0 of 0 points: it needs the nodes, to which this cluster ({self.lab}) gives no access"
        if self.passed:
            return f"done, {count_points(self.earned)}"
        return f"not yet, {count_points(self.earned)} so far"

    def __repr__(self) -> str:
        return "\n".join([f"{self.exercise}: {self._verdict()}", *(line for item in self.items for line in item.lines)])

    def _repr_html_(self) -> str:
        rows = []
        for item in self.items:
            sign, word = ("✓", "holds") if item.ok else ("✗", "not yet")
            hint = f"<br><em>Hint: {html.escape(item.hint)}</em>" if item.hint and not item.ok else ""
            text = html.escape(item.text)
            rows.append(f'<li><span aria-hidden="true">{sign}</span> <b>{word}:</b> {text}{item.worth}{hint}</li>')
        sign = "○" if self.skipped else "✓" if self.passed else "✗"
        head = f"{sign} {html.escape(self.exercise)}: {html.escape(self._verdict())}"
        border = "var(--jp-success-color1, #2e7d32)" if self.passed else "var(--jp-warn-color1, #b26a00)"
        return (f'<div style="border-left:4px solid {border};padding:0.2em 0.8em"><b>{head}</b>'
                f'<ul style="list-style:none;padding-left:0;margin:0.3em 0">{"".join(rows)}</ul></div>')


class _ShownCheck(Check):
    def finish(self) -> None:
        display(self)  # type: ignore[no-untyped-call]


def check(exercise: str, lab: Lab | NotebookCluster, answer: object = None, *, needs: str = "") -> Check:
    """Return a check that shows its result under the cell. See `Check`."""
    return _ShownCheck(exercise, lab, answer, needs=needs)
