"""Our own netlink messages against pyroute2, which knows all of them, and against bytes that nobody should send."""

from __future__ import annotations

import errno
import random
import struct
from ipaddress import IPv4Address
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from labsupport import Lab
from labsupport.net import Topology, builder, netlink, rtnetlink
from labsupport.net.model import FdbEntry, Neighbour, Route
from labsupport.net.relay import Orders
from labsupport.sandbox.agent import wire

CLASSES = {rtnetlink.NEWLINK: ifinfmsg, rtnetlink.NEWADDR: ifaddrmsg, rtnetlink.NEWROUTE: rtmsg,
           rtnetlink.NEWNEIGH: ndmsg}
NAMES = {number: f"link{number}" for number in range(1, 9)}


def decoded(data: bytes) -> list[Any]:
    """Return the messages as pyroute2 reads them, without those that end lists and acknowledge."""
    found, position = [], 0
    while position < len(data):
        length, kind = struct.unpack_from("=IH", data, position)
        if kind in CLASSES:
            message = CLASSES[kind](data[position : position + length])
            message.decode()
            found.append(message)
        position += length + 3 & ~3
    return found


def encoded(kind: int, fields: dict[str, Any], *attributes: tuple[str, Any]) -> bytes:
    """Return a message as pyroute2 writes it."""
    message = CLASSES[kind]()
    message["header"]["type"] = kind
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes)
    message.encode()
    return bytes(message.data) + bytes(-len(message.data) % 4)


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  (repeatable, not secret)


def orders_of(net: Topology) -> list[list[bytes]]:
    """Return what a build would send to the kernel."""
    with Lab() as lab:
        orders = builder._Build(net.plan, lab).collect()
    return wire.Decoder(1 << 24).feed(b"".join(orders._frames))


def planned() -> Topology:
    net = Topology(ipv6=True)
    net.switch("sw", stp=True, ageing_s=12.5)
    net.switch("vlans", vlan_filtering=True)
    net.host("red", "10.0.0.1/24", to="sw", gateway="10.0.0.254")
    net.mtu("red:red0", 1400)
    net.address("red:red0", "fd00::1/64")
    net.route("red", "10.9.0.0/16", via="10.0.0.253", metric=7)
    net.route("red", "fd01::/64", via="fd00::2")
    net.route("red", "10.8.0.0/16", dev="red0")
    return net


def test_pyroute2_reads_what_we_write() -> None:
    messages = [message for order in orders_of(planned()) if order[0] == b"netlink" for message in decoded(order[2])]
    links = {one.get_attr("IFLA_IFNAME"): one for one in messages if isinstance(one, ifinfmsg)}
    bridge = links["br0"].get_attr("IFLA_LINKINFO")
    assert bridge.get_attr("IFLA_INFO_KIND") == "bridge"
    cable = links["to-red"]
    assert cable.get_attr("IFLA_MASTER") in {one["index"] for one in messages if isinstance(one, ifinfmsg)}
    assert cable["flags"] & cable["change"] & 1
    info = cable.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert (peer.get_attr("IFLA_IFNAME"), peer.get_attr("IFLA_ADDRESS"), peer.get_attr("IFLA_MTU")) == (
        "red0", "02:00:00:00:00:01", 1400)
    assert peer["index"] not in {0, cable["index"]}
    options = [one.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA") for one in messages
               if isinstance(one, ifinfmsg) and one.get_attr("IFLA_IFNAME") == "br0"]
    names = ("STP_STATE", "AGEING_TIME", "FORWARD_DELAY", "VLAN_FILTERING", "MCAST_SNOOPING")
    assert [[one.get_attr(f"IFLA_BR_{name}") for name in names] for one in options] == [
        [1, 1250, 200, None, 0], [None, 30000, 0, 1, 0]]
    addresses = [(one["family"], one["prefixlen"], one.get_attr("IFA_LOCAL"), one.get_attr("IFA_BROADCAST"))
                 for one in messages if isinstance(one, ifaddrmsg)]
    assert addresses == [(2, 24, "10.0.0.1", "10.0.0.255"), (10, 64, "fd00::1", None)]
    routes = [(one["dst_len"], *map(one.get_attr, ("RTA_DST", "RTA_GATEWAY", "RTA_PRIORITY"))) for one in messages
              if isinstance(one, rtmsg)]
    assert routes == [(0, None, "10.0.0.254", None), (16, "10.9.0.0", "10.0.0.253", 7), (64, "fd01::", "fd00::2", None),
                      (16, "10.8.0.0", None, None)]


def test_the_same_bytes_as_pyroute2() -> None:
    ours = netlink.message(rtnetlink.NEWADDR, 0, struct.pack("=BBBBI", 2, 24, 0, 0, 7), [
        netlink.attribute(2, bytes([10, 0, 0, 1])), netlink.text(3, "eth0"), netlink.u32(8, 0x80)])
    theirs = encoded(rtnetlink.NEWADDR, {"family": 2, "prefixlen": 24, "index": 7}, ("IFA_LOCAL", "10.0.0.1"),
                     ("IFA_LABEL", "eth0"), ("IFA_FLAGS", 0x80))
    assert ours[:6] + ours[8:] == theirs[:6] + theirs[8:]  # all but the flags of the header
    assert struct.unpack_from("=H", ours, 6) == (netlink.REQUEST,)


def any_mac(chance: random.Random) -> str:
    return chance.randbytes(6).hex(":")


def any_ip(chance: random.Random) -> str:
    return str(IPv4Address(chance.randrange(1 << 24, 1 << 32)))


def test_we_read_what_pyroute2_writes() -> None:
    chance = seeded(1)
    for _ in range(40):
        mac, ip, index, hops = any_mac(chance), any_ip(chance), chance.randrange(1, 9), [any_ip(chance) for _ in "12"]
        link = encoded(rtnetlink.NEWLINK, {"index": index, "flags": chance.choice([0x10001, 0x10000, 1, 0])},
                       ("IFLA_IFNAME", "red0"), ("IFLA_ADDRESS", mac), ("IFLA_MTU", 1400), ("IFLA_MASTER", 4),
                       ("IFLA_LINK", 9), ("IFLA_LINK_NETNSID", 3), ("IFLA_OPERSTATE", "LOWERLAYERDOWN"))
        (read_link,) = rtnetlink.parse_links(link)
        assert (read_link.name, read_link.index, read_link.mac, read_link.mtu_bytes) == ("red0", index, mac, 1400)
        assert (read_link.master_index, read_link.peer_index, read_link.peer_netnsid) == (4, 9, 3)
        assert read_link.operstate == "LOWERLAYERDOWN"
        (flags,) = (one["flags"] for one in decoded(link))
        assert (read_link.up, read_link.carrier) == (bool(flags & 1), bool(flags & 0x10000))
        neighbour = encoded(rtnetlink.NEWNEIGH, {"family": 2, "ifindex": index, "state": 4}, ("NDA_DST", ip),
                            ("NDA_LLADDR", mac))
        assert rtnetlink.parse_neighbours(neighbour, NAMES) == [Neighbour(ip, mac, NAMES[index], "STALE")]
        entry = encoded(rtnetlink.NEWNEIGH, {"family": 7, "ifindex": index, "state": 2}, ("NDA_LLADDR", mac),
                        ("NDA_MASTER", 2), ("NDA_VLAN", 10), ("NDA_CACHEINFO", {"ndm_updated": 250}))
        assert rtnetlink.parse_fdb(entry, NAMES) == [FdbEntry(mac, NAMES[index], "link2", 10, "learned", 2.5)]
        route = encoded(rtnetlink.NEWROUTE, {"family": 2, "dst_len": 24, "table": 254, "type": 1},
                        ("RTA_DST", "10.1.2.0"), ("RTA_PRIORITY", 5), ("RTA_MULTIPATH", [
                            {"oif": index, "attrs": [("RTA_GATEWAY", hop)]} for hop in hops]))
        assert rtnetlink.parse_routes(route, NAMES) == [
            Route("10.1.2.0/24", hop, NAMES[index], "", "inet", metric=5) for hop in hops]


def test_both_read_the_same_in_what_a_kernel_says() -> None:
    with Lab() as lab:
        planned_net = planned()
        planned_net.plan.bridges = [one for one in planned_net.plan.bridges if not one.vlan_filtering]
        planned_net.build(lab)
        lab.observe(["ping", "-c1", "-W0.1", "10.0.0.77"], namespace="red")
        orders = Orders()
        orders.enter("red")
        questions = [rtnetlink.LIST_LINKS, rtnetlink.LIST_ADDRESSES, *rtnetlink.LIST_ROUTES.values(),
                     rtnetlink.LIST_NEIGHBOURS]
        for question in questions:
            orders.netlink(question)
        links, addresses, *routes, neighbours = (answer.data for answer in orders.run(lab)[1:])
    ours = {(link.name, link.index, link.mac, link.mtu_bytes, link.peer_index) for link in rtnetlink.parse_links(links)}
    assert ours == {(one.get_attr("IFLA_IFNAME"), one["index"], one.get_attr("IFLA_ADDRESS"), one.get_attr("IFLA_MTU"),
                     one.get_attr("IFLA_LINK") or 0) for one in decoded(links)}
    assert len(ours) == 2
    found = rtnetlink.parse_addresses(addresses)
    assert {(index, one.ip, one.prefix_length) for index, several in found.items() for one in several} == {
        (one["index"], one.get_attr("IFA_ADDRESS"), one["prefixlen"]) for one in decoded(addresses)}
    for data in routes:
        mains = [one for one in decoded(data) if one.get_attr("RTA_TABLE") == 254]
        assert [(route.gateway, route.metric) for route in rtnetlink.parse_routes(data, {})] == [
            (one.get_attr("RTA_GATEWAY") or "", one.get_attr("RTA_PRIORITY") or 0) for one in mains]
        assert len(mains) >= 2
    assert {(one.ip, one.mac) for one in rtnetlink.parse_neighbours(neighbours, {}) if "." in one.ip} == {
        (one.get_attr("NDA_DST"), one.get_attr("NDA_LLADDR") or "") for one in decoded(neighbours)
        if one["family"] == 2 and one["state"] != 0x40}


def acknowledgement(number: int, *, reason: str = "", capped: bool = True, kind: int = 2) -> bytes:
    asked = struct.pack("=IHHII", 24, 16, 5, 0, 0) + bytes(8)
    told = netlink.text(1, reason) if reason else b""
    flags = (0x100 if capped else 0) | (0x200 if reason else 0)
    body = struct.pack("=i", -number) + (b"" if kind == 3 else asked[:16] if capped else asked) + told
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body + bytes(-len(body) % 4)


@pytest.mark.parametrize("capped", [True, False])
def test_what_the_kernel_says_to_each_message(capped: bool) -> None:
    data = b"".join([acknowledgement(0, capped=capped), acknowledgement(errno.EEXIST, capped=capped),
                     acknowledgement(errno.EINVAL, reason="Nexthop has invalid gateway", capped=capped)])
    assert [(one.errno, one.reason) for one in netlink.acknowledgements(data)] == [
        (0, ""), (errno.EEXIST, "File exists"), (errno.EINVAL, "Nexthop has invalid gateway")]
    assert list(netlink.parse(data)) == [(errno.EEXIST, "File exists"), (errno.EINVAL, "Nexthop has invalid gateway")]
    over = acknowledgement(errno.EPERM, reason="no", kind=3)
    assert list(netlink.parse(over)) == [(errno.EPERM, "no")]


def readers() -> list[Any]:
    return [
        lambda data: list(netlink.parse(data)), netlink.parse_attributes, netlink.parse_text, netlink.acknowledgements,
        rtnetlink.parse_links, rtnetlink.parse_addresses, lambda data: rtnetlink.parse_routes(data, NAMES),
        lambda data: rtnetlink.parse_routes(data, NAMES, table=None), rtnetlink.parse_forwarding, rtnetlink.parse_nsid,
        lambda data: rtnetlink.parse_neighbours(data, NAMES), lambda data: rtnetlink.parse_fdb(data, NAMES),
        lambda data: list(rtnetlink.split_neighbour_messages(data)),
    ]


def samples() -> list[bytes]:
    sent = [order[2] for order in orders_of(planned()) if order[0] == b"netlink"]
    return [*sent, acknowledgement(22, reason="no"), acknowledgement(22, capped=False), encoded(
        rtnetlink.NEWNEIGH, {"family": 7, "ifindex": 3, "state": 2}, ("NDA_LLADDR", "02:00:00:00:00:01"),
        ("NDA_MASTER", 2), ("NDA_CACHEINFO", {"ndm_updated": 250})), encoded(
        rtnetlink.NEWROUTE, {"family": 2, "dst_len": 24, "table": 254, "type": 1}, ("RTA_MULTIPATH", [
            {"oif": 2, "attrs": [("RTA_GATEWAY", "10.0.0.1")]}]))]


def test_no_bytes_make_a_reader_fail() -> None:
    """Nothing documents an error, so there must be none: what makes no sense is left out."""
    chance, good = seeded(7), samples()
    for number in range(20_000):
        data = bytearray(chance.choice(good) if number % 4 else chance.randbytes(chance.randrange(200)))
        for _ in range(chance.randrange(1, 6)):
            if data:
                data[chance.randrange(min(len(data), 400))] = chance.choice([0, 1, 4, 255, chance.randrange(256)])
        if chance.random() < 0.3:
            del data[chance.randrange(len(data) + 1) :]
        for reader in readers():
            reader(bytes(data))


def test_questions() -> None:
    message = rtmsg(rtnetlink.ask_for_route("10.0.0.1"))
    message.decode()
    assert (message["header"]["type"], message["dst_len"], message.get_attr("RTA_DST")) == (
        rtnetlink.GETROUTE, 32, "10.0.0.1")
    assert struct.unpack("=HHI", rtnetlink.ask_for_nsid(512)[20:28]) == (8, 3, 512)  # NETNSA_FD
