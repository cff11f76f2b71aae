"""Where layers are kept: one file per content, and a record of what it was made from.

    cache_folder()/images/
        blobs/sha256/0123...   layers; a file that is there is whole, and never changes
        records/tools.json     which layer it is, and size and time of everything that it was made from
        work-*                 a layer that is being made, or whose maker was killed
        lock                   held by the one that makes layers

Whoever uses a layer holds a shared lock on its file, so it is not removed under a running cluster. A layer is removed
when no record names it and nobody holds it; a record, when what it was made from has changed since.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import json
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labsupport.cluster.cache import CACHE_VARIABLE, cache_folder, exclusive, not_writable
from labsupport.cluster.images.rootfs import Rootfs, Signature, signature
from labsupport.cluster.images.tools import MissingTool
from labsupport.errors import ClusterError

Say = Callable[[str], None]
Fill = Callable[[Rootfs], list[MissingTool]]


class Hold:
    """A shared lock on a file, as long as this object lives."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        self.size_bytes = os.fstat(descriptor).st_size
        self.there = os.fstat(descriptor).st_nlink > 0


@dataclass(frozen=True)
class Layer:
    """One layer of an image: an uncompressed tar in the cache.

    Attributes:
        digest: "sha256:" and 64 hexadecimal digits, of the tar.
        size_bytes: the tar's size.
        path: where it is.
        missing_tools: what it should hold and does not.
        notes: more about what this machine could not give.
    """

    digest: str
    size_bytes: int
    path: Path
    missing_tools: tuple[MissingTool, ...] = ()
    notes: tuple[str, ...] = ()
    hold: Hold | None = field(default=None, repr=False, compare=False)


class Store:
    """The layers in one folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "images"

    def find(self, name: str) -> Layer | None:
        """Return the layer of this name if it is there and nothing that it was made from has changed; only reads."""
        record = self._record(name)
        return self._layer(record) if record and _current(record) else None

    def make(self, name: str, fill: Fill, say: Say) -> Layer:
        """Return the layer of this name; make it if there is no current one.

        Args:
            name: of the record: letters, digits and "-".
            fill: puts the files into a new layer, and returns what is missing.
            say: told what is being done, if anything is.

        Raises:
            ClusterError: this user may not write there, the disk is full, or a source cannot be read.
        """
        layer = self.find(name)
        while layer is None:  # more than once only if somebody removed the layer before this could hold it
            with self._locked(say):
                layer = self.find(name)
                if layer is None:
                    say(f"making the image layer {name}")
                    layer = self._layer(self._make(name, fill))
                    self._remove_unused()
        return layer

    def writable(self) -> bool:
        """Whether this user can add layers here."""
        try:
            for folder in (self.folder, self._blobs.parent, self._blobs, self.folder / "records"):
                if not folder.is_dir():
                    folder.mkdir(parents=True, exist_ok=True)
                    folder.chmod(0o755)  # a lab's root is nobody's owner out here, and one cache may serve a class
            with (self.folder / "lock").open("a"):
                return True
        except OSError:
            return False

    @property
    def _blobs(self) -> Path:
        return self.folder / "blobs" / "sha256"

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            record = json.loads((self.folder / "records" / f"{name}.json").read_text())
        except (OSError, ValueError):
            return None  # none, or none that can be read: the layer is made again
        return record if isinstance(record, dict) else None

    def _layer(self, record: dict[str, Any]) -> Layer | None:
        path = self._blobs / record["sha256"]
        try:
            hold = Hold(path)
        except OSError:
            return None
        if not hold.there or hold.size_bytes != record["size_bytes"]:
            return None
        missing = tuple(MissingTool(**tool) for tool in record["missing_tools"])
        return Layer(f"sha256:{record['sha256']}", hold.size_bytes, path, missing, tuple(record["notes"]), hold)

    def _make(self, name: str, fill: Fill) -> dict[str, Any]:
        rootfs = Rootfs()
        work = self.folder / "work-layer"
        try:
            missing = fill(rootfs)
            with work.open("w+b") as file:
                digest, size = rootfs.write(file)
            work.chmod(0o644)
            blob = self._blobs / digest
            if not blob.exists() or blob.stat().st_size != size:  # else somebody may hold it
                work.rename(blob)
            record = {"code": _code(), "sha256": digest, "size_bytes": size, "sources": rootfs.sources,
                      "missing_tools": [asdict(tool) for tool in missing], "notes": rootfs.notes}
            self._write_record(name, json.dumps(record))
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            raise ClusterError(
                f"the image layer {name} cannot be made", where=str(error.filename or self.folder),
                observed=error.strerror or str(error),
                next_step=f"free space there, or set {CACHE_VARIABLE} to a folder on another disk" if full else "",
            ) from error
        finally:
            work.unlink(missing_ok=True)
        return record

    def _write_record(self, name: str, text: str) -> None:
        fresh = self.folder / f"work-{name}.json"
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(self.folder / "records" / f"{name}.json")

    def _remove_unused(self) -> None:
        """Remove records of things that have changed, layers that no record names, and what killed makers left."""
        used = set()
        for path in (self.folder / "records").glob("*.json"):
            record = self._record(path.stem)
            if record and _current(record):
                used.add(record["sha256"])
            else:
                path.unlink()
        for path in self._blobs.iterdir():
            if path.name not in used and _unheld(path):
                path.unlink()
        for path in self.folder.glob("work-*"):
            path.unlink()

    @contextmanager
    def _locked(self, say: Say) -> Iterator[None]:
        if not self.writable():
            raise not_writable(self.folder, "images")
        with exclusive(self.folder, say):
            yield


def _current(record: dict[str, Any]) -> bool:
    def as_it_was(path: str, before: list[int] | None) -> bool:
        now: Signature = signature(path)
        return (list(now) if now else None) == before

    return record.get("code") == _code() and all(as_it_was(*source) for source in record["sources"].items())


def _unheld(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@functools.cache
def _code() -> str:
    """Return a hash of this package: layers that an older one made are made again."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
