"""Where an archive is unpacked to before any of it becomes visible in the cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO

from labsupport.cluster.binaries.store import CONTENTS, Entry, entry_name, locked, publish, read_entry, verify
from labsupport.cluster.binaries.units import UNITS, Unit
from labsupport.cluster.cache import cache_folder
from labsupport.errors import ClusterError


class Staging:
    """A private folder for entries of the cache; `publish` moves them there once all are right.

    Args:
        source: the archive, for messages.
        progress: gets one line at a time.
    """

    def __init__(self, source: Path, progress: Callable[[str], None]) -> None:
        self._source = source
        self._progress = progress
        self._held = ExitStack()
        self._folder = Path()
        self._units = _units_by_entry()

    def __enter__(self) -> Staging:
        self._folder = self._held.enter_context(locked(self._progress))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._held.close()

    def reserve(self, size_bytes: int) -> None:
        """Say now, not half way, that the disk has no room."""
        free = shutil.disk_usage(self._folder).free
        if free < size_bytes:
            raise ClusterError("there is no room to unpack the archive", where=str(cache_folder()),
                               expected=f"{size_bytes / 1e6:.0f} MB", observed=f"{free / 1e6:.0f} MB free",
                               next_step="make room, or set LABSUPPORT_CACHE to a folder with more")

    def create(self, name: str) -> IO[bytes]:
        """Open a new file for a program or a list of contents.

        Only names that this version of labsupport would have given are taken, so none can lead elsewhere.

        Args:
            name: ENTRY/FILE, as the archive has it.

        Raises:
            ClusterError: it is none of ours.
        """
        folder, _, file = name.partition("/")
        unit = self._units.get(folder)
        if unit is None or file not in {CONTENTS, *unit.outputs}:
            raise ClusterError("the archive cannot be used: its programs are not those of this labsupport",
                               where=str(self._source), observed=repr(name), expected=", ".join(self._units),
                               next_step="pack and unpack with the same version of labsupport")
        path = self._folder / folder / file
        path.parent.mkdir(exist_ok=True)
        return path.open("xb")

    def publish(self) -> None:
        """Check the entries as a whole, then move them to their places."""
        entries = [self._checked(folder) for folder in sorted(self._folder.iterdir())]
        for entry in entries:
            publish(entry)
            self._progress(f"unpacked {entry.unit.name} {entry.unit.version}")

    def _checked(self, folder: Path) -> Entry:
        unit = self._units[folder.name]
        folder.chmod(0o755)
        for name in unit.outputs:
            if (folder / name).is_file():
                (folder / name).chmod(0o755)
        for link, target in unit.links.items():
            (folder / link).symlink_to(target)
        (folder / CONTENTS).touch(mode=0o644)
        entry = read_entry(unit, folder)
        if entry is None:
            raise ClusterError("the archive cannot be used: it has only a part of a unit", where=str(self._source),
                               observed=unit.name, next_step="get it anew from whoever packed it")
        verify(entry)
        return entry


def _units_by_entry() -> dict[str, Unit]:
    """Return the name of each entry that this version of labsupport knows -> its unit."""
    units = [*UNITS, *(unit.fallback for unit in UNITS if unit.fallback)]
    return {entry_name(unit): unit for unit in units}
