"""Builds the programs that are missing, from Go modules whose every byte is pinned by a go.sum."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from labsupport.cluster.binaries import toolchain
from labsupport.cluster.binaries.find import Program, Survey, survey
from labsupport.cluster.binaries.process import run_watched, to_stderr
from labsupport.cluster.binaries.store import describe, entry_name, locked, publish, verify, work_folder
from labsupport.cluster.binaries.units import UNITS, Unit, build_flags, modules_folder
from labsupport.errors import ClusterError

_SAY_EVERY_S = 10.0
_BIG_BUILD_BYTES = 10_000_000_000
"""What the Go caches and temporary files of a build with Kubernetes grow to."""
_SMALL_BUILD_BYTES = 3_000_000_000


def require_programs(progress: Callable[[str], None] = to_stderr) -> dict[str, Program]:
    """Return all programs of the cluster, by name; build what is missing.

    Args:
        progress: gets one line at a time: what is built, how far it is, and what was found and is not used.

    Raises:
        ClusterError: a program is missing and cannot be built here; the message says how to get it.

    Effects and privileges: none where everything is there. Else fills the cache, which takes minutes, gigabytes of
    disk space for that time, and a Go module proxy; Ctrl-C ends it, and the next call goes on from there.
    """
    return require(UNITS, progress).programs


def require(units: Sequence[Unit], progress: Callable[[str], None], *, thorough: bool = False) -> Survey:
    """Build the missing ones of these units and return what is there then.

    Args:
        units: what has to be there.
        progress: gets one line at a time.
        thorough: also read every built program, and build anew what is damaged, and what was built without libseccomp
            where that has come since.
    """
    found = survey(units)
    for remark in found.remarks:
        progress(remark)
    if not _to_build(found, units, progress, thorough=thorough):
        return found
    with locked(progress) as run:
        # Somebody else may have built them meanwhile.
        to_build = _to_build(survey(units), units, lambda _: None, thorough=thorough)
        if to_build:
            try:
                _build_all(to_build, run, progress)
            except OSError as error:  # of a disk that is full, or a file server that has gone
                raise ClusterError("the cache of programs cannot be filled", where=str(work_folder()),
                                   observed=str(error), next_step="mend what it names, and try again") from error
    return survey(units)


def _to_build(found: Survey, units: Sequence[Unit], progress: Callable[[str], None], *, thorough: bool) -> list[Unit]:
    bad = set()
    for entry in found.entries if thorough else ():
        if entry.unit not in units and toolchain.has_libseccomp():
            bad.add(entry.unit.name)
        try:
            verify(entry)
        except ClusterError as error:
            progress(f"{error.where} is not used: {error.observed}")
            bad.add(entry.unit.name)
    return [unit for unit in units if unit in found.missing or unit.name in bad]


def _build_all(units: list[Unit], run: Path, progress: Callable[[str], None]) -> None:
    chosen = [unit.fallback if unit.fallback and not toolchain.has_libseccomp() else unit for unit in units]
    go = _check_machine(chosen, progress)
    for number, unit in enumerate(chosen, 1):
        label = f"[{number}/{len(chosen)}] {unit.name} {unit.version}"
        _Build(unit, go, run, label, progress).run()
    work = work_folder()
    progress("removing the Go caches of this build")
    for folder in (work / "modules", work / "objects", work / "toolchain"):
        shutil.rmtree(folder, ignore_errors=True)


def _check_machine(units: list[Unit], progress: Callable[[str], None]) -> toolchain.Toolchain:
    """Return the Go toolchain, or say all that is missing here at once."""
    faults = []
    if any(unit.uses_c for unit in units) and not toolchain.c_compiler():
        faults.append(("a C compiler for runc", "apt install gcc libc6-dev libseccomp-dev, or put a runc on PATH"))
    is_fresh = not (os.environ.get("GOCACHE") or (work_folder() / "objects").exists())
    big = any(unit.module == "kubernetes" for unit in units)
    needed = (_BIG_BUILD_BYTES if big else _SMALL_BUILD_BYTES) if is_fresh else 0
    free = shutil.disk_usage(work_folder()).free
    if free < needed:
        faults.append((f"{needed / 1e9:.1f} GB of disk space for the time of the build; {work_folder()} has "
                       f"{free / 1e9:.1f} GB", "make room, or set LABSUPPORT_CACHE to a folder with more"))
    if faults:
        raise ClusterError(
            f"the cluster's programs are missing ({', '.join(unit.name for unit in units)}), and cannot be built here",
            expected="; ".join(what for what, _ in faults), next_step="; ".join(how for _, how in faults),
        )
    remarks: list[str] = []
    go = toolchain.go_on_path(toolchain.needed_go(units), remarks)
    for remark in remarks:
        progress(remark)
    go = go or toolchain.downloaded_go(work_folder(), progress)
    progress(f"building {', '.join(unit.name for unit in units)} with Go {go.version} ({go.go})")
    return go


class _Build:
    """The build of one unit: count its packages, compile them, put the programs into the cache."""

    def __init__(self, unit: Unit, go: toolchain.Toolchain, run: Path, label: str,
                 progress: Callable[[str], None]) -> None:
        self._unit = unit
        self._go = go
        self._label = label
        self._progress = progress
        self._result = run / entry_name(unit)
        self._temporary = run / "tmp"
        self._environment = toolchain.environment(unit, work_folder(), self._temporary)
        self._started = self._said = time.monotonic()
        self._downloads = 0
        self._packages: set[str] = set()
        self._compiled = 0
        self._state = self._fetching

    def run(self) -> None:
        self._result.mkdir()
        self._temporary.mkdir(exist_ok=True)
        self._progress(f"{self._label}: fetching modules")
        self._go_command(["list", "-deps", *self._flags(), *self._unit.outputs.values()], self._take_package)
        self._progress(f"{self._label}: compiling {len(self._packages)} packages")
        self._state = self._compiling
        # A name that differs from the package's last part needs -o FILE, and then there is only one.
        target = str(self._result) + "/" + (next(iter(self._unit.outputs)) if len(self._unit.outputs) == 1 else "")
        self._go_command(["build", "-v", "-o", target, *self._flags(), *self._unit.outputs.values()],
                         self._take_compiled)
        entry = describe(self._result, self._unit, self._go.version)
        publish(entry)
        size = sum(entry.sizes.values()) / 1e6
        self._progress(f"{self._label}: done in {self._seconds():.0f} s, {size:.0f} MB")

    def _flags(self) -> list[str]:
        flags = build_flags(self._unit)
        if self._unit.uses_c and toolchain.can_link_statically(self._unit):
            flags[-1] += " -extldflags=-static"
            flags = [f"-tags={','.join([*self._unit.tags, 'netgo', 'osusergo'])}",
                     *(flag for flag in flags if not flag.startswith("-tags="))]
        return flags

    def _go_command(self, arguments: list[str], take: Callable[[str], bool]) -> None:
        command = [str(self._go.go), *arguments]
        folder = modules_folder() / self._unit.module
        result = run_watched(command, cwd=folder, environment=self._environment, take=take, tick=self._tick)
        if result.exit_status:
            raise ClusterError(
                f"building {self._unit.name} {self._unit.version} failed", where=str(folder),
                command=f"go {arguments[0]}", exit_status=result.exit_status, log_tail=result.tail(),
                next_step=_advice(result.tail()),
            )

    def _take_package(self, line: str) -> bool:
        if line.startswith("go: downloading "):
            self._downloads += 1
            return True
        if line.startswith("go: ") or " " in line:
            return False
        self._packages.add(line)
        return True

    def _take_compiled(self, line: str) -> bool:
        is_package = line in self._packages
        self._compiled += is_package
        if line in self._unit.outputs.values():  # a program's main package comes after all that it imports
            self._state = self._linking
        return is_package

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._said < _SAY_EVERY_S:
            return
        self._said = now
        self._progress(f"{self._label}: {self._state()}, {self._seconds():.0f} s")

    def _fetching(self) -> str:
        return f"{self._downloads} modules fetched"

    def _compiling(self) -> str:
        return f"{self._compiled} of {len(self._packages)} packages compiled"

    def _linking(self) -> str:
        return "all packages compiled, linking"

    def _seconds(self) -> float:
        return time.monotonic() - self._started


def _advice(tail: str) -> str:
    if "no space left on device" in tail:
        return f"make room on the disk of {work_folder()}, and try again: what is compiled is kept"
    if any(word in tail for word in ("dial tcp", "no such host", "i/o timeout", "proxyconnect", "connection refused",
                                     "module lookup disabled")):
        return "mend the network, or set GOPROXY to a Go module proxy that answers, and try again"
    return "read the compiler's last lines, mend what they name, and try again: what is compiled is kept"
