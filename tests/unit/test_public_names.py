"""What `labsupport` offers by name, what it costs, and how long its files may be."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import labsupport

HOUSE = Path(labsupport.__file__).parent
HEAVY = ("IPython", "kubernetes", "matplotlib", "pyroute2", "scapy", "ipywidgets", "nbformat", "jupyter_client")
FILES = sorted(path for folder in (HOUSE, HOUSE.parent / "tests", HOUSE.parent / "benchmarks")
               for path in folder.rglob("*.py"))


ROOMS = ["labsupport", "labsupport.sandbox", "labsupport.net", "labsupport.views"]


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_are_sorted_and_there(room):
    module = importlib.import_module(room)
    assert module.__all__ == sorted(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_heavy_is_imported_before_it_is_needed(room):
    code = f"import sys, {room}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE.parent)))
def test_a_file_is_shorter_than_300_lines(path):
    assert len(path.read_text().splitlines()) < 300
