"""Reference answers and wrong answers of one notebook: tests/answers/NN.toml.

    [reference]
    two-rooms-answer = "..."        # by the id of the answer cell

    [[wrong]]
    name = "swaps the two addresses"
    exercise = "two-rooms"
    earns = 1                       # exactly so many points of this exercise
    cells.two-rooms-answer = "..."  # cells of this exercise or an earlier one; all others are the reference's
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsupport.errors import GradingError
from labsupport.grading.course import CourseNotebook


@dataclass(frozen=True)
class WrongAnswer:
    """A mistake of the kind that students make, and what it must earn."""

    name: str
    exercise: str
    earns: int
    cells: dict[str, str]


@dataclass(frozen=True)
class AnswerFile:
    """The answers to one notebook."""

    path: Path
    reference: dict[str, str]
    wrong: tuple[WrongAnswer, ...]


def load_answers(path: Path, notebook: CourseNotebook) -> AnswerFile:
    """Read an answer file and compare it with its notebook.

    Raises:
        GradingError: it cannot be read or does not fit; the message names all faults at once.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GradingError("the answer file cannot be read", where=str(path), expected="a TOML file",
                           observed=str(error), next_step="see labsupport/grading/answers.py for its form") from None
    faults = _faults(content, notebook)
    if faults:
        raise GradingError("the answer file does not fit its notebook", where=str(path), observed="\n".join(faults),
                           expected=f"answers to {notebook.path.name}", next_step="correct the answer file")
    wrong = tuple(WrongAnswer(**entry) for entry in content.get("wrong", []))
    return AnswerFile(path, content["reference"], wrong)


def _faults(content: dict[str, Any], notebook: CourseNotebook) -> list[str]:
    faults = [f"there is no [{key}]" for key in content if key not in {"reference", "wrong"}]
    reference = content.get("reference", {})
    faults += [f"[reference] has no {name}" for name in notebook.answers if name not in reference]
    faults += [f"[reference] {name}: the notebook has no such answer cell"
               for name in reference if name not in notebook.answers]
    for entry in content.get("wrong", []):
        name = entry.get("name", "without a name")
        if set(entry) != {"name", "exercise", "earns", "cells"} or not entry["cells"]:
            faults.append(f"[[wrong]] {name}: it needs name, exercise, earns and cells, and nothing else")
        elif entry["exercise"] not in notebook.checks:
            faults.append(f"[[wrong]] {name}: the notebook has no exercise {entry['exercise']!r}")
        else:
            before = {cell.id for cell in notebook.cells_to_grade(entry["exercise"]) if cell.role == "answer"}
            faults += [f"[[wrong]] {name}: {cell} is no answer cell before the check of {entry['exercise']}"
                       for cell in entry["cells"] if cell not in before]
    return faults


def answer_file(folder: Path, notebook: Path) -> Path:
    """Return where the answers of a notebook lie: NN.toml for NN-title.ipynb."""
    return folder / (notebook.name.split("-")[0] + ".toml")
