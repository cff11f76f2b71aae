"""Finds the cluster's programs: in the cache, in the Python environment, on PATH."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from labsupport.cluster.binaries.store import Entry, read_entry
from labsupport.cluster.binaries.units import UNITS, Unit
from labsupport.errors import ClusterError

_CNI_FOLDERS = (Path("/opt/cni/bin"), Path("/usr/lib/cni"))


@dataclass(frozen=True)
class Program:
    """A program of the cluster, ready to run.

    Args:
        name: what it is called, as in "kube-apiserver".
        path: where it is, absolute.
        version: without a leading v.
        source: "built" by labsupport, or found in the Python "environment" or on "PATH".
        size_bytes: of its file; the components of Kubernetes share one file.
        note: what a reader of the list should know.
    """

    name: str
    path: Path
    version: str
    source: Literal["PATH", "environment", "built"]
    size_bytes: int
    note: str = ""


@dataclass
class Survey:
    """What is there and what is not.

    Args:
        programs: name -> program.
        missing: the units that have to be built.
        remarks: one sentence per thing that was found and is not used, with the reason.
        entries: the entries of the cache that are used.
    """

    programs: dict[str, Program] = field(default_factory=dict)
    missing: list[Unit] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def missing_names(self) -> list[str]:
        """Return the names of the programs that are not there."""
        return [name for unit in self.missing for name in unit.programs if name not in self.programs]


def find_programs() -> dict[str, Program]:
    """Return the programs of the cluster that are there, by name.

    The cache comes first: it holds the versions that the cluster was tested with, and to look there starts no
    process. A unit that is not there is looked for on PATH, which means to ask each program for its version.

    Effects and privileges: reads; needs no network and writes nothing.
    """
    return survey(UNITS).programs


def missing_programs() -> list[str]:
    """Return the names of the programs that `require_programs` would have to build."""
    return survey(UNITS).missing_names()


def survey(units: Iterable[Unit], *, only_cache: bool = False) -> Survey:
    """Look for the programs of some units, and say why what was found is not used."""
    result = Survey()
    for unit in units:
        entry = cached(unit, result.remarks)
        if entry:
            result.entries.append(entry)
            result.programs.update(programs_of(entry))
            continue
        found = {} if only_cache or not unit.anywhere else _elsewhere(unit, result.remarks)
        result.programs.update(found)
        if len(found) < len(unit.programs):
            result.missing.append(unit)
    return result


def cached(unit: Unit, remarks: list[str]) -> Entry | None:
    """Return the entry of the unit, or of what is built in its place; damage goes into `remarks`."""
    candidate: Unit | None = unit
    while candidate:
        try:
            entry = read_entry(candidate)
        except ClusterError as error:
            remarks.append(f"{error.where} is not used: {error.observed}")
            entry = None
        if entry:
            return entry
        candidate = candidate.fallback
    return None


def programs_of(entry: Entry) -> dict[str, Program]:
    """Return the programs of an entry of the cache, by name."""
    unit = entry.unit
    return {
        name: Program(name, entry.folder / name, unit.version, "built", entry.sizes[unit.links.get(name, name)],
                      unit.note)
        for name in unit.programs
    }


def _elsewhere(unit: Unit, remarks: list[str]) -> dict[str, Program]:
    """Return what the environment and PATH have of the unit, at acceptable versions."""
    groups = [unit.programs] if unit.together else [[name] for name in unit.programs]
    found: dict[str, Program] = {}
    for group in groups:
        for folder in _folders(unit):  # PATH may name folders that this user may not enter: Path.is_file would raise
            paths = {name: folder / name for name in group}
            if not all(os.path.isfile(path) and os.access(path, os.X_OK) for path in paths.values()):  # noqa: PTH113
                continue
            programs = _accepted(paths, folder, remarks)
            if programs:
                found.update(programs)
                break
    return found


def _folders(unit: Unit) -> list[Path]:
    on_path = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part.startswith("/")]
    cni = _CNI_FOLDERS if unit.name == "cni" else ()
    by_place: dict[str, Path] = {}
    for folder in (_environment_folder(), *on_path, *cni):
        by_place.setdefault(os.path.realpath(folder), folder)  # each once, although /bin may be a link to /usr/bin
    return list(by_place.values())


def _environment_folder() -> Path:
    return Path(sys.prefix) / "bin"


def _accepted(paths: dict[str, Path], folder: Path, remarks: list[str]) -> dict[str, Program]:
    """Return programs of one folder, or nothing if one of them is not acceptable."""
    from labsupport.cluster.binaries.versions import ask, fault  # noqa: PLC0415 - imports subprocess

    versions: dict[str, str] = {}
    for name, path in paths.items():
        version = ask(name, path)
        reason = fault(name, path, version)
        if reason:
            remarks.append(f"{path} is not used: {reason}")
            return {}
        versions[name] = version
    if len(set(versions.values())) > 1:
        remarks.append(f"{folder} is not used: {', '.join(f'{name} {v}' for name, v in versions.items())} differ")
        return {}
    source: Literal["PATH", "environment"] = "environment" if folder == _environment_folder() else "PATH"
    return {name: Program(name, path, versions[name], source, path.stat().st_size) for name, path in paths.items()}
