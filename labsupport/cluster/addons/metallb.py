"""MetalLB on layer 2, as microk8s has it: the add-on `metallb`.

A Service of type LoadBalancer waits for somebody who gives it an address outside of the cluster. MetalLB's controller
takes one from a pool; its speakers, one per node, agree on the node that answers ARP requests for it. From there on it
is kube-proxy's work. When that node dies, the speakers notice within seconds, and another one answers.

The objects are those of config/manifests/metallb-native.yaml, with these differences: containers run as root of the
lab, which may be the only user that there is; probes look every second; what the admission webhook would refuse, the
range of the pool, is checked by `labsupport cluster enable`, so the webhook is switched off, and so is the conversion
between versions of BGPPeer; rights that only the webhook and ancient API servers need are left out; and the secret of
the speakers is made here, so the controller need not read or write secrets.

Source: MetalLB documentation, "Concepts: layer 2 mode" and "Configuration"; microk8s core add-ons, `metallb`.
"""

from __future__ import annotations

import base64
import functools
import secrets
from importlib import resources

from labsupport.cluster.addons.addon import AddOn, Wait, does_its_work
from labsupport.cluster.addons.metallb_access import access_manifests
from labsupport.cluster.addons.pool import check_range
from labsupport.cluster.api import ApiClient, Object
from labsupport.cluster.images import METALLB_CONTROLLER, METALLB_SPEAKER

SPACE = "metallb-system"
LABELS = {"app": "metallb"}
_CORE, _APPS = f"/api/v1/namespaces/{SPACE}", f"/apis/apps/v1/namespaces/{SPACE}"
_SETTINGS = f"/apis/metallb.io/v1beta1/namespaces/{SPACE}"
CONTROLLER = f"{_APPS}/deployments/controller"
POOL = f"{_SETTINGS}/ipaddresspools/default-addresspool"
ADVERTISEMENT = f"{_SETTINGS}/l2advertisements/default-advertise-all-pools"
_TAKEN_FROM_POOL = "metallb.io/ip-allocated-from-pool"
_METRICS_PORT, _MEMBERS_PORT = 7472, 7946
_NOT_ANNOUNCED_ON = """announcedInterfacesToExclude: ["^docker.*", "^cbr.*", "^dummy.*", "^virbr.*", "^lxcbr.*", \
"^veth.*", "^lo$", "^cali.*", "^tunl.*", "^flannel.*", "^kube-ipvs.*", "^cni.*", "^nodelocaldns.*"]
"""


def metallb_manifests(pool: str) -> dict[str, Object]:
    """Return the objects of the add-on by their API path, in the order in which to apply them."""
    privileged = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}
    return {
        **_definitions(),
        f"/api/v1/namespaces/{SPACE}": {
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": privileged}},
        **access_manifests(SPACE, LABELS),
        f"{_CORE}/secrets/memberlist": {
            "apiVersion": "v1", "kind": "Secret", "metadata": _meta("memberlist"),
            "data": {"secretkey": base64.b64encode(_members_key()).decode()}},
        f"{_CORE}/configmaps/metallb-excludel2": {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta("metallb-excludel2"),
            "data": {"excludel2.yaml": _NOT_ANNOUNCED_ON}},
        CONTROLLER: _controller(),
        f"{_APPS}/daemonsets/speaker": _speaker(),
        POOL: {"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
               "metadata": _meta("default-addresspool"), "spec": {"addresses": [pool]}},
        ADVERTISEMENT: {"apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
                        "metadata": _meta("default-advertise-all-pools"),
                        "spec": {"ipAddressPools": ["default-addresspool"]}},
    }


def _definitions() -> dict[str, Object]:
    """Return the definitions of MetalLB's kinds, which are upstream's files."""
    import yaml  # noqa: PLC0415  (it costs time and memory, and most clusters have no such add-on)

    files = [file for file in resources.files(__package__).joinpath("metallb-crds").iterdir()
             if file.name.endswith(".yaml")]
    found = [yaml.safe_load(file.read_text()) for file in sorted(files, key=lambda file: file.name)]
    return {f"/apis/{each['apiVersion']}/customresourcedefinitions/{each['metadata']['name']}": each for each in found}


@functools.cache
def _members_key() -> bytes:
    """Return the secret by which speakers know each other: the same as long as the cluster's process lives."""
    return base64.b64encode(secrets.token_bytes(16))


def _meta(name: str, component: str = "") -> Object:
    more = {"component": component} if component else {}
    return {"name": name, "namespace": SPACE, "labels": LABELS | more}


def _workload(kind: str, name: str, pod: Object, **more: object) -> Object:
    """Return a Deployment or DaemonSet of one container, the first of `pod`, which is ready when it shows metrics."""
    labels = LABELS | {"component": name}
    probe: Object = {"httpGet": {"path": "/metrics", "port": "monitoring"}}
    container = pod["containers"][0] | {
        "name": name, "imagePullPolicy": "IfNotPresent",
        "livenessProbe": probe | {"initialDelaySeconds": 10, "periodSeconds": 10, "failureThreshold": 3},
        "readinessProbe": probe | {"periodSeconds": 1}}
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": _meta(name, name),
        "spec": {"selector": {"matchLabels": labels}, **more, "template": {
            "metadata": {"labels": labels},
            "spec": pod | {"serviceAccountName": name, "containers": [container]}}}}


def _restricted(*capabilities: str) -> Object:
    more = {"add": list(capabilities)} if capabilities else {}
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]} | more}


def _controller() -> Object:
    return _workload("Deployment", "controller", {
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "image": METALLB_CONTROLLER,
            "args": [f"--port={_METRICS_PORT}", "--log-level=info", "--webhook-mode=disabled"],
            "ports": [{"containerPort": _METRICS_PORT, "name": "monitoring", "protocol": "TCP"}],
            "securityContext": _restricted()}],
    }, replicas=1)


def _speaker() -> Object:
    told = {"METALLB_NODE_NAME": "spec.nodeName", "METALLB_POD_NAME": "metadata.name",
            "METALLB_HOST": "status.hostIP", "METALLB_ML_BIND_ADDR": "status.podIP"}
    said = {"METALLB_ML_LABELS": "app=metallb,component=speaker", "METALLB_ML_SECRET_KEY_PATH": "/etc/ml_secret_key"}
    return _workload("DaemonSet", "speaker", {
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 2,
        "volumes": [{"name": "memberlist", "secret": {"secretName": "memberlist"}},
                    {"name": "metallb-excludel2", "configMap": {"name": "metallb-excludel2"}}],
        "containers": [{
            "image": METALLB_SPEAKER,
            "args": [f"--port={_METRICS_PORT}", "--log-level=info"],
            "env": [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in told.items()]
            + [{"name": name, "value": value} for name, value in said.items()],
            "ports": [{"containerPort": port, "hostPort": port, "name": name, "protocol": protocol}
                      for name, port, protocol in (("monitoring", _METRICS_PORT, "TCP"),
                                                   ("memberlist-tcp", _MEMBERS_PORT, "TCP"),
                                                   ("memberlist-udp", _MEMBERS_PORT, "UDP"))],
            "securityContext": _restricted("NET_RAW"),
            "volumeMounts": [{"name": "memberlist", "mountPath": "/etc/ml_secret_key", "readOnly": True},
                             {"name": "metallb-excludel2", "mountPath": "/etc/metallb", "readOnly": True}]}],
    })


def _withdraw(api: ApiClient, wait: Wait) -> None:
    """Take the pool away and wait until the controller has taken its addresses back from the Services.

    Without a controller they keep them, as with `kubectl delete namespace metallb-system`.
    """
    def done() -> bool:
        controller = api.find(CONTROLLER)
        return controller is None or not does_its_work(controller, 0) or not any(
            _TAKEN_FROM_POOL in service["metadata"].get("annotations", {})
            for service in api.get("/api/v1/services").get("items") or [])

    for path in (ADVERTISEMENT, POOL):
        if api.find(path):
            api.delete(path)
    wait("Services to give back the addresses of MetalLB's pool", done)


METALLB = AddOn("metallb", "MetalLB", check_range, metallb_manifests, _withdraw)
