"""Prints a log, and goes on with it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from labsupport.waiting import wait_until

LOOK_EVERY_S = 0.2
FOLLOW_S = 30 * 24 * 3600.0


def print_log(path: Path, *, follow: bool) -> None:
    """Write a log to standard output; with `follow` also what comes later, until Ctrl-C."""
    sys.stdout.flush()
    file = path.open("rb")

    def copy() -> bool:
        nonlocal file
        shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.flush()
        if path.stat().st_ino != Path(f"/dev/fd/{file.fileno()}").stat().st_ino:  # it got too long: a new one began
            file.close()
            file = path.open("rb")
        return False

    try:
        if follow:
            wait_until(copy, what="the end of the log", deadline_s=FOLLOW_S, interval_s=LOOK_EVERY_S)
        else:
            copy()
    finally:
        file.close()
