"""How interfaces are written: "NAMESPACE:LINK", where nothing in front of the colon is the lab's first namespace."""

from __future__ import annotations

from collections.abc import Sequence

from labsupport.errors import CaptureError
from labsupport.net.model import Endpoint, Network


def write_end(end: Endpoint) -> str:
    """Return an interface in that form."""
    return f"{end.namespace}:{end.link}"


def resolve(network: Network, places: Sequence[str]) -> list[Endpoint]:
    """Return the interfaces that are meant, each once.

    Args:
        network: what there is.
        places: interfaces, or namespaces for all of their links but loopback; nothing for those of all namespaces.

    Raises:
        CaptureError: some of them do not exist; all of these are named.
    """
    wanted = places or tuple(network.namespaces)
    ends: dict[Endpoint, None] = {}
    missing = []
    for place in wanted:
        namespace, colon, link = place.partition(":")
        state = network.namespaces.get(namespace)
        if state is None or (colon and state.link(link) is None):
            missing.append(place)
            continue
        links = [link] if colon else [one.name for one in state.links if one.kind != "loopback"]
        ends |= dict.fromkeys(Endpoint(namespace, name) for name in links)
    if missing:
        there = [write_end(Endpoint(name, link.name)) for name, state in network.namespaces.items()
                 for link in state.links]
        raise CaptureError("there are no such interfaces: " + ", ".join(map(repr, missing)), where="this lab",
                           expected="some of: " + " ".join(there),
                           next_step='write "NAMESPACE:LINK", or "NAMESPACE" for all of its links')
    if not ends:
        raise CaptureError("there is no interface to listen on", where="this lab", expected="a link besides loopback",
                           observed="none", next_step="build the network first")
    return list(ends)
