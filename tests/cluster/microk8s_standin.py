"""A program called microk8s, which prints what a real one's scripts print: see microk8s_prints/README."""

from __future__ import annotations

import re
from pathlib import Path

PRINTS = Path(__file__).parent / "microk8s_prints"
# It reads its input to the end first: a driver that leaves it a terminal or an open pipe would hang.
_SCRIPT = """#!/bin/sh
answer="$(dirname "$0")/answers/$(printf %s "$*" | tr -c 'A-Za-z0-9-' _)"
cat >"$answer.in"
[ -e "$answer.sh" ] && . "$answer.sh"
if [ ! -e "$answer.rc" ]; then echo "the stand-in has no answer to: $*" >&2; exit 99; fi
cat "$answer.out"
cat "$answer.err" >&2
exit "$(cat "$answer.rc")"
"""


class StandIn:
    """Makes the program in a folder; the test puts that on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "answers").mkdir(parents=True)
        (folder / "microk8s").write_text(_SCRIPT)
        (folder / "microk8s").chmod(0o755)

    def answer(self, command: str, out: str = "", err: str = "", rc: int = 0, *, script: str = "") -> None:
        """Let it answer a command line so; `script` is run before."""
        for ending, text in (("out", out), ("err", err), ("rc", str(rc))):
            self._file(command, ending).write_text(text)
        if script:
            self._file(command, "sh").write_text(script)

    def replay(self, command: str, prints: str) -> None:
        """Let it answer a command line as one of microk8s_prints."""
        out, err, rc = ((PRINTS / f"{prints}.{ending}").read_text() for ending in ("out", "err", "rc"))
        self.answer(command, out, err, int(rc))

    def input(self, command: str) -> bytes:
        """Return what it was given to read."""
        return self._file(command, "in").read_bytes()

    def _file(self, command: str, ending: str) -> Path:
        return self.folder / "answers" / f"{re.sub('[^A-Za-z0-9-]', '_', command)}.{ending}"
