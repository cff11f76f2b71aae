"""The course's own notebooks: where the checks and the points come from, whatever a student's file says.

A notebook file is read as plain JSON: nbformat takes a second to import, and a grader has to cope with broken files
anyway.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import labsupport
from labsupport.errors import GradingError

MAX_FILE_BYTES = 10 << 20
_NUMBER = re.compile(r"\d\d(?=-)")
_OPENS_CLUSTER = re.compile(r"""\bopen_cluster\(["']([a-z0-9-]+)["'](?:, own=True)?\)""")
_ENABLES = re.compile(r"""\bcluster\.enable\(["']([^"']+)["']\)""")


@dataclass(frozen=True)
class Cell:
    """One code cell of a course notebook.

    Attributes:
        id: the cell's id, by which an answer finds its place.
        source: what it runs.
        role: "setup" (the first cell, and what prepares an exercise), "answer", "check"; or "" for the lesson itself.
        exercise: which exercise it belongs to, for an answer or a check.
        points: what the exercise is worth; only a check has them.
        may_raise: whether it is tagged `raises-exception`.
    """

    id: str
    source: str
    role: str = ""
    exercise: str = ""
    points: int = 0
    may_raise: bool = False


@dataclass(frozen=True)
class CourseNotebook:
    """The code cells of one notebook, in order."""

    path: Path
    cells: tuple[Cell, ...]

    @cached_property
    def checks(self) -> dict[str, Cell]:
        """The check cell of every exercise, in order."""
        return {cell.exercise: cell for cell in self.cells if cell.role == "check"}

    @cached_property
    def answers(self) -> dict[str, Cell]:
        """The answer cells by id, in order."""
        return {cell.id: cell for cell in self.cells if cell.role == "answer"}

    @cached_property
    def namespace(self) -> str:
        """The Kubernetes namespace that its setup asks for; "" if the notebook has a lab and no cluster."""
        found = _OPENS_CLUSTER.search(self.cells[0].source) if self.cells else None
        return found[1] if found else ""

    @cached_property
    def addons(self) -> tuple[str, ...]:
        """The add-ons that its setup cells enable, for a grader to enable before: student code could not."""
        return tuple(word for cell in self.cells if cell.role == "setup" for word in _ENABLES.findall(cell.source))

    @property
    def possible(self) -> int:
        """What all exercises are worth."""
        return sum(cell.points for cell in self.checks.values())

    def cells_to_grade(self, only: str = "") -> list[Cell]:
        """The cells that a score depends on, in order; the lesson itself earns nothing, so nobody waits for it.

        Args:
            only: an exercise: the cells up to its check, without the checks of others.
        """
        cells = [cell for cell in self.cells if cell.role]
        if not only:
            return cells
        cells = [cell for cell in cells if cell.role != "check" or cell.exercise == only]
        return cells[: cells.index(self.checks[only]) + 1]


def read_cells(path: Path) -> list[dict[str, Any]]:
    """Return the cells of a notebook file as they stand there, with every source as one text.

    Raises:
        GradingError: it is no notebook, or one that cannot be graded.
    """
    def broken(what: str, observed: str, next_step: str) -> GradingError:
        return GradingError(what, where=str(path), expected="a Jupyter notebook of format 4 (.ipynb)",
                            observed=observed, next_step=next_step)

    again = "open it in JupyterLab, save it and try again; if that fails, begin with a fresh copy of the notebook"
    if not path.is_file():
        raise broken("there is no such file", "nothing, or something else than a file", "check the path")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise broken("the notebook cannot be read", error.strerror or str(error), "check the path") from None
    if len(data) > MAX_FILE_BYTES:
        raise broken("the notebook is too large", f"more than {MAX_FILE_BYTES >> 20} MiB",
                     "clear its outputs in JupyterLab (Edit, Clear Outputs of All Cells) and save it")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise broken("the file is not JSON", str(error), again) from None
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list) or content.get("nbformat") != 4:
        raise broken("the file is no notebook", "JSON without `cells` of `nbformat` 4", again)
    return [cell | {"source": _source(cell)} for cell in cells if isinstance(cell, dict)]


def _source(cell: dict[str, Any]) -> str | None:
    """Return a cell's source, which the format allows to be a text or a list of lines."""
    source = cell.get("source")
    if isinstance(source, str):
        return source
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    return None


def load_course_notebook(path: Path) -> CourseNotebook:
    """Read a notebook of the course and make sure that it can be graded.

    Raises:
        GradingError: it cannot; the message names all faults at once.
    """
    raw = read_cells(path)
    cells = tuple(_cell(cell) for cell in raw if cell.get("cell_type") == "code")
    faults = _faults([str(cell.get("id", "")) for cell in raw], cells)
    if faults:
        raise GradingError("the course's notebook cannot be graded", where=str(path), observed="\n".join(faults),
                           expected="unique cell ids; first a code cell with the role `setup`; per exercise some "
                                    "answer cells, then one check with points",
                           next_step="this is a fault of the course, not of the student: correct the notebook")
    return CourseNotebook(path, cells)


def _cell(raw: dict[str, Any]) -> Cell:
    metadata = raw.get("metadata") or {}
    lab = metadata.get("lab") or {}
    return Cell(str(raw.get("id", "")), raw["source"] or "", lab.get("role", ""), lab.get("exercise", ""),
                lab.get("points", 0), "raises-exception" in metadata.get("tags", ()))


def _faults(ids: list[str], cells: Sequence[Cell]) -> list[str]:
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    faults = [f"the cell id {name!r} is there {ids.count(name)} times" for name in repeated]
    if not cells or cells[0].role != "setup":
        faults.append(f"{cells[0].id if cells else 'no code cell'}: the first code cell needs the role 'setup'")
    faults += [f"{cell.id}: the first code cell, and no other, opens the cluster: open_cluster(\"NAME\")"
               for number, cell in enumerate(cells)
               if "open_cluster(" in cell.source and (number or not _OPENS_CLUSTER.search(cell.source))]
    faults += [f"{cell.id}: a cell that enables an add-on needs the role 'setup': graders enable it in advance"
               for cell in cells if _ENABLES.search(cell.source) and cell.role != "setup"]
    answered: set[str] = set()
    checked: set[str] = set()
    for cell in cells:
        if cell.role == "answer":
            answered.add(cell.exercise)
            if cell.exercise in checked:
                faults.append(f"{cell.id}: an answer cell after the check of {cell.exercise!r}")
        elif cell.role == "check":
            faults += [f"{cell.id}: {fault}" for fault in _faults_of_check(cell, answered, checked)]
            checked.add(cell.exercise)
        elif cell.role not in {"", "setup"}:
            faults.append(f"{cell.id}: there is no role {cell.role!r}")
    return faults + [f"the exercise {name!r} has answer cells and no check" for name in sorted(answered - checked)]


def _faults_of_check(cell: Cell, answered: set[str], checked: set[str]) -> list[str]:
    faults = []
    if cell.exercise not in answered:
        faults.append(f"no answer cell before the check of {cell.exercise!r}")
    if cell.exercise in checked:
        faults.append(f"a second check of {cell.exercise!r}")
    if type(cell.points) is not int or cell.points < 1:
        faults.append("a check needs `points`, a whole number above 0")
    try:
        ast.parse(cell.source)
    except SyntaxError as error:
        faults.append(f"a check is plain Python, without magics: line {error.lineno}: {error.msg}")
    return faults


def default_course() -> Path:
    """Return the folder of the course's notebooks: beside the package, as in the repository, or ./notebooks.

    Raises:
        GradingError: there is none.
    """
    beside = Path(labsupport.__file__).parent.parent / "notebooks"
    for folder in (beside, Path("notebooks")):
        if folder.is_dir():
            return folder
    raise GradingError("the course's notebooks are not there", where=f"{beside} and {Path('notebooks').absolute()}",
                       expected="a folder with the course's own notebooks",
                       next_step="say where it is: labsupport check NOTEBOOK --course FOLDER")


def find_course_notebook(student: Path, course: Path) -> CourseNotebook:
    """Return the course's notebook that a student's file was made from: the one of the same number, if it has cells
    of it, otherwise the one with the most cells in common.

    Raises:
        GradingError: the file has nothing to do with any of them, or one of the two cannot be read.
    """
    ids = {str(cell.get("id", "")) for cell in read_cells(student)}
    number = _NUMBER.match(student.name)
    shared: dict[Path, tuple[int, bool]] = {}
    for path in sorted(course.glob("*.ipynb")):
        common = len(ids & {cell.get("id") for cell in read_cells(path)} - {None, ""})
        if common:
            same = number is not None and path.name.startswith(number.group() + "-")
            shared[path] = common, same
    if not shared:
        raise GradingError(
            "this is no notebook of the course", where=str(student), expected=f"cells of a notebook in {course}",
            observed=f"none of its {len(ids)} cells",
            next_step="check the file and the course folder (--course); a copy made cell by cell loses its cell ids",
        )
    return load_course_notebook(max(shared, key=lambda path: (shared[path][1], shared[path][0])))
