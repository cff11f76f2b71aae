"""What the course promises about its notebooks, proved for every one that exists: form, and how it runs as shipped.

That it runs clean with the reference answers as well is what `pytest --nbval tests/reference` proves.
"""

from __future__ import annotations

import ast
import json
import re
import statistics

import nbformat
import pytest
import shared_cluster
from course_notebooks import FOLDER, NOTEBOOKS, TESTS, answers_of, each_notebook

from labsupport.grading.graft import graft
from labsupport.grading.reference import refuse_strangers, run_notebook

FORBIDDEN = {
    r"(?<!do )\bsleep\b": "wait for what you wait for: labsupport.waiting, --retry, until",
    r"import \*": "name what you import",
    r"\b(pip|conda|apt|apt-get) install\b": "the environment has everything",
}


def test_there_are_notebooks():
    assert NOTEBOOKS
    assert any(notebook.checks for notebook in NOTEBOOKS)


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
    assert statistics.median(lengths[cell.id] - cell.source.startswith("%%needs ") for cell in lesson) <= 4
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
    allowed = {"lab": {"observe", "namespaces"}, "cluster": {"get", "lab", "namespace"}}
    allowed["cluster.lab"] = allowed["lab"]
    for cell in notebook.checks.values():
        used = {f"{ast.unparse(node.value)}.{node.attr}" for node in ast.walk(ast.parse(cell.source))
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) in allowed}
        assert used <= {f"{thing}.{name}" for thing, names in allowed.items() for name in names}, cell.id


@pytest.mark.timeout(120)  # a cluster may have to be started
@each_notebook
def test_as_shipped_every_cell_runs_clean(notebook):
    if notebook.namespace:
        shared_cluster.need_programs()
    for _ in run_notebook(notebook):
        pass


def test_the_references_are_those_of_the_notebooks():
    refuse_strangers(TESTS / "reference", FOLDER)
    assert {path.name for path in (TESTS / "reference").iterdir()} == {notebook.path.name for notebook in NOTEBOOKS}


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
