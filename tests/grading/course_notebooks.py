"""The notebooks of the course and their answers, for the tests that prove something of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from labsupport.grading.answers import AnswerFile, answer_file, load_answers
from labsupport.grading.course import CourseNotebook, load_course_notebook

TESTS = Path(__file__).parent.parent
FOLDER = TESTS.parent / "notebooks"
NOTEBOOKS = [load_course_notebook(path) for path in sorted(FOLDER.glob("*.ipynb"))]


def marks_of(notebook: CourseNotebook) -> list[pytest.MarkDecorator]:
    """In a cluster everybody is root, so notebooks with one are graded once. (nbval runs them as everybody.)"""
    return [pytest.mark.once] if notebook.namespace else []


each_notebook = pytest.mark.parametrize("notebook", [
    pytest.param(notebook, id=notebook.path.stem, marks=marks_of(notebook)) for notebook in NOTEBOOKS])


def answers_of(notebook: CourseNotebook) -> AnswerFile:
    return load_answers(answer_file(TESTS / "answers", notebook.path), notebook)
