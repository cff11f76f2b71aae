"""The picture of a Service must tell its addresses, its pods, and what the kernels counted: in the SVG and in text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import pytest
from svg_geometry import SVG, Rectangle, boxes, cables, elements, texts

from labsupport.cluster.endpoints import ServiceEndpoint, ServiceState, read_chosen, read_known
from labsupport.errors import ClusterError, LessonError
from labsupport.sandbox.process import Completed
from labsupport.views import Picture, draw_service, service_endpoints
from labsupport.views.service_picture import draw_state

PORT = {"port": 80, "protocol": "TCP", "targetPort": 8080}
RULES = """*nat
:KUBE-SERVICES - [0:0]
[7:420] -A KUBE-SEP-A -s 10.1.1.5/32 -m comment --comment "shop/web" -j KUBE-MARK-MASQ
[12:720] -A KUBE-SEP-A -p tcp -m comment --comment "shop/web" -m tcp -j DNAT --to-destination 10.1.1.5:8080
[3:180] -A KUBE-SEP-B -p tcp -m comment --comment "shop/web-two" -m tcp -j DNAT --to-destination 10.1.1.5:8080
[5:300] -A KUBE-SEP-C -p tcp -m comment --comment "shop/web:http" -m recent --set --name C --rsource -m tcp -j DNAT \
--to-destination 10.1.2.5:8080
[9:540] -A KUBE-SEP-D -p tcp -m comment --comment "other/web" -m tcp -j DNAT --to-destination 10.1.2.5:8080
COMMIT
"""
ENTRIES = """\
tcp      6 117 TIME_WAIT src=10.0.0.100 dst=10.0.0.11 sport=40000 dport=30080 src=10.1.2.5 dst=10.0.0.11 sport=8080 \
dport=1025 [ASSURED] mark=0 use=1
tcp      6 117 TIME_WAIT src=10.1.1.9 dst=10.152.183.5 sport=40002 dport=80 src=10.1.1.5 dst=10.1.1.9 sport=8080 \
dport=40002 [ASSURED] mark=0 use=1
udp      17 20 src=10.1.1.9 dst=10.152.183.10 sport=40002 dport=53 [UNREPLIED] src=10.1.1.2 dst=10.1.1.9 sport=53 \
dport=40002 mark=0 use=1
tcp      6 117 TIME_WAIT src=10.1.1.9 dst=10.152.183.6 sport=40002 dport=80 src=10.1.1.5 dst=10.1.1.9 sport=8080 \
dport=40002 [ASSURED] mark=0 use=1
"""


def service(kind: str = "ClusterIP", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "shop"},
            "spec": {"type": kind, "clusterIP": "10.152.183.5", "ports": [PORT]} | spec,
            "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.200"}]}} if kind == "LoadBalancer" else {}}


BALANCED = service("LoadBalancer", ports=[PORT | {"nodePort": 30080}])
THREE = (ServiceEndpoint("web-5d8f7c9b6-abcde", "node1", "10.1.1.5", 8080, True, 12, "web-x7k2p"),
         ServiceEndpoint("web-5d8f7c9b6-fghij", "node1", "10.1.1.6", 8080, False, 0, "web-x7k2p"),
         ServiceEndpoint("web-5d8f7c9b6-klmno", "node2", "10.1.2.5", 8080, True, 1, "web-x7k2p"))
STATE = ServiceState(BALANCED, THREE, "rules", ())


def assert_readable(picture: Picture) -> None:
    """Nothing lies on anything else: boxes contain what they meet, and no line crosses a word."""
    page = Rectangle(0, 0, picture.width, picture.height, "page")
    words, frames = texts(picture), boxes(picture)
    for one, other in combinations(words, 2):
        assert not one.meets(other), f"{one} lies on {other}"
    for one, other in combinations(frames, 2):
        assert not one.meets(other) or one.contains(other) or other.contains(one)
    for word in words:
        assert page.contains(word)
        assert all(box.contains(word) or not box.meets(word) for box in frames), f"{word} sticks out of its box"
    for piece in (piece for line in cables(picture) for piece in line):
        assert page.contains(piece)
        assert [word for word in words if word.meets(piece)] == []


def test_its_types_are_in_each_other_with_the_addresses_that_they_add() -> None:
    picture = draw_state(STATE)
    assert_readable(picture)
    assert picture.text.splitlines() == [
        "Service web (LoadBalancer): 3 endpoints, 2 ready",
        "  - LoadBalancer: 10.0.0.200, port 80/TCP",
        "    - NodePort: every node, port 30080",
        "      - ClusterIP: 10.152.183.5, port 80/TCP",
        "        - EndpointSlice: web-x7k2p",
        "- node1",
        "  - web-5d8f7c9b6-abcde: 10.1.1.5:8080, ready, 12 requests",
        "  - web-5d8f7c9b6-fghij: 10.1.1.6:8080, not ready, 0 requests",
        "- node2",
        "  - web-5d8f7c9b6-klmno: 10.1.2.5:8080, ready, 1 request",
        "requests: new connections since kube-proxy wrote this Service's rules, as their counters say",
    ]
    kinds = {"LoadBalancer", "NodePort", "ClusterIP", "EndpointSlice"}
    inside = {word.what: sum(box.contains(word) for box in boxes(picture)) for word in texts(picture)
              if word.what in kinds}
    assert inside == {"LoadBalancer": 1, "NodePort": 2, "ClusterIP": 3, "EndpointSlice": 4}
    root = ET.fromstring(picture.svg)  # noqa: S314  (our own text)
    assert root.get("role") == "img"
    assert root.find(f"{SVG}desc").text == picture.text


def test_each_endpoint_is_joined_to_its_pod_in_its_node() -> None:
    picture = draw_state(STATE)
    words = {word.what: word for word in texts(picture)}
    lines = [line for line in cables(picture) if line[0].left > words["10.1.1.5:8080"].right]
    assert len(lines) == len(THREE)
    kinds = [element.get("class") for element, _, _ in elements(picture)
             if element.get("class", "").startswith("cable")][1:]
    assert kinds == ["cable cable-up", "cable cable-down", "cable cable-up"]
    for one, (line,) in zip(THREE, lines, strict=True):
        address, pod, node = words[f"{one.address}:{one.port}"], words[one.pod], words[one.node]
        middle = (line.top + line.bottom) / 2
        assert address.top < middle < address.bottom
        (around,) = [box for box in boxes(picture) if box.contains(node)]
        (inner,) = [box for box in boxes(picture) if box.contains(pod) and around.contains(box) and box != around]
        assert inner.top < middle < inner.bottom
        state = next(word for word in texts(picture) if inner.contains(word) and word.what != one.pod)
        assert state.what == ("ready" if one.ready else "not ready")
        count = words[f"{one.requests} request{'' if one.requests == 1 else 's'}"]
        assert line.left < count.left < count.right < line.right
        assert 0 < middle - count.bottom < 12


@pytest.mark.parametrize(("made", "expected"), [
    (service(), ["ClusterIP: 10.152.183.5, port 80/TCP"]),
    (service("NodePort", ports=[PORT | {"nodePort": 30080}]), ["NodePort: every node, port 30080", "ClusterIP"]),
    (service(externalIPs=["192.0.2.9"]), ["external IP: 192.0.2.9, port 80/TCP", "ClusterIP: 10.152.183.5"]),
    (service(clusterIP="None"), ["headless: no address of its own"]),
    (service(ports=[PORT, {"port": 53, "protocol": "UDP"}]), ["ClusterIP: 10.152.183.5, port 80/TCP, 53/UDP"]),
    ({**BALANCED, "status": {}}, ["LoadBalancer: no address yet", "NodePort", "ClusterIP"]),
    (service("ExternalName", externalName="lab.test"), ["ExternalName: lab.test"]),
])
@pytest.mark.parametrize("endpoints", [(), THREE[:1], THREE])
def test_every_type_of_service(made: dict[str, Any], expected: list[str],
                               endpoints: tuple[ServiceEndpoint, ...]) -> None:
    picture = draw_state(ServiceState(made, endpoints, "conntrack", ()))
    assert_readable(picture)
    for part, line in zip(expected, picture.text.splitlines()[1:], strict=False):
        assert line.strip().startswith(f"- {part}")
    assert ("nobody answers" in [word.what for word in texts(picture)]) == (not endpoints)


@pytest.mark.parametrize("text", ["", "x" * 63, '<&"x', "\x1b[31m\u202e", "a-" * 100])
def test_any_name_has_room(text: str) -> None:
    odd = tuple(replace(one, pod=text, node=text[:63], slice=text) for one in THREE)
    picture = draw_state(replace(STATE, endpoints=odd, service={**BALANCED, "metadata": {"name": text}}))
    assert_readable(picture)
    assert "".join(picture.text.splitlines()).isprintable()


def test_what_was_not_counted_is_not_told() -> None:
    unknown = tuple(replace(one, requests=None) for one in THREE)
    picture = draw_state(ServiceState(BALANCED, unknown, "", ("node1", "node2")))
    assert_readable(picture)
    assert picture.text.splitlines()[-1] == "requests are not counted: the nodes of this cluster cannot be entered"
    assert not [word.what for word in texts(picture) if re.search(r"\d+ request", word.what)]
    assert draw_state(replace(STATE, missing=("node2",))).text.splitlines()[-1] == "not asked: node2"


def test_counters_of_rules_are_those_of_this_service_alone() -> None:
    assert read_chosen(RULES, "shop/web") == Counter({("10.1.1.5", 8080): 12, ("10.1.2.5", 8080): 5})


def test_conntrack_entries_are_those_of_its_addresses_alone() -> None:
    assert read_known(ENTRIES, {("10.152.183.5", 80), ("", 30080)}) == Counter(
        {("10.1.1.5", 8080): 1, ("10.1.2.5", 8080): 1})


@dataclass
class Machines:
    """A cluster on paper: what its nodes print."""

    printed: dict[str, dict[str, str]]
    error: Exception | None = None
    namespace: str = "shop"
    asked: list[str] = field(default_factory=list)

    def get(self, kind: str, name: str = "") -> Any:
        if kind == "service":
            return service()
        ready, not_ready = ({"addresses": [address], "nodeName": node, "targetRef": {"name": pod},
                             "conditions": {"ready": ready}} for address, node, pod, ready in
                            [("10.1.1.5", "node1", "one", True), ("10.1.2.5", "node2", "two", False)])
        labels = {"kubernetes.io/service-name": "web"}
        return [{"metadata": {"name": "web-1", "labels": labels}, "endpoints": [ready, not_ready],
                 "ports": [{"port": 8080}]},
                {"metadata": {"name": "web-2", "labels": labels}, "endpoints": None, "ports": None},
                {"metadata": {"name": "else", "labels": {}}, "endpoints": [ready], "ports": [{"port": 1}]}]

    def nodes(self) -> list[str]:
        return list(self.printed)

    def run(self, command: str | Sequence[str], *, on: str, echo: bool) -> Completed:
        assert not echo
        self.asked.append(on)
        if on == "node2" and self.error:
            raise self.error
        return Completed(str(command), 0, self.printed[on].get(command[0], "").encode(), b"")


def test_what_all_nodes_have_sent_is_added() -> None:
    both = Machines({"node1": {"iptables-save": RULES}, "node2": {"iptables-save": RULES}})
    assert [(one.pod, one.node, one.ready, one.requests) for one in service_endpoints(both, "web")] == [
        ("one", "node1", True, 24), ("two", "node2", False, 10)]


def test_a_headless_service_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Machines({"node1": {"iptables-save": RULES}})
    monkeypatch.setattr(found, "get", lambda kind, name="": service(clusterIP="None") if name else
                        Machines.get(found, kind))
    assert [one.requests for one in service_endpoints(found, "web")] == [None, None]
    assert found.asked == []
    assert draw_service(found, "web").text.endswith("not counted: clients go to the pods themselves")


def test_without_counters_conntrack_is_asked() -> None:
    found = Machines({"node1": {"iptables-save": "*nat\nCOMMIT\n", "conntrack": ENTRIES}})
    assert [one.requests for one in service_endpoints(found, "web")] == [1, 0]
    assert "conntrack remembers" in draw_service(found, "web").text


@pytest.mark.parametrize("error", [ClusterError("node2 is stopped"), LessonError("node2 is out of reach")])
def test_a_node_that_cannot_be_entered_is_named(error: Exception) -> None:
    found = Machines({"node1": {"iptables-save": RULES}, "node2": {}}, error)
    assert [one.requests for one in service_endpoints(found, "web")] == [12, 5]
    assert draw_service(found, "web").text.endswith("\nnot asked: node2")
    alone = Machines({"node2": {}}, error)
    assert [one.requests for one in service_endpoints(alone, "web")] == [None, None]
    assert draw_service(alone, "web").text.endswith("cannot be entered")
