"""What a picture of a Service says, in words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from labsupport.cluster.endpoints import ServiceEndpoint, ServiceState, has_address, outside_addresses

_SOURCES = {
    "rules": "requests: new connections since kube-proxy wrote this Service's rules, as their counters say",
    "conntrack": "requests: connections that conntrack remembers on the nodes, for two minutes after a TCP connection",
}
_UNKNOWN = "requests are not counted: the nodes of this cluster cannot be entered"
_UNCHOSEN = "requests are not counted: clients go to the pods themselves"


@dataclass(frozen=True)
class Layer:
    """One of the boxes in each other.

    Attributes:
        kind: such as "NodePort".
        says: the addresses and ports that it adds.
    """

    kind: str
    says: str


def layers(state: ServiceState) -> list[Layer]:
    """Return what a Service consists of, from outside to inside."""
    spec = state.service["spec"]
    kind, ports = spec.get("type", "ClusterIP"), spec.get("ports") or []
    numbers = ", ".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports)
    outside = outside_addresses(state.service)
    found = []
    if kind == "ExternalName":
        return [Layer(kind, spec.get("externalName", ""))]
    if kind == "LoadBalancer" or outside:
        word = kind if kind == "LoadBalancer" else "external IP"
        found.append(Layer(word, f"{', '.join(outside) or 'no address yet'}, port {numbers}"))
    if node_ports := ", ".join(str(port["nodePort"]) for port in ports if port.get("nodePort")):
        found.append(Layer("NodePort", f"every node, port {node_ports}"))
    address = spec.get("clusterIP", "")
    found.append(Layer("headless", f"no address of its own, port {numbers}") if address == "None" else
                 Layer("ClusterIP", f"{address}, port {numbers}"))
    names = ", ".join(dict.fromkeys(one.slice for one in state.endpoints)) or "none has an address"
    return [*found, Layer("EndpointSlice", names)]


def headline(state: ServiceState) -> str:
    """Return in one line what the Service is."""
    count, ready = len(state.endpoints), sum(one.ready for one in state.endpoints)
    name, kind = state.service["metadata"]["name"], state.service["spec"].get("type", "ClusterIP")
    return f"Service {name} ({kind}): {count} endpoint{'' if count == 1 else 's'}, {ready} ready"


def describe(state: ServiceState) -> list[str]:
    """Return all of it as an indented list."""
    lines = [headline(state)]
    lines += [f"{'  ' * depth}- {layer.kind}: {layer.says}" for depth, layer in enumerate(layers(state), 1)]
    for node, group in groupby(state.endpoints, key=lambda one: one.node):
        lines.append(f"- {node_title(node)}")
        for one in group:
            words = [f"{one.address}:{one.port}", state_word(one), requests_word(one)]
            lines.append(f"  - {pod_title(one)}: {', '.join(filter(None, words))}")
    return [*lines, *notes(state)]


def notes(state: ServiceState) -> list[str]:
    """Return what the numbers are, and whose are missing."""
    if not has_address(state.service):
        return [_UNCHOSEN]
    if not state.counted:
        return [_UNKNOWN]
    return [_SOURCES[state.counted], *([f"not asked: {', '.join(state.missing)}"] if state.missing else [])]


def node_title(node: str) -> str:
    """Return what is written above the pods of a node."""
    return node or "on no node"


def pod_title(one: ServiceEndpoint) -> str:
    """Return what is written into the box of a pod."""
    return one.pod or "no pod"


def state_word(one: ServiceEndpoint) -> str:
    """Return whether an endpoint gets new connections."""
    return "ready" if one.ready else "not ready"


def requests_word(one: ServiceEndpoint) -> str:
    """Return how many connections it got; "" if nobody knows."""
    return "" if one.requests is None else f"{one.requests} request{'' if one.requests == 1 else 's'}"

