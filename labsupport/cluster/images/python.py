"""A Python for the images: an interpreter of this machine that works for every user, and its standard library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from labsupport.cluster.images.machine import add_programs, place, private_prefix
from labsupport.cluster.images.rootfs import Copy, Rootfs

SYSTEM_PYTHON = Path("/usr/bin/python3")
_PROBE = """
import http.server, json, os, socket, ssl, sys, sysconfig
print(json.dumps([os.path.realpath(sys.executable), sys.base_prefix, sysconfig.get_path("stdlib"),
                  sysconfig.get_path("platstdlib")]))
"""
_LIMIT_S = 10.0
_LEFT_OUT = frozenset({
    "test", "tests", "idlelib", "lib2to3", "ensurepip", "tkinter", "turtledemo", "distutils", "venv", "pydoc_data",
    "site-packages", "dist-packages", "dbm", "sqlite3",
})
"""Folders of the standard library that no server in a pod needs."""
_LEFT_OUT_MODULES = ("_test", "_xx", "xx", "_ctypes_test", "_tkinter", "_dbm", "_gdbm", "_sqlite3")


def add_python(rootfs: Rootfs) -> str:
    """Add python3 and its standard library.

    The system's own comes first. Else it is the one that runs this, moved to /usr/local: its folder may be private.

    Returns:
        why there is none, or an empty string.
    """
    rootfs.look(SYSTEM_PYTHON)
    prefix = private_prefix()
    running = (prefix or Path(sys.base_prefix)) / "bin" / f"python3.{sys.version_info.minor}"
    for candidate in (SYSTEM_PYTHON, running):
        facts = _probe(candidate)
        if facts is not None:
            return _add(rootfs, *facts)
    return f"neither {SYSTEM_PYTHON} nor {running} has the standard library (http.server, ssl)"


def _probe(python: Path) -> tuple[Path, ...] | None:
    try:
        run = subprocess.run([python, "-I", "-S", "-c", _PROBE], capture_output=True, text=True, check=False,
                             timeout=_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return tuple(map(Path, json.loads(run.stdout))) if run.returncode == 0 else None


def _add(rootfs: Rootfs, program: Path, prefix: Path, library: Path, platform_library: Path) -> str:
    at = place(prefix / "bin" / "python3")
    for folder in {library, platform_library}:
        rootfs.notes += rootfs.copy_tree(place(folder), folder, _LEFT_OUT)
    base = place(library)
    for path in [path for path in rootfs.entries if path.startswith(f"{base}/") and _is_ballast(path)]:
        del rootfs.entries[path]
    modules = {path: entry.source for path, entry in rootfs.entries.items()
               if isinstance(entry, Copy) and path.startswith(f"{base}/") and path.endswith(".so")}
    for path in modules:
        del rootfs.entries[path]
    left_out = add_programs(rootfs, {at: program, **modules})
    rootfs.notes += [f"python3 is without {Path(path).name}: {why}" for path, why in left_out.items() if path != at]
    if at != "usr/bin/python3":
        rootfs.link("usr/bin/python3", f"/{at}")
    return left_out.get(at, "")


def _is_ballast(path: str) -> bool:
    name = Path(path).name
    return (
        any(part.startswith("config-") for part in Path(path).parts)
        or name in {"sitecustomize.py", "usercustomize.py", "EXTERNALLY-MANAGED"}  # the machine's, not Python's
        or name.endswith((".a", ".exe", ".bat", ".rst"))
        or (name.endswith(".so") and name.startswith(_LEFT_OUT_MODULES))
    )
