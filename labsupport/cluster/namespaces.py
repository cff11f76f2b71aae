"""Kubernetes namespaces that start from nothing.

`kubectl delete namespace` is no way to start a lesson: the namespace controller waits five seconds before it looks,
pods may take 30 more to end, and it looks again only after half of that (42 s measured for two sleeping pods). So
everything in the namespace is deleted from here, pods with a short grace period, and then the namespace is finalized as
the controller would do it. In a foreign cluster that is left to its controller, and only the pods are hurried.

A namespace carries the name of who made it, so that nobody deletes what belongs to somebody else.

Source: Kubernetes documentation, "Namespaces"; k8s.io/kubernetes/pkg/controller/namespace.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial

from labsupport.cluster.api import LateAnswer
from labsupport.cluster.reading import Kind, Reader
from labsupport.doctor.ids import user_name
from labsupport.errors import ClusterError, WaitTimeout
from labsupport.waiting import wait_until

GRACE_S = 1
EMPTY_DEADLINE_S = 40.0
PATIENCE_S = 5.0
READY_DEADLINE_S = 20.0
LOOK_EVERY_S = 0.2
FOREIGN_DEADLINE_S = 120.0
OWNER = "labsupport.local/owner"
_NAMESPACES = "/api/v1/namespaces"
_NAMES_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def make_fresh_namespace(reader: Reader, name: str, report: Callable[[str], None] = lambda _line: None, *,
                         foreign: bool = False) -> None:
    """Make a namespace in which nothing is but what Kubernetes puts into each; what was in it before is deleted.

    Args:
        reader: reaches the cluster.
        name: the namespace's.
        report: is told again and again what is done, as long as something is left to be deleted.
        foreign: whether the cluster is somebody else's; then it is done slowly, and only if `find_stranger` finds none.

    Raises:
        ClusterError: the API server refused it, or something in it does not go away.
    """
    remove_namespace(reader, name, report, foreign=foreign)
    path = f"{_NAMESPACES}/{name}"
    reader.api.create(_NAMESPACES, {"apiVersion": "v1", "kind": "Namespace",
                                    "metadata": {"name": name, "annotations": {OWNER: owner()}}})
    # No pod is admitted without the one, and no pod starts without the other.
    for needed in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
        wait_until(partial(reader.api.find, f"{path}/{needed}"), deadline_s=READY_DEADLINE_S,
                   what=f"{needed} in the Kubernetes namespace {name}")


def owner() -> str:
    """Return how this user of this machine is called in a cluster that others use, too."""
    return f"{user_name()}@{socket.gethostname()}"


def find_stranger(reader: Reader, name: str) -> list[ClusterError]:
    """Return a fault if there is such a namespace and somebody else made it.

    Raises:
        ClusterError: the API server refused to tell.
    """
    found = reader.api.find(f"{_NAMESPACES}/{name}")
    made_by = (found["metadata"].get("annotations") or {}).get(OWNER, "not labsupport") if found else owner()
    if made_by == owner():
        return []
    return [ClusterError(f"the Kubernetes namespace {name} is somebody else's, and would be deleted",
                         expected=f"none, or one made by {owner()}", observed=f"made by {made_by}",
                         next_step=f'choose another name in the first cell, with yours in it: "{name}-NAME"; or, if it '
                         f"is yours all the same: kubectl annotate namespace {name} {OWNER}={owner()}")]


def _hurry(reader: Reader, name: str, report: Callable[[str], None]) -> None:
    """End the pods of a namespace that is being terminated, and wait until its controller has done the rest."""
    path = f"{_NAMESPACES}/{name}"

    def gone() -> bool:
        report(f"waiting until the cluster has removed what an earlier run left in the Kubernetes namespace {name}")
        return reader.api.find(path) is None

    reader.api.delete(f"{path}/pods?gracePeriodSeconds={GRACE_S}")
    try:
        wait_until(gone, what=f"the Kubernetes namespace {name} to be gone", deadline_s=FOREIGN_DEADLINE_S,
                   interval_s=LOOK_EVERY_S)
    except WaitTimeout:
        raise ClusterError(f"the Kubernetes namespace {name} does not go away", expected=f"gone {FOREIGN_DEADLINE_S:g} "
                           "s after its deletion", next_step=f"kubectl get namespace {name} -o yaml says what is left; "
                           "wait, or choose another name in the first cell") from None


def remove_namespace(reader: Reader, name: str, report: Callable[[str], None] = lambda _line: None, *,
                     foreign: bool = False) -> None:
    """Delete a namespace and everything in it, if it is there; the arguments and errors are the same."""
    path = f"{_NAMESPACES}/{name}"
    earlier = reader.api.find(path)
    if earlier is None:
        return
    if earlier["status"].get("phase") != "Terminating":
        reader.api.delete(path)  # from now on nothing new can be made in it
    if foreign:
        _hurry(reader, name, report)
        return
    _empty(reader, name, report)
    wait_until(partial(_finalize, reader, name), what=f"the Kubernetes namespace {name} to be gone",
               deadline_s=READY_DEADLINE_S, interval_s=LOOK_EVERY_S)


def _empty(reader: Reader, name: str, report: Callable[[str], None]) -> None:
    """Delete everything in a namespace that is being terminated; return when it is gone."""
    left = [kind for kind in reader.kinds() if kind.namespaced and {"list", "deletecollection"} <= kind.verbs]
    impatient_at = time.monotonic() + PATIENCE_S

    def look() -> bool:
        report(f"removing what an earlier run left in the Kubernetes namespace {name}")
        left[:] = [kind for kind in left if _objects(reader, kind, name)]
        # A kubelet that was told to wait for 30 s does so, and one whose node is stopped will never say that a pod has
        # ended: a grace period of 0 does not wait for kubelets.
        grace_s = GRACE_S if time.monotonic() < impatient_at else 0
        for kind in left:
            options = f"?gracePeriodSeconds={grace_s}&propagationPolicy=Background"
            try:
                reader.api.delete(kind.path(name) + options)
            except LateAnswer:  # hundreds of objects on a busy machine: the next look goes on with those left
                return False
        return not left

    try:
        wait_until(look, what=f"the Kubernetes namespace {name} to be empty", deadline_s=EMPTY_DEADLINE_S,
                   interval_s=LOOK_EVERY_S)
    except WaitTimeout:
        names = [f"{kind.name}/{found}" for kind in left for found in _objects(reader, kind, name)]
        raise ClusterError(f"the Kubernetes namespace {name} cannot be emptied", observed=", ".join(names)[:500],
                           expected="nothing in it", next_step="look for finalizers in these objects: kubectl "
                           f"-n {name} get {left[0].name} -o yaml; or restart the cluster") from None


def _finalize(reader: Reader, name: str) -> bool:
    """Let an empty namespace go; return whether it has gone."""
    path = f"{_NAMESPACES}/{name}"
    if reader.api.find(path) is None:
        return True
    try:
        reader.api.replace(f"{path}/finalize", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
                                                "spec": {"finalizers": []}})
    except ClusterError:  # the namespace controller was faster; the next look tells
        return False
    return reader.api.find(path) is None


def _objects(reader: Reader, kind: Kind, namespace: str) -> list[str]:
    items = reader.api.get(kind.path(namespace), _NAMES_ONLY).get("items") or []
    return [item["metadata"]["name"] for item in items]
