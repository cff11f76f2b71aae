"""Builds upstream's e2e.test and the ginkgo that runs it in parallel, into the cache of the cluster's programs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from labsupport.cluster.binaries import toolchain
from labsupport.cluster.binaries.process import run_watched
from labsupport.cluster.binaries.store import (
    binaries_folder,
    describe,
    entry_name,
    locked,
    publish,
    read_entry,
    work_folder,
)
from labsupport.cluster.binaries.units import UNITS, build_flags
from labsupport.errors import ClusterError

_KUBERNETES = next(unit for unit in UNITS if unit.name == "kubernetes")
PROGRAMS = replace(
    _KUBERNETES, name="conformance", module=str(Path(__file__).parent), links={}, tags=(), anywhere=False,
    outputs={"e2e.test": "k8s.io/kubernetes/test/e2e", "ginkgo": "github.com/onsi/ginkgo/v2/ginkgo"},
)
"""e2e.test is a test program, which `go build` cannot make: so `labsupport cluster build` knows nothing of it."""

Say = Callable[[str], None]


def require_programs(say: Say) -> dict[str, Path]:
    """Return e2e.test and ginkgo by name; build them if they are not in the cache.

    Raises:
        ClusterError: they cannot be built here; the compiler's last lines are in the message.
    """
    if read_entry(PROGRAMS) is None:
        with locked(say) as run:
            if read_entry(PROGRAMS) is None:  # somebody else may have built them meanwhile
                _build(run, say)
    return {name: binaries_folder() / entry_name(PROGRAMS) / name for name in PROGRAMS.outputs}


def _build(run: Path, say: Say) -> None:
    work, result, temporary = work_folder(), run / entry_name(PROGRAMS), run / "tmp"
    remarks: list[str] = []
    go = toolchain.go_on_path(toolchain.needed_go([PROGRAMS]), remarks) or toolchain.downloaded_go(work, say)
    for folder in (result, temporary):
        folder.mkdir()
    environment = toolchain.environment(PROGRAMS, work, temporary)
    for name, package in PROGRAMS.outputs.items():
        say(f"building {name} with Go {go.version}: minutes, if nothing of it has been compiled before")
        command = ["test", "-c", "-vet=off"] if name.endswith(".test") else ["build"]
        done = run_watched([str(go.go), *command, "-o", str(result / name), *build_flags(PROGRAMS), package],
                           cwd=Path(PROGRAMS.module), environment=environment)
        if done.exit_status:
            raise ClusterError(f"{name} cannot be built", where=PROGRAMS.module, command=f"go {command[0]} {package}",
                               exit_status=done.exit_status, log_tail=done.tail(),
                               next_step="read the compiler's last lines; a full disk or no network are usual causes")
    publish(describe(result, PROGRAMS, go.version))
    for caches in ("modules", "objects", "toolchain"):
        shutil.rmtree(work / caches, ignore_errors=True)
