"""What a cluster with a single user id tells who asks for another one: a warning under `kubectl apply`.

Where the user who started the cluster has no range in /etc/subuid, the kernel knows uid 0 only in the lab, so runc and
the kubelet cannot make files or processes of another user. Such a pod is accepted, as on any cluster, and does not
start; what its events say ("lchown ...: invalid argument") helps nobody who has not read user_namespaces(7).

Source: Kubernetes documentation, "Validating Admission Policy"; user_namespaces(7).
"""

from __future__ import annotations

from labsupport.cluster.api import Object

NAME = "labsupport-one-user-id"
API = "admissionregistration.k8s.io/v1"
MESSAGE = ("containers of this cluster can only run as user 0 and group 0, so this pod will not start: whoever started "
           "the cluster has no range in /etc/subuid and /etc/subgid (labsupport doctor says more)")
_OF_POD = [f"variables.spec.?securityContext.?{field}.orValue(0)" for field in ("runAsUser", "runAsGroup", "fsGroup")]
_OF_CONTAINER = [f"container.?securityContext.?{field}.orValue(0)" for field in ("runAsUser", "runAsGroup")]


def one_user_manifests() -> dict[str, Object]:
    """Return the policy that warns and its binding, by their API path."""
    rules = [{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": resources}
             for group, resources in (("", ["pods"]), ("batch", ["jobs"]),
                                      ("apps", ["deployments", "daemonsets", "statefulsets"]))]
    return {
        f"/apis/{API}/validatingadmissionpolicies/{NAME}": {
            "apiVersion": API, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": NAME},
            "spec": {
                "matchConstraints": {"resourceRules": rules},
                "variables": [
                    {"name": "spec",
                     "expression": "has(object.spec.template) ? object.spec.template.spec : object.spec"},
                    {"name": "containers",
                     "expression": "variables.spec.containers + variables.spec.?initContainers.orValue([])"}],
                "validations": [
                    {"expression": f"[{', '.join(_OF_POD)}].all(id, id == 0) && "
                                   "variables.spec.?securityContext.?supplementalGroups.orValue([]).all(id, id == 0)",
                     "message": MESSAGE},
                    {"expression": f"variables.containers.all(container, [{', '.join(_OF_CONTAINER)}]"
                                   ".all(id, id == 0))", "message": MESSAGE}]}},
        f"/apis/{API}/validatingadmissionpolicybindings/{NAME}": {
            "apiVersion": API, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": NAME},
            "spec": {"policyName": NAME, "validationActions": ["Warn"]}},
    }
