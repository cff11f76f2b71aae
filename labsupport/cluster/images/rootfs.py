"""What one image layer holds, and how it becomes a tar file that is the same, byte for byte, for the same contents.

Source: the OCI image specification, layer.md.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

Signature = tuple[int, int] | None
"""Size in bytes and modification time in nanoseconds; None where there is nothing (or nothing for this user)."""

MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64"})
"""Top folders that are links into /usr in every image here, as in Debian and Fedora."""


@dataclass(frozen=True)
class Folder:
    """A folder of the image."""

    mode: int = 0o755


@dataclass(frozen=True)
class Text:
    """A file of the image whose content is known here."""

    content: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class Link:
    """A symbolic link of the image."""

    target: str


@dataclass(frozen=True)
class Copy:
    """A file of the image that is copied from this machine."""

    source: Path


Entry = Folder | Text | Link | Copy


def signature(path: Path | str) -> Signature:
    """Return what tells whether a file has changed, without reading it; links are followed."""
    try:
        found = os.stat(path)  # noqa: PTH116  a thousand of these stand between a cluster and its start
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else 0, found.st_mtime_ns


def inside(path: str | PurePosixPath) -> str:
    """Return where in an image a path of this machine is: no slash before it, and below usr where images are merged."""
    plain = str(path).strip("/")
    return f"usr/{plain}" if plain.split("/", 1)[0] in MERGED else plain


class Rootfs:
    """The files of a layer, by their path in the image, and what they were made from.

    Everything belongs to uid 0 and gid 0, and nothing is setuid: with one mapped id a node can unpack nothing else.

    Attributes:
        entries: path in the image, without a slash before it -> what is there.
        sources: path on this machine -> its signature when it was looked at. While all are as they were, so is the
            layer.
        notes: what the machine could not give, in sentences.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.sources: dict[str, Signature] = {}
        self.notes: list[str] = []

    def look(self, path: Path) -> Signature:
        """Return the signature of a path, and remember that the layer depends on it."""
        return self.sources.setdefault(str(path), signature(path))

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder; those above a file need not be added."""
        self.entries[path] = Folder(mode)

    def text(self, path: str, content: str, mode: int = 0o644) -> None:
        """Add a file with this content."""
        self.entries[path] = Text(content.encode(), mode)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self.entries[path] = Link(target)

    def copy(self, path: str, source: Path) -> None:
        """Add a copy of a file; a link is followed."""
        self.look(source)
        self.entries[path] = Copy(source)

    def copy_if_there(self, path: str, source: Path) -> bool:
        """Add a copy of a file that not every machine has, and tell whether it did."""
        there = self.look(source) is not None and os.access(source, os.R_OK)
        if there:
            self.copy(path, source)
        return there

    def copy_tree(self, path: str, source: Path, leave_out: frozenset[str] = frozenset()) -> list[str]:
        """Add all files below a folder, but for hidden ones, compiled Python, and folders with these names.

        Returns:
            what could not be added, one sentence each.
        """
        faults = []
        for folder, names, files in os.walk(source):
            self.look(Path(folder))
            links = [name for name in names if (Path(folder) / name).is_symlink()]
            names[:] = [name for name in names if not _unwanted(name) and name not in leave_out and name not in links]
            at = PurePosixPath(path) / Path(folder).relative_to(source)
            self.entries[str(at)] = Folder()
            for file in (Path(folder) / name for name in (*files, *links) if not _unwanted(name)):
                if not file.is_file():
                    faults.append(f"{file} is neither a file nor a folder of its own")
                elif not self.copy_if_there(str(at / file.name), file):
                    faults.append(f"{file} may not be read by this user")
        return faults

    def write(self, file: io.BufferedRandom) -> tuple[str, int]:
        """Write the layer as an uncompressed tar.

        Args:
            file: open for writing and reading, and empty.

        Returns:
            its SHA-256 in hexadecimal, and its size in bytes.

        Raises:
            OSError: a source cannot be read, or changed meanwhile, or the disk is full.
        """
        copied: dict[str, str] = {}
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path, entry in self._with_parents():
                _add(archive, path, entry, copied)
        size = file.tell()
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest(), size

    def _with_parents(self) -> Iterator[tuple[str, Entry]]:
        entries: dict[str, Entry] = {
            str(parent): Folder() for path in self.entries for parent in PurePosixPath(path).parents if parent.name
        }
        return iter(sorted({**entries, **self.entries}.items()))


def _unwanted(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith(".pyc")


def _add(archive: tarfile.TarFile, path: str, entry: Entry, copied: dict[str, str]) -> None:
    """Add one entry; a file that the layer has already becomes a hard link (a program with many names)."""
    header = tarfile.TarInfo(path)  # uid, gid and mtime are 0, and no names of owners
    if isinstance(entry, Folder):
        header.type, header.mode = tarfile.DIRTYPE, entry.mode
        archive.addfile(header)
    elif isinstance(entry, Link):
        header.type, header.linkname, header.mode = tarfile.SYMTYPE, entry.target, 0o777
        archive.addfile(header)
    elif isinstance(entry, Text):
        header.size, header.mode = len(entry.content), entry.mode
        archive.addfile(header, io.BytesIO(entry.content))
    else:
        real = str(entry.source.resolve())
        with entry.source.open("rb") as source:
            status = os.fstat(source.fileno())
            header.mode = 0o755 if status.st_mode & 0o100 else 0o644
            if real in copied:
                header.type, header.linkname = tarfile.LNKTYPE, copied[real]
                archive.addfile(header)
            else:
                header.size = status.st_size
                archive.addfile(header, source)
                copied[real] = path
