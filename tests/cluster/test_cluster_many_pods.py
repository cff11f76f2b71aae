"""As many pods as a small class makes on one machine."""

from __future__ import annotations

import ipaddress
from collections import Counter

import pytest
from kube import pod

from labsupport.waiting import wait_until

COUNT = 90
LABEL = "app=many"


@pytest.mark.timeout(300)
def test_ninety_pods_run_on_two_nodes_each_with_an_address_of_its_own(cluster, kubectl):
    template = pod("many", labels={"app": "many"})
    kubectl.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"},
                   "spec": {"replicas": COUNT, "selector": {"matchLabels": {"app": "many"}},
                            "template": {"metadata": template["metadata"], "spec": template["spec"]}}})
    try:
        wait_until(lambda: ready(kubectl) == COUNT, what=f"{COUNT} pods to be Ready", deadline_s=200, interval_s=1)
        pods = kubectl.get("pods", "-l", LABEL)["items"]
        addresses = {each["status"]["podIP"] for each in pods}
        assert len(addresses) == COUNT
        ranges = {node["name"]: ipaddress.ip_network(node["pod_cidr"]) for node in cluster.status()["nodes"]}
        assert all(ipaddress.ip_address(each["status"]["podIP"]) in ranges[each["spec"]["nodeName"]] for each in pods)
        assert min(Counter(each["spec"]["nodeName"] for each in pods).values()) > COUNT // 4
        last = pods[-1]["metadata"]["name"]
        kubectl("exec", last, "--", "ping", "-c", "1", "-W", "5", pods[0]["status"]["podIP"])
    finally:
        kubectl.delete("deployment", "many")
    wait_until(lambda: not kubectl.get("pods", "-l", LABEL)["items"], what="all pods to be gone", deadline_s=100,
               interval_s=1)
    assert [part["name"] for part in cluster.status()["components"] if part["restarts"]] == []


def ready(kubectl) -> int:
    states = kubectl("get", "pods", "-l", LABEL, "-o",
                     "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}").split()
    return states.count("True")
