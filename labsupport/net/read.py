"""Reads a lab's network from its kernel, never from what Python has made, so what `ip` made is found as well.

One process in the lab asks the kernel by netlink, for all namespaces in a row; the lab's root can end that process, but
not change what it says (labsupport.sandbox.agent.forked). A network that changes meanwhile may be seen half changed.

Source: rtnetlink(7), ip-link(8), ip-address(8), ip-route(8), ip-neighbour(8), bridge(8), ss(8).
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from labsupport.errors import CommandFailed, LabError, NamespaceNotFound
from labsupport.net import netlink, rtnetlink
from labsupport.net.model import Endpoint, FdbEntry, Link, Listener, NamespaceState, Neighbour, Network, Route
from labsupport.net.peers import Peers, find_peers
from labsupport.net.relay import Answer, Orders
from labsupport.net.rtnetlink import RawLink
from labsupport.sandbox import Lab
from labsupport.sandbox.process import place

_ROUTE_KIND_OF_ERROR = {errno.EINVAL: "blackhole", errno.EHOSTUNREACH: "unreachable", errno.EACCES: "prohibit"}


def network(lab: Lab) -> Network:
    """Return everything that is known about the lab's network.

    Raises:
        CommandFailed: somebody ended the process that reads.
        LabClosed, LabDied: there is no lab to read from.
    """
    names = ["", *lab.namespaces()]
    asked = [rtnetlink.LIST_LINKS, rtnetlink.LIST_ADDRESSES, *rtnetlink.LIST_ROUTES.values(),
             rtnetlink.LIST_NEIGHBOURS, rtnetlink.LIST_SETTINGS]
    orders = Orders()
    for name in names:
        orders.enter(name)
        for question in asked:
            orders.netlink(question)
    each = len(asked) + 1
    answers = orders.run(lab)
    rows = {name: answers[at * each : (at + 1) * each] for at, name in enumerate(names)}
    present = {name: row for name, row in rows.items() if not row[0].errno}  # one may have gone meanwhile
    raw = {name: rtnetlink.parse_links(row[1].data) for name, row in present.items()}
    peers = find_peers(lab, raw)
    return Network({name: _state(name, raw[name], row, peers) for name, row in present.items()})


def links(lab: Lab, namespace: str = "") -> tuple[Link, ...]:
    """Return the interfaces of one namespace in the order of their indexes; peers may be in any namespace.

    Raises:
        NamespaceNotFound: there is no such namespace.
        CommandFailed: somebody ended the process that reads.
    """
    names = ["", *lab.namespaces()]
    if namespace not in names:
        raise _not_found(namespace, names)
    orders = Orders()
    for name in names:
        orders.enter(name)
        orders.netlink(rtnetlink.LIST_LINKS)
    orders.enter(namespace)
    orders.netlink(rtnetlink.LIST_ADDRESSES)
    answers = orders.run(lab)
    raw = {name: rtnetlink.parse_links(answers[2 * at + 1].data)
           for at, name in enumerate(names) if not answers[2 * at].errno}
    if namespace not in raw:
        raise _not_found(namespace, list(raw))
    return _make_links(namespace, raw[namespace], answers[-1].data, find_peers(lab, raw))


def routes(lab: Lab, namespace: str = "") -> tuple[Route, ...]:
    """Return the main routing table of one namespace, IPv4 first, in the kernel's order.

    Raises:
        NamespaceNotFound: there is no such namespace.
        CommandFailed: somebody ended the process that reads.
    """
    names, answers = _ask(lab, namespace, rtnetlink.LIST_ROUTES.values())
    return _make_routes(answers, names)


def neighbours(lab: Lab, namespace: str = "") -> tuple[Neighbour, ...]:
    """Return the ARP and NDP tables of one namespace, sorted by link and address.

    Raises:
        NamespaceNotFound: there is no such namespace.
        CommandFailed: somebody ended the process that reads.
    """
    names, [data] = _ask(lab, namespace, [rtnetlink.LIST_NEIGHBOURS])
    return tuple(rtnetlink.parse_neighbours(data.data, names))


def fdb(lab: Lab, namespace: str = "", bridge: str = "") -> tuple[FdbEntry, ...]:
    """Return what the bridges of one namespace know about who is behind which port, as `bridge fdb` does.

    Args:
        lab: where to look.
        namespace: where the bridge is.
        bridge: only this one's entries; "" for those of all.

    Raises:
        NamespaceNotFound: there is no such namespace.
        LabError: `bridge` is no bridge there.
        CommandFailed: somebody ended the process that reads.
    """
    names, [data] = _ask(lab, namespace, [rtnetlink.LIST_FDB])
    if bridge and bridge not in names.values():
        raise LabError(f"there is no bridge {bridge}", where=place(namespace), expected="the name of a bridge",
                       observed="links: " + " ".join(names.values()), next_step="ip link show type bridge lists them")
    return tuple(entry for entry in rtnetlink.parse_fdb(data.data, names) if bridge in ("", entry.bridge))


def tables(lab: Lab, namespaces: Sequence[str]) -> dict[str, tuple[tuple[FdbEntry, ...], tuple[Neighbour, ...]]]:
    """Return the forwarding databases and neighbour tables of several namespaces, at one moment or nearly so.

    One that has gone meanwhile is left out.

    Raises:
        CommandFailed: somebody ended the process that reads.
    """
    orders = Orders()
    for name in namespaces:
        orders.enter(name)
        for question in (rtnetlink.LIST_LINKS, rtnetlink.LIST_FDB, rtnetlink.LIST_NEIGHBOURS):
            orders.netlink(question)
    answers = orders.run(lab)
    found = {}
    for at, name in enumerate(namespaces):
        entered, there, bridged, known = answers[4 * at : 4 * at + 4]
        if not entered.errno:
            names = {link.index: link.name for link in rtnetlink.parse_links(there.data)}
            found[name] = (tuple(rtnetlink.parse_fdb(bridged.data, names)),
                           tuple(rtnetlink.parse_neighbours(known.data, names)))
    return found


def route_get(lab: Lab, namespace: str, destination: str) -> Route | None:
    """Return the route that the kernel itself takes to an address, as `ip route get` does; None if it has none.

    A route that refuses (kind "blackhole", "unreachable", "prohibit") comes back as one without device.

    Raises:
        LabError: `destination` is no IP address.
        NamespaceNotFound: there is no such namespace.
        CommandFailed: somebody ended the process that reads.
    """
    try:
        family = ipaddress.ip_address(destination).version
    except ValueError as problem:
        raise LabError("this is no destination", where=place(namespace), expected="an IP address, such as 10.0.0.1",
                       observed=str(problem), next_step="write an address without a prefix length") from None
    names, [data] = _ask(lab, namespace, [rtnetlink.ask_for_route(destination)])
    for message in netlink.parse(data.data):
        if isinstance(message, netlink.Problem):
            kind = _ROUTE_KIND_OF_ERROR.get(message.errno)
            if kind is None:
                return None
            return Route(destination, "", "", "", "inet" if family == 4 else "inet6", kind=kind)
    found = rtnetlink.parse_routes(data.data, names, table=None)
    return found[0] if found else None


def listeners(lab: Lab, namespace: str = "") -> tuple[Listener, ...]:
    """Return the sockets of one namespace that wait for TCP connections or UDP datagrams, sorted.

    Raises:
        NamespaceNotFound: there is no such namespace.
        CommandFailed: `ss` could not read them.
    """
    lines = lab.observe(["ss", "-Hlntu"], namespace=namespace).check().stdout.splitlines()
    found = [_make_listener(line) for line in lines]
    return tuple(sorted(found, key=lambda one: (one.protocol, one.port, one.address, one.device)))


def _ask(lab: Lab, namespace: str, questions: Iterable[bytes]) -> tuple[dict[int, str], list[Answer]]:
    """Return the names of a namespace's links by index, and the answers to netlink messages sent there."""
    orders = Orders()
    orders.enter(namespace)
    for question in (rtnetlink.LIST_LINKS, *questions):
        orders.netlink(question)
    entered, links_there, *answers = orders.run(lab)
    if entered.errno:
        raise _not_found(namespace, lab.namespaces())
    for answer in answers:
        if answer.errno:
            raise CommandFailed("the kernel could not be asked about the network", where=place(namespace),
                                observed=answer.problem, next_step="run `labsupport doctor`")
    return {link.index: link.name for link in rtnetlink.parse_links(links_there.data)}, answers


def _not_found(namespace: str, names: list[str]) -> NamespaceNotFound:
    return NamespaceNotFound(f"no network namespace is called {namespace!r}", where="this lab",
                             expected="one of: " + ", ".join(name for name in names if name),
                             next_step="check the spelling; `ip netns list` shows the names")


def _state(name: str, raw: list[RawLink], row: list[Answer], peers: Peers) -> NamespaceState:
    _, _, addresses, inet, inet6, known, forwarding = row
    names = {link.index: link.name for link in raw}
    return NamespaceState(
        name, _make_links(name, raw, addresses.data, peers), _make_routes([inet, inet6], names),
        tuple(rtnetlink.parse_neighbours(known.data, names)), forwards_ipv4=rtnetlink.parse_forwarding(forwarding.data),
    )


def _make_links(namespace: str, raw: list[RawLink], addresses: bytes, peers: Peers) -> tuple[Link, ...]:
    names, by_link = {link.index: link.name for link in raw}, rtnetlink.parse_addresses(addresses)
    return tuple(
        Link(
            name=link.name, index=link.index, kind=link.kind, mac=link.mac, mtu_bytes=link.mtu_bytes,
            state="up" if link.up else "down", carrier=link.carrier, operstate=link.operstate,
            master=names.get(link.master_index, ""), peer=peers.get(Endpoint(namespace, link.name)),
            addresses=tuple(by_link.get(link.index, ())), port_state=link.port_state,
        )
        for link in raw
    )


def _make_routes(answers: Iterable[Answer], names: Mapping[int, str]) -> tuple[Route, ...]:
    return tuple(route for answer in answers for route in rtnetlink.parse_routes(answer.data, names))


def _make_listener(line: str) -> Listener:
    """Read one line of `ss`, which has no JSON: protocol, state, two queues, local address and port, ..."""
    protocol, _state, _receive_queue, _send_queue, local, *_ = line.split()
    host, _, port = local.rpartition(":")
    address, _, device = host.partition("%")
    return Listener(protocol, address.strip("[]"), int(port), device.strip("[]"))
