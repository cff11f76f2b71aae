"""What is taken from a student's file, and what is said about a file that cannot be graded."""

from __future__ import annotations

import pytest
import sample

from labsupport.errors import GradingError
from labsupport.grading.course import MAX_FILE_BYTES, find_course_notebook, load_course_notebook
from labsupport.grading.graft import graft, read_answers


def changed(**changes):
    """Return the sample's cells with some fields of the answer to "sum" changed."""
    return [cell | (changes if cell["id"] == "sum-answer" else {}) for cell in sample.cells()]


def test_answers_come_over_and_nothing_else(course, tmp_path):
    content = [cell | {"source": "answer = 1" if cell["id"] == "sum-answer" else "raise SystemExit",
                       "metadata": {"lab": {"role": "check", "exercise": "sum", "points": 99}},
                       "outputs": [{"output_type": "stream", "name": "stdout", "text": "42"}]}
               for cell in [*sample.cells(), sample.code("extra", "1 / 0", role="answer", exercise="sum")]
               if cell["id"] != "room-answer"]
    answers = read_answers(sample.write(tmp_path / "student.ipynb", content), course)
    assert answers.sources == {"sum-answer": "answer = 1"}
    grafted = graft(course, answers.sources | {"setup": "evil", "sum-check": "evil", "nowhere": "evil"})
    assert [cell.source for cell in grafted.cells] == [
        sample.SETUP, sample.LESSON, "answer = 1", sample.SUM_CHECK, "%%lab\n# your commands", sample.ROOM_CHECK]
    assert [cell.points for cell in grafted.cells] == [0, 0, 0, 2, 0, 3]
    assert answers.remarks == {"room": [
        "the answer cell 'room-answer' is missing in this file; it counts as not answered"]}


def test_a_source_may_be_a_list_of_lines(course, tmp_path):
    content = changed(source=["answer = 1\n", "answer += 1"])
    answers = read_answers(sample.write(tmp_path / "student.ipynb", content), course)
    assert answers.sources["sum-answer"] == "answer = 1\nanswer += 1"


@pytest.mark.parametrize(("changes", "remark"), [
    ({"cell_type": "markdown"}, "is no code cell any more but 'markdown'"),
    ({"source": 7}, "has no source"),
    ({"source": ["a", None]}, "has no source"),
    ({"source": "#" * 10_001}, "has more than 10,000 characters"),
    ({"id": "Sum-Answer"}, "is missing in this file"),
    ({"id": ["sum-answer"]}, "is missing in this file"),
])
def test_an_odd_cell_counts_as_not_answered_and_is_reported(course, tmp_path, changes, remark):
    answers = read_answers(sample.write(tmp_path / "student.ipynb", changed(**changes)), course)
    assert "sum-answer" not in answers.sources
    assert answers.remarks["sum"] == [f"the answer cell 'sum-answer' {remark}; it counts as not answered"]


def test_of_two_cells_with_one_id_the_first_counts(course, tmp_path):
    content = [*sample.answered({"sum-answer": "answer = 1"}), sample.code("sum-answer", "answer = 2")]
    answers = read_answers(sample.write(tmp_path / "student.ipynb", content), course)
    assert answers.sources["sum-answer"] == "answer = 1"
    assert answers.remarks == {"sum": ["the answer cell 'sum-answer' is there 2 times; the first one counts"]}


@pytest.mark.parametrize(("data", "what"), [
    (b"", "the file is not JSON"),
    (b'{"cells": [', "the file is not JSON"),
    (b"\xff\xfe\x00", "the file is not JSON"),
    (b"[" * 200_000, "the file is not JSON"),
    (b'{"nbformat": 4, "cells": ' + b"1" * 5000 + b"}", "the file is not JSON"),
    (b"[]", "the file is no notebook"),
    (b'{"cells": []}', "the file is no notebook"),
    (b'{"cells": [], "nbformat": 3}', "the file is no notebook"),
    (b'{"cells": {}, "nbformat": 4}', "the file is no notebook"),
    (b'{"cells": [1, null, {"id": "x"}], "nbformat": 4}', "this is no notebook of the course"),
    (b" " * (MAX_FILE_BYTES + 1), "the notebook is too large"),
])
def test_a_broken_file_is_an_error_that_says_what_to_do(course_folder, tmp_path, data, what):
    path = tmp_path / "01-student.ipynb"
    path.write_bytes(data)
    with pytest.raises(GradingError) as caught:
        find_course_notebook(path, course_folder)
    error = caught.value
    assert error.what == what
    assert str(path) in error.where
    assert error.expected
    assert error.observed
    assert error.next_step


@pytest.mark.parametrize("name", ["missing.ipynb", "."])
def test_no_file_is_an_error(course_folder, tmp_path, name):
    with pytest.raises(GradingError, match="there is no such file"):
        find_course_notebook(tmp_path / name, course_folder)


def test_the_notebook_is_found_by_its_number_or_by_its_cells(course_folder, tmp_path):
    other = [cell for cell in sample.cells() if cell["id"] != "room-answer" and cell["id"] != "room-check"]
    sample.write(course_folder / "02-other.ipynb", other)
    for name, expected in (("01-mine.ipynb", "01-sample.ipynb"), ("02-mine.ipynb", "02-other.ipynb"),
                           ("homework.ipynb", "01-sample.ipynb"), ("07-mine.ipynb", "01-sample.ipynb")):
        student = sample.write(tmp_path / name, sample.cells())
        assert find_course_notebook(student, course_folder).path.name == expected


def test_a_notebook_of_the_course_that_cannot_be_graded_names_all_faults(tmp_path):
    content = [*sample.cells()[2:], sample.code("sum-check", "%%lab\nls", role="check", exercise="sum", points=0),
               sample.code("late", "answer = ...", role="answer", exercise="sum"),
               sample.code("lonely", "answer = ...", role="answer", exercise="lonely"),
               sample.code("odd", "", role="oracle")]
    with pytest.raises(GradingError) as caught:
        load_course_notebook(sample.write(tmp_path / "01-x.ipynb", content))
    assert caught.value.observed.splitlines() == [
        "the cell id 'sum-check' is there 2 times",
        "lesson: the first code cell needs the role 'setup'",
        "sum-check: a second check of 'sum'",
        "sum-check: a check needs `points`, a whole number above 0",
        "sum-check: a check is plain Python, without magics: line 1: invalid syntax",
        "late: an answer cell after the check of 'sum'",
        "odd: there is no role 'oracle'",
        "the exercise 'lonely' has answer cells and no check",
    ]
