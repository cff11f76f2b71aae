"""Where the cluster of a notebook comes from: the one that all notebooks share, a foreign one, or the graded one."""

from __future__ import annotations

import os
import re
import sys

from labsupport.cluster import Cluster
from labsupport.cluster.backends import Choice, open_kubeconfig, open_microk8s
from labsupport.cluster.backends.choice import EMBEDDED, MICROK8S
from labsupport.cluster.binaries import missing_programs, require_programs
from labsupport.cluster.folder import DEFAULT_NAME
from labsupport.cluster.joined import read_admin_kubeconfig
from labsupport.cluster.numbers import API_PORT
from labsupport.cluster.reading import Reader, connect_api
from labsupport.errors import LessonError
from labsupport.lesson.foreign_cluster import ForeignCluster
from labsupport.lesson.notebook_cluster import NotebookCluster
from labsupport.lesson.steps import Steps
from labsupport.sandbox import Lab

CLUSTER_VARIABLE = "LABSUPPORT_CLUSTER"
"""The name of the cluster that notebooks share, if it is another one than `default`."""
OWN_IDLE_S = 20.0
"""A notebook's own cluster ends so many seconds after the notebook's kernel."""
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check_namespace(name: str) -> None:
    """Make sure that a notebook may have a Kubernetes namespace of this name, whose content it deletes.

    Raises:
        LessonError: it may not.
    """
    if not _LABEL.fullmatch(name) or name == "default" or name.startswith("kube-"):
        raise LessonError(f"a notebook cannot have the Kubernetes namespace {name!r}", where="open_cluster",
                          expected="small letters, digits and '-', and none that Kubernetes uses itself",
                          next_step='name it after the notebook: open_cluster("lab05")')


def chosen_cluster(choice: Choice, namespace: str, steps: Steps, *, own: bool = False) -> NotebookCluster:
    """Return a cluster of a backend, and say which that is, and why.

    Args:
        choice: what the notebook or its environment has chosen.
        namespace: the notebook's.
        steps: is told what takes long.
        own: whether an embedded cluster has to be the notebook's own. A foreign one never is: there the notebook has
            its Kubernetes namespace, and skips what touches nodes or the whole cluster.

    Raises:
        ClusterError: there is no cluster of it that can be used; all faults at once.
    """
    embedded = choice.backend == EMBEDDED
    which = f"{choice.backend}, the notebook's own" if embedded and own else choice.backend
    sys.stdout.write(f"Cluster: {which} ({choice.reason}).\n")
    if embedded:
        return (own_cluster if own else shared_cluster)(namespace, steps)
    open_foreign = open_microk8s if choice.backend == MICROK8S else open_kubeconfig
    foreign = open_foreign(namespace, os.environ, steps.say_if_late)
    images = " and ".join(foreign.images.values())
    sys.stdout.write(f"The context {foreign.context} gives no access to the kernels of its nodes: cells that need them "
                     f"say so and are skipped. Pods use the images {images}.\n")
    return ForeignCluster(foreign, namespace)


def shared_cluster(namespace: str, steps: Steps) -> NotebookCluster:
    """Return the cluster that the notebooks of this user share; it is started if it does not run.

    Raises:
        ClusterError: it cannot be started; the message says why.
    """
    cluster = Cluster(_shared_name())
    if not cluster.running:
        _build(steps)
        cluster.start(report=steps.say)
    return use_cluster(cluster, namespace)


def own_cluster(namespace: str, steps: Steps) -> NotebookCluster:
    """Return a fresh cluster that belongs to one notebook; one that an earlier run had left is ended first.

    Raises:
        ClusterError: it cannot be started; the message says why.
    """
    cluster = Cluster(f"{_shared_name()}-{namespace}")
    _build(steps)
    if cluster.running:
        steps.say("ending the cluster of an earlier run")
        cluster.stop()
    cluster.start(idle_s=OWN_IDLE_S, report=steps.say)
    return use_cluster(cluster, namespace)


def _shared_name() -> str:
    return os.environ.get(CLUSTER_VARIABLE, "") or DEFAULT_NAME


def _build(steps: Steps) -> None:
    if missing_programs():
        steps.say("the cluster's programs are built once; this takes some minutes")
        require_programs(steps.say)


def use_cluster(cluster: Cluster, namespace: str) -> NotebookCluster:
    """Return a running cluster as a notebook uses it.

    Raises:
        ClusterError: it does not run.
    """
    lab = cluster.lab
    return NotebookCluster(lab, Reader(connect_api(cluster.kubeconfig.read_text())), namespace, cluster.close,
                           cluster.enable)


def joined_cluster(address: str, token: str, namespace: str) -> NotebookCluster:
    """Return a cluster that can be reached through its lab only: the one that a grader made for this notebook.

    Raises:
        LabClosed, ProtocolError: see `Lab.join`.
    """
    lab = Lab.join(address, token, "cluster")
    forward = lab.forward("127.0.0.1", API_PORT)
    reader = Reader(connect_api(read_admin_kubeconfig(lab), forward.address))
    return NotebookCluster(lab, reader, namespace, lab.close, give=lambda _addon, _report: False)
