"""CoreDNS as microk8s has it: the add-on `dns`.

Source: microk8s core add-ons, `dns`; Kubernetes documentation, "DNS for Services and Pods"; CoreDNS manual,
plugin kubernetes.
"""

from __future__ import annotations

from labsupport.cluster import numbers
from labsupport.cluster.addons.addon import AddOn
from labsupport.cluster.api import Object
from labsupport.cluster.images import COREDNS
from labsupport.errors import ClusterError

NAMESPACE = "kube-system"
LABELS = {"k8s-app": "kube-dns"}
COREFILE = f""".:53 {{
    errors
    health {{
      lameduck 5s
    }}
    ready
    log . {{
      class error
    }}
    kubernetes {numbers.CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }}
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}}
"""


def dns_manifests(_argument: str) -> dict[str, Object]:
    """Return the objects of the add-on by their API path, in the order in which to apply them."""
    core, rbac = f"/api/v1/namespaces/{NAMESPACE}", "/apis/rbac.authorization.k8s.io/v1"
    meta = {"name": "coredns", "namespace": NAMESPACE, "labels": LABELS}
    return {
        f"{core}/serviceaccounts/coredns": {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        f"{core}/configmaps/coredns": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta,
                                       "data": {"Corefile": COREFILE}},
        f"{rbac}/clusterroles/coredns": {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "coredns", "labels": LABELS},
            "rules": [{"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"],
                       "verbs": ["list", "watch"]},
                      {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
                       "verbs": ["list", "watch"]}]},
        f"{rbac}/clusterrolebindings/coredns": {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "coredns", "labels": LABELS},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns"},
            "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": NAMESPACE}]},
        f"{core}/services/kube-dns": {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": NAMESPACE,
                         "labels": LABELS | {"kubernetes.io/name": "CoreDNS"}},
            "spec": {"selector": LABELS, "clusterIP": numbers.DNS_SERVICE_ADDRESS,
                     "ports": [{"name": "dns", "port": 53, "protocol": "UDP"},
                               {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                               {"name": "metrics", "port": 9153, "protocol": "TCP"}]}},
        f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/coredns": _deployment(meta),
    }


def _deployment(meta: Object) -> Object:
    container = {
        "name": "coredns", "image": COREDNS, "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [{"containerPort": 53, "name": "dns", "protocol": "UDP"},
                  {"containerPort": 53, "name": "dns-tcp", "protocol": "TCP"},
                  {"containerPort": 9153, "name": "metrics", "protocol": "TCP"}],
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 60,
                          "timeoutSeconds": 5, "failureThreshold": 5},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "resources": {"limits": {"memory": "170Mi"}, "requests": {"cpu": "100m", "memory": "70Mi"}},
        "volumeMounts": [{"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
        "spec": {
            "replicas": 1,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {
                    "priorityClassName": "system-cluster-critical",
                    "serviceAccountName": "coredns",
                    "dnsPolicy": "Default",
                    "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
                    "containers": [container],
                    "volumes": [{"name": "config-volume", "configMap": {
                        "name": "coredns", "items": [{"key": "Corefile", "path": "Corefile"}]}}],
                },
            },
        },
    }


def _check(argument: str) -> str:
    if argument:
        raise ClusterError("dns has no settings here", observed=argument, next_step="labsupport cluster enable dns")
    return argument


DNS = AddOn("dns", "CoreDNS", _check, dns_manifests)
