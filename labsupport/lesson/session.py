"""What a notebook works with: its lab, or the cluster that it shares with others."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from IPython.core.getipython import get_ipython

from labsupport.errors import LessonError
from labsupport.sandbox import Lab

if TYPE_CHECKING:
    from labsupport.lesson.notebook_cluster import NotebookCluster

JOIN_VARIABLE = "LABSUPPORT_JOIN"
"""While a notebook is graded: address and token of the lab that the grader made, so that the grader can trust it."""

NODES = "nodes"
"""What not every cluster offers: commands on the nodes, and a look into their kernels and those of pods."""


class _Session:
    """What the magics of this kernel act on."""

    lab: Lab | None = None
    cluster: NotebookCluster | None = None


def open_lab(name: str = "lab") -> Lab:
    """Give this notebook a fresh private Linux, and the magics `%%lab` and `%%ns` that run commands in it.

    A lab that an earlier run of the cell had opened is closed first, so running a notebook again starts from nothing.

    Args:
        name: how the lab is called in messages and by `labsupport shell`.

    Raises:
        LabUnavailable: this machine cannot run a lab; `labsupport doctor` says why.

    Effects and privileges: see `labsupport.Lab`.
    """
    _close()
    joining = _graded()
    _Session.lab = Lab.join(*joining, name) if joining else Lab(name)
    _register_magics()
    return _Session.lab


def open_cluster(namespace: str, *, own: bool = False, backend: str = "") -> NotebookCluster:
    """Give this notebook a Kubernetes cluster, an empty Kubernetes namespace in it, and the magics `%%lab` and `%%ns`.

    It is the cluster that all notebooks of this user share; if it does not run, it is started, and what that takes is
    shown under the cell. It goes on when the notebook ends. `%%lab` runs commands on the control plane's machine, with
    a kubectl that uses the notebook's namespace; `%%ns node1` on a node, `%%ns client` outside of the cluster.

    It can also be a cluster that is there already. Then `%%lab` is a private lab with that kubectl, and cells that need
    the nodes are skipped: `%%ns` cells, and those that begin with `%%needs nodes`.

    Args:
        namespace: the notebook's Kubernetes namespace. Everything in it that an earlier run left is deleted.
        own: if the cluster is an embedded one, give the notebook a fresh one of its own instead, which nobody else
            uses: for lessons that change nodes or what belongs to the whole cluster, in cells that begin with
            `%%needs nodes`. It ends soon after the notebook's kernel.
        backend: "embedded", "microk8s" or "kubeconfig"; "" leaves it to the environment variable LABSUPPORT_BACKEND,
            and without that it is "embedded".

    Raises:
        ClusterError: the cluster cannot be started or reached; the message says why, and what to do.
        LessonError: Kubernetes itself uses a namespace of that name.

    Effects and privileges: see `labsupport.cluster.Cluster`.
    """
    from labsupport.cluster.backends import choose  # noqa: PLC0415  (a lab without a cluster needs none of it)
    from labsupport.lesson import opening  # noqa: PLC0415
    from labsupport.lesson.steps import Steps  # noqa: PLC0415

    opening.check_namespace(namespace)
    choice, joining = choose(backend, os.environ), _graded()
    _close()
    steps = Steps()
    cluster = (opening.joined_cluster(*joining, namespace) if joining
               else opening.chosen_cluster(choice, namespace, steps, own=own))
    try:
        cluster.make_fresh(steps.say_if_late)
    except BaseException:
        cluster.close()
        raise
    _Session.lab, _Session.cluster = cluster.lab, cluster
    _register_magics()
    sys.stdout.write(f"The cluster runs: {', '.join(cluster.nodes())}. kubectl in this notebook uses the namespace "
                     f"{namespace}, which is empty.\n")
    return cluster


def _graded() -> tuple[str, str] | None:
    """Return address and token of the lab that a grader made for this notebook."""
    address, _, token = os.environ.get(JOIN_VARIABLE, "").partition(" ")
    return (address, token) if address else None


def _close() -> None:
    if _Session.cluster is not None:
        _Session.cluster.close()
    elif _Session.lab is not None:
        _Session.lab.close()
    _Session.lab = _Session.cluster = None


def _register_magics() -> None:
    shell = get_ipython()
    if shell is not None:
        from labsupport.lesson.magics import register  # noqa: PLC0415  (only where there is IPython to register with)

        register(shell)


def current_lab() -> Lab:
    """Return the lab that was opened last: the notebook's own, or its cluster's.

    Raises:
        LessonError: there is none, or it has ended.
    """
    lab = _Session.lab
    if lab is None or lab.closed:
        thing = "lab" if _Session.cluster is None else "cluster"
        call = "open_lab()" if _Session.cluster is None else f'open_cluster("{_Session.cluster.namespace}")'
        raise LessonError(
            "this notebook has no lab" if lab is None else f"this notebook's {thing} has ended",
            where="this notebook's kernel",
            expected=f"a {thing} opened by an earlier cell",
            next_step=f"run the notebook's first code cell: {thing} = {call}",
        )
    return lab


def cell_command(script: str, place: str) -> tuple[list[str], str]:
    """Return what `Lab.run` has to run, and in which network namespace, for the shell lines of a cell.

    Args:
        script: the lines.
        place: the name behind `%%ns`, or "".

    Raises:
        LessonError: see `current_lab`.
        ClusterError: the node is stopped.
    """
    current_lab()
    argv = ["bash", "-c", script]
    return _Session.cluster.command(argv, place) if _Session.cluster is not None else (argv, place)


def may_name_namespaces(place: str) -> bool:
    """Whether `ip netns add` works there: on a node, which has a file system of its own for the names."""
    return _Session.cluster is not None and place in _Session.cluster.nodes()


def why_skipped() -> str:
    """Return why cells that need the nodes are skipped in this notebook, or "" if they are not."""
    cluster = _Session.cluster
    if cluster is None or cluster.offers(NODES):
        return ""
    return (f"Skipped: this cell needs the nodes of the cluster, and this one ({cluster}) gives no access to their "
            "kernels. The embedded cluster does.")
