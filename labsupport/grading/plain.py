"""Answers on their way from the student's process to the grader's: JSON text, written by code that nobody trusts."""

from __future__ import annotations

import json
import math
from typing import NoReturn

MAX_ANSWER_CHARACTERS = 1 << 16
MAX_DIGITS = 40
ELLIPSIS_KEY = "..."
"""JSON has no `...`, which stands where an answer is still to come; `{"...": null}` stands for it."""

DIFFERENT = type("different kind of object", (), {})()
"""Stands for an answer that is no plain data; a check says so."""


def answer_as_json(answer: object) -> str:
    """Return an answer as JSON text, or "" if it is something that no answer can be. Runs in the student's kernel."""
    from labsupport.lesson.exercise import NotData, as_data  # noqa: PLC0415  (the driver has no need of it)

    try:
        text = json.dumps(as_data(answer), default=lambda _ellipsis: {ELLIPSIS_KEY: None})
    except NotData:
        return ""
    return text if len(text) <= MAX_ANSWER_CHARACTERS else ""


def parse_answer(text: str) -> object:
    """Return the value behind JSON text that hostile code may have written, or DIFFERENT if it is no sane one."""
    if not text or len(text) > MAX_ANSWER_CHARACTERS:
        return DIFFERENT
    try:
        value = json.loads(text, parse_constant=_refuse, parse_int=_whole_number, parse_float=_number,
                           object_hook=lambda fields: ... if fields == {ELLIPSIS_KEY: None} else fields)
        json.dumps(value, ensure_ascii=False, default=str).encode()  # half a surrogate pair could not be printed
    except (ValueError, RecursionError):
        return DIFFERENT
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number to calculate with")


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"more than {MAX_DIGITS} digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("too large")
    return value
