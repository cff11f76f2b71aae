"""Log files of components: bounded, so that a cluster that runs for weeks fills no disk."""

from __future__ import annotations

import threading
from io import FileIO
from pathlib import Path

LONGEST_BYTES = 8 << 20
SHOWN_LINES = 12


class Log:
    """A file that takes what a component prints; when it gets too long, it becomes NAME.1 and a new one begins.

    Args:
        path: where; the folder exists. Readable for its owner only, since arguments and tokens may be printed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = _open(path)

    def write(self, data: bytes) -> None:
        """Append bytes. A disk that is full loses them, and the component goes on."""
        with self._lock:
            if self._file.closed:
                return
            try:
                self._file.write(data)
            except OSError:  # no space left: a log is not worth a cluster
                return
            if self._file.tell() > LONGEST_BYTES:
                self._file.close()
                self.path.replace(self.path.with_name(self.path.name + ".1"))
                self._file = _open(self.path)

    def tail(self, lines: int = SHOWN_LINES) -> str:
        """Return the last lines."""
        return tail(self.path, lines)

    def close(self) -> None:
        """Take nothing any more."""
        with self._lock:
            self._file.close()


def tail(path: Path, lines: int = SHOWN_LINES) -> str:
    """Return the last lines of a log, "" when there is none."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - 400 * lines))
            text = file.read().decode(errors="backslashreplace")
    except FileNotFoundError:
        return ""
    return "\n".join(line[:300] for line in text.splitlines()[-lines:])


def _open(path: Path) -> FileIO:
    path.touch(0o600)
    return path.open("ab", buffering=0)
