"""A score, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from labsupport.lesson import Item, count_points

MAX_LINE_CHARACTERS = 300


def printable(text: str) -> str:
    """Return text that a terminal shows and does nothing else with, on one line: it may be a student's."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean if len(clean) <= MAX_LINE_CHARACTERS else clean[:MAX_LINE_CHARACTERS] + "..."


@dataclass
class ExerciseReport:
    """What one exercise earned, and why.

    Attributes:
        exercise: its id.
        points, possible: earned, and what it is worth.
        items: what the check looked at; empty if the run never came to it.
        remarks: what else is worth knowing, such as an answer cell that raised.
    """

    exercise: str
    possible: int
    points: int = 0
    items: tuple[Item, ...] = ()
    remarks: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """The report as lines of text."""
        lines = [f"{self.exercise}: {self.points} of {count_points(self.possible)}"]
        lines += [line for item in self.items for line in item.lines]
        lines += [f"  note: {remark}" for remark in self.remarks]
        return [printable(line) for line in lines]


@dataclass
class Report:
    """The score of one notebook.

    Attributes:
        notebook: the course's notebook.
        exercises: one report each, in order.
        ended: why the run ended before the notebook did, or "".
        raised: what cells raised that must not raise, by cell id.
    """

    notebook: str
    exercises: list[ExerciseReport]
    ended: str = ""
    raised: dict[str, str] = field(default_factory=dict)

    @property
    def points(self) -> int:
        """What was earned."""
        return sum(exercise.points for exercise in self.exercises)

    @property
    def possible(self) -> int:
        """What could be earned."""
        return sum(exercise.possible for exercise in self.exercises)

    @property
    def text(self) -> str:
        """The report for people."""
        lines = [f"{self.notebook}"]
        for exercise in self.exercises:
            lines += ["", *exercise.lines]
        lines.append("")
        if self.ended:
            lines.append(printable(f"The run ended early: {self.ended}"))
        lines.append(f"Total: {self.points} of {count_points(self.possible)}")
        return "\n".join(lines)

    def as_data(self) -> dict[str, Any]:
        """The report for programs."""
        return {"notebook": self.notebook, "points": self.points, "possible": self.possible, "ended": self.ended,
                "raised": self.raised, "exercises": [asdict(exercise) for exercise in self.exercises]}
