"""The processes of a cluster, and what memory they take."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from labsupport.waiting import wait_until

SETTLED_S, SETTLED_WITHIN = 15.0, 0.02
SETTLED_DEADLINE_S = 180.0
LOOK_EVERY_S = 1.0


def descendants(pid: int) -> list[int]:
    """Return a process and all that descend from it, parents first."""
    children = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        children[int(text.rpartition(")")[2].split()[1])].append(int(stat.parent.name))
    found = [pid]
    for parent in found:
        found += sorted(children[parent])
    return found


def named(name: str) -> list[int]:
    """Return the processes of this machine whose program has that name."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == name[:15]:
                found.append(int(comm.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def command_lines(pids: list[int], programs: set[str]) -> list[str]:
    """Return how the programs among these processes were called, sorted."""
    found = []
    for pid in pids:
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if argv[0] in programs:
            found.append(" ".join(argv))
    return sorted(found)


def memory_mb(pids: list[int]) -> float:
    """Return their proportional set size: what several share is counted once.

    A process that hides it (the first of a lab does) counts with all that it has in memory.
    """
    return sum(map(_memory_bytes, pids)) / 1e6


def _memory_bytes(pid: int) -> int:
    try:
        return _kib(pid, "smaps_rollup", "Pss:")
    except PermissionError:
        return _kib(pid, "status", "VmRSS:")
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has just ended


def _kib(pid: int, file: str, field: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0  # it has ended, and only its parent has not noticed


def settled_memory_mb(pids: Callable[[], list[int]]) -> float:
    """Return the memory when it has hardly changed for a while: Go's collector gives back slowly."""
    readings: list[tuple[float, float]] = []

    def steady() -> float:
        now = time.monotonic()
        readings.append((now, memory_mb(pids())))
        recent = [value for then, value in readings if then >= now - SETTLED_S]
        known_long_enough = now - readings[0][0] >= SETTLED_S
        return recent[-1] if known_long_enough and max(recent) - min(recent) <= SETTLED_WITHIN * max(recent) else 0

    return wait_until(steady, what="the memory of a cluster to settle", deadline_s=SETTLED_DEADLINE_S,
                      interval_s=LOOK_EVERY_S)
