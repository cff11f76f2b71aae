"""`labsupport cluster pack` and `unpack`: one builds, a whole class or an image of a machine gets the programs.

An archive is a tar file, gzip-compressed or not. Its first member lists every file with its size and SHA-256 sum. The
sums tell damage, not malice: who unpacks an archive will run the programs in it, so it must come from somebody trusted.
Images are not in it: each machine makes them from its own files, in seconds.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from labsupport.cluster.binaries.find import survey
from labsupport.cluster.binaries.process import to_stderr
from labsupport.cluster.binaries.staging import Staging
from labsupport.cluster.binaries.store import CONTENTS, verify
from labsupport.cluster.binaries.units import UNITS, go_architecture
from labsupport.cluster.cache import cache_folder
from labsupport.errors import ClusterError

_LIST = "labsupport-cluster.json"
_FORMAT = 1
_LIST_LIMIT_BYTES = 16_000_000
_CHUNK_BYTES = 1 << 20
_GZIP_LEVEL = 1  # 2.6 times smaller in 10 s; higher levels cost minutes for a few percent
_SUFFIXES = {".tar": "", ".tar.gz": "gz", ".tgz": "gz"}


@dataclass(frozen=True)
class _File:
    """What the list of an archive says of one file."""

    size_bytes: int
    sha256: str


def pack(file: Path | str, progress: Callable[[str], None] = to_stderr) -> None:
    """Write all built programs into one file.

    Args:
        file: where to; its suffix .tar, .tar.gz or .tgz says whether it is compressed.
        progress: gets one line at a time.

    Raises:
        ClusterError: the cache is incomplete or damaged, or the file cannot be written; then it is not there.
    """
    target = Path(file)
    compression = _compression(target)
    members = _members(progress)
    listed = {name: _File(path.stat().st_size, _sha256(path)) for name, path in members.items()}
    table = {"format": _FORMAT, "architecture": go_architecture(),
             "files": {name: vars(described) for name, described in listed.items()}}
    total = sum(described.size_bytes for described in listed.values())
    progress(f"packing {len(members)} files, {total / 1e6:.0f} MB")
    try:
        with NamedTemporaryFile(dir=target.absolute().parent, prefix=f".{target.name}.", delete=False) as draft:
            path = Path(draft.name)
            try:
                _write(draft, compression, json.dumps(table).encode(), members)
                path.chmod(0o644)
                path.rename(target)
            finally:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise ClusterError("the archive cannot be written", where=str(target), observed=error.strerror or str(error),
                           next_step="choose a place that you may write to, with room for it") from None
    progress(f"{target}: {target.stat().st_size / 1e6:.0f} MB")


def _compression(target: Path) -> str:
    for suffix, compression in _SUFFIXES.items():
        if target.name.endswith(suffix):
            return compression
    raise ClusterError("the archive's name does not say what it is", where=str(target),
                       expected=" or ".join(_SUFFIXES), next_step=f"labsupport cluster pack {target}.tar.gz")


def _members(progress: Callable[[str], None]) -> dict[str, Path]:
    """Return name in the archive -> file; the name is the entry's and the file's."""
    found = survey(UNITS, only_cache=True)
    for remark in found.remarks:
        progress(remark)
    if found.missing:
        raise ClusterError(
            "the cache is not complete: an archive holds only programs that labsupport has built",
            where=str(cache_folder()), observed="missing: " + ", ".join(unit.name for unit in found.missing),
            next_step="labsupport cluster build; programs on PATH are not packed: build with a PATH without them",
        )
    members = {}
    for entry in found.entries:
        verify(entry)
        for name in (CONTENTS, *entry.sums):
            members[f"{entry.folder.name}/{name}"] = entry.folder / name
    return members


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(draft: IO[bytes], compression: str, table: bytes, members: dict[str, Path]) -> None:
    stream = gzip.GzipFile(fileobj=draft, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0) if compression else draft
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        head = tarfile.TarInfo(_LIST)
        head.size = len(table)
        archive.addfile(head, io.BytesIO(table))
        for name, path in members.items():
            member = tarfile.TarInfo(name)
            member.size = path.stat().st_size
            member.mode = path.stat().st_mode & 0o755
            with path.open("rb") as file:
                archive.addfile(member, file)
    if stream is not draft:
        stream.close()


def unpack(file: Path | str, progress: Callable[[str], None] = to_stderr) -> None:
    """Put what an archive of `pack` holds into the cache; nothing of it appears there before all of it is verified.

    Args:
        file: the archive.
        progress: gets one line at a time.

    Raises:
        ClusterError: the archive is damaged, of another architecture or of another version of labsupport, or asks for
            what no archive of ours would; the cache is as it was.
    """
    source = Path(file)
    try:
        with tarfile.open(source, "r:*") as archive:
            listed = _read_list(archive, source)
            with Staging(source, progress) as staging:
                staging.reserve(sum(described.size_bytes for described in listed.values()))
                _extract(archive, source, listed, staging)
                staging.publish()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _unusable(source, "it is damaged", str(error) or type(error).__name__) from None
    except OSError as error:
        raise ClusterError("the archive cannot be unpacked", where=str(source), observed=str(error),
                           next_step="mend what it names, and try again") from None


def _read_list(archive: tarfile.TarFile, source: Path) -> dict[str, _File]:
    """Return the archive's list of files: name -> what it must be."""
    head = archive.next()
    content = archive.extractfile(head) if head and head.name == _LIST and head.isreg() else None
    if head is None or content is None or head.size > _LIST_LIMIT_BYTES:
        raise _unusable(source, "it was not made by `labsupport cluster pack`", f"its first file is not {_LIST}")
    try:
        table = json.loads(content.read())
        if table["format"] != _FORMAT:
            raise _unusable(source, "it was made by another version of labsupport", f"format {table['format']}")
        if table["architecture"] != go_architecture():
            raise _unusable(source, "it is for another architecture", str(table["architecture"]), go_architecture())
        return {str(name): _File(int(file["size_bytes"]), str(file["sha256"]))
                for name, file in table["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(source, "it is damaged", f"{_LIST}: {error!r}") from None


def _extract(archive: tarfile.TarFile, source: Path, listed: dict[str, _File], staging: Staging) -> None:
    expected = dict(listed)
    for member in archive:
        if member.name == _LIST:
            continue
        described = expected.pop(member.name, None)
        content = archive.extractfile(member) if member.isreg() else None
        if described is None or content is None:
            raise _unusable(source, "it has a file that must not be unpacked", repr(member.name))
        digest = hashlib.sha256()
        with staging.create(member.name) as copy:
            while chunk := content.read(_CHUNK_BYTES):
                if copy.tell() + len(chunk) > described.size_bytes:
                    break
                copy.write(chunk)
                digest.update(chunk)
            size = copy.tell()
        if size != described.size_bytes or digest.hexdigest() != described.sha256:
            raise _unusable(source, "it is damaged", f"{member.name} does not have its SHA-256 sum")
    if expected:
        raise _unusable(source, "it is damaged", f"it ends before {next(iter(expected))}")


def _unusable(source: Path, why: str, observed: str, expected: str = "") -> ClusterError:
    return ClusterError(f"the archive cannot be used: {why}", where=str(source), observed=observed, expected=expected,
                        next_step="get it anew from whoever packed it, with the same version of labsupport")
