"""The pod network, Services and DNS of the shared cluster, seen from inside pods and from the client."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from kube import Kubectl, pod, server, service

from labsupport.cluster import Cluster
from labsupport.cluster.node_files import CNI_FOLDER
from labsupport.waiting import wait_until

COUNTER = """
nft add table inet seen
nft 'add chain inet seen forward { type filter hook forward priority -200; }'
nft add rule inet seen forward ip saddr SOURCE ip daddr DESTINATION counter
"""


@pytest.fixture(scope="module")
def addresses(kubectl: Kubectl) -> Iterator[dict[str, str]]:
    """Servers on both nodes and one more on node1, each with tools; their Services; the addresses by name."""
    kubectl.apply(server("one", "node1", app="web"), server("two", "node2", app="web"), service("web", type="NodePort"),
                  server("own", "node1", app="own"), service("own"), pod("pinger", node="node1"))
    kubectl.wait_ready("one", "two", "own", "pinger")
    found = {each["metadata"]["name"]: each["status"]["podIP"] for each in kubectl.get("pods")["items"]}
    services = {each["metadata"]["name"]: each for each in kubectl.get("services")["items"]}
    found |= {f"service {name}": each["spec"]["clusterIP"] for name, each in services.items()}
    yield found | {"node port": str(services["web"]["spec"]["ports"][0]["nodePort"])}
    kubectl.delete("pods", "one", "two", "own", "pinger")
    kubectl.delete("services", "web", "own")


def curl(kubectl: Kubectl, source: str, *urls: str) -> str:
    return kubectl("exec", source, "--", "curl", "--silent", "--show-error", "--fail", "--max-time", "5", *urls)


def reach(cluster: Cluster, where: str, url: str) -> str:
    return cluster.run(["curl", "--silent", "--max-time", "5", url], on=where, echo=False).stdout


@pytest.mark.parametrize(("source", "target"), [("pinger", "one"), ("one", "two"), ("two", "pinger"), ("two", "own")])
def test_pods_reach_each_other(kubectl, addresses, source, target):
    kubectl("exec", source, "--", "ping", "-c", "1", "-W", "3", addresses[target])


@pytest.mark.parametrize(("source", "target"), [("one", "own"), ("own", "two"), ("two", "one")])
def test_a_pod_is_seen_under_its_own_address(kubectl, addresses, source, target):
    seen = curl(kubectl, source, f"http://{addresses[target]}:8080/clientip")
    assert seen.rpartition(":")[0] == addresses[source]


def test_addresses_come_from_the_nodes_ranges(addresses):
    assert {addresses[name].rpartition(".")[0] for name in ("one", "own", "pinger")} == {"10.1.1"}
    assert addresses["two"].startswith("10.1.2.")


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_node_agents_reach_all_pods(cluster, addresses, node):
    for name in ("one", "two"):
        assert reach(cluster, node, f"http://{addresses[name]}:8080/hostname") == name


def test_a_pod_reaches_itself_by_its_own_service(kubectl, addresses):
    assert curl(kubectl, "own", f"http://{addresses['service own']}/hostname") == "own"


def test_a_service_balances_over_both_nodes(kubectl, addresses):
    def answers() -> set[str]:
        url = f"http://{addresses['service web']}/hostname?[1-20]"
        return {name for name in ("one", "two") if name in curl(kubectl, "pinger", url)}

    wait_until(lambda: answers() == {"one", "two"}, what="both servers to answer", deadline_s=10)


@pytest.mark.parametrize("address", ["10.0.0.11", "10.0.0.12"])
def test_a_node_port_is_open_on_every_node(cluster, addresses, address):
    assert reach(cluster, "client", f"http://{address}:{addresses['node port']}/hostname") in {"one", "two"}


def test_names_of_services_resolve_in_pods(kubectl, addresses):
    name = "web.default.svc.cluster.local"
    assert kubectl("exec", "pinger", "--", "dig", "+short", name).split() == [addresses["service web"]]
    assert curl(kubectl, "two", "http://own/hostname") == "own"
    assert kubectl("exec", "pinger", "--", "dig", "+short", "-x", addresses["service own"]).split() == [
        "own.default.svc.cluster.local."]


def test_pods_of_one_node_meet_in_its_forward_hook(cluster, kubectl, addresses):
    rules = COUNTER.replace("SOURCE", addresses["pinger"]).replace("DESTINATION", addresses["own"])
    cluster.run(f"set -e; {rules}", on="node1", echo=False).check()
    try:
        kubectl("exec", "pinger", "--", "ping", "-c", "3", "-i", "0.1", addresses["own"])
        listing = cluster.run("nft -j list table inet seen", on="node1", echo=False).check().stdout
        assert '"packets": 3' in json.dumps(json.loads(listing))
    finally:
        cluster.run("nft delete table inet seen", on="node1", echo=False).check()


def test_kube_proxy_has_the_mode_that_was_asked_for(cluster):
    rules = cluster.run("iptables-save -t nat", on="node1", echo=False).check().stdout
    assert "-A KUBE-SERVICES" in rules


@pytest.mark.parametrize("machine", ["", "node1", "node2"])
def test_every_machine_has_upstreams_cni_plugins(cluster, machine):
    ask = "echo '{\"cniVersion\": \"1.1.0\"}' | CNI_COMMAND=VERSION"
    for name in ("bridge", "host-local", "loopback", "portmap", "ptp"):
        call = f"{ask} {CNI_FOLDER}/{name}"
        said = cluster.run(call, on=machine, echo=False) if machine else cluster.lab.run(call, echo=False)
        assert "1.1.0" in json.loads(said.check().stdout)["supportedVersions"]


def test_containerd_runs_a_plugin_of_ones_own_from_the_same_folder(cluster, kubectl):
    folder, conflist = f"{CNI_FOLDER}/own", "/etc/cni/net.d/05-own.conflist"
    cluster.run(f"printf '#!/bin/sh\\ntouch /run/own-plugin\\nexec {CNI_FOLDER}/ptp\\n' > {folder}; chmod +x {folder}; "
                f"sed 's/\"ptp\"/\"own\"/' /etc/cni/net.d/10-ptp.conflist > {conflist}", on="node2", echo=False).check()
    try:
        kubectl.apply(pod("with-own-plugin", node="node2"))
        kubectl.wait_ready("with-own-plugin")
        cluster.run("rm /run/own-plugin", on="node2", echo=False).check()
        kubectl("delete", "pod", "with-own-plugin", "--now")
    finally:
        cluster.run(f"rm -f {folder} {conflist} /run/own-plugin", on="node2", echo=False).check()


def test_the_name_of_a_pod_becomes_the_name_of_its_network(cluster, addresses):
    assert cluster.name_pod("two") == "two"
    shown = cluster.lab.run("ip -o -4 addr show eth0", namespace="two", echo=False).check().stdout
    assert addresses["two"] in shown
    cluster.lab.run("ip netns del two", echo=False).check()


@pytest.mark.timeout(120)  # it starts a cluster
def test_nftables_mode(nftables_cluster, new_kubectl):
    cluster, kubectl = nftables_cluster, new_kubectl(nftables_cluster)
    kubectl.apply(server("web", "node1", app="web"), service("web", type="NodePort"))
    kubectl.wait_ready("web")
    found = kubectl.get("service", "web")["spec"]
    port = found["ports"][0]["nodePort"]
    wait_until(lambda: reach(cluster, "client", f"http://10.0.0.11:{port}/hostname") == "web",
               what="the NodePort to answer", deadline_s=10)
    assert curl(kubectl, "web", f"http://{found['clusterIP']}/hostname") == "web"
    assert "KUBE-SVC" not in cluster.run("iptables-save", on="node1", echo=False).stdout
    assert found["clusterIP"] in cluster.run("nft list table ip kube-proxy", on="node1", echo=False).check().stdout
    assert cluster.status()["proxy_mode"] == "nftables"
    kubectl.delete("service/web", "pod/web")
