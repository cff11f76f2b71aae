"""`labsupport check NOTEBOOK`: what a student or a teacher runs on one notebook."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from labsupport.errors import LabError
from labsupport.grading.answers import load_answers
from labsupport.grading.course import default_course, find_course_notebook
from labsupport.grading.grade import CELL_LIMIT_S, grade
from labsupport.grading.graft import Answers, graft, read_answers
from labsupport.grading.report import Report

ALL_EARNED, NOT_ALL_EARNED, NOT_GRADED, STOPPED = 0, 1, 2, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `labsupport check`."""
    parser.add_argument("notebook", type=Path, metavar="NOTEBOOK", help="the notebook with the answers")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--course", type=Path, metavar="FOLDER",
                        help="the folder of the course's own notebooks (default: the one of this installation)")
    parser.add_argument("--answers", type=Path, metavar="FILE.toml",
                        help="grade the reference answers of this file instead of the notebook's")
    parser.add_argument("--timeout", type=float, default=CELL_LIMIT_S, metavar="SECONDS",
                        help="the time limit of one cell (default: %(default)g)")


def run(arguments: argparse.Namespace) -> int:
    """Grade a notebook and print the report.

    Returns:
        The exit status: 0 if every point was earned, 1 if not, 2 if the notebook could not be graded, 130 after Ctrl-C.
    """
    try:
        report = _grade(arguments)
    except LabError as error:
        _show_progress("")
        sys.stderr.write(f"{error}\n")
        return NOT_GRADED
    except KeyboardInterrupt:
        _show_progress("")
        sys.stderr.write("Stopped. Nothing was graded, and nothing is left running.\n")
        return STOPPED
    _show_progress("")
    text = json.dumps(report.as_data(), indent=2) if arguments.json else report.text
    sys.stdout.write(text + "\n")
    return ALL_EARNED if report.points == report.possible else NOT_ALL_EARNED


def _grade(arguments: argparse.Namespace) -> Report:
    course = find_course_notebook(arguments.notebook, arguments.course or default_course())
    if arguments.answers is not None:
        answers = Answers(load_answers(arguments.answers, course).reference)
    else:
        answers = read_answers(arguments.notebook, course)
    return grade(graft(course, answers.sources), remarks=answers.remarks, cell_limit_s=arguments.timeout,
                 say=_show_progress,
                 progress=lambda number, total, cell: _show_progress(f"cell {number} of {total}: {cell}"))


def _show_progress(text: str) -> None:
    """Write over the last line of a terminal; nothing where there is none."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
