"""The cluster that notebooks share while tests run, under a name of its own.

The first notebook that needs it starts it, as in class; the next ones find it running; the end of the session stops it.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from labsupport.cluster import Cluster
from labsupport.cluster.backends import choice
from labsupport.cluster.binaries import missing_programs
from labsupport.cluster.folder import running_clusters
from labsupport.lesson.opening import CLUSTER_VARIABLE


@cache
def notebooks() -> tuple[str, ...]:
    """Return the notebooks that open a cluster, by name without suffix."""
    folder = Path(__file__).parent.parent / "notebooks"
    return tuple(sorted(path.stem for path in folder.glob("*.ipynb")
                        if "open_cluster(" in path.read_text(encoding="utf-8")))


def choose_name() -> None:
    """Make notebooks of this session use a cluster of its own; xdist's workers find the variable set already."""
    os.environ.setdefault(CLUSTER_VARIABLE, _name_of_this_session())
    os.environ.pop(choice.VARIABLE, None)  # tests start and break clusters: never the one that a developer works with


def stop() -> None:
    """Stop the cluster if it is this session's own, and those that notebooks have for themselves."""
    name = os.environ.pop(CLUSTER_VARIABLE)  # from now on the oracle counts them among what is left
    if name == _name_of_this_session():
        for folder in running_clusters():
            if folder.name == name or folder.name.startswith(f"{name}-"):
                Cluster(folder.name).stop()


def inotify_instances() -> int:
    """Return how many inotify instances a user may have; a cluster of two nodes takes 31."""
    return int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())


def need_programs() -> None:
    """Fail the test if the cluster's programs are not there; `make test` builds them first."""
    missing = _missing()
    if missing:
        pytest.fail(f"programs of the cluster are missing: {missing}; build them: labsupport cluster build")


@cache
def _missing() -> str:
    return ", ".join(missing_programs())


def _name_of_this_session() -> str:
    return f"tests-{os.getpid()}"
