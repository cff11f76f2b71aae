"""A walk through a real cluster: every hop in order, as a witness in each namespace saw it, in both proxy modes.

The only pod of the Service is on node2, and the client knocks at node1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kube import Kubectl, server, service
from walk_worlds import python
from witness import Crossing, Witness

from labsupport.cluster import Cluster
from labsupport.net import Walk
from labsupport.waiting import wait_until

pytestmark = pytest.mark.timeout(150)  # a second cluster is started
NODE1 = "10.0.0.11"
GET = ("import socket, sys\n"
       "made = [socket.socket() for _ in range(int(sys.argv[3]))]\n"
       "for s in made: s.setblocking(False); s.connect_ex((sys.argv[1], int(sys.argv[2])))\n"
       "for s in made:\n"
       "    s.settimeout(10)\n"
       "    while True:\n"
       "        try: s.sendall(b'GET /hostname HTTP/1.0\\r\\n\\r\\n'); break\n"
       "        except BlockingIOError: pass\n"
       "    answer = b''\n"
       "    while data := s.recv(999): answer += data\n"
       "    assert answer.endswith(b'far'), answer")
THERE = ["client sent", "client route", "client out", "lab in", "lab out",
         "node1 in", "node1 dnat", "node1 route", "node1 snat", "node1 conntrack", "node1 out", "lab in", "lab out",
         "node2 in", "node2 route", "node2 conntrack", "node2 out", "far in", "far route", "far delivered"]
BACK = ["far sent", "far route", "far out", "node2 in", "node2 conntrack", "node2 route", "node2 out", "lab in",
        "lab out", "node1 in", "node1 conntrack", "node1 dnat", "node1 route", "node1 snat", "node1 out", "lab in",
        "lab out", "client in", "client route", "client delivered"]
FROM_POD = ["near sent", "near route", "near out", "node1 in", "node1 dnat", "node1 route", "node1 conntrack",
            "node1 out", "lab in", "lab out", "node2 in", "node2 route", "node2 conntrack", "node2 out", "far in",
            "far route", "far delivered"]
TO_POD = ["far sent", "far route", "far out", "node2 in", "node2 conntrack", "node2 route", "node2 out", "lab in",
          "lab out", "node1 in", "node1 conntrack", "node1 route", "node1 snat", "node1 out", "near in", "near route",
          "near delivered"]


@contextmanager
def servers(cluster: Cluster, kubectl: Kubectl) -> Iterator[tuple[str, int]]:
    """Two pods, and a Service for the one that is far; yields the Service's address and its node port."""
    kubectl.apply(server("far", "node2", app="far"), server("near", "node1", app="near"),
                  service("far", type="NodePort"))
    try:
        kubectl.wait_ready("far", "near")
        for name in ("far", "near"):
            cluster.name_pod(name)
        spec = kubectl.get("service", "far")["spec"]
        address, port = spec["clusterIP"], spec["ports"][0]["nodePort"]
        for who, url in (("client", f"http://{NODE1}:{port}/hostname"), ("near", f"http://{address}/hostname")):
            asks = ["curl", "-s", "--max-time", "1", url]
            wait_until(lambda who=who, asks=asks: cluster.lab.run(asks, namespace=who, echo=False).stdout == "far",
                       what=f"the Service to answer {who}", deadline_s=20)
        yield address, port
    finally:
        cluster.lab.run("ip netns delete far; ip netns delete near", echo=False)
        kubectl.delete("pods", "far", "near")
        kubectl.delete("services", "far")


@pytest.fixture(scope="module", params=["cluster", "nftables_cluster"])
def world(request: pytest.FixtureRequest, new_kubectl: Callable[[Cluster], Kubectl]
          ) -> Iterator[tuple[Cluster, str, int]]:
    """The shared cluster, whose kube-proxy writes rules for iptables, and one whose writes them for nftables."""
    cluster = request.getfixturevalue(request.param)
    with servers(cluster, new_kubectl(cluster)) as (address, port):
        yield cluster, address, port


def told(walk: Walk, way: str) -> list[str]:
    """Return the steps of one way, but for rules, which are others in each mode."""
    return [f"{step.namespace or 'lab'} {step.kind}" for step in walk.steps if step.way == way and step.kind != "rule"]


def assert_seen(walk: Walk, seen: dict[str, list[Crossing]]) -> None:
    """Every frame of the walk was seen by the witness of its namespace, in this order, and no other of its packets."""
    own = {str(step.flow) for step in walk.steps}
    for name, crossed in seen.items():
        expected = [(step.link, step.kind, str(step.flow)) for step in walk.steps
                    if step.namespace == name and step.kind in ("out", "in")]
        assert expected == [crossing for crossing in crossed if crossing[2] in own] != []


def walk_and_watch(cluster: Cluster, client: str, address: str, port: int, connections: int) -> Walk:
    witness = Witness(cluster.lab, "", "node1", "node2", "far", client)
    with Walk(cluster.lab, client, to=address, port=port) as walk:
        python(cluster.lab, client, GET, address, str(port), str(connections))
    assert_seen(walk, witness.stop())
    assert walk.answered
    assert not walk.lost
    assert len(set(walk.flows)) == connections
    return walk


@pytest.mark.parametrize("connections", [1, 100])
def test_from_the_client_over_a_node_port_to_a_pod_on_the_other_node(world, connections):
    cluster, _, port = world
    walk = walk_and_watch(cluster, "client", NODE1, port, connections)
    assert told(walk, "there") == THERE
    assert told(walk, "back") == BACK
    ttls = {step.namespace: step.ttl for step in walk.steps if step.way == "there"}
    assert ttls == {"client": 64, "": 63, "node1": 63, "node2": 62, "far": 62}
    dnat, snat = (next(step for step in walk.steps if step.kind == kind) for kind in ("dnat", "snat"))
    pod = dnat.flow
    assert (dnat.before.destination, dnat.before.destination_port) == (NODE1, port)
    assert pod.destination.startswith("10.1.2.")
    assert pod.destination_port == 8080
    assert (snat.before.source, snat.flow.source) == ("10.0.0.100", NODE1)


@pytest.mark.parametrize("connections", [1, 100])
def test_from_a_pod_over_a_cluster_ip(world, connections):
    cluster, address, _ = world
    walk = walk_and_watch(cluster, "near", address, 80, connections)
    assert told(walk, "there") == FROM_POD
    assert told(walk, "back") == TO_POD
    assert walk.flow.destination == address
    assert walk.steps[-1].flow == walk.flow.reverse


def test_the_rules_that_decided_have_words(world):
    cluster, _, port = world
    with Walk(cluster.lab, "client", to=NODE1, port=port) as walk:
        python(cluster.lab, "client", GET, NODE1, str(port), "1")
    rules = [step.text for step in walk.steps if step.kind == "rule"]
    (dnat,) = [number for number, step in enumerate(walk.steps) if step.kind == "dnat" and step.way == "there"]
    last = walk.steps[dnat - 1]
    assert (last.kind, last.event.verdict) == ("rule", "accept")
    assert "dnat" in last.text.lower()
    assert any(str(port) in text or "@service-nodeports" in text for text in rules)
    assert any("masq" in text.lower() for text in rules)
