"""What the course promises about its notebooks, proved for every one that exists.

As shipped it runs clean and earns nothing; the reference answers earn everything; every wrong answer earns exactly what
it must; nothing is checked that no wrong answer fails.
"""

from __future__ import annotations

import ast
import json
import re
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from labsupport.grading.answers import AnswerFile, answer_file, load_answers
from labsupport.grading.course import CourseNotebook, load_course_notebook
from labsupport.grading.grade import grade
from labsupport.grading.graft import graft

TESTS = Path(__file__).parent.parent
FOLDER = TESTS.parent / "notebooks"
NOTEBOOKS = [load_course_notebook(path) for path in sorted(FOLDER.glob("*.ipynb"))]
EXERCISES = [(notebook, exercise) for notebook in NOTEBOOKS for exercise in notebook.checks]
RUNS_AT_ONCE = 4  # most of a run is waiting for pings and servers
FORBIDDEN = {
    r"\bsleep\b": "wait for what you wait for: labsupport.waiting, --retry",
    r"import \*": "name what you import",
    r"\b(pip|conda|apt|apt-get) install\b": "the environment has everything",
}

each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.path.stem)
each_exercise = pytest.mark.parametrize(("notebook", "exercise"), EXERCISES,
                                        ids=[f"{notebook.path.stem}-{name}" for notebook, name in EXERCISES])


def answers_of(notebook: CourseNotebook) -> AnswerFile:
    return load_answers(answer_file(TESTS / "answers", notebook.path), notebook)


def test_there_are_notebooks():
    assert NOTEBOOKS
    assert EXERCISES


@each_notebook
def test_it_is_a_valid_notebook_without_outputs(notebook):
    content = nbformat.read(notebook.path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(content)
    assert (content.nbformat, content.nbformat_minor) >= (4, 5)
    assert [cell.id for cell in content.cells if cell.get("outputs") or cell.get("execution_count")] == []


@each_notebook
def test_its_cells_are_short(notebook):
    lengths = {cell.id: len(cell.source.splitlines()) for cell in notebook.cells}
    assert {name: length for name, length in lengths.items() if length > 15} == {}
    lesson = [cell for cell in notebook.cells if cell.role not in {"answer", "check"}]
    assert statistics.median(lengths[cell.id] for cell in lesson) <= 4
    assert len(lesson) <= 30
    assert len(lesson) >= 15 or notebook.path.name.startswith("00-")


@each_notebook
def test_it_does_nothing_that_a_lesson_must_not(notebook):
    found = {f"{cell.id}: {advice}" for cell in notebook.cells for pattern, advice in FORBIDDEN.items()
             if re.search(pattern, cell.source)}
    assert found == set()


@each_notebook
def test_its_checks_only_observe_the_lab(notebook):
    """What runs inside the lab, the lab can forge: `lab.observe` runs outside its reach."""
    for cell in notebook.checks.values():
        used = {node.attr for node in ast.walk(ast.parse(cell.source))
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lab"}
        assert used <= {"observe", "namespaces"}, cell.id


@each_notebook
def test_as_shipped_it_runs_clean_and_earns_nothing(notebook):
    report = grade(notebook)
    assert (report.raised, report.ended) == ({}, "")
    assert {exercise.exercise: exercise.points for exercise in report.exercises} == dict.fromkeys(notebook.checks, 0)


@each_notebook
def test_the_reference_answers_earn_everything(notebook):
    report = grade(graft(notebook, answers_of(notebook).reference))
    assert (report.raised, report.ended) == ({}, "")
    assert [item.text for exercise in report.exercises for item in exercise.items if not item.ok] == []
    for exercise in report.exercises:
        assert exercise.points == exercise.possible == sum(item.points for item in exercise.items)


@each_exercise
def test_every_wrong_answer_earns_what_it_must_and_fails_something(notebook, exercise):
    answers = answers_of(notebook)
    wrong = [answer for answer in answers.wrong if answer.exercise == exercise]
    assert len(wrong) >= 3, "an exercise needs three wrong answers or more"
    sources = [answers.reference] + [answers.reference | answer.cells for answer in wrong]
    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        reference, *reports = [report.exercises[0] for report in pool.map(
            lambda source: grade(graft(notebook, source), only=exercise), sources)]
    assert {answer.name: report.points for answer, report in zip(wrong, reports, strict=True)} == {
        answer.name: answer.earns for answer in wrong}
    failed = {item.text for report in reports for item in report.items if not item.ok}
    assert {item.text for item in reference.items} - failed == set(), "no wrong answer fails these"


@each_notebook
def test_its_reference_is_up_to_date(notebook):
    """`make reference` writes it; nbval compares its outputs."""
    answers = answers_of(notebook)
    grafted = {cell.id: cell.source for cell in graft(notebook, answers.reference).cells}
    expected = json.loads(notebook.path.read_text(encoding="utf-8"))
    made = json.loads((TESTS / "reference" / notebook.path.name).read_text(encoding="utf-8"))
    assert [cell["id"] for cell in made["cells"]] == [cell["id"] for cell in expected["cells"]]
    for cell, source in zip(made["cells"], expected["cells"], strict=True):
        assert "".join(cell["source"]) == grafted.get(cell["id"], "".join(source["source"])), "run: make reference"
        assert cell["metadata"] == source["metadata"]
        assert cell["cell_type"] != "code" or cell["execution_count"]
