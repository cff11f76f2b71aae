"""Caches and machines to look for programs in: real ones of the kernel's, with small scripts as programs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from labsupport.cluster.binaries.find import survey
from labsupport.cluster.binaries.store import Entry, binaries_folder, describe, entry_name, locked, publish
from labsupport.cluster.binaries.units import UNITS, Unit

BUILDER = """
from labsupport.cluster.binaries.build import require
from labsupport.cluster.binaries.units import LAB
require([LAB], lambda line: print(line, flush=True))
"""
"""A program that builds labsupport's own two small programs and prints its progress, each line at once."""


def unit(name: str) -> Unit:
    return next(unit for unit in UNITS if unit.name == name)


def script(path: Path, prints: str = "", *, also: str = "") -> Path:
    """Write an executable shell script that prints something."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{also}\ncat <<'END'\n{prints}\nEND\n")
    path.chmod(0o755)
    return path


def fill(units: Iterable[Unit] = UNITS) -> dict[str, Entry]:
    """Put an entry per unit into the cache, as a build does, with a small script for each program."""
    with locked(lambda _: None) as run:
        for each in units:
            folder = run / entry_name(each)
            for name in each.outputs:
                script(folder / name, f"{name} of {each.name}, {'filling ' * 1000}")
            publish(describe(folder, each, "1.26.0"))
    return {entry.unit.name: entry for entry in entries()}


def entries() -> list[Entry]:
    """Return the sound entries of the cache."""
    return survey(UNITS, only_cache=True).entries


def content(folder: Path) -> dict[str, bytes | str]:
    """Return all that is in a folder: path -> content, or where a link points to; without the work of builds."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file() and not name.startswith("binaries/work/"):
            found[name] = path.read_bytes()
    return found


def visible() -> list[str]:
    """Return the names of the entries that the cache shows, whole or not."""
    names = {path.name for path in binaries_folder().glob("*")}
    return sorted(names - {"work", "lock"})


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of the processes whose environment or command line names a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:  # another user's, or gone
            continue
        if str(folder).encode() in words:
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if line]


def start_builder(cache: Path, **environment: str) -> subprocess.Popen[str]:
    """Start BUILDER with this cache."""
    environment = {**os.environ, "LABSUPPORT_CACHE": str(cache), **environment}
    return subprocess.Popen([sys.executable, "-c", BUILDER], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def read_until(builder: subprocess.Popen[str], words: str) -> str:
    """Return what the builder has printed when it prints a line with these words."""
    assert builder.stdout is not None
    seen = ""
    for line in builder.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"the builder never said {words!r}:\n{seen}")
