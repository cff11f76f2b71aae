"""The cache of built programs: one folder per unit and content, which is there whole or not at all.

    cache_folder()/binaries/
        etcd-3.6.13-0123456789abcdef/     the name ends with a hash of what it was built from
            contents.json                 names, sizes and SHA-256 sums
            etcd
        work/                             of a build that is under way, or that failed
        lock
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labsupport.cluster.binaries.units import Unit, build_flags, go_architecture, modules_folder
from labsupport.cluster.cache import cache_folder, exclusive, not_writable
from labsupport.errors import ClusterError

CONTENTS = "contents.json"


@dataclass(frozen=True)
class Entry:
    """A folder of the cache, as its contents.json describes it.

    Args:
        folder: where it is.
        unit: what it holds.
        sizes: file name -> bytes.
        sums: file name -> SHA-256 in hexadecimal.
        go: the version of the Go toolchain that built it.
    """

    folder: Path
    unit: Unit
    sizes: dict[str, int]
    sums: dict[str, str]
    go: str


def binaries_folder() -> Path:
    """Return the folder of all entries; it need not exist."""
    return cache_folder() / "binaries"


def entry_name(unit: Unit) -> str:
    """Return the name of the unit's entry: the same for the same sources, flags and architecture, on every machine."""
    folder = modules_folder() / unit.module
    digest = hashlib.sha256()
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".go", ".mod", ".sum"})
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    plan = [go_architecture(), unit.outputs, unit.links, unit.uses_c, build_flags(unit)]
    digest.update(json.dumps(plan, sort_keys=True).encode())
    return f"{unit.name}-{unit.version}-{digest.hexdigest()[:16]}"


def read_entry(unit: Unit, folder: Path | None = None) -> Entry | None:
    """Return the unit's entry, or None where there is none.

    Reads one small file and asks for the size of each program, which tells a truncated one; `verify` reads them.

    Raises:
        ClusterError: the entry is damaged.
    """
    folder = folder or binaries_folder() / entry_name(unit)
    try:
        text = (folder / CONTENTS).read_text()
    except FileNotFoundError:
        if folder.is_dir():
            raise _damaged(folder, f"no {CONTENTS}") from None
        return None
    except OSError as error:
        raise _damaged(folder, f"{CONTENTS}: {error.strerror}") from None
    try:
        contents = json.loads(text)
        sizes = {name: int(file["size_bytes"]) for name, file in contents["files"].items()}
        sums = {name: str(file["sha256"]) for name, file in contents["files"].items()}
        entry = Entry(folder, unit, sizes, sums, str(contents["go"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(folder, f"{CONTENTS} is not what was written") from None
    _check_sizes(entry)
    return entry


def _check_sizes(entry: Entry) -> None:
    for name in (*entry.unit.outputs, *entry.unit.links):
        path = entry.folder / name
        expected = entry.sizes.get(entry.unit.links.get(name, name))
        try:
            observed = path.stat().st_size
        except OSError as error:
            raise _damaged(entry.folder, f"{name}: {error.strerror}") from None
        if observed != expected:
            raise _damaged(entry.folder, f"{name} has {observed} bytes instead of {expected}")
        if not os.access(path, os.X_OK):
            raise _damaged(entry.folder, f"{name} is not executable")


def verify(entry: Entry) -> None:
    """Read every program of the entry and compare it with its SHA-256 sum.

    Raises:
        ClusterError: a program is not what was built.
    """
    for name, expected in entry.sums.items():
        with (entry.folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise _damaged(entry.folder, f"{name} does not have its SHA-256 sum")


def _damaged(folder: Path, fault: str) -> ClusterError:
    return ClusterError("an entry of the cache is damaged", where=str(folder), observed=fault,
                        next_step="labsupport cluster build")


def describe(folder: Path, unit: Unit, go: str) -> Entry:
    """Add links and contents.json to a folder with the unit's built programs, and make it readable for everybody."""
    files = {}
    for name in unit.outputs:
        path = folder / name
        path.chmod(0o755)
        with path.open("rb") as file:
            files[name] = {"size_bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
            os.fsync(file.fileno())
    for link, target in unit.links.items():
        (folder / link).symlink_to(target)
    contents = {"unit": unit.name, "version": unit.version, "architecture": go_architecture(), "go": go, "files": files}
    (folder / CONTENTS).write_text(json.dumps(contents, indent=1) + "\n")
    (folder / CONTENTS).chmod(0o644)
    folder.chmod(0o755)
    entry = read_entry(unit, folder)
    if entry is None:
        raise _damaged(folder, "it has gone")
    return entry


def publish(entry: Entry) -> None:
    """Move a described folder to its place in the cache, in one step; a damaged one there gives way.

    The folder has the entry's name already, that of the sources it was built from: they may have changed since.
    The caller holds `locked()`. Programs that run from a damaged entry go on: their files live until they end.
    """
    place = binaries_folder() / entry.folder.name
    if place.exists():
        place.rename(entry.folder.with_name(entry.folder.name + ".damaged"))
    entry.folder.rename(place)


def work_folder() -> Path:
    """Return the folder in which builds happen; only who holds `locked()` may write there."""
    return binaries_folder() / "work"


@contextmanager
def locked(say: Callable[[str], None]) -> Iterator[Path]:
    """Give a fresh folder to work in, while nobody else changes the cache; it goes away at the end.

    Args:
        say: told once if somebody else holds the lock, since a build may take minutes.

    Raises:
        ClusterError: this user may not write to the cache.
    """
    try:
        work_folder().mkdir(parents=True, exist_ok=True)
        (binaries_folder() / "lock").touch()
    except OSError as error:
        raise not_writable(binaries_folder(), "programs", error.strerror or str(error)) from None
    with exclusive(binaries_folder(), say):
        for left in work_folder().glob("run-*"):  # of a builder that was killed
            shutil.rmtree(left, ignore_errors=True)
        run = Path(tempfile.mkdtemp(prefix="run-", dir=work_folder()))
        try:
            yield run
        finally:
            shutil.rmtree(run, ignore_errors=True)
