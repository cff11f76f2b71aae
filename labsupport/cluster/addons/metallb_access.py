"""What MetalLB's controller and speakers may do in a cluster: no more than they need on layer 2."""

from __future__ import annotations

from labsupport.cluster.api import Object

RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_EVENTS = {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}
_SETTINGS = ["ipaddresspools", "communities"]
_SPEAKERS_SETTINGS = [*_SETTINGS, "l2advertisements", "bgpadvertisements", "bgppeers", "bfdprofiles"]
# Everywhere.
_CONTROLLER = [
    {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": _READ},
    {"apiGroups": [""], "resources": ["services/status"], "verbs": ["update"]},
    _EVENTS,
]
_SPEAKER = [
    {"apiGroups": [""], "resources": ["services", "nodes", "namespaces"], "verbs": _READ},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
    {"apiGroups": ["metallb.io"], "resources": ["servicel2statuses", "servicel2statuses/status"], "verbs": ["*"]},
    _EVENTS,
]
# In their own namespace. A speaker watches the kinds for BGP as well, whether there are any objects or not.
_CONTROLLER_AT_HOME = [
    {"apiGroups": ["metallb.io"], "resources": _SETTINGS, "verbs": _READ},
    {"apiGroups": ["metallb.io"], "resources": ["ipaddresspools/status"], "verbs": ["update"]},
]
_SPEAKER_AT_HOME = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": _READ},
    {"apiGroups": ["metallb.io"], "resources": _SPEAKERS_SETTINGS, "verbs": _READ},
    {"apiGroups": ["metallb.io"], "resources": ["servicebgpstatuses", "servicebgpstatuses/status"], "verbs": ["*"]},
]


def access_manifests(namespace: str, labels: dict[str, str]) -> dict[str, Object]:
    """Return the ServiceAccounts `controller` and `speaker`, their roles and the bindings, by their API path."""
    found: dict[str, Object] = {}
    for name, everywhere, at_home in (("controller", _CONTROLLER, _CONTROLLER_AT_HOME),
                                      ("speaker", _SPEAKER, _SPEAKER_AT_HOME)):
        at = {"name": name, "namespace": namespace, "labels": labels}
        found[f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"] = {
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": at}
        found |= _granted("ClusterRole", {"name": f"{namespace}:{name}", "labels": labels}, everywhere, at)
        found |= _granted("Role", at, at_home, at)
    return found


def _granted(kind: str, meta: Object, rules: list[Object], account: Object) -> dict[str, Object]:
    """Return a role and its binding to a ServiceAccount."""
    place = f"namespaces/{meta['namespace']}/" if "namespace" in meta else ""
    root, name = f"/apis/{RBAC}/v1/{place}{kind.lower()}", meta["name"]
    return {
        f"{root}s/{name}": {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": meta, "rules": rules},
        f"{root}bindings/{name}": {
            "apiVersion": f"{RBAC}/v1", "kind": f"{kind}Binding", "metadata": meta,
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}]},
    }
