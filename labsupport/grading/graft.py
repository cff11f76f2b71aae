"""Takes the answers out of a student's file and puts them into the course's own notebook.

Nothing else of the file counts: its checks, points, metadata, outputs and other cells may say what they like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from labsupport.grading.course import CourseNotebook, read_cells

MAX_SOURCE_CHARACTERS = 10_000


@dataclass
class Answers:
    """What a student's file answers.

    Attributes:
        sources: the source of each answer cell that was found, by cell id.
        remarks: what is odd about the others, by exercise.
    """

    sources: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)


def read_answers(student: Path, course: CourseNotebook) -> Answers:
    """Collect the answer cells of a student's file by their ids.

    Raises:
        GradingError: the file cannot be read.
    """
    cells = read_cells(student)
    found = Answers()
    for cell in course.answers.values():
        same = [raw for raw in cells if raw.get("id") == cell.id]
        source = same[0]["source"] if same else None
        if not same:
            problem = "is missing in this file; it counts as not answered"
        elif same[0].get("cell_type") != "code":
            problem = f"is no code cell any more but {same[0].get('cell_type')!r}; it counts as not answered"
        elif source is None:
            problem = "has no source; it counts as not answered"
        elif len(source) > MAX_SOURCE_CHARACTERS:
            problem = f"has more than {MAX_SOURCE_CHARACTERS:,} characters; it counts as not answered"
        else:
            problem = f"is there {len(same)} times; the first one counts" if len(same) > 1 else ""
            found.sources[cell.id] = source
        if problem:
            found.remarks.setdefault(cell.exercise, []).append(f"the answer cell {cell.id!r} {problem}")
    return found


def graft(course: CourseNotebook, sources: Mapping[str, str]) -> CourseNotebook:
    """Return the notebook with these sources in its answer cells; other ids have no effect."""
    cells = (replace(cell, source=sources.get(cell.id, cell.source)) if cell.role == "answer" else cell
             for cell in course.cells)
    return CourseNotebook(course.path, tuple(cells))
