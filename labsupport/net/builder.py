"""Makes a planned network: everything by netlink in one process inside the lab, but NAT and impairments.

The order saves messages: namespaces first, then each cable with one message that names both ends and their MAC
addresses. The two ends get different indexes, unique in the plan, so that `red0@if5` tells who the other end is.
"""

from __future__ import annotations

import ipaddress
import socket
import struct

from labsupport.errors import CommandFailed, LabError, TopologyError
from labsupport.net import netlink, remover, rtnetlink
from labsupport.net.model import Endpoint
from labsupport.net.nft_tc import check_netem, nat_rules, shape
from labsupport.net.plan import CablePlan, Plan
from labsupport.net.relay import FIRST_DESCRIPTOR, Answer, Orders
from labsupport.sandbox import Lab
from labsupport.waiting import wait_until

_MOST_MESSAGE_BYTES, _MOST_MESSAGES = 100_000, 100  # their acknowledgements must fit into a socket's buffer
_MAKE = netlink.ACK | netlink.CREATE | netlink.EXCLUSIVE
_LINK = struct.Struct("=BxHiII")
_UP = 1
_PORTS_LIMIT_S = 10.0
_STP_FORWARD_DELAY_TICKS, _STP_HELLO_TICKS, _STP_MAX_AGE_TICKS = 200, 100, 600


class _Batch:
    """Messages for one namespace, sent together, each with the call that it came from."""

    def __init__(self, orders: Orders, calls: dict[int, list[str]], namespace: str) -> None:
        self.orders = orders
        self.namespace = namespace
        self.entered = False
        self.calls = calls
        self.waiting: list[tuple[bytes, str]] = []
        self.size = 0

    def add(self, message: bytes, call: str) -> None:
        if self.size + len(message) > _MOST_MESSAGE_BYTES or len(self.waiting) == _MOST_MESSAGES:
            self.send()
        self.waiting.append((message, call))
        self.size += len(message)

    def send(self) -> None:
        if self.waiting:
            if not self.entered:
                self.orders.enter(self.namespace)
                self.entered = True
            self.calls[len(self.orders)] = [call for _, call in self.waiting]
            self.orders.netlink(*[message for message, _ in self.waiting])
            self.waiting, self.size = [], 0


class _Build:
    """One build under way."""

    def __init__(self, plan: Plan, lab: Lab) -> None:
        self.plan = plan
        self.macs = plan.macs()
        self.orders = Orders(strict=True)
        self.calls: dict[int, list[str]] = {}
        self.new = {namespace.name for namespace in plan.namespaces}
        self.masters = {port: bridge for port, bridge, _ in plan.ports}
        self.near: dict[str, list[CablePlan]] = {}  # by the namespace that makes them
        self.far: dict[str, list[CablePlan]] = {}  # by the other one
        for cable in plan.cables:
            near, far = self._near_and_far(cable)
            self.near.setdefault(near.namespace, []).append(cable)
            self.far.setdefault(far.namespace, []).append(cable)
        names = dict.fromkeys([end.namespace for end, _ in plan.made_ends])
        self.descriptors = {name: FIRST_DESCRIPTOR + number for number, name in enumerate(
            dict.fromkeys([*names, *(namespace.name for namespace in plan.namespaces)]))}
        start = _highest_index(lab, [name for name in self.descriptors if name not in self.new]) + 1
        self.indexes = {end: start + number for number, (end, _) in enumerate(plan.made_ends)}
        self.mtus = {link.end: link.mtu_bytes for link in plan.links if link.mtu_bytes}

    def collect(self) -> Orders:
        for namespace in self.plan.namespaces:
            self._note(namespace.call)
            self.orders.create(namespace.name)
            self.orders.keep(self.descriptors[namespace.name])
            if not self.plan.ipv6:
                self.orders.write("net/ipv6/conf/all/disable_ipv6", "1")
            for name, key, value, call in self.plan.sysctls:
                if name == namespace.name:
                    self._note(call)
                    self.orders.write(key.replace(".", "/"), value)
        for name in self.descriptors:
            if name not in self.new:
                self.orders.enter(name)
                self.orders.keep(self.descriptors[name])
        for name in self.descriptors:
            self._make_links(name)
        for name in dict.fromkeys([*self.descriptors, *(route.namespace for route in self.plan.routes)]):
            self._set_up(name)
        return self.orders

    def _note(self, call: str) -> None:
        self.calls[len(self.orders)] = [call]

    def _make_links(self, name: str) -> None:
        batch = _Batch(self.orders, self.calls, name)
        for bridge in self.plan.bridges:
            if bridge.end.namespace == name:
                batch.add(self._bridge(bridge.end, stp=bridge.stp, ageing_s=bridge.ageing_s,
                                       vlan_filtering=bridge.vlan_filtering), bridge.call)
        for cable in self.near.get(name, []):
            one, other = self._near_and_far(cable)
            batch.add(self._cable(one, other, self.masters.get(one)), cable.call)
        batch.send()

    def _near_and_far(self, cable: CablePlan) -> tuple[Endpoint, Endpoint]:
        """Return the end that the message is sent to, and the other: a port first, as it can name its bridge."""
        return (cable.other, cable.one) if cable.other in self.masters else (cable.one, cable.other)

    def _properties(self, end: Endpoint) -> list[bytes]:
        found = [netlink.text(3, end.link), netlink.attribute(1, bytes.fromhex(self.macs[end].replace(":", "")))]
        return [*found, netlink.u32(4, self.mtus[end])] if end in self.mtus else found

    def _head(self, end: Endpoint, up: int = _UP) -> bytes:
        return _LINK.pack(0, 0, self.indexes[end], up, up)

    def _bridge(self, end: Endpoint, *, stp: bool, ageing_s: float, vlan_filtering: bool) -> bytes:
        options = [netlink.u32(4, round(ageing_s * rtnetlink.CLOCK_TICKS_PER_S)), netlink.u8(23, 0)]  # no IGMP snooping
        if stp:
            options += [netlink.u32(2, _STP_HELLO_TICKS), netlink.u32(3, _STP_MAX_AGE_TICKS),
                        netlink.u32(1, _STP_FORWARD_DELAY_TICKS), netlink.u32(5, 1)]
        else:
            options.append(netlink.u32(1, 0))
        if vlan_filtering:
            options.append(netlink.u8(7, 1))
        info = netlink.nested(18, netlink.text(1, "bridge"), netlink.nested(2, *options))
        return netlink.message(rtnetlink.NEWLINK, _MAKE, self._head(end), [*self._properties(end), info])

    def _cable(self, one: Endpoint, other: Endpoint, master: Endpoint | None) -> bytes:
        place = netlink.u32(28, self.descriptors[other.namespace])  # IFLA_NET_NS_FD
        peer = self._head(other, up=0) + b"".join([*self._properties(other), place])
        info = netlink.nested(18, netlink.text(1, "veth"), netlink.nested(2, netlink.attribute(1, peer)))
        owner = [] if master is None else [netlink.u32(10, self.indexes[master])]
        return netlink.message(rtnetlink.NEWLINK, _MAKE, self._head(one), [*self._properties(one), info, *owner])

    def _set_up(self, name: str) -> None:
        """Loopback, late ports, addresses and routes of one namespace."""
        batch = _Batch(self.orders, self.calls, name)
        if name in self.new:
            batch.add(netlink.message(rtnetlink.NEWLINK, netlink.ACK, _LINK.pack(0, 0, 1, _UP, _UP)), "loopback")
        for cable in self.far.get(name, []):  # a veth cannot be up before it has a peer: this end was not made up
            far = self._near_and_far(cable)[1]
            owner = [netlink.u32(10, self.indexes[self.masters[far]])] if far in self.masters else []
            batch.add(netlink.message(rtnetlink.NEWLINK, netlink.ACK, self._head(far), owner), cable.call)
        for end, address, call in self.plan.addresses:
            if end.namespace == name:
                batch.add(_address(self.indexes[end], address), call)
        for route in self.plan.routes:
            if route.namespace == name:
                device = self.indexes[Endpoint(name, route.device)] if route.device else 0
                batch.add(_route(route.destination, route.via, device, route.metric), route.call)
        batch.send()


def _highest_index(lab: Lab, names: list[str]) -> int:
    orders = Orders()
    for name in names:
        orders.enter(name)
        orders.netlink(rtnetlink.LIST_LINKS)
    links = [link for answer in orders.run(lab)[1::2] for link in rtnetlink.parse_links(answer.data)]
    return max((link.index for link in links), default=1)


def _address(index: int, text: str) -> bytes:
    address = ipaddress.ip_interface(text)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    length = address.network.prefixlen
    parts = [netlink.attribute(2, address.ip.packed), netlink.attribute(1, address.ip.packed)]
    if isinstance(address, ipaddress.IPv4Interface) and length < 31:
        parts.append(netlink.attribute(4, address.network.broadcast_address.packed))
    nodad = 0 if address.version == 4 else 2
    return netlink.message(rtnetlink.NEWADDR, _MAKE, struct.pack("=BBBBI", family, length, nodad, 0, index), parts)


def _route(destination: str, via: str, device: int, metric: int) -> bytes:
    gateway = ipaddress.ip_address(via) if via else None
    default = "::/0" if gateway is not None and gateway.version == 6 else "0.0.0.0/0"
    network = ipaddress.ip_network(default if destination == "default" else destination)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    scope = 0 if gateway is not None else 253
    parts = [netlink.attribute(1, network.network_address.packed)] if network.prefixlen else []
    if gateway is not None:
        parts.append(netlink.attribute(5, gateway.packed))
    if device:
        parts.append(netlink.u32(4, device))
    if metric:
        parts.append(netlink.u32(6, metric))
    head = struct.pack("=BBBBBBBBI", family, network.prefixlen, 0, 0, 254, 4, scope, 1, 0)
    return netlink.message(rtnetlink.NEWROUTE, _MAKE, head, parts)


def build(plan: Plan, lab: Lab) -> None:
    """Make a network that has no faults; see Topology.build."""
    check_netem(plan, lab)
    work = _Build(plan, lab)
    orders = work.collect()
    try:
        _expect(orders.run(lab), work.calls)
        late, calls = _existing_sysctls(plan, work.new)
        _expect(late.run(lab), calls)
        _wait_for_ports(plan, lab)
        for shaping in plan.shapings:
            shape(lab, shaping)
        for name, rules in nat_rules(plan).items():
            lab.run(["nft", "-f", "-"], namespace=name, stdin=rules, echo=False).check()
    except CommandFailed as problem:
        remover.remove(plan, lab)
        raise TopologyError("a part of the topology could not be made", where=problem.where, command=problem.command,
                            exit_status=problem.exit_status, log_tail=problem.log_tail,
                            next_step="`labsupport doctor` says what this machine lacks; nothing is left") from None
    except BaseException:
        remover.remove(plan, lab)
        raise


def _expect(answers: list[Answer], calls: dict[int, list[str]]) -> None:
    for at, answer in enumerate(answers):
        if answer.errno:
            raise _refused(calls.get(at, ["a namespace"])[0], answer.problem)
        for problem, call in zip(netlink.acknowledgements(answer.data), calls.get(at, []), strict=False):
            if problem.errno:
                raise _refused(call, problem.reason)


def _wait_for_ports(plan: Plan, lab: Lab) -> None:
    """Wait until no port is disabled: a bridge notices the carrier of a cable a moment after it is plugged in."""
    planned = {port for port, _, _ in plan.ports}
    orders = Orders()
    names = list(dict.fromkeys(port.namespace for port in planned))
    for name in names:
        orders.enter(name)
        orders.netlink(rtnetlink.LIST_LINKS)

    def states() -> set[str]:
        lists = zip(names, orders.run(lab)[1::2], strict=True)
        return {link.port_state for name, answer in lists for link in rtnetlink.parse_links(answer.data)
                if Endpoint(name, link.name) in planned}

    wait_until(lambda: "disabled" not in states(), what="all ports of the bridges to work", deadline_s=_PORTS_LIMIT_S)


def _refused(call: str, reason: str) -> LabError:
    return TopologyError("the kernel refused a part of the topology", where=call, observed=reason,
                         next_step="mend that line; what was made is gone again")


def _existing_sysctls(plan: Plan, new: set[str]) -> tuple[Orders, dict[int, list[str]]]:
    orders, calls = Orders(strict=True), {}
    for name, key, value, call in plan.sysctls:
        if name not in new:
            orders.enter(name)
            calls[len(orders)] = [call]
            orders.write(key.replace(".", "/"), value)
    return orders, calls
