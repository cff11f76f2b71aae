"""The text twin of the topology picture: the same facts, as an indented list."""

from __future__ import annotations

from labsupport.net import Link, NamespaceState, Network
from labsupport.views.canvas import printable
from labsupport.views.graph import all_cables, is_blocked, link_state, role, shown_links, shown_namespaces
from labsupport.views.labels import gateway_routes, told_addresses


def headline(network: Network) -> str:
    """Return one line that says what the picture shows."""
    boxes = _count(len(shown_namespaces(network)), "network namespace")
    return f"The lab's network: {boxes}, {_count(len(all_cables(network)), 'cable')}"


def describe(network: Network) -> str:
    """Return everything that the picture shows."""
    shown = shown_namespaces(network)
    lines = [headline(network)]
    for state in shown:
        lines.append(f"- {_call(state.name)}" + (f" ({role(state)})" if role(state) else ""))
        lines += [f"  - {_describe_link(link, state)}" for link in shown_links(state)]
        lines += [f"  - route: {text}" for text in gateway_routes(state)]
    if len(shown) < len(network.namespaces):
        lines.append(f"Not drawn: {_call('')}, which has only loopback.")
    return "\n".join(map(printable, lines))


def _describe_link(link: Link, state: NamespaceState) -> str:
    kind = "" if link.kind == "loopback" else f" ({link.kind})"
    facts = [f"{link.name}{kind}: {link_state(link)}"]
    if link.kind != "loopback" and link.mac:
        facts.append(f"MAC {link.mac}")
    facts += [str(address) for address in told_addresses(link)]
    if link.master:
        facts.append(f"port of {link.master}" + (f" ({link.port_state})" if is_blocked(link) else ""))
    if link.kind == "bridge":
        facts.append("ports: " + (" ".join(port.name for port in state.ports(link.name)) or "none"))
    if link.peer is not None:
        facts.append(f"cable to {link.peer.link} in {_call(link.peer.namespace)}")
    elif link.kind == "veth":
        facts.append("cable to a namespace without a name")
    return ", ".join(facts)


def _call(name: str) -> str:
    return f"namespace {name}" if name else "the lab's first namespace"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
