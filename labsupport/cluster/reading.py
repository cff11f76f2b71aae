"""Reads objects of a cluster from outside of its lab, by the names that kubectl uses."""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from labsupport.cluster.api import Api, ApiClient, Object
from labsupport.cluster.kubeconfig import Credential
from labsupport.errors import ClusterError

_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
ALL_NAMESPACES = "*"


@dataclass(frozen=True)
class Kind:
    """A kind of objects.

    Attributes:
        name: in the plural, as in an object's URL: "pods".
        aliases: what else kubectl calls it: "pod", "po", "pods.v1"; in small letters.
        root: the URL's path of its group and version.
        namespaced: whether its objects belong to a namespace.
        verbs: what can be done with them.
    """

    name: str
    aliases: frozenset[str]
    root: str
    namespaced: bool
    verbs: frozenset[str]

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of an object, or of all; ALL_NAMESPACES for those of all namespaces."""
        parts = [self.root]
        if self.namespaced and namespace != ALL_NAMESPACES:
            parts += ["namespaces", quote(namespace, safe="")]
        return "/".join([*parts, self.name, *([quote(name, safe="")] if name else [])])


class Reader:
    """Reads objects, and knows which kinds there are.

    Args:
        api: reaches the API server.
    """

    def __init__(self, api: Api) -> None:
        self.api = api
        self._kinds: list[Kind] = []

    def get(self, kind: str, name: str = "", *, namespace: str) -> Any:
        """Return an object, or the list of all objects of a kind.

        Args:
            kind: as kubectl knows it: "pods", "pod", "po", "deployments.apps".
            name: the object's; "" for all of them, in the order of the API server: by name.
            namespace: where it is; ALL_NAMESPACES for everywhere. Of no meaning for kinds such as nodes.

        Raises:
            ClusterError: there is no such kind or object, or the API server did not answer.
        """
        found = self._find(kind)
        if not name:
            return self.api.get(found.path(namespace)).get("items") or []  # Go writes null for none
        one = self.api.find(found.path(namespace, name))
        if one is None:
            place = f"namespace {namespace}" if found.namespaced else "this cluster"
            raise ClusterError(f"there is no {kind} {name}", where=place, next_step=f"kubectl get {found.name}")
        return one

    def kinds(self) -> list[Kind]:
        """Ask which kinds there are; a new CustomResourceDefinition adds one at any time."""
        self._kinds = [kind for path in ("/api", "/apis") for kind in _kinds(path, self.api.get(path, _DISCOVERY))]
        return self._kinds

    def _find(self, kind: str) -> Kind:
        word = kind.lower()
        for known in (self._kinds, self.kinds):
            for candidate in known if isinstance(known, list) else known():
                if word in candidate.aliases:
                    return candidate
        raise ClusterError(f"the cluster knows no kind of objects called {kind!r}", expected="pods, services, nodes...",
                           next_step="kubectl api-resources")


def _kinds(path: str, answer: Object) -> list[Kind]:
    """Return the kinds of an APIGroupDiscoveryList, each in the version that the API server prefers."""
    found: dict[tuple[str, str], Kind] = {}
    for group in answer.get("items", []):
        group_name = group["metadata"].get("name", "")
        for version in group["versions"]:
            root = "/".join(part for part in (path, group_name, version["version"]) if part)
            for resource in version.get("resources", []):
                name = resource["resource"]
                words = [name, resource.get("singularResource", ""), *resource.get("shortNames", [])]
                aliases = frozenset(f"{word}{suffix}" for word in words if word
                                    for suffix in ("", f".{group_name}") if suffix != ".")
                kind = Kind(name, aliases, root, resource["scope"] == "Namespaced", frozenset(resource["verbs"]))
                found.setdefault((group_name, name), kind)
    return list(found.values())


def connect_api(kubeconfig: str, address: tuple[str, int] | None = None) -> ApiClient:
    """Return a client for the API server of a kubeconfig that labsupport wrote.

    Args:
        kubeconfig: the text of the file.
        address: where the server is reached, if not where the file says.
    """
    document = json.loads(kubeconfig)
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    server = urlsplit(cluster["server"])

    def decoded(part: dict[str, str], name: str) -> bytes:
        return base64.b64decode(part[f"{name}-data"])

    credential = Credential(decoded(user, "client-certificate"), decoded(user, "client-key"))
    with tempfile.TemporaryDirectory(prefix="labsupport-") as folder:
        return ApiClient(address or (server.hostname or "", server.port or 443),
                         decoded(cluster, "certificate-authority"), credential, Path(folder))
