"""Which cells are run for a score, and what a check that cannot go on is worth."""

from __future__ import annotations

from dataclasses import replace

import sample

from labsupport.grading.course import CourseNotebook
from labsupport.grading.grade import grade
from labsupport.grading.graft import graft


def test_the_lesson_is_not_run(course):
    told: list[tuple[int, int, str]] = []
    report = grade(graft(course, sample.GOOD), progress=lambda *step: told.append(step))
    assert told == [(1, 5, "setup"), (2, 5, "sum-answer"), (3, 5, "sum-check"), (4, 5, "room-answer"),
                    (5, 5, "room-check")]
    assert (report.points, report.raised) == (5, {})


def test_one_exercise_alone_needs_what_stands_before_it_but_no_other_check(course):
    assert [cell.id for cell in course.cells_to_grade("sum")] == ["setup", "sum-answer", "sum-check"]
    assert [cell.id for cell in course.cells_to_grade("room")] == ["setup", "sum-answer", "room-answer", "room-check"]
    report = grade(graft(course, sample.GOOD), only="room")
    assert [(part.exercise, part.points) for part in report.exercises] == [("room", 3)]


def test_a_check_that_cannot_go_on_says_so_and_keeps_what_it_has_seen(course):
    report = grade(graft(course, sample.GOOD | {"room-answer": "%%lab\nip netns add green"}), only="room")
    (room,) = report.exercises
    assert room.points == 0
    assert [item.text for item in room.items if not item.ok] == [
        "there is a namespace red", "the check had to stop: no network namespace is called 'red'"]


def test_a_check_that_fails_before_it_looks_earns_nothing(course):
    broken = tuple(replace(cell, source="1 / 0\n" + cell.source) if cell.id == "sum-check" else cell
                   for cell in course.cells)
    (part,) = grade(CourseNotebook(course.path, broken), only="sum").exercises
    assert [item.text for item in part.items] == ["the check had to stop: ZeroDivisionError: division by zero"]
    assert part.points == 0
