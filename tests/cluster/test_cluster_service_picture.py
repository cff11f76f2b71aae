"""The picture of a real Service: its counts are those of the requests that were made, in both modes of kube-proxy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from kube import AGNHOST, Kubectl, Manifest, service

from labsupport.cluster import Cluster
from labsupport.lesson.notebook_cluster import NotebookCluster
from labsupport.lesson.opening import use_cluster
from labsupport.views import draw_service, service_endpoints
from labsupport.waiting import wait_until

pytestmark = pytest.mark.timeout(150)  # a second cluster is started
REQUESTS = 30
NODE1, NODE2 = "10.0.0.11", "10.0.0.12"


def deployment(replicas: int) -> Manifest:
    """Return servers that become not ready when their file /tmp/tired is there."""
    probe = {"exec": {"command": ["test", "!", "-e", "/tmp/tired"]}, "periodSeconds": 1, "failureThreshold": 1}
    container = {"name": "main", "image": AGNHOST, "args": ["netexec"], "readinessProbe": probe}
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
              "labelSelector": {"matchLabels": {"app": "shop"}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "shop"}}, "template": {
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0,
                     "topologySpreadConstraints": [spread]}}}}


@pytest.fixture(scope="module", params=["cluster", "nftables_cluster"])
def shop(request: pytest.FixtureRequest, new_kubectl: Callable[[Cluster], Kubectl]
         ) -> Iterator[tuple[NotebookCluster, Kubectl, int]]:
    """Three servers on two nodes and their Service; also its node port."""
    cluster = request.getfixturevalue(request.param)
    kubectl = new_kubectl(cluster)
    kubectl.apply(deployment(3), service("shop", type="NodePort"))
    try:
        kubectl("rollout", "status", "deployment/shop", "--timeout=25s")
        notebook = use_cluster(cluster, "default")
        port = kubectl.get("service", "shop")["spec"]["ports"][0]["nodePort"]
        for node in (NODE1, NODE2):
            wait_until(lambda node=node: len(ask(notebook, node, port, 20)) == 3, what=f"{node} to know all three",
                       deadline_s=30)
        yield notebook, kubectl, port
    finally:
        kubectl.delete("deployments", "shop")
        kubectl.delete("services", "shop")


def ask(notebook: NotebookCluster, address: str, port: int, times: int) -> Counter[str]:
    """Return how often each pod answered the client."""
    url = f"http://{address}:{port}/hostname"
    asks = f'for i in $(seq {times}); do curl --silent --fail --max-time 5 {url} && echo; done'
    return Counter(notebook.lab.run(asks, namespace="client", echo=False).stdout.split())


def counts(notebook: NotebookCluster) -> Counter[str]:
    return Counter({one.pod: one.requests or 0 for one in service_endpoints(notebook, "shop")})


def test_the_kernels_have_counted_every_request(shop):
    notebook, kubectl, port = shop
    before = counts(notebook)
    answered = ask(notebook, NODE1, port, REQUESTS // 2) + ask(notebook, NODE2, port, REQUESTS // 2)
    after = counts(notebook)
    assert answered.total() == REQUESTS
    assert after - before == answered
    pods = {pod["metadata"]["name"]: pod for pod in kubectl.get("pods", "-l", "app=shop")["items"]}
    endpoints = service_endpoints(notebook, "shop")
    assert {one.pod: (one.node, one.address, one.port, one.ready) for one in endpoints} == {
        name: (pod["spec"]["nodeName"], pod["status"]["podIP"], 8080, True) for name, pod in pods.items()}
    text = draw_service(notebook, "shop").text
    for one in endpoints:
        assert f"  - {one.pod}: {one.address}:8080, ready, {one.requests} request" in text
    assert f"NodePort: every node, port {port}" in text


def test_a_pod_that_is_not_ready_shows_as_such_and_gets_nothing(shop):
    notebook, kubectl, port = shop
    tired = service_endpoints(notebook, "shop")[0].pod
    kubectl("exec", tired, "--", "touch", "/tmp/tired")
    wait_until(lambda: not next(one.ready for one in service_endpoints(notebook, "shop") if one.pod == tired),
               what=f"{tired} to be not ready", deadline_s=20)
    for node in (NODE1, NODE2):
        wait_until(lambda node=node: tired not in ask(notebook, node, port, 10), what=f"{node} to leave it out",
                   deadline_s=20)
    before = counts(notebook)
    answered = ask(notebook, NODE1, port, 10)
    assert tired not in answered
    assert counts(notebook) - before == answered
    (line,) = [line for line in draw_service(notebook, "shop").text.splitlines() if tired in line]
    assert ", not ready, " in line


def test_a_stopped_node_is_named_and_the_other_still_counts(nftables_cluster, new_kubectl):
    kubectl = new_kubectl(nftables_cluster)
    kubectl.apply(service("nobody"))
    nftables_cluster.stop_node("node2")
    try:
        text = draw_service(use_cluster(nftables_cluster, "default"), "nobody").text
    finally:
        nftables_cluster.start_node("node2")
        kubectl.delete("services", "nobody")
    assert text.endswith("\nnot asked: node2")
