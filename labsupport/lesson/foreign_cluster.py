"""A cluster that labsupport did not make, as one notebook uses it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import NoReturn

from labsupport.cluster.backends import Foreign
from labsupport.cluster.commands import offer_commands
from labsupport.cluster.namespaces import make_fresh_namespace
from labsupport.cluster.numbers import API_PORT
from labsupport.cluster.parcel import send
from labsupport.cluster.paths import ADMIN
from labsupport.errors import LessonError
from labsupport.lesson.notebook_cluster import NotebookCluster
from labsupport.sandbox import Lab

LOOPBACK = "127.0.0.1"


class ForeignCluster(NotebookCluster):
    """microk8s, or the cluster of a kubeconfig: it offers its API, and nothing of its machines.

    `%%lab` cells run in a private lab, in which kubectl reaches the cluster as its user, and in which no credential of
    the user is. See NotebookCluster for what notebooks call.

    Args:
        foreign: the cluster, which is let go in the end.
        namespace: the notebook's Kubernetes namespace.

    Raises:
        LabUnavailable: this machine cannot run labs.
    """

    offered = frozenset()

    def __init__(self, foreign: Foreign, namespace: str) -> None:
        self._foreign = foreign
        with ExitStack() as undo:
            undo.callback(foreign.proxy.close)
            lab = undo.enter_context(Lab("cluster", visible=[foreign.kubectl.parent]))
            lab.serve(foreign.proxy.serve, LOOPBACK, API_PORT)
            send(lab, {ADMIN: render_plain_kubeconfig(foreign.context)})
            offer_commands(lab, {"kubectl": foreign.kubectl})
            super().__init__(lab, foreign.reader, namespace, undo.pop_all().close, self._refuse_addon)

    def _empty_namespace(self, report: Callable[[str], None]) -> None:
        make_fresh_namespace(self._reader, self.namespace, report, foreign=True)

    def _nodes_for_pods(self) -> Sequence[str]:
        return self._foreign.nodes

    def _images(self) -> Mapping[str, str]:
        return self._foreign.images

    def nodes(self) -> list[str]:
        """Return the names of the nodes."""
        return [node["metadata"]["name"] for node in self.get("nodes")]

    def name_pod(self, pod: str, *, namespace: str | None = None) -> str:
        """Refuse: pods are in the kernels of machines that nobody reaches from here."""
        self._refuse(f"the network namespace of the pod {pod} in {namespace or self.namespace}")

    def command(self, argv: Sequence[str], place: str) -> tuple[list[str], str]:
        """Return what `Lab.run` has to run in the private lab; there is no other place."""
        if place:
            self._refuse(place)
        return super().command(argv, "")

    def _refuse_addon(self, addon: str, _report: Callable[[str], None]) -> bool:
        self._refuse(f"the add-on {addon}")

    def _refuse(self, what: str) -> NoReturn:
        raise LessonError(f"{what} is out of reach", where=f"this cluster ({self._foreign})",
                          expected="the embedded cluster, whose machines are in reach",
                          next_step="begin the cell with `%%needs nodes`: then it is skipped where it cannot work")

    def __str__(self) -> str:
        return str(self._foreign)

    def __repr__(self) -> str:
        return f"<cluster of {self._foreign}; namespace {self.namespace}{': closed' if self.lab.closed else ''}>"


def render_plain_kubeconfig(context: str) -> str:
    """Return the kubeconfig of a lab whose loopback leads to an API server; the credentials are added on the way."""
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": context,
        "clusters": [{"name": context, "cluster": {"server": f"http://{LOOPBACK}:{API_PORT}"}}],
        "users": [{"name": "you", "user": {}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": "you"}}],
    }, indent=2) + "\n"
