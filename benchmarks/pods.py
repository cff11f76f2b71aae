"""How fast pods start in a cluster, and how fast they reach each other. `run` runs a script with kubectl there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.results import seconds
from labsupport.cluster.images import TOOLS

ROUNDS, MANY_ROUNDS, MANY, FILL = 5, 3, 20, 30
WAIT_FOR = "--for=condition=Ready --timeout=60s"
TRAFFIC = Path(__file__).with_name("traffic.py").read_text()
PORT = 7000
SERVERS = {"same node": "node1", "other node": "node2"}
Run = Callable[[str, str], str]
Object = dict[str, Any]


def pod(name: str, label: str, **spec: Any) -> Object:
    """Return the manifest of a pod that waits for nothing and ends at once."""
    container = {"name": "main", "image": TOOLS} | spec.pop("container", {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": label}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}}


def start(run: Run, pods: list[Object]) -> None:
    """Apply pods and wait until they are Ready, as a learner would: with two commands."""
    label = pods[0]["metadata"]["labels"]["app"]
    run(f"set -e; kubectl apply -f - >/dev/null; kubectl wait {WAIT_FOR} pod -l app={label} >/dev/null",
        json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))


def remove(run: Run, label: str) -> None:
    run(f"kubectl delete pod -l app={label} >/dev/null", "")


def first_pod_s(run: Run) -> float:
    """Return how long the first pod of an image takes on a node, which unpacks the image."""
    try:
        return seconds(lambda: start(run, [pod("first", "first", nodeName="node1")]))
    finally:
        remove(run, "first")


def pod_times_s(run: Run) -> list[float]:
    """Return how long one pod takes, again and again, on a node that has unpacked its image."""
    times = []
    for number in range(ROUNDS):
        times.append(seconds(lambda: start(run, [pod(f"one-{number}", "one", nodeName="node1")])))  # noqa: B023
        remove(run, "one")
    return times


def many(count: int, label: str) -> list[Object]:
    return [pod(f"{label}-{number}", label) for number in range(count)]


def many_pods_times_s(run: Run) -> list[float]:
    """Return how long it takes until many pods, applied at once, are all Ready."""
    times = []
    for _ in range(MANY_ROUNDS):
        times.append(seconds(lambda: start(run, many(MANY, "many"))))
        remove(run, "many")
    return times


def fill(run: Run) -> None:
    """Let pods run."""
    start(run, many(FILL, "fill"))


def traffic(run: Run) -> dict[str, list[float]]:
    """Return, for "direct, same node" and so on, the medians that traffic.py prints.

    The client is on node1. Each server has a Service of its own, so that it is known which one answers.
    """
    objects = []
    for number, node in enumerate(SERVERS.values(), 1):
        container = {"command": ["python3", "-c", TRAFFIC, "serve"],
                     "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1}}
        server = pod(f"server-{number}", "traffic", nodeName=node, container=container)
        server["metadata"]["labels"]["server"] = node
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"server-{number}"},
                   "spec": {"selector": {"server": node}, "ports": [{"port": PORT}]}}
        objects += [server, service]
    start(run, [*objects, pod("client", "traffic", nodeName="node1")])
    addresses: dict[str, str] = {}
    for number, place in enumerate(SERVERS, 1):
        for way, path in (("direct", f"pod/server-{number} -o jsonpath='{{.status.podIP}}'"),
                          ("ClusterIP", f"service/server-{number} -o jsonpath='{{.spec.clusterIP}}'")):
            addresses[f"{way}, {place}"] = run(f"kubectl get {path}", "").strip()
    hosts = " ".join(addresses.values())
    printed: dict[str, list[float]] = json.loads(
        run(f"kubectl exec -i client -- python3 - measure {hosts}", TRAFFIC))
    run("kubectl delete service server-1 server-2 >/dev/null", "")
    remove(run, "traffic")
    return {what: printed[address] for what, address in addresses.items()}
