"""A cluster that labsupport did not make, as it is reached: by its API server alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from labsupport.cluster.api import Object
from labsupport.cluster.backends.faults import raise_all
from labsupport.cluster.backends.foreign_images import choose_images
from labsupport.cluster.backends.permissions import find_refused
from labsupport.cluster.backends.proxy import KubectlProxy
from labsupport.cluster.backends.signals import API_SIGNALS, Signal, explained
from labsupport.cluster.namespaces import find_stranger
from labsupport.cluster.reading import Reader
from labsupport.errors import ClusterError

Report = Callable[[str], None]


@dataclass(frozen=True)
class Foreign:
    """A foreign cluster that was found fit for notebooks.

    Attributes:
        backend: "microk8s" or "kubeconfig".
        context: how its kubeconfig calls it.
        kubectl: the program, for the notebook's lab.
        proxy: the way to its API server.
        reader: reads its objects.
        nodes: the names of the nodes that take pods.
        images: what pods use: "agnhost" and "tools" -> an image's name.
    """

    backend: str
    context: str
    kubectl: Path
    proxy: KubectlProxy
    reader: Reader
    nodes: tuple[str, ...]
    images: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.backend}, context {self.context}"


def examine(backend: str, context: str, kubectl: Path, proxy: KubectlProxy, namespace: str,
            environment: Mapping[str, str], signals: tuple[Signal, ...] = API_SIGNALS) -> Foreign:
    """Find out whether a cluster that can be reached is fit for a notebook.

    Args:
        backend, context, kubectl, proxy: see Foreign.
        namespace: the notebook's.
        environment: of the notebook's kernel.
        signals: what explains an API server that does not answer.

    Raises:
        ClusterError: it is not; all faults at once.
    """
    where, reader = f"{backend}, context {context}", Reader(proxy.api)
    try:
        faults = find_refused(proxy.api, namespace)
    except ClusterError as error:
        raise explained(f"{error.observed}", signals, where=where, otherwise=error.what) from None
    refused = faults[0].observed if faults else ""
    nodes = [] if "list nodes" in refused else [node for node in reader.get("nodes", namespace="") if takes_pods(node)]
    if not nodes and "list nodes" not in refused:
        faults.append(ClusterError("no node of the cluster takes pods", expected="at least one that is Ready and not "
                                   "cordoned or tainted", next_step="kubectl get nodes; kubectl describe node NAME"))
    if "get namespaces" not in refused:
        faults += find_stranger(reader, namespace)
    raise_all(faults, where)
    return Foreign(backend, context, kubectl, proxy, reader, tuple(node["metadata"]["name"] for node in nodes),
                   choose_images(nodes, environment))


def takes_pods(node: Object) -> bool:
    """Whether a node is Ready and takes pods that tolerate nothing."""
    spec, conditions = node["spec"], node["status"].get("conditions") or []
    tainted = any(taint["effect"] != "PreferNoSchedule" for taint in spec.get("taints") or ())
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not spec.get("unschedulable") and not tainted
