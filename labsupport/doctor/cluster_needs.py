"""What a machine needs beyond labs to run a Kubernetes cluster: memory, and room to watch files."""

from __future__ import annotations

import os

from labsupport.doctor.machine import read_text
from labsupport.doctor.report import Check

CLUSTER_MEBIBYTES = 2048
CLUSTER_INOTIFY_INSTANCES = 64
_LABS = "the labs on Kubernetes, from 05 on"


def check_memory(meminfo: str) -> Check:
    """Say whether a cluster of two nodes and some pods fits into memory.

    Args:
        meminfo: the text of /proc/meminfo.
    """
    sizes = {name: int(rest.split()[0]) >> 10 for name, _, rest in
             (line.partition(":") for line in meminfo.splitlines()) if rest.split()}
    free = sizes.get("MemAvailable", 0)
    observed = f"{free:,} MiB are available"
    if free >= CLUSTER_MEBIBYTES:
        return Check("memory", "ok", observed)
    return Check("memory", "note", observed, "A cluster of two nodes takes 0.6 GiB, its pods and images as much again: "
                 f"for {_LABS} close other programs, or start it with one node: labsupport cluster start --nodes 1")


def check_inotify(limit: str) -> Check:
    """Say whether a cluster's programs can watch their files (inotify(7)).

    Args:
        limit: the text of /proc/sys/fs/inotify/max_user_instances.
    """
    observed = f"fs.inotify.max_user_instances is {limit or 'unknown'}"
    if limit.isdecimal() and int(limit) < CLUSTER_INOTIFY_INSTANCES:
        return Check("file watches", "note", observed, f"A cluster of two nodes needs 30: for {_LABS} an administrator "
                     "sets, here and in /etc/sysctl.d/ for good:\n  sudo sysctl -w fs.inotify.max_user_instances=1024")
    return Check("file watches", "ok", observed)


def check_cluster_needs() -> list[Check]:
    """Look at this machine."""
    cores = os.cpu_count() or 1
    processors = Check("processors", "ok" if cores > 1 else "note", f"{cores}",
                       "" if cores > 1 else "With one processor a cluster takes twice as long to start.")
    return [processors, check_memory(read_text("/proc/meminfo")),
            check_inotify(read_text("/proc/sys/fs/inotify/max_user_instances"))]
