"""Makes tests/reference/: each notebook, executed with its reference answers, for `pytest --nbval` to compare with.

    python -m labsupport.grading.reference [NOTEBOOK ...]

Each notebook runs twice in an ordinary kernel, in an empty folder that is another one each time. It is refused if the
two runs differ after the rules of tests/nbval-sanitize.cfg, so what is written is the same every time; and if nbval
would silently skip a cell of it.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

import labsupport
from labsupport.errors import GradingError, LabError
from labsupport.grading.answers import answer_file, load_answers
from labsupport.grading.course import Cell, CourseNotebook, load_course_notebook
from labsupport.grading.graft import graft

CELL_LIMIT_S = 120.0
_RULE = re.compile(r"^regex: (.*)\nreplace: (.*)$", re.MULTILINE)  # what nbval reads; it ignores every other line
_KEPT = {
    "stream": ("name", "text"), "display_data": ("data", "metadata"), "execute_result": ("data", "metadata"),
    "error": ("ename", "evalue"),
}
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_IGNORED = {"status", "execute_input", "comm_open", "comm_msg", "comm_close"}

Rules = list[tuple[re.Pattern[str], str]]
Output = dict[str, Any]


def load_rules(path: Path) -> Rules:
    """Read the rules with which nbval makes outputs comparable.

    Raises:
        GradingError: nbval would ignore a rule without a word.
    """
    text = path.read_text(encoding="utf-8")
    found = _RULE.findall(text)
    for word in ("regex:", "replace:"):
        lines = [line for line in text.splitlines() if line.strip().startswith(word)]
        if len(lines) != len(found):
            raise GradingError(
                "nbval would ignore a rule", where=str(path),
                expected="a line `regex: ...`, then a line `replace: ...`, both with one space behind the colon",
                observed=f"{len(lines)} lines with {word}, {len(found)} rules",
                next_step="an empty replacement needs that space as well",
            )
    return [(re.compile(regex), replacement) for regex, replacement in found]


def sanitize(text: str, rules: Rules) -> str:
    """Apply the rules to a text, in their order, as nbval does."""
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def run_notebook(notebook: CourseNotebook) -> Iterator[tuple[int, list[Output]]]:
    """Run every code cell in a fresh kernel in an empty folder; yield its number and its outputs.

    Raises:
        GradingError: a cell raises and is not tagged so, or is tagged and does not, or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="reference-") as folder:
        manager, client = start_new_kernel(kernel_name="python3", cwd=folder, extra_arguments=["--log-level=ERROR"])
        try:
            for cell in notebook.cells:
                yield _run_cell(client, cell, notebook.path)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def _run_cell(client: BlockingKernelClient, cell: Cell, path: Path) -> tuple[int, list[Output]]:
    outputs: list[Output] = []

    def refused(expected: str, observed: str) -> GradingError:
        return GradingError("the notebook does not run clean", where=f"{path}, the cell {cell.id}",
                            expected=expected, observed=observed, next_step="correct the cell or its answer")

    try:
        reply = client.execute_interactive(cell.source, allow_stdin=False, timeout=CELL_LIMIT_S, stop_on_error=False,
                                           output_hook=lambda message: _keep(outputs, message, cell.id))["content"]
    except TimeoutError:
        raise refused(f"it ends within {CELL_LIMIT_S:g} s", "it did not") from None
    if (reply["status"] == "error") != cell.may_raise:
        expected = "an error, as its tag says" if cell.may_raise else "no error; or the tag `raises-exception`"
        raise refused(expected, f"{reply.get('ename', 'no error')}: {reply.get('evalue', '')}")
    if not reply.get("execution_count") or not cell.source.strip():
        raise refused("a source and an execution count; nbval skips cells that have none", "none")
    return reply["execution_count"], outputs


def _keep(outputs: list[Output], message: dict[str, Any], cell: str) -> None:
    kind, content = message["msg_type"], message["content"]
    if kind in _IGNORED:
        return
    if kind not in _KEPT:
        raise GradingError("a reference cannot hold this kind of output", where=f"the cell {cell}", observed=kind,
                           expected=" or ".join(_KEPT), next_step="show the end result only, in one output")
    if kind == "stream" and outputs and outputs[-1].get("name") == content["name"]:
        outputs[-1]["text"] += content["text"]
        return
    output = {"output_type": kind} | {key: content[key] for key in _KEPT[kind]}
    if "data" in output:  # a widget's view has an id that differs from run to run; nbval does not compare it either
        output["data"] = {mime: value for mime, value in output["data"].items() if mime != _WIDGET_VIEW}
    if kind == "error":
        output["traceback"] = []  # paths and line numbers of this machine; nbval does not compare it
    outputs.append(output)


def _sanitized(output: Output, rules: Rules) -> Output:
    clean = dict(output)
    for key in ("text", "ename", "evalue"):
        if key in clean:
            clean[key] = sanitize(clean[key], rules)
    if "data" in clean:
        clean["data"] = {kind: sanitize(value, rules) if isinstance(value, str) else value
                         for kind, value in clean["data"].items()}
    return clean


def execute(notebook: CourseNotebook, rules: Rules) -> dict[str, tuple[int, list[Output]]]:
    """Run a notebook twice; return execution count and sanitized outputs by cell id.

    Raises:
        GradingError: the runs differ, or a rule changes its own replacement; or see `run_notebook`.
    """
    first, second = ([(count, [_sanitized(output, rules) for output in outputs])
                      for count, outputs in run_notebook(notebook)] for _ in range(2))
    differences = []
    for cell, (_, one), (_, two) in zip(notebook.cells, first, second, strict=True):
        differences += _difference(f"{cell.id}, first and second run", one, two)
        differences += _difference(f"{cell.id}, rules applied once and twice", one,
                                   [_sanitized(output, rules) for output in one])
    if differences:
        raise GradingError(
            "the notebook gives other outputs each time, so it is no reference", where=str(notebook.path),
            expected="the same outputs from two runs", observed="\n".join(differences),
            next_step="avoid the difference (fixed names and addresses, -json, sorted); if that is impossible, add a "
                      "rule to tests/nbval-sanitize.cfg",
        )
    return {cell.id: result for cell, result in zip(notebook.cells, first, strict=True)}


def _difference(title: str, one: list[Output], two: list[Output]) -> list[str]:
    before, after = (json.dumps(outputs, indent=1, ensure_ascii=False).splitlines() for outputs in (one, two))
    found = [line for line in difflib.unified_diff(before, after, n=0, lineterm="")
             if not line.startswith(("---", "+++", "@@"))]
    return [f"{title}:", *(line[:300] for line in found)] if found else []


def reference_notebook(notebook: CourseNotebook, results: dict[str, tuple[int, list[Output]]]) -> dict[str, Any]:
    """Return the notebook as JSON data, with answers and outputs in it."""
    content: dict[str, Any] = json.loads(notebook.path.read_text(encoding="utf-8"))
    sources = {cell.id: cell.source for cell in notebook.cells}
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["source"] = sources[cell["id"]].splitlines(keepends=True)
            cell["execution_count"], outputs = results[cell["id"]]
            cell["outputs"] = [output | ({"execution_count": cell["execution_count"]}
                                         if output["output_type"] == "execute_result" else {}) for output in outputs]
    return content


def make_reference(path: Path, tests: Path) -> Path | None:
    """Write the reference of one notebook; return where, or None if it has no answers.

    Raises:
        GradingError: see `execute`.
    """
    answers = answer_file(tests / "answers", path)
    if not answers.is_file():
        return None
    course = load_course_notebook(path)
    grafted = graft(course, load_answers(answers, course).reference)
    results = execute(grafted, load_rules(tests / "nbval-sanitize.cfg"))
    target = tests / "reference" / path.name
    target.parent.mkdir(exist_ok=True)
    text = json.dumps(reference_notebook(grafted, results), indent=1, ensure_ascii=False)
    target.write_text(text + "\n", encoding="utf-8")
    return target


def refuse_strangers(references: Path, notebooks: Path) -> None:
    """Make sure that the folder of references holds notebooks of the course, and nothing that a run has left there.

    Raises:
        GradingError: there is something else.
    """
    strangers = sorted(entry.name for entry in references.iterdir()
                       if entry.is_symlink() or not entry.is_file() or entry.suffix != ".ipynb"
                       or not (notebooks / entry.name).is_file())
    if strangers:
        raise GradingError("a folder of references holds something else", where=str(references),
                           expected=f"notebooks with the names of those in {notebooks}",
                           observed=", ".join(strangers), next_step="remove them; find out which program left them")


def main(arguments: list[str]) -> int:
    """Make the references of the notebooks named, or of all; return the exit status."""
    root = Path(labsupport.__file__).parent.parent
    notebooks = [Path(name) for name in arguments] or sorted((root / "notebooks").glob("*.ipynb"))
    try:
        for path in notebooks:
            target = make_reference(path, root / "tests")
            sys.stdout.write(f"{path.name}: {target or 'no answers, so no reference'}\n")
        refuse_strangers(root / "tests" / "reference", root / "notebooks")
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
