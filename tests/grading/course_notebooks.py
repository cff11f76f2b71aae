"""The notebooks of the course and their answers, for the tests that prove something of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from labsupport.grading.answers import AnswerFile, answer_file, load_answers
from labsupport.grading.course import CourseNotebook, load_course_notebook

TESTS = Path(__file__).parent.parent
FOLDER = TESTS.parent / "notebooks"
NOTEBOOKS = [load_course_notebook(path) for path in sorted(FOLDER.glob("*.ipynb"))]

each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.path.stem)


def answers_of(notebook: CourseNotebook) -> AnswerFile:
    return load_answers(answer_file(TESTS / "answers", notebook.path), notebook)
