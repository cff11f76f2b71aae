"""The add-ons of a cluster: MetalLB gives Services an address on the rack, and one node answers for it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from kube import Kubectl, labsupport, server, service

from labsupport.cluster import Cluster
from labsupport.cluster.addons.pool import check_range
from labsupport.errors import ClusterError
from labsupport.net import Capture
from labsupport.waiting import wait_until

POOL, OTHER_POOL = "10.0.0.200-10.0.0.209", "10.0.0.230-10.0.0.239"
WITHIN_S = 30.0


@pytest.fixture(scope="module")
def waiting(cluster: Cluster, kubectl: Kubectl) -> Iterator[str]:
    """A Service of type LoadBalancer with a server on each node, in a cluster without MetalLB."""
    kubectl.apply(server("web-1", "node1", app="web"), server("web-2", "node2", app="web"),
                  service("web", type="LoadBalancer"))
    kubectl.wait_ready("web-1", "web-2")
    yield "web"
    kubectl.delete("service/web", "pod/web-1", "pod/web-2")


@pytest.fixture(scope="module")
def balanced(cluster: Cluster, waiting: str) -> Iterator[str]:
    """The same with MetalLB."""
    cluster.enable(f"metallb:{POOL}")
    yield waiting
    cluster.disable("metallb")


def address_of(kubectl: Kubectl, name: str) -> str:
    """Return the address outside of the cluster that a Service has; "" for none."""
    given = kubectl.get("service", name)["status"]["loadBalancer"].get("ingress") or [{}]
    return str(given[0].get("ip", ""))


def wait_for_address(kubectl: Kubectl, name: str, pool: str) -> str:
    """Wait until a Service has an address of a pool of ten, and return it."""
    wait_until(lambda: address_of(kubectl, name).startswith(pool.partition("-")[0][:-1]), what=f"an address of {pool}",
               deadline_s=WITHIN_S, interval_s=0.2)
    return address_of(kubectl, name)


def ask(cluster: Cluster, address: str, what: str = "hostname") -> str:
    """Return what a server behind the address says to the machine outside, or ""."""
    return cluster.run(["curl", "--silent", "--max-time", "2", f"http://{address}/{what}"], on="client",
                       echo=False).stdout


def macs(cluster: Cluster) -> dict[str, str]:
    """Return the nodes' names by the MAC address of their cable to the rack."""
    def mac(node: str) -> str:
        shown = cluster.lab.run("ip -json link show dev eth0", namespace=node, echo=False).check().stdout
        return str(json.loads(shown)[0]["address"])

    return {mac(node): node for node in cluster.nodes()}


def answering(cluster: Cluster, address: str) -> set[str]:
    """Ask for an address by ARP from the machine outside; return the nodes that answer."""
    with Capture(cluster.lab, "client:eth0") as capture:
        cluster.run(f"ip neigh flush to {address} dev eth0; ping -c 1 -W 1 {address}", on="client", echo=False)
    nodes = macs(cluster)
    return {nodes[frame.source] for frame in capture.frames
            if frame.arp and frame.arp.operation == "reply" and frame.arp.sender_ip == address
            and frame.arp.sender_mac == frame.source}


def enabled(cluster: Cluster) -> list[str]:
    return list(json.loads(labsupport("status", "--json", "--name", cluster.name).stdout)["addons"])


def test_without_metallb_a_service_waits_for_its_address(cluster, kubectl, waiting):
    assert enabled(cluster) == ["dns"]
    assert "<pending>" in kubectl("get", "service", waiting)
    assert address_of(kubectl, waiting) == ""


@pytest.mark.timeout(120)
def test_with_metallb_it_gets_one_and_the_machine_outside_reaches_it(cluster, kubectl, balanced):
    address = wait_for_address(kubectl, balanced, POOL)
    wait_until(lambda: {ask(cluster, address) for _ in range(20)} == {"web-1", "web-2"}, what="both servers to answer",
               deadline_s=WITHIN_S, interval_s=0.2)
    assert enabled(cluster) == ["dns", f"metallb:{POOL}"]
    assert f"add-ons:     dns, metallb:{POOL}\n" in labsupport("status", "--name", cluster.name).stdout


def test_the_names_are_those_of_microk8s(kubectl, balanced):
    kinds = "deployments,daemonsets,ipaddresspools,l2advertisements"
    objects = kubectl("-n", "metallb-system", "get", kinds, "-o", "name")
    assert objects.split() == [
        "deployment.apps/controller", "daemonset.apps/speaker", "ipaddresspool.metallb.io/default-addresspool",
        "l2advertisement.metallb.io/default-advertise-all-pools"]


def test_one_node_answers_arp_for_the_address_and_its_speaker_says_so(cluster, kubectl, balanced):
    address = wait_for_address(kubectl, balanced, POOL)
    wait_until(lambda: answering(cluster, address), what=f"a node to answer for {address}", deadline_s=WITHIN_S)
    (node,) = answering(cluster, address)
    (status,) = kubectl.get("servicel2statuses", "-n", "metallb-system")["items"]
    assert (status["status"]["node"], status["status"]["serviceName"]) == (node, balanced)


def test_nobody_answers_for_an_address_that_no_service_has(cluster, balanced):
    assert answering(cluster, "10.0.0.209") == set()


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_with_the_policy_local_the_servers_node_answers_and_the_client_is_seen(cluster, kubectl, balanced, node):
    name = f"local-{node}"
    kubectl.apply(server(name, node, app=name), service(name, type="LoadBalancer", externalTrafficPolicy="Local"))
    try:
        kubectl.wait_ready(name)
        address = wait_for_address(kubectl, name, POOL)
        wait_until(lambda: answering(cluster, address) == {node}, what=f"{node} to answer for {address}",
                   deadline_s=WITHIN_S, interval_s=0.2)
        wait_until(lambda: ask(cluster, address, "clientip"), what="kube-proxy to let the server answer",
                   deadline_s=WITHIN_S, interval_s=0.2)
        assert ask(cluster, address, "clientip").startswith("10.0.0.100:")
    finally:
        kubectl.delete(f"service/{name}", f"pod/{name}")


def test_with_session_affinity_a_client_stays_with_its_server(cluster, kubectl, balanced):
    address = wait_for_address(kubectl, balanced, POOL)
    kubectl("patch", "service", balanced, "-p", '{"spec": {"sessionAffinity": "ClientIP"}}')
    try:
        wait_until(lambda: len({ask(cluster, address) for _ in range(20)}) == 1, what="one server to answer",
                   deadline_s=WITHIN_S)
    finally:
        kubectl("patch", "service", balanced, "-p", '{"spec": {"sessionAffinity": "None"}}')


@pytest.mark.timeout(120)  # a stopped node is noticed after some seconds, and started again
def test_when_the_answering_node_is_stopped_another_one_answers(cluster, kubectl, balanced):
    address = wait_for_address(kubectl, balanced, POOL)
    (first,) = answering(cluster, address)
    cluster.stop_node(first)
    try:
        (other,) = set(cluster.nodes()) - {first}
        wait_until(lambda: answering(cluster, address) == {other}, what=f"{other} to answer for {address}",
                   deadline_s=WITHIN_S, interval_s=0.2)
        wait_until(lambda: ask(cluster, address) == f"web-{other[-1]}", what="the server that is left to answer",
                   deadline_s=WITHIN_S, interval_s=0.2)
    finally:
        cluster.start_node(first)
    kubectl("-n", "metallb-system", "rollout", "status", "daemonset/speaker", "--timeout=25s")
    wait_until(lambda: len(answering(cluster, address)) == 1, what="the speakers to agree", deadline_s=WITHIN_S,
               interval_s=0.2)
    wait_until(lambda: {ask(cluster, address) for _ in range(10)} == {"web-1", "web-2"}, what="both servers to answer",
               deadline_s=WITHIN_S, interval_s=0.2)


@pytest.mark.timeout(120)
def test_a_node_that_comes_later_gets_a_speaker(cluster, kubectl, balanced):
    name = cluster.add_node()
    try:
        def speaks() -> bool:
            pods = kubectl.get("pods", "-n", "metallb-system", "-l", "component=speaker",
                               "--field-selector", f"spec.nodeName={name}")["items"]
            return any(each["type"] == "Ready" and each["status"] == "True"
                       for pod in pods for each in pod["status"]["conditions"])

        wait_until(speaks, what=f"a speaker on {name}", deadline_s=WITHIN_S, interval_s=0.3)
    finally:
        cluster.remove_node(name)


def test_enabling_it_again_changes_nothing(cluster, kubectl, balanced):
    before = kubectl.get("ipaddresspools", "-n", "metallb-system")["items"]
    for word in (f"metallb:{POOL}", "metallb"):
        done = labsupport("enable", word, "--name", cluster.name)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"{word} is already enabled.")
    after = kubectl.get("ipaddresspools", "-n", "metallb-system")["items"]
    assert [pool["spec"] for pool in after] == [pool["spec"] for pool in before]


@pytest.mark.timeout(120)
def test_with_another_range_services_move_to_it(cluster, kubectl, balanced):
    old = wait_for_address(kubectl, balanced, POOL)
    done = labsupport("enable", f"metallb:{OTHER_POOL}", "--name", cluster.name)
    try:
        assert f"MetalLB, with {OTHER_POOL} instead of {POOL}" in done.stdout
        assert done.stdout.splitlines()[-1] == f"metallb:{OTHER_POOL} is enabled."
        address = wait_for_address(kubectl, balanced, OTHER_POOL)
        wait_until(lambda: len(answering(cluster, address)) == 1, what=f"a node to answer for {address}",
                   deadline_s=WITHIN_S, interval_s=0.2)
        assert answering(cluster, old) == set()
    finally:
        assert cluster.enable(f"metallb:{POOL}") is True
    wait_for_address(kubectl, balanced, POOL)


@pytest.mark.timeout(120)
def test_disabled_it_leaves_nothing_and_the_service_waits_again(cluster, kubectl, balanced):
    wait_for_address(kubectl, balanced, POOL)
    done = labsupport("disable", "metallb", "--name", cluster.name)
    try:
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "metallb is disabled.")
        assert kubectl.run("get", "namespace", "metallb-system").returncode != 0
        for kinds in ("crds", "clusterroles,clusterrolebindings"):
            assert "metallb" not in kubectl("get", kinds, "-o", "name")
        assert "<pending>" in kubectl("get", "service", balanced)
        assert address_of(kubectl, balanced) == ""
        assert enabled(cluster) == ["dns"]
        assert labsupport("disable", "metallb", "--name", cluster.name).stdout == "metallb is already disabled.\n"
    finally:
        assert cluster.enable(f"metallb:{POOL}") is True


@pytest.mark.parametrize(("asked", "faults"), [
    ("10.0.0.200", ["a range is two addresses with a - between them"]),
    ("10.0.0.300-ten", ["'10.0.0.300' is no IPv4 address", "'ten' is no IPv4 address"]),
    ("10.0.0.220-10.0.0.200", ["10.0.0.220 comes after 10.0.0.200"]),
    ("192.168.0.1-10.0.0.150", ["192.168.0.1 is not in the network of the nodes, 10.0.0.0/24",
                                "192.168.0.1 comes after 10.0.0.150", "10.0.0.255 is for broadcasts"]),
    ("10.0.0.0-10.0.0.100", ["10.0.0.0 is for the rack itself", "10.0.0.1 is for the control plane",
                             "10.0.0.11-10.0.0.19 is for the nodes", "10.0.0.100 is for the client"])])
def test_all_faults_of_a_range_are_told_at_once(asked, faults):
    with pytest.raises(ClusterError, match="is not a valid IP range for metallb") as told:
        check_range(asked)
    assert [fault for fault in faults if fault not in told.value.observed.splitlines()] == []


@pytest.mark.parametrize(("asked", "says"), [
    ("metallb", "metallb needs a range of addresses for Services"), ("metallb:10.0.0.11-10.0.0.12", "is for the nodes"),
    ("dns:8.8.8.8", "dns has no settings here"), ("ingress", "there is no add-on 'ingress'")])
def test_what_cannot_be_enabled_is_refused(cluster, waiting, asked, says):
    cluster.disable("metallb")
    done = labsupport("enable", asked, "--name", cluster.name)
    assert done.returncode != 0
    assert says in done.stderr
    assert enabled(cluster) == ["dns"]


def test_dns_is_an_add_on_like_others(cluster, kubectl):
    assert cluster.enable("dns") is False
    assert cluster.disable("dns") is True
    try:
        assert kubectl.run("get", "service", "kube-dns", "-n", "kube-system").returncode != 0
        assert enabled(cluster) == []
    finally:
        assert cluster.enable("dns") is True
    assert kubectl.get("deployment", "coredns", "-n", "kube-system")["status"]["availableReplicas"] == 1


@pytest.mark.timeout(180)  # it starts two clusters
def test_a_restarted_cluster_has_the_same_add_ons(new_cluster, new_kubectl):
    cluster = new_cluster()
    with pytest.raises(ClusterError, match="there is no add-on 'storage'"):
        cluster.start(nodes=1, addons=["storage"])
    assert not cluster.running
    cluster.start(nodes=1, addons=[f"metallb:{POOL}"])
    kubectl = new_kubectl(cluster)
    kubectl.apply(service("web", type="LoadBalancer"))
    wait_for_address(kubectl, "web", POOL)
    cluster.close()
    assert labsupport("restart", "--name", cluster.name, timeout_s=90).returncode == 0
    assert enabled(cluster) == [f"metallb:{POOL}"]
    new_kubectl(cluster)("-n", "metallb-system", "rollout", "status", "deployment/controller", "--timeout=25s")
