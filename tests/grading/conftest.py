"""The sample course, as the grader sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sample

from labsupport.grading.course import CourseNotebook, load_course_notebook
from labsupport.grading.grade import grade
from labsupport.grading.graft import graft
from labsupport.grading.report import Report


@pytest.fixture
def course_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "course"
    folder.mkdir()
    sample.write(folder / sample.NAME, sample.cells())
    return folder


@pytest.fixture
def course(course_folder: Path) -> CourseNotebook:
    return load_course_notebook(course_folder / sample.NAME)


@pytest.fixture
def grade_answers(course: CourseNotebook) -> Callable[..., Report]:
    """Grades the sample with good answers, but for those given."""

    def run(answers: dict[str, str], **options: Any) -> Report:
        return grade(graft(course, sample.GOOD | answers), **options)

    return run
