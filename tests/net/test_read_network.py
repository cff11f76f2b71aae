"""What `labsupport.net` reads must be what the tools show that a learner has; none of the objects is made by Python."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from labsupport import Lab, net
from labsupport.errors import LabClosed, NamespaceNotFound
from labsupport.waiting import wait_until

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104  (inside the lab)
NAMESPACES = ("a", "b", "c", "d e")  # the last one also proves that names are quoted


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(name="net") as one:
        yield one


def shell(lab: Lab, script: str, namespace: str = "") -> str:
    return lab.run("set -e\n" + script, namespace=namespace, echo=False).check().stdout


def ip_json(lab: Lab, arguments: str, namespace: str = "") -> list[dict[str, Any]]:
    return [entry for entry in json.loads(shell(lab, f"ip -json {arguments}", namespace) or "[]") if entry]


def by_name(lab: Lab, namespace: str) -> dict[str, dict[str, Any]]:
    return {entry["ifname"]: entry for entry in ip_json(lab, "-d address", namespace)}


MIXED = """
ip netns add red
ip link set lo up
ip link add br0 type bridge
ip link add port0 type veth peer name eth0 netns red
ip link set port0 master br0 up
ip link set br0 mtu 1400 up
ip address add 10.0.0.254/24 dev br0
ip -n red link set eth0 up
ip -n red address add 10.0.0.1/24 dev eth0
ip -n red address add 10.0.0.9/32 dev eth0
ip -n red address add fd00::1/64 dev eth0 nodad
"""


def test_every_property_of_every_link_is_what_ip_prints(lab: Lab) -> None:
    shell(lab, MIXED)
    for namespace in ("", "red"):
        printed = by_name(lab, namespace)
        read = {link.name: link for link in net.links(lab, namespace)}
        assert list(read) == sorted(printed, key=lambda name: printed[name]["ifindex"])
        for name, entry in printed.items():
            link = read[name]
            assert (link.index, link.mac, link.mtu_bytes) == (entry["ifindex"], entry["address"], entry["mtu"])
            assert (link.state == "up") == ("UP" in entry["flags"])
            assert link.carrier == ("LOWER_UP" in entry["flags"])
            assert link.operstate == entry["operstate"]
            assert link.master == entry.get("master", "")
            assert link.kind == entry.get("linkinfo", {}).get("info_kind", "loopback")
            # Link-local IPv6 addresses may arrive between the two readings.
            chosen = [f"{one['local']}/{one['prefixlen']}" for one in entry["addr_info"] if one["scope"] != "link"]
            assert [str(address) for address in link.addresses if address.scope != "link"] == chosen
            assert all(ipaddress.ip_address(one.ip).version == (4 if one.family == "inet" else 6)
                       for one in link.addresses)


def test_states_follow_the_kernel(lab: Lab) -> None:
    shell(lab, "ip link add x type veth peer name y; ip link set x up")
    x, y = (net.network(lab).namespaces[""].link(name) for name in ("x", "y"))
    assert x is not None
    assert y is not None
    assert (x.state, x.carrier, y.state, y.carrier) == ("up", False, "down", False)
    shell(lab, "ip link set y up")
    x, y = (net.network(lab).namespaces[""].link(name) for name in ("x", "y"))
    assert x is not None
    assert y is not None
    assert (x.state, x.carrier, y.state, y.carrier) == ("up", True, "up", True)


def test_ports_of_a_bridge(lab: Lab) -> None:
    shell(lab, MIXED + "ip link add other type veth peer name lonely")
    state = net.network(lab).namespaces[""]
    assert [port.name for port in state.ports("br0")] == ["port0"]
    assert state.ports("port0") == ()
    assert state.link("nothing") is None


# Every namespace numbers its links 2, 3, 4, ...; whatever a veth says of its peer, another pair says it as well.
COLLIDING = "".join(f"ip netns add '{name}'\n" for name in NAMESPACES) + """
pair() { ip link add name "$2" index $3 netns "$1" type veth peer name "$5" index $6 netns "$4"; }
pair a x 2 b x 2
pair c x 2 'd e' x 2
pair a y 3 'd e' y 3
pair b y 3 c y 3
pair a z 4 c z 4
pair b z 4 'd e' z 4
pair a w 5 b w 5
pair a v 6 a u 7
pair b v 6 b u 7
for name in a b c 'd e'; do
    ip link add "to-${name% e}" type veth peer name up index 20 netns "$name"
done
for name in a b c 'd e'; do
    for link in $(ip netns exec "$name" ls /sys/class/net); do ip -n "$name" link set dev $link up; done
    ip link set "to-${name% e}" up
done
"""
PAIRS = {
    frozenset(pair) for pair in [
        {("a", "x"), ("b", "x")}, {("c", "x"), ("d e", "x")}, {("a", "y"), ("d e", "y")}, {("b", "y"), ("c", "y")},
        {("a", "z"), ("c", "z")}, {("b", "z"), ("d e", "z")}, {("a", "w"), ("b", "w")}, {("a", "v"), ("a", "u")},
        {("b", "v"), ("b", "u")}, *({("", f"to-{name[0]}"), (name, "up")} for name in NAMESPACES),
    ]
}


def carriers(lab: Lab) -> set[tuple[str, str]]:
    return {(namespace, name) for namespace in ("", *NAMESPACES)
            for name, entry in by_name(lab, namespace).items() if "LOWER_UP" in entry["flags"] and name != "lo"}


def test_peers_among_colliding_indexes(lab: Lab) -> None:
    shell(lab, COLLIDING)
    ends = {(state.name, link.name): link for state in net.network(lab).namespaces.values()
            for link in state.links if link.kind == "veth"}
    assert {frozenset({end, link.peer}) for end, link in ends.items()} == PAIRS
    for namespace in ("", *NAMESPACES):
        assert all(ends[namespace, link.name].peer == link.peer
                   for link in net.links(lab, namespace) if link.kind == "veth")
    collisions = [pair for pair in combinations(PAIRS, 2)
                  if len({frozenset(ends[end].index for end in one) for one in pair}) == 1]
    assert len(collisions) >= 4, "the test has lost its point"


def test_the_kernel_itself_confirms_the_peers(lab: Lab) -> None:
    """A veth that goes down takes the carrier of its peer and of nothing else."""
    shell(lab, COLLIDING)
    before = carriers(lab)
    for namespace in ("a", "d e"):
        for link in net.links(lab, namespace):
            if link.kind != "veth":
                continue
            shell(lab, f"ip link set dev {link.name} down", namespace)
            assert before - carriers(lab) == {(namespace, link.name), link.peer}
            shell(lab, f"ip link set dev {link.name} up", namespace)


def test_a_peer_in_a_namespace_without_a_name_is_unknown(lab: Lab) -> None:
    shell(lab, "ip netns add red; ip link add x index 50 netns red type veth peer name x index 50")
    nameless = lab.start(["unshare", "-n", "sleep", "infinity"])
    wait_until(lambda: shell(lab, f"readlink /proc/{nameless.pid}/ns/net /proc/self/ns/net | uniq | wc -l") == "2\n",
               what="a namespace of its own", deadline_s=10)
    shell(lab, f"ip link set x netns {nameless.pid}; ip netns add blue")
    # The same numbers at the other place: this pair and that one must not be mixed up.
    shell(lab, "ip link add y index 50 netns blue type veth peer name y index 50")
    links = {(state.name, link.name): link.peer for state in net.network(lab).namespaces.values()
             for link in state.links if link.kind == "veth"}
    assert links == {("red", "x"): None, ("blue", "y"): ("", "y"), ("", "y"): ("blue", "y")}


def test_a_false_ip_in_the_lab_cannot_join_what_is_not_joined(lab: Lab) -> None:
    shell(lab, """
ip netns add red; ip netns add blue; ip netns add green
ip link add name r index 10 netns red type veth peer name g index 11 netns green
ip link add name b index 11 netns blue type veth peer name h index 13 netns green
ip -json -n red netns list-id >/dev/null
cat > /tmp/ip <<'END'
#!/bin/sh
echo '[{"nsid":0,"name":"blue"},{"nsid":1,"name":"red"}]'  # blue has a link 11 too, but it is not red's peer
END
chmod +x /tmp/ip
mount --bind /tmp/ip "$(readlink -f "$(command -v ip)")"
""")
    assert "blue" in shell(lab, "ip link")
    peers = {link.name: link.peer for state in net.network(lab).namespaces.values() for link in state.links}
    assert peers["r"] in {None, ("green", "g")}
    assert peers["b"] in {None, ("green", "h")}


def test_routes_are_what_ip_route_prints(lab: Lab) -> None:
    shell(lab, MIXED)
    shell(lab, """
ip route add default via 10.0.0.254
ip route add 10.9.0.0/16 via 10.0.0.253 src 10.0.0.9 metric 7
ip route add blackhole 10.8.0.0/16
ip route add 10.7.0.0/16 nexthop via 10.0.0.2 nexthop via 10.0.0.3
ip -6 route add fd01::/64 via fd00::254
""", "red")
    routes = net.routes(lab, "red")
    assert [route for route in routes if route.destination == "default"] == [
        net.Route("default", "10.0.0.254", "eth0", "", "inet")]
    assert net.Route("10.9.0.0/16", "10.0.0.253", "eth0", "10.0.0.9", "inet", metric=7) in routes
    assert net.Route("10.8.0.0/16", "", "", "", "inet", kind="blackhole") in routes
    assert {route.gateway for route in routes if route.destination == "10.7.0.0/16"} == {"10.0.0.2", "10.0.0.3"}
    assert net.Route("10.0.0.0/24", "", "eth0", "10.0.0.1", "inet") in routes
    assert [route.gateway for route in routes if route.destination == "fd01::/64"] == ["fd00::254"]
    for family, option in (("inet", "-4"), ("inet6", "-6")):
        printed = {entry["dst"] for entry in ip_json(lab, f"{option} route", "red")} - {"fe80::/64"}
        assert {one.destination for one in routes if one.family == family} - {"fe80::/64"} == printed
    assert net.routes(lab, "") != routes


def test_neighbours_are_what_ip_neighbour_prints(lab: Lab) -> None:
    shell(lab, MIXED)
    shell(lab, "ip neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent; ping -qc1 10.0.0.254", "red")
    read = {one.ip: one for one in net.neighbours(lab, "red") if one.ip.startswith("10.")}
    assert read["10.0.0.77"] == net.Neighbour("10.0.0.77", "02:00:00:00:00:77", "eth0", "PERMANENT")
    printed = {entry["dst"]: entry for entry in ip_json(lab, "neigh", "red") if entry["dst"].startswith("10.")}
    assert {ip: (one.mac, one.device) for ip, one in read.items()} == {
        ip: (entry["lladdr"], entry["dev"]) for ip, entry in printed.items()}
    assert read["10.0.0.254"].mac == by_name(lab, "")["br0"]["address"]


SERVER = """
import socket, sys, time
kept = []
for kind, address, port in eval(sys.argv[1]):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kept.append(socket.socket(family, getattr(socket, kind)))
    kept[-1].bind((address, port))
    if kind == "SOCK_STREAM":
        kept[-1].listen()
print("ready", flush=True)
time.sleep(600)
"""


def listening_ports(lab: Lab, namespace: str) -> set[int]:
    """Read the TCP ports from /proc/net/tcp and tcp6, where state 0A is LISTEN."""
    table = shell(lab, "cat /proc/net/tcp /proc/net/tcp6", namespace)
    return {int(port, 16) for port in re.findall(r":([0-9A-F]{4}) [0-9A-F]+:0000 0A", table)}


def test_two_servers_on_port_80_of_one_machine(lab: Lab) -> None:
    shell(lab, "ip netns add red; ip netns add blue; for n in red blue; do ip -n $n link set lo up; done")
    sockets = {
        "red": [("SOCK_STREAM", EVERY_ADDRESS, 80), ("SOCK_DGRAM", "127.0.0.1", 53)],
        "blue": [("SOCK_STREAM", "127.0.0.1", 80), ("SOCK_STREAM", "::1", 8080)],
    }
    for name, wanted in sockets.items():
        server = lab.start(["python3", "-c", SERVER, repr(wanted)], namespace=name)
        assert server.read(20) == [("stdout", b"ready\n")]
    assert net.listeners(lab, "red") == (net.Listener("tcp", EVERY_ADDRESS, 80), net.Listener("udp", "127.0.0.1", 53))
    assert net.listeners(lab, "blue") == (net.Listener("tcp", "127.0.0.1", 80), net.Listener("tcp", "::1", 8080))
    assert net.listeners(lab) == ()
    for name in ("", "red", "blue"):
        assert {one.port for one in net.listeners(lab, name) if one.protocol == "tcp"} == listening_ports(lab, name)


def test_the_whole_network_is_its_parts(lab: Lab) -> None:
    shell(lab, MIXED)
    whole = net.network(lab)
    assert list(whole.namespaces) == ["", "red"]
    assert net.Endpoint("red", "eth0") == ("red", "eth0")
    end = whole.link(net.Endpoint("red", "eth0"))
    assert end is not None
    assert end.peer == ("", "port0")
    assert whole.link(net.Endpoint("red", "port0")) is None
    assert whole.link(net.Endpoint("green", "eth0")) is None
    for name, state in whole.namespaces.items():
        assert state.routes[:2] == net.routes(lab, name)[:2]
        assert [link.mac for link in state.links] == [link.mac for link in net.links(lab, name)]


@pytest.mark.parametrize("read", [net.links, net.routes, net.neighbours, net.listeners])
def test_an_unknown_namespace_is_named(lab: Lab, read: Any) -> None:
    shell(lab, "ip netns add red")
    with pytest.raises(NamespaceNotFound, match="rde") as caught:
        read(lab, "rde")
    assert "red" in caught.value.expected


def test_a_closed_lab_has_no_network() -> None:
    lab = Lab()
    lab.close()
    with pytest.raises(LabClosed):
        net.network(lab)
