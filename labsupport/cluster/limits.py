"""The control group of a cluster, which lets its nodes limit what containers use.

    PARENT/labsupport-UID-NAME      the root of the lab's cgroup namespace; owned by the lab's root, without processes
        lab/                        the processes of the lab, the control plane and the nodes' programs among them
        node1/                      the containers of node1, one cgroup each, made by runc
        node2/

A cgroup that gives controllers to those below it may have no processes of its own; and the root of a cgroup namespace
is the cgroup of whoever makes the namespace. So the cluster's process goes into it, makes the lab, leaves the lab's
processes in `lab` and goes back.

Source: cgroups(7), cgroup_namespaces(7); Documentation/admin-guide/cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from labsupport.cluster.folder import cluster_folder
from labsupport.doctor.cgroups import Place
from labsupport.errors import ClusterError
from labsupport.waiting import wait_until

MOST_CGROUPS = 10000
GONE_WITHIN_S = 10.0
_PREFIX = f"labsupport-{os.geteuid()}-"
_DELEGATED = ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control")


class Limits:
    """What a cluster can limit, and the cgroup for it.

    Args:
        name: the cluster's; this process holds its lock.
        place: where the cgroup is made.
        owner: the host's id of the lab's root.

    Attributes:
        controllers: the kinds of limits that are enforced: of "cpu", "memory", "pids".
        missing: why others are not; "" if all are.

    Effects and privileges: none before `root_of_labs`, which needs what `labsupport.doctor.cgroups.Place` promises.
    """

    def __init__(self, name: str, place: Place, owner: int) -> None:
        self.controllers = place.controllers
        self.missing = place.missing
        self._place = place
        self._owner = owner
        self._path = (place.parent or Path()) / (_PREFIX + name)

    @contextlib.contextmanager
    def root_of_labs(self) -> Iterator[None]:
        """Within it, the lab that this process makes lives in the cgroup.

        Where the kernel refuses any of it, the lab goes without limits, and `missing` says why.
        """
        self._try(self._make, self._enter)
        try:
            yield
        finally:
            self._try(self._leave)
        self._try(self._enable)

    def end(self) -> None:
        """Remove the cgroup, and end what should still be in it."""
        if self._place.parent and self._path.is_dir():
            _move(os.getpid(), self._place.own)  # an interrupted start may have left it in there
            (self._path / "cgroup.kill").write_text("1")
            wait_until(lambda: not _populated(self._path), what=f"{self._path} to be empty", deadline_s=GONE_WITHIN_S)
            _remove(self._path)

    def _try(self, *steps: Callable[[], None]) -> None:
        try:
            for step in steps:
                if self.controllers:
                    step()
        except OSError as error:
            self.controllers, self.missing = (), f"the kernel refuses a cgroup in {self._place.parent}: {error}"

    def _make(self) -> None:
        self.end()
        for stale in self._path.parent.glob(_PREFIX + "*"):  # of clusters whose process was killed
            with contextlib.suppress(OSError, ClusterError):  # another start was faster; or it is no cluster's
                if not cluster_folder(stale.name.removeprefix(_PREFIX)).running() and not _populated(stale):
                    _remove(stale)
        for folder in (self._path, self._path / "lab"):
            folder.mkdir()
        (self._path / "cgroup.max.descendants").write_text(str(MOST_CGROUPS))
        for name in _DELEGATED:
            os.chown(self._path / name, self._owner, -1)

    def _enter(self) -> None:
        _move(os.getpid(), self._path)

    def _leave(self) -> None:
        for pid in map(int, (self._path / "cgroup.procs").read_text().split()):
            _move(pid, self._place.own if pid == os.getpid() else self._path / "lab")

    def _enable(self) -> None:
        (self._path / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in self.controllers))


def _move(pid: int, cgroup: Path) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        (cgroup / "cgroup.procs").write_text(str(pid))


def _populated(cgroup: Path) -> bool:
    """Whether there is a process in it or below it."""
    return "populated 1" in (cgroup / "cgroup.events").read_text()


def _remove(cgroup: Path) -> None:
    for folder, _, _ in os.walk(cgroup, topdown=False):
        Path(folder).rmdir()
