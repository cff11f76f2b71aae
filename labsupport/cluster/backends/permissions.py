"""Whether a foreign cluster lets a notebook do what it has to do, asked before the lesson begins.

Source: Kubernetes documentation, "Authorization", Checking API access (SelfSubjectAccessReview).
"""

from __future__ import annotations

from dataclasses import dataclass

from labsupport.cluster.api import Api
from labsupport.errors import ClusterError

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True)
class Need:
    """Something that a notebook does.

    Attributes:
        verbs: of the API: "create".
        resource: in the plural, with a subresource behind a slash: "pods/exec".
        group: the resource's API group.
        everywhere: whether it concerns the whole cluster, not the notebook's namespace.
    """

    verbs: tuple[str, ...]
    resource: str
    group: str = ""
    everywhere: bool = False


NEEDS = (
    Need(("get", "create", "delete"), "namespaces", everywhere=True),
    Need(("list",), "nodes", everywhere=True),
    Need(("get", "list", "watch", "create", "delete", "deletecollection"), "pods"),
    Need(("create",), "pods/exec"),
    Need(("get",), "pods/log"),
    Need(("create",), "services"),
    Need(("create",), "configmaps"),
    Need(("create",), "deployments", "apps"),
    Need(("list",), "endpointslices", "discovery.k8s.io"),
)


def find_refused(api: Api, namespace: str) -> list[ClusterError]:
    """Return what the cluster does not allow, as one fault, or nothing.

    Args:
        api: reaches the API server.
        namespace: the notebook's.

    Raises:
        ClusterError: the API server did not answer.
    """
    refused = [f"{verb} {need.resource}{f'.{need.group}' if need.group else ''}"
               + ("" if need.everywhere else f" in {namespace}")
               for need in NEEDS for verb in need.verbs if not _allowed(api, need, verb, namespace)]
    if not refused:
        return []
    return [ClusterError("the cluster does not allow what a notebook does", observed=", ".join(refused),
                         next_step="ask its administrator for these permissions; a cluster role like `admin`, and "
                         "namespaces and nodes on top of it, has them")]


def _allowed(api: Api, need: Need, verb: str, namespace: str) -> bool:
    resource, _, subresource = need.resource.partition("/")
    asked = {"verb": verb, "group": need.group, "resource": resource, "subresource": subresource,
             "namespace": "" if need.everywhere else namespace}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
              "spec": {"resourceAttributes": asked}}
    return bool(api.create(_REVIEWS, review)["status"].get("allowed"))
