"""Making references: what is refused, and that nbval reads the rules and the results as we do."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import sample
from nbval.plugin import get_sanitize_patterns

from labsupport.errors import GradingError
from labsupport.grading.reference import load_rules, make_reference, refuse_strangers, sanitize

TESTS = Path(__file__).parent.parent
RULES = TESTS / "nbval-sanitize.cfg"


@pytest.fixture
def make(tmp_path):
    """Makes a reference of a notebook with these cells, without exercises."""
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "01.toml").write_text("[reference]\n")

    def run(first, *others, rules=""):
        setup = first | {"metadata": first["metadata"] | {"lab": {"role": "setup"}}}
        (tmp_path / "nbval-sanitize.cfg").write_text(rules)
        return make_reference(sample.write(tmp_path / "01-x.ipynb", [setup, *others]), tmp_path)

    return run


def raising(name: str, source: str) -> dict[str, object]:
    return sample.code(name, source) | {"metadata": {"tags": ["raises-exception"]}}


def test_outputs_are_kept_and_made_comparable(make):
    path = make(
        sample.code("a", "import os\nprint('process', os.getpid())\nprint('more')"),
        sample.code("b", "6 * 7"),
        raising("c", "1 / 0"),
        rules="regex: process \\d+\nreplace: process PID\n",
    )
    cells = json.loads(path.read_text())["cells"]
    assert [cell["execution_count"] for cell in cells] == [1, 2, 3]
    assert cells[0]["outputs"] == [{"output_type": "stream", "name": "stdout", "text": "process PID\nmore\n"}]
    assert cells[1]["outputs"] == [{"output_type": "execute_result", "data": {"text/plain": "42"}, "metadata": {},
                                    "execution_count": 2}]
    assert cells[2]["outputs"] == [{"output_type": "error", "ename": "ZeroDivisionError",
                                    "evalue": "division by zero", "traceback": []}]


@pytest.mark.parametrize(("cell", "message"), [
    (sample.code("a", "import time\ntime.time_ns()"), "the notebook gives other outputs each time"),
    (sample.code("a", "import os\nos.getcwd()"), "the notebook gives other outputs each time"),
    (sample.code("a", "1 / 0"), "the notebook does not run clean"),
    (raising("a", "1"), "the notebook does not run clean"),
    (sample.code("a", ""), "the notebook does not run clean"),
    (sample.code("a", "from IPython.display import clear_output\nclear_output()"), "a reference cannot hold this"),
])
def test_what_nbval_could_not_compare_is_refused(make, tmp_path, cell, message):
    with pytest.raises(GradingError, match=message) as caught:
        make(cell)
    assert "a" in caught.value.where + caught.value.observed
    assert not (tmp_path / "reference" / "01-x.ipynb").exists()


def test_a_rule_that_changes_its_own_replacement_is_refused(make):
    with pytest.raises(GradingError, match="rules applied once and twice"):
        make(sample.code("a", "print('x')"), rules="regex: x\nreplace: xx\n")


@pytest.mark.parametrize("text", [
    "regex: a\nreplace:\n",
    "regex: a\n\nreplace: b\n",
    "regex:a\nreplace: b\n",
    " regex: a\nreplace: b\n",
    "regex: a\nregex: b\nreplace: c\n",
])
def test_a_rule_that_nbval_would_drop_is_refused(tmp_path, text):
    path = tmp_path / "rules.cfg"
    path.write_text(text)
    assert len(get_sanitize_patterns(text)) < max(text.count("regex:"), text.count("replace:"))
    with pytest.raises(GradingError, match="nbval would ignore a rule"):
        load_rules(path)


def test_our_rules_are_the_ones_that_nbval_reads_and_each_has_an_effect():
    rules = load_rules(RULES)
    texts = [(pattern.pattern, replacement) for pattern, replacement in rules]
    assert texts == get_sanitize_patterns(RULES.read_text())
    references = "".join(path.read_text() for path in (TESTS / "reference").glob("*.ipynb"))
    for number, (pattern, replacement) in enumerate(rules):
        assert replacement in references, f"the rule {pattern.pattern} changes no reference: remove it"
        assert sanitize(replacement, rules[number:]) == replacement


def test_nbval_accepts_the_reference_and_notices_another_output(make, tmp_path):
    path = make(sample.code("a", "print('one')"), sample.code("b", "print('two')"))
    altered = tmp_path / "altered.ipynb"
    altered.write_text(path.read_text().replace("two\\n", "three\\n"))
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-sanitize-with",
               tmp_path / "nbval-sanitize.cfg", "-p", "no:cacheprovider", "--rootdir", tmp_path, "-q", path, altered]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, cwd=tmp_path)
    assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("FAILED altered.ipynb::Cell 1")]


def test_a_stranger_among_the_references_is_refused(make, tmp_path, monkeypatch):
    path = make(sample.code("a", "1"))
    refuse_strangers(path.parent, tmp_path)
    (path.parent / "notes.txt").touch()
    (path.parent / "02-gone.ipynb").touch()
    monkeypatch.chdir(path.parent)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as left:
        left.bind("kernel-ipc-1")
    with pytest.raises(GradingError, match="holds something else") as caught:
        refuse_strangers(path.parent, tmp_path)
    assert caught.value.observed == "02-gone.ipynb, kernel-ipc-1, notes.txt"
