"""Whatever ends by itself on the shared cluster comes back; nodes come and go while it runs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import oracle
import pytest
from kube import AGNHOST, Kubectl, pod, process_of, processes_of, service

from labsupport.cluster import Cluster
from labsupport.errors import ClusterError
from labsupport.waiting import wait_until

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd@node1", "kubelet@node1",
         "kube-proxy@node1")
BACK_WITHIN_S = 30.0


def found_part(cluster: Cluster, name: str) -> dict[str, Any]:
    return next(part for part in cluster.status()["components"] if part["name"] == name)


def container(kubectl: Kubectl, name: str) -> dict[str, Any]:
    status: dict[str, Any] = kubectl.get("pod", name)["status"]["containerStatuses"][0]
    return status


def ready(kubectl: Kubectl, kind: str, name: str) -> str:
    conditions = kubectl.get(kind, name)["status"].get("conditions", [])
    return next((condition["status"] for condition in conditions if condition["type"] == "Ready"), "")


def prove_that_it_works(cluster: Cluster, kubectl: Kubectl) -> None:
    """A Deployment gets a pod on node1, and a Service that leads there: every component has a part in it."""
    template = pod("", image=AGNHOST, command=["netexec"], nodeSelector={"kubernetes.io/hostname": "node1"})
    kubectl.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "proof"},
         "spec": {"selector": {"matchLabels": {"app": "proof"}},
                  "template": {"metadata": {"labels": {"app": "proof"}}, "spec": template["spec"]}}},
        service("proof", type="NodePort"))
    try:
        kubectl("rollout", "status", "deployment/proof", "--timeout=25s")
        port = kubectl.get("service", "proof")["spec"]["ports"][0]["nodePort"]
        command = ["curl", "--silent", "--max-time", "2", f"http://10.0.0.11:{port}/hostname"]
        wait_until(lambda: "proof-" in cluster.run(command, on="client", echo=False).stdout,
                   what="the Service to answer", deadline_s=BACK_WITHIN_S, interval_s=0.1)
    finally:
        kubectl.delete("deployment/proof", "service/proof")


@pytest.fixture(scope="module")
def sleeper(kubectl: Kubectl) -> Iterator[str]:
    """A pod on node1 that was there before."""
    kubectl.apply(pod("sleeper", node="node1", command=["sleep", "4711"]))
    kubectl.wait_ready("sleeper")
    yield "sleeper"
    kubectl.delete("pod", "sleeper")


@pytest.mark.timeout(180)  # it waits for seven restarts
def test_components_that_are_killed_are_started_again_and_pods_go_on(cluster, kubectl, sleeper):
    pods = container(kubectl, sleeper)
    for name in PARTS:
        before, killed = found_part(cluster, name)["restarts"], process_of(cluster, name)
        os.kill(killed.pid, signal.SIGKILL)
        back = {"name": name, "state": "running", "restarts": before + 1, "last_end": "signal 9"}
        wait_until(lambda name=name, back=back: found_part(cluster, name) == back, what=f"{name} to be started again",
                   deadline_s=BACK_WITHIN_S, interval_s=0.05)
        wait_until(lambda name=name: process_of(cluster, name), what=f"{name} to run", deadline_s=BACK_WITHIN_S)
        assert process_of(cluster, name).pid != killed.pid
        assert any(f" {name} ended (signal 9) and is started again; log: {cluster.folder.logs}" in notice
                   for notice in cluster.status()["notices"])
    wait_until(lambda: kubectl.run("get", "--raw", "/readyz").returncode == 0, what="the API server to be ready",
               deadline_s=BACK_WITHIN_S, interval_s=0.1)
    prove_that_it_works(cluster, kubectl)
    now = container(kubectl, sleeper)
    assert (now["containerID"], now["restartCount"]) == (pods["containerID"], pods["restartCount"])


def test_components_collect_garbage_often_or_as_the_user_says(cluster: Cluster) -> None:
    etcd = process_of(cluster, "etcd")
    assert etcd is not None
    environment = Path(f"/proc/{etcd.pid}/environ").read_bytes().split(b"\0")
    assert f"GOGC={os.environ.get('GOGC', '10')}".encode() in environment


def test_a_pod_whose_shim_is_killed_is_started_again(cluster, kubectl, sleeper):
    before = container(kubectl, sleeper)
    (process,) = processes_of(cluster, "^sleep 4711 $")
    shim = oracle.read_process(process.parent)
    assert shim is not None
    assert "containerd-shim-runc-v2" in shim.command_line
    os.kill(shim.pid, signal.SIGKILL)
    wait_until(lambda: container(kubectl, sleeper)["containerID"] != before["containerID"]
               and ready(kubectl, "pod", sleeper) == "True", what="the pod to be started again",
               deadline_s=BACK_WITHIN_S, interval_s=0.2)
    assert container(kubectl, sleeper)["restartCount"] == before["restartCount"] + 1


def test_a_node_whose_first_process_is_killed_boots_again(cluster, kubectl, sleeper):
    before, pods = cluster.status()["nodes"][0], container(kubectl, sleeper)
    (first,) = processes_of(cluster, "^sh /var/lib/cluster/node.sh node1 ")
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: cluster.status()["nodes"][0]["restarts"] == before["restarts"] + 1, what="node1 to boot again",
               deadline_s=BACK_WITHIN_S, interval_s=0.1)
    wait_until(lambda: container(kubectl, sleeper)["restartCount"] > pods["restartCount"]
               and ready(kubectl, "pod", sleeper) == ready(kubectl, "node", "node1") == "True",
               what="node1 and its pods to be back", deadline_s=BACK_WITHIN_S, interval_s=0.2)
    assert any(line.endswith("node1 went down and is started again") for line in cluster.status()["notices"])
    prove_that_it_works(cluster, kubectl)


def test_nodes_are_added_and_removed(cluster, kubectl):
    assert cluster.add_node() == "node3"
    try:
        assert ready(kubectl, "node", "node3") == "True"
        assert kubectl.get("node", "node3")["spec"]["podCIDR"] == "10.1.3.0/24"
        kubectl.apply(pod("far", node="node3"))
        kubectl.wait_ready("far")
        address = kubectl.get("pod", "far")["status"]["podIP"]
        for node in ("node1", "node2"):
            cluster.run(["ping", "-c", "1", "-W", "3", address], on=node, echo=False).check()
        network = oracle.namespaces_of(process_of(cluster, "kubelet@node3").pid)["net"]
    finally:
        cluster.remove_node("node3")
        kubectl("delete", "pod", "far", "--force", "--ignore-not-found")  # Kubernetes itself takes a minute or two
    assert kubectl.run("get", "node", "node3").returncode == 1
    assert cluster.nodes() == ["node1", "node2"]
    assert not any("@node3" in part["name"] for part in cluster.status()["components"])
    wait_until(lambda: not oracle.holders([network], below=cluster.status()["pid"]), what="node3 to end", deadline_s=2)
    assert "node3" not in cluster.lab.namespaces()
    for where in ("control plane", "node1", "node2"):
        run = cluster.lab.run if where == "control plane" else lambda *a, node=where, **k: cluster.run(*a, on=node, **k)
        assert "10.1.3.0/24" not in run("ip route", echo=False).check().stdout, where


def test_a_node_is_stopped_and_started(cluster, kubectl):
    kubectl.apply(pod("patient", node="node2"))
    kubectl.wait_ready("patient")
    cluster.stop_node("node2")
    try:
        assert [node["running"] for node in cluster.status()["nodes"]] == [True, False]
        with pytest.raises(ClusterError, match="node2 is stopped"):
            cluster.run("true", on="node2")
        wait_until(lambda: ready(kubectl, "node", "node2") == "Unknown", what="node2 to be seen as NotReady",
                   deadline_s=BACK_WITHIN_S, interval_s=0.2)
        assert re.search(r"^node2 +NotReady ", kubectl("get", "nodes"), re.M)
    finally:
        cluster.start_node("node2")
    assert ready(kubectl, "node", "node2") == "True"
    wait_until(lambda: ready(kubectl, "pod", "patient") == "True", what="its pod to run again",
               deadline_s=BACK_WITHIN_S, interval_s=0.2)
    kubectl.delete("pod", "patient")
    for change in (cluster.stop_node, cluster.start_node, cluster.remove_node):
        with pytest.raises(ClusterError, match="no node 'node8'"):
            change("node8")


@pytest.mark.parametrize(("sent", "answered"), [
    (b"what?\n", "did not understand"), (b"{}\n", "did not understand"), (b"[1]\n", "did not understand"),
    (b'{"do": "nothing"}\n', "knows no request 'nothing'"), (b'{"do": "status", "more": 1}\n', "did not understand"),
    (b'{"do": "stop-node", "name": []}\n', "did not understand"), (b"\xff\n", "did not understand"),
    (b"[" * 100_000 + b"\n", "did not understand"), (b"x" * (3 << 20) + b"\n", "did not understand"),
    (b'{"do": "st', ""),
])
def test_requests_that_make_no_sense_do_no_harm(cluster, sent, answered):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(cluster.folder.control_socket))
        client.sendall(sent)
        if answered:
            answer = json.loads(client.makefile("rb").readline())
            assert answered in answer["error"]["what"]
    assert cluster.status()["nodes"]
