"""The network namespaces of pods, under names that `ip netns` knows."""

from __future__ import annotations

import json
import shlex

from labsupport.cluster.joined import enter_node
from labsupport.cluster.numbers import CLIENT, MOST_NODES, node_name
from labsupport.cluster.paths import CONTAINERD_SOCKET
from labsupport.errors import ClusterError
from labsupport.sandbox import Lab


def name_pod_namespace(lab: Lab, pod: str, namespace: str) -> str:
    """Give a pod's network namespace the pod's name, as `ip netns attach` does, and return the name.

    A name that an earlier pod had is taken over. It keeps the namespace alive after the pod's end, so names of pods
    that are gone show an empty network until they are used again.

    Args:
        lab: the cluster's.
        pod: its name.
        namespace: its Kubernetes namespace.

    Raises:
        ClusterError: there is no such pod, it does not run yet, or it uses its node's network.
    """
    if pod == CLIENT or pod in {node_name(number) for number in range(1, MOST_NODES + 1)}:
        raise ClusterError(f"a pod called {pod} cannot have that name here: a machine of the cluster has it",
                           where=f"namespace {namespace}", next_step="give the pod another name")
    found = _pod(lab, pod, namespace)
    if found["spec"].get("hostNetwork"):
        raise ClusterError(f"the pod {pod} has no network namespace of its own: it uses its node's (hostNetwork)",
                           where=f"namespace {namespace}", next_step=f"look into {found['spec']['nodeName']}")
    node = found["spec"].get("nodeName", "")
    inside = enter_node(lab, node, []) if node else []
    identity = _sandbox(lab, inside, pod, namespace) if node else ""
    if not identity:
        raise ClusterError(f"the pod {pod} does not run yet", where=f"namespace {namespace}",
                           observed=f"phase {found['status'].get('phase')}",
                           next_step=f"kubectl -n {namespace} describe pod {pod}")
    # lsns(8) counts processes as the lab does, containerd as its node does; the namespace's number is the same.
    script = f"""set -e
number=$({shlex.join([*inside, "stat", "--dereference", "--format=%i", f"/proc/{identity}/ns/net"])})
pid=$(lsns --type net --noheadings --output NS,PID | awk -v number="$number" '$1 == number {{ print $2; exit }}')
ip netns del {shlex.quote(pod)} 2>/dev/null || true
ip netns attach {shlex.quote(pod)} "$pid"
"""
    lab.run(script, echo=False).check()
    return pod


def _pod(lab: Lab, pod: str, namespace: str) -> dict[str, dict[str, str]]:
    done = lab.run(["kubectl", "--namespace", namespace, "get", "pod", pod, "--output=json"], echo=False)
    if done.exit_status:
        raise ClusterError(f"there is no pod {pod}", where=f"namespace {namespace}", observed=done.stderr.strip(),
                           next_step=f"kubectl -n {namespace} get pods")
    answer: dict[str, dict[str, str]] = json.loads(done.stdout)
    return answer


def _sandbox(lab: Lab, inside: list[str], pod: str, namespace: str) -> str:
    """Return the process id, as the node counts, of what holds the pod's namespaces: the pause container."""
    ctr = f"ctr --address {CONTAINERD_SOCKET} --namespace k8s.io"
    wanted = (f'labels."io.cri-containerd.kind"==sandbox,labels."io.kubernetes.pod.name"=={pod},'
              f'labels."io.kubernetes.pod.namespace"=={namespace}')
    script = f"""ids=$({ctr} containers list --quiet {shlex.quote(wanted)})
{ctr} tasks list | awk -v ids="$ids" 'BEGIN {{ split(ids, list, "\\n"); for (i in list) known[list[i]] = 1 }}
  known[$1] && $3 == "RUNNING" {{ print $2; exit }}'"""
    return lab.run([*inside, "sh", "-c", script], echo=False).check().stdout.strip()
