"""What a machine needs beyond labs to run a Kubernetes cluster, and which other clusters notebooks can use there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from labsupport.doctor.cgroups import ask_place, check_limits
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


def find_microk8s() -> str | None:
    """Return the command microk8s, also where a service's PATH lacks the folder of snaps."""
    return shutil.which("microk8s") or shutil.which("/snap/bin/microk8s")


def kubeconfig_files(environment: Mapping[str, str]) -> tuple[list[Path], list[Path]]:
    """Return where kubectl looks for a kubeconfig, and which of these files are there."""
    named = [Path(name) for name in environment.get("KUBECONFIG", "").split(os.pathsep) if name]
    files = named or [Path.home() / ".kube/config"]
    return files, [file for file in files if os.path.isfile(file)]  # noqa: PTH113  (a folder may be closed to this user)


def check_backends(microk8s: str | None, kubeconfigs: list[Path]) -> Check:
    """Say where the clusters of notebooks can come from on this machine.

    Args:
        microk8s: its command, if there is one.
        kubeconfigs: those that are there.
    """
    found = [*([f"microk8s ({microk8s})"] if microk8s else []),
             *([f"kubeconfig ({', '.join(map(str, kubeconfigs))})"] if kubeconfigs else [])]
    return Check("clusters", "ok", ", ".join(["embedded (the default)", *found]),
                 "LABSUPPORT_BACKEND=microk8s or kubeconfig chooses another than the default." if found else "")


def check_cluster_needs() -> list[Check]:
    """Look at this machine."""
    cores = os.cpu_count() or 1
    processors = Check("processors", "ok" if cores > 1 else "note", f"{cores}",
                       "" if cores > 1 else "With one processor a cluster takes twice as long to start.")
    return [processors, check_memory(read_text("/proc/meminfo")),
            check_inotify(read_text("/proc/sys/fs/inotify/max_user_instances")),
            check_limits(ask_place(), systemd=Path("/run/systemd/system").is_dir()),
            check_backends(find_microk8s(), kubeconfig_files(os.environ)[1])]
