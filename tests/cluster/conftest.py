"""Clusters to use, stopped in the end whatever happens, and kubectl on the host."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import oracle
import pytest
import shared_cluster
from kube import Kubectl

from labsupport.cluster import Cluster
from labsupport.cluster.binaries import find_programs
from labsupport.lesson.opening import CLUSTER_VARIABLE

_numbers = itertools.count(1)


def _new_cluster() -> Cluster:
    return Cluster(f"t-{os.getpid()}-{next(_numbers)}")


def _end(cluster: Cluster) -> None:
    try:
        cluster.stop()
    finally:  # its start hangs, or its process does
        for process in oracle.descendants(os.getpid()):
            if process.is_supervisor and cluster.name in process.command_line.split("\0"):
                os.kill(process.pid, signal.SIGKILL)
    if cluster.folder.path.exists():  # it failed, and left its logs
        cluster.folder.remove()


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """The programs of a cluster, by name."""
    shared_cluster.need_programs()
    return {name: program.path for name, program in find_programs().items()}


@pytest.fixture
def replace_program(programs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                    ) -> Callable[[str, str], None]:
    """Puts a script in the place of a program, which is "$0.real": a cache without its unit, and the unit on PATH.

    The script is not asked when somebody wants to know the program's version.
    """
    def replace(name: str, script: str) -> None:
        unit = programs[name].parent
        cache, folder = tmp_path / "cache", tmp_path / "bin"
        (cache / "binaries").mkdir(parents=True)
        for entry in unit.parent.iterdir():
            if entry != unit and entry.name not in {"work", "lock"}:
                (cache / "binaries" / entry.name).symlink_to(entry)
        if (unit.parents[1] / "images").is_dir():
            (cache / "images").symlink_to(unit.parents[1] / "images")
        shutil.copytree(unit, folder, symlinks=True)  # what is on PATH is all that a lab can see of it
        (folder / name).rename(folder / f"{name}.real")
        (folder / name).write_text(f'#!/bin/bash\n[ "$1" = --version ] && exec -a {name} "$0.real" "$1"\n{script}\n')
        (folder / name).chmod(0o755)
        monkeypatch.setenv("LABSUPPORT_CACHE", str(cache))
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return replace


@contextmanager
def _lasting(**settings: Any) -> Iterator[Cluster]:
    # The oracle takes a cluster of this name for no leak, in whatever test of this worker.
    made = Cluster(f"{os.environ[CLUSTER_VARIABLE]}-{os.getpid()}-{next(_numbers)}")
    try:
        made.start(**settings)
        yield made
    finally:
        _end(made)


@pytest.fixture(scope="package")
def cluster(programs: dict[str, Path]) -> Iterator[Cluster]:
    """Two nodes with DNS, for all tests of this folder that leave a cluster as they found it."""
    with _lasting() as shared:
        yield shared


@pytest.fixture(scope="package")
def nftables_cluster(programs: dict[str, Path]) -> Iterator[Cluster]:
    """The same without DNS, and with a kube-proxy that uses nftables."""
    with _lasting(proxy_mode="nftables", addons=()) as shared:
        yield shared


@pytest.fixture
def new_cluster(programs: dict[str, Path]) -> Iterator[Callable[[], Cluster]]:
    """Makes handles on clusters of the test's own, not started."""
    made: list[Cluster] = []

    def make() -> Cluster:
        made.append(_new_cluster())
        return made[-1]

    yield make
    for each in made:
        _end(each)


@pytest.fixture(scope="package")
def new_kubectl(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cluster], Kubectl]:
    """Makes a kubectl for a cluster."""
    home = tmp_path_factory.mktemp("kubectl")
    return lambda cluster: Kubectl(programs["kubectl"], cluster.kubeconfig, home)


@pytest.fixture(scope="package")
def kubectl(cluster: Cluster, new_kubectl: Callable[[Cluster], Kubectl]) -> Kubectl:
    """kubectl for the shared cluster, from the host."""
    return new_kubectl(cluster)
