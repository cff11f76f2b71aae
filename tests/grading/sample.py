"""A small notebook of a course, and students' files made from it."""

from __future__ import annotations

import json
from pathlib import Path

NAME = "01-sample.ipynb"
SETUP = "from labsupport.lesson import check, open_lab\n\nlab = open_lab()"
LESSON = "raise SystemError('grading does not run the lesson')"
SUM_CHECK = """\
with check("sum", lab, answer) as c:
    if c.needs_answer(int):
        c.holds("it is 42", c.answer == 42, points=2, hint="six times seven")
"""
ROOM_CHECK = """\
import json

with check("room", lab) as c:
    c.holds("there is a namespace red", "red" in lab.namespaces(), points=1, hint="ip netns add NAME")
    links = json.loads(lab.observe(["ip", "-json", "link"], namespace="red").stdout)
    c.holds("red has a link red0", "red0" in [link["ifname"] for link in links], points=2)
"""
GOOD_SUM = "answer = 6 * 7"
GOOD_ROOM = "%%lab\nip netns add red\nip -n red link add red0 type veth peer name blue0"
GOOD = {"sum-answer": GOOD_SUM, "room-answer": GOOD_ROOM}


def code(name: str, source: str, **lab: object) -> dict[str, object]:
    """Return a code cell."""
    return {"cell_type": "code", "id": name, "metadata": {"lab": lab} if lab else {}, "source": source,
            "outputs": [], "execution_count": None}


def cells() -> list[dict[str, object]]:
    """Return the cells of the sample, fresh ones to change."""
    return [
        {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# Sample"},
        code("setup", SETUP, role="setup"),
        code("lesson", LESSON),
        code("sum-answer", "answer = ...", role="answer", exercise="sum"),
        code("sum-check", SUM_CHECK, role="check", exercise="sum", points=2),
        code("room-answer", "%%lab\n# your commands", role="answer", exercise="room"),
        code("room-check", ROOM_CHECK, role="check", exercise="room", points=3),
    ]


def write(path: Path, content: list[dict[str, object]]) -> Path:
    """Write a notebook file with these cells."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": content, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook))
    return path


def answered(answers: dict[str, str]) -> list[dict[str, object]]:
    """Return the cells of the sample with these answers."""
    return [cell | {"source": answers.get(str(cell["id"]), cell["source"])} for cell in cells()]
