"""Runs `labsupport` as a user does: as a program, with or without a terminal, in a world of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest
from terminals import PROGRAM, Notebooks, Terminal, world_command


@pytest.fixture
def open_terminal() -> Iterator[Callable[..., Terminal]]:
    """Opens terminals: `open_terminal({"03": ["red"]}, "shell", "red")`."""
    terminals = []

    def opener(notebooks: Notebooks, *arguments: str) -> Terminal:
        terminals.append(Terminal(world_command(notebooks, PROGRAM, *arguments)))
        return terminals[-1]

    yield opener
    for terminal in terminals:
        terminal.close()


@pytest.fixture
def run_without_terminal() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the program with pipes: `run_without_terminal({"03": []}, "shell")`."""

    def runner(notebooks: Notebooks, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(world_command(notebooks, PROGRAM, *arguments), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=40, check=False)

    return runner
