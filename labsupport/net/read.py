"""Reads a lab's network from its kernel, never from what Python has made, so what `ip` made is found as well.

Every reading runs the host's own `ip` or `ss` through `lab.observe`. A reading takes 3 to 4 ms, and a namespace needs
five. Readings are taken one after the other: a network that changes meanwhile may be seen half changed.

Source: ip-link(8), ip-address(8), ip-route(8), ip-neighbour(8), ss(8).
"""

from __future__ import annotations

import json
from typing import Any

from labsupport.net.model import (
    Address,
    AddressFamily,
    Endpoint,
    Link,
    Listener,
    NamespaceState,
    Neighbour,
    Network,
    Route,
)
from labsupport.net.peers import Peers, RawLinks, find_peers, kind_of
from labsupport.sandbox import Lab


def network(lab: Lab) -> Network:
    """Return everything that is known about the lab's network.

    Raises:
        CommandFailed: `ip` or `ss` could not read it.
        LabClosed, LabDied: there is no lab to read from.
    """
    raw = _read_all_links(lab)
    peers = find_peers(lab, raw)
    return Network({
        name: NamespaceState(name, _make_links(name, raw, peers), routes(lab, name), neighbours(lab, name),
                             listeners(lab, name))
        for name in raw
    })


def links(lab: Lab, namespace: str = "") -> tuple[Link, ...]:
    """Return the interfaces of one namespace in the order of their indexes; peers may be in any namespace.

    Raises:
        NamespaceNotFound: there is no such namespace.
        CommandFailed: `ip` could not read it.
    """
    raw = _read_all_links(lab)
    if namespace not in raw:
        raw[namespace] = _read_links(lab, namespace)  # raises, and says which names there are
    return _make_links(namespace, raw, find_peers(lab, raw))


def routes(lab: Lab, namespace: str = "") -> tuple[Route, ...]:
    """Return the main routing table of one namespace, IPv4 first, in the kernel's order.

    Raises:
        NamespaceNotFound: there is no such namespace.
        CommandFailed: `ip` could not read it.
    """
    inet = _read_json(lab, ["ip", "-4", "-json", "route"], namespace)
    inet6 = _read_json(lab, ["ip", "-6", "-json", "route"], namespace)
    return (*_make_routes(inet, "inet"), *_make_routes(inet6, "inet6"))


def neighbours(lab: Lab, namespace: str = "") -> tuple[Neighbour, ...]:
    """Return the ARP and NDP tables of one namespace, sorted by link and address.

    Raises:
        NamespaceNotFound: there is no such namespace.
        CommandFailed: `ip` could not read them.
    """
    entries = _read_json(lab, ["ip", "-json", "neighbour"], namespace)
    found = [Neighbour(ip=entry["dst"], mac=entry.get("lladdr", ""), device=entry["dev"],
                       state="+".join(entry["state"])) for entry in entries]
    return tuple(sorted(found, key=lambda neighbour: (neighbour.device, neighbour.ip)))


def listeners(lab: Lab, namespace: str = "") -> tuple[Listener, ...]:
    """Return the sockets of one namespace that wait for TCP connections or UDP datagrams, sorted.

    Raises:
        NamespaceNotFound: there is no such namespace.
        CommandFailed: `ss` could not read them.
    """
    lines = lab.observe(["ss", "-Hlntu"], namespace=namespace).check().stdout.splitlines()
    found = [_make_listener(line) for line in lines]
    return tuple(sorted(found, key=lambda one: (one.protocol, one.port, one.address, one.device)))


def _read_json(lab: Lab, argv: list[str], namespace: str) -> list[dict[str, Any]]:
    text = lab.observe(argv, namespace=namespace).check().stdout
    # Where there is nothing to show, `ip -json` prints nothing, and for an object that is filtered out it prints {}.
    return [entry for entry in json.loads(text or "[]") if entry]


def _read_links(lab: Lab, namespace: str) -> list[dict[str, Any]]:
    entries = _read_json(lab, ["ip", "-d", "-json", "address"], namespace)
    return sorted(entries, key=lambda entry: int(entry["ifindex"]))


def _read_all_links(lab: Lab) -> dict[str, list[dict[str, Any]]]:
    return {name: _read_links(lab, name) for name in ["", *lab.namespaces()]}


def _make_links(namespace: str, raw: RawLinks, peers: Peers) -> tuple[Link, ...]:
    return tuple(
        Link(
            name=entry["ifname"], index=entry["ifindex"], kind=kind_of(entry), mac=entry.get("address", ""),
            mtu_bytes=entry["mtu"], state="up" if "UP" in entry["flags"] else "down",
            carrier="LOWER_UP" in entry["flags"], operstate=entry["operstate"], master=entry.get("master", ""),
            peer=peers.get(Endpoint(namespace, entry["ifname"])),
            addresses=tuple(
                Address(item["local"], item["prefixlen"], item["family"], item["scope"]) for item in entry["addr_info"]
            ),
        )
        for entry in raw[namespace]
    )


def _make_routes(entries: list[dict[str, Any]], family: AddressFamily) -> list[Route]:
    return [
        Route(
            destination=entry["dst"], gateway=hop.get("gateway") or hop.get("via", {}).get("host", ""),
            device=hop.get("dev", ""), source=entry.get("prefsrc", ""), family=family,
            metric=entry.get("metric", 0), kind=entry.get("type", "unicast"),
        )
        for entry in entries
        for hop in entry.get("nexthops", [entry])
    ]


def _make_listener(line: str) -> Listener:
    """Read one line of `ss`, which has no JSON: protocol, state, two queues, local address and port, ..."""
    protocol, _state, _receive_queue, _send_queue, local, *_ = line.split()
    host, _, port = local.rpartition(":")
    address, _, device = host.partition("%")
    return Listener(protocol, address.strip("[]"), int(port), device.strip("[]"))
