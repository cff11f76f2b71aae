"""The cluster that a notebook is graded on: started by the grader, for one student, and gone afterwards.

A student is the administrator of that cluster and root on its machines, as in class, and may break all of it: that
costs points and nothing else. What belongs to the grader is outside of its lab: the process that runs it, the port and
the certificates with which the checks read, and a connection that nobody can take over.

What an API server says is no proof: its administrator may write any status, and who has its key may answer in its
place. A check that gives points for something that works looks at the kernel as well: `lab.observe` on a node.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from labsupport.cluster import Cluster
from labsupport.cluster.settings import DEFAULT_ADDONS
from labsupport.errors import LabError
from labsupport.waiting import wait_until

IDLE_S = 15.0
"""The cluster ends so many seconds after a grader that was killed."""
KILL_DEADLINE_S = 10.0
_SYSTEM = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "dev", "proc", "sys", "run", "tmp", "var",
           "nix", "gnu"}
_VAR = {"lib", "log", "tmp", "cache"}
_numbers = itertools.count(1)


def folders_to_hide() -> list[Path]:
    """Return the folders on top of the file system that are no part of the operating system.

    A list of what may be seen, not of what must be hidden: a teacher may keep answers anywhere.
    """
    tops = [folder for folder in Path("/").iterdir() if folder.name not in _SYSTEM]
    tops += [folder for folder in Path("/var").iterdir() if folder.name not in _VAR]
    return [folder for folder in tops if folder.is_dir() and not folder.is_symlink()]


@contextmanager
def cluster_for_grading(say: Callable[[str], None], addons: Sequence[str] = ()) -> Iterator[Cluster]:
    """Start a cluster of two nodes, and end it whatever happens.

    Args:
        say: is told of each step of the start.
        addons: what it has besides those of every cluster; see `Cluster.enable`.

    Raises:
        ClusterError: it does not start; the message says why.
    """
    cluster = Cluster(f"grade-{os.getpid()}-{next(_numbers)}")
    cluster.start(addons=(*DEFAULT_ADDONS, *addons), hidden=folders_to_hide(), pulls=False, idle_s=IDLE_S,
                  report=lambda step: say(f"starting a cluster: {step}"))
    process = os.pidfd_open(cluster.status()["pid"])
    try:
        yield cluster
    finally:
        try:
            cluster.stop()
        except LabError:  # a lab in such a state that even its end takes too long: it dies with this process
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
            wait_until(lambda: not cluster.folder.running(), what=f"the cluster {cluster.name} to be gone",
                       deadline_s=KILL_DEADLINE_S)
        finally:
            os.close(process)
