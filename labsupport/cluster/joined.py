"""A cluster as it is found from within its lab, which is all that a graded notebook can reach."""

from __future__ import annotations

import re
from collections.abc import Sequence

from labsupport.cluster.numbers import CLIENT
from labsupport.cluster.paths import ADMIN
from labsupport.errors import ClusterError
from labsupport.sandbox import Lab

_NODE = re.compile(r"node[1-9]")
# The first process of a node is the one that is number 1 in a PID namespace right below the lab's.
_FIRST_PROCESS = """for pid in $(ip netns pids "$1"); do
  grep -Eqs "^NSpid:[[:space:]]$pid[[:space:]]1$" "/proc/$pid/status" && echo "$pid"
done
true"""


def is_node(name: str) -> bool:
    """Whether nodes have such names."""
    return bool(_NODE.fullmatch(name))


def node_names(lab: Lab) -> list[str]:
    """Return the names of a cluster's nodes, also of those that are stopped."""
    return [name for name in lab.namespaces() if is_node(name)]


def enter(pid: int, argv: Sequence[str]) -> list[str]:
    """Return the command that runs `argv` in the namespaces of the node whose first process is `pid`.

    nsenter forks, because a PID namespace is entered by children only; the child must not outlive it.
    """
    return ["nsenter", f"--target={pid}", "--mount", "--uts", "--net", "--pid", "--",
            "setpriv", "--pdeathsig=KILL", *argv]


def enter_node(lab: Lab, node: str, argv: Sequence[str]) -> list[str]:
    """Return the command that runs `argv` on a node, for `lab.run`.

    Raises:
        ClusterError: there is no such node, or it is stopped.
    """
    nodes = node_names(lab)
    if node not in nodes:
        raise ClusterError(f"the cluster has no node {node!r}", expected="one of " + ", ".join([*nodes, CLIENT]),
                           next_step="kubectl get nodes")
    found = lab.run(["bash", "-c", _FIRST_PROCESS, "bash", node], echo=False).check().stdout.split()
    if not found:
        raise ClusterError(f"{node} is stopped", next_step=f"start it: labsupport cluster node start {node}")
    return enter(int(found[0]), argv)


def read_admin_kubeconfig(lab: Lab) -> str:
    """Return the text of the admin's kubeconfig on the control plane's machine."""
    return lab.run(["cat", ADMIN], echo=False).check().stdout
