"""What a topology makes is what the host's own `ip`, `tc` and `nft` show, and what packets find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations

import pytest
from from_outside import links, ping, routed, told

from labsupport import Lab
from labsupport.errors import LabClosed, TopologyError
from labsupport.net import Topology

REPLY = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    connection, peer = server.accept()
    connection.sendall(f"{sys.argv[1]} saw {peer[0]}".encode())
    connection.close()
"""
ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).recv(99).decode())"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(name="build") as one:
        yield one


def test_everything_reaches_everything_at_once_after_build(lab: Lab) -> None:
    routed().build(lab)
    addresses = {"red": "10.0.0.1", "blue": "10.0.0.2", "green": "10.0.1.1", "r1": "10.0.12.1", "r2": "10.0.12.2"}
    assert [pair for pair in permutations(addresses, 2) if ping(lab, pair[0], addresses[pair[1]])] == []


def test_links_are_what_ip_shows(lab: Lab) -> None:
    net = routed()
    net.mtu("red:red0", 1400)
    net.build(lab)
    assert lab.run("ip netns list | cut -d' ' -f1 | sort", echo=False).stdout.split() == [
        "blue", "green", "r1", "r2", "red", "s2", "sw"]
    found = {(name, link): entry for name in lab.namespaces() for link, entry in links(lab, name).items()}
    assert sorted(found) == sorted([
        *((name, "lo") for name in lab.namespaces()), ("sw", "br0"), ("s2", "br0"), ("red", "red0"), ("blue", "blue0"),
        ("green", "green0"), ("sw", "to-red"), ("sw", "to-blue"), ("sw", "to-r1"), ("s2", "to-green"), ("s2", "to-r2"),
        ("r1", "lan0"), ("r1", "to-r2"), ("r2", "lan0"), ("r2", "to-r1")])
    assert list(links(lab)) == ["lo"]
    assert {link.get("master") for (_, name), link in found.items() if name.startswith("to-")} == {"br0", None}
    for end in [("sw", "to-red"), ("sw", "to-r1"), ("s2", "to-green")]:
        assert found[end]["master"] == "br0"
    for one, other in [(("red", "red0"), ("sw", "to-red")), (("r1", "lan0"), ("sw", "to-r1")),
                       (("r1", "to-r2"), ("r2", "to-r1"))]:
        assert (found[one]["link_index"], found[other]["link_index"]) == (found[other]["ifindex"],
                                                                          found[one]["ifindex"])
    indexes = [link["ifindex"] for (_, name), link in found.items() if name != "lo"]
    assert len(set(indexes)) == len(indexes)
    assert all({"UP", "LOWER_UP"} <= set(link["flags"]) for link in found.values())
    assert {end: link["mtu"] for end, link in found.items() if link["mtu"] != 1500 and end[1] != "lo"} == {
        ("red", "red0"): 1400}
    assert {family["family"] for link in found.values() for family in link["addr_info"]} == {"inet"}
    chosen = {end: link["address"] for end, link in found.items() if end[1] != "lo"}
    assert {end: mac for end, mac in chosen.items() if not mac.startswith("02:00:00:00:ff:")} == {
        ("red", "red0"): "02:00:00:00:00:01", ("blue", "blue0"): "02:00:00:00:0b:0b",
        ("green", "green0"): "02:00:00:00:01:01", ("r1", "lan0"): "02:00:00:00:00:fe",
        ("r2", "lan0"): "02:00:00:00:01:fe", ("r1", "to-r2"): "02:00:00:00:0c:01",
        ("r2", "to-r1"): "02:00:00:00:0c:02"}
    assert len(set(chosen.values())) == len(chosen)
    assert chosen["sw", "br0"] == "02:00:00:00:ff:01"


def test_addresses_and_routes_are_what_ip_shows(lab: Lab) -> None:
    net = routed()
    net.route("red", "10.9.0.0/16", via="10.0.0.253", metric=7)
    net.route("red", "10.9.0.0/16", via="10.0.0.252", metric=8)
    net.route("red", "10.8.0.9/32", dev="red0")
    net.address("red:red0", "10.0.0.77/24")
    net.build(lab)
    (red0,) = (link for name, link in links(lab, "red").items() if name == "red0")
    assert [(one["local"], one["prefixlen"], one.get("broadcast")) for one in red0["addr_info"]] == [
        ("10.0.0.1", 24, "10.0.0.255"), ("10.0.0.77", 24, "10.0.0.255")]
    routes = {(one["dst"], one.get("metric")): one for one in told(lab, "ip -json route", "red")}
    assert {key: one.get("gateway") for key, one in routes.items()} == {
        ("default", None): "10.0.0.254", ("10.9.0.0/16", 7): "10.0.0.253", ("10.9.0.0/16", 8): "10.0.0.252",
        ("10.8.0.9", None): None, ("10.0.0.0/24", None): None}
    assert routes["10.8.0.9", None]["scope"] == "link"
    assert told(lab, "ip -json route get 10.9.1.1", "red")[0]["gateway"] == "10.0.0.253"


def test_bridges_are_what_ip_shows(lab: Lab) -> None:
    net = Topology()
    net.switch("plain")
    net.switch("slow", stp=True, ageing_s=12.5)
    net.bridge(":br0", ageing_s=0)
    net.build(lab)
    wanted = {"plain": (0, 0, 30000), "slow": (1, 200, 1250), "": (0, 0, 0)}
    for name, values in wanted.items():
        info = links(lab, name)["br0"]["linkinfo"]["info_data"]
        assert (info["stp_state"], info["forward_delay"], info["ageing_time"]) == values
        assert info["mcast_snooping"] == 0


def test_a_bridge_that_tells_vlans_apart(lab: Lab) -> None:
    if lab.run("ip link add br9 type bridge vlan_filtering 1 && ip link delete br9", echo=False).exit_status:
        pytest.skip("this kernel has no bridge VLAN filtering")
    net = Topology()
    net.switch("sw", vlan_filtering=True)
    net.build(lab)
    assert links(lab, "sw")["br0"]["linkinfo"]["info_data"]["vlan_filtering"] == 1


def test_settings_are_made(lab: Lab) -> None:
    lab.run("ip netns add old", echo=False).check()
    net = Topology()
    net.router("r1")
    net.namespace("x", sysctls={"net.ipv4.ip_default_ttl": 5, "net.ipv4.conf.default.rp_filter": "2"})
    net.cable("x:x0", "r1:r0")
    net.sysctl("old", "net.ipv4.ping_group_range", "0 0")
    net.build(lab)

    def setting(namespace: str, path: str) -> str:
        return lab.run(["cat", f"/proc/sys/net/{path}"], namespace=namespace, echo=False).check().stdout.strip()

    assert setting("r1", "ipv4/ip_forward") == "1"
    assert setting("r1", "ipv4/conf/r0/rp_filter") == "0"
    assert (setting("x", "ipv4/ip_default_ttl"), setting("x", "ipv4/conf/x0/rp_filter")) == ("5", "2")
    assert setting("old", "ipv4/ping_group_range").split() == ["0", "0"]
    assert setting("x", "ipv6/conf/x0/disable_ipv6") == "1"


def test_ipv6_where_it_is_wanted(lab: Lab) -> None:
    net = Topology(ipv6=True)
    net.switch("sw", subnet="fd00::/64")
    net.host("red", "fd00::1/64", to="sw", gateway="fd00::fe")
    net.host("blue", "fd00::2/64", to="sw")
    net.build(lab)
    assert ping(lab, "red", "fd00::2") == ping(lab, "blue", "fd00::1") == 0
    assert [one["gateway"] for one in told(lab, "ip -6 -json route show default", "red")] == ["fd00::fe"]
    assert {one["local"] for one in links(lab, "red")["red0"]["addr_info"]} >= {"fd00::1"}


def test_a_rate_is_what_tc_shows(lab: Lab) -> None:
    net = routed()
    net.impair("r1:to-r2", rate_kbit=1000)
    net.build(lab)
    (qdisc,) = (one for one in told(lab, "tc -json qdisc show dev to-r2", "r1") if one["kind"] == "tbf")
    assert qdisc["options"]["rate"] == 125_000  # bytes per second
    assert ping(lab, "red", "10.0.1.1") == 0


def has_netem(lab: Lab) -> bool:
    return lab.run("unshare -n tc qdisc add dev lo root netem delay 1ms", echo=False).exit_status == 0


def impaired() -> Topology:
    net = routed()
    net.impair("r1:to-r2", rate_kbit=1000, delay_ms=20, loss_percent=0.1)
    return net


def test_delay_and_loss_are_what_tc_shows(lab: Lab) -> None:
    if not has_netem(lab):
        pytest.skip("this kernel has no netem")
    impaired().build(lab)
    assert {"tbf", "netem"} <= {one["kind"] for one in told(lab, "tc -json qdisc show dev to-r2", "r1")}


def test_a_kernel_without_netem_is_told_of(lab: Lab) -> None:
    if has_netem(lab):
        pytest.skip("this kernel has netem")
    with pytest.raises(TopologyError, match="cannot delay or lose packets") as caught:
        impaired().build(lab)
    assert caught.value.where == "impair('r1:to-r2')"
    assert "modprobe sch_netem" in caught.value.next_step
    assert lab.namespaces() == []


def start_server(lab: Lab, namespace: str, address: str, port: int) -> None:
    server = lab.start(["python3", "-I", "-c", REPLY, address, str(port)], namespace=namespace)
    assert server.read(20) == [("stdout", b"ready\n")]


def ask(lab: Lab, namespace: str, address: str, port: int) -> str:
    return lab.run(["python3", "-I", "-c", ASK, address, str(port)], namespace=namespace,
                   echo=False).check().stdout.strip()


def test_nat_is_what_nft_shows_and_connections_find(lab: Lab) -> None:
    net = Topology()
    net.switch("sw", subnet="10.0.0.0/24")
    net.host("red", "10.0.0.1/24", to="sw", gateway="10.0.0.254")
    net.router("gw")
    net.cable("gw:lan0", "sw:to-gw")
    net.address("gw:lan0", "10.0.0.254/24")
    net.namespace("server")
    net.cable("gw:wan0", "server:server0")
    net.address("gw:wan0", "192.0.2.10/24")
    net.address("server:server0", "192.0.2.1/24")
    net.masquerade("gw:wan0", source="10.0.0.0/24")
    net.publish("gw:wan0", 8080, to="10.0.0.1:80")
    net.build(lab)
    (rules,) = [json.loads(lab.observe(["nft", "-j", "list", "ruleset"], namespace="gw").check().stdout)["nftables"]]
    assert [entry["chain"]["hook"] for entry in rules if "chain" in entry] == ["prerouting", "postrouting"]
    statements = [entry["rule"]["expr"][-1] for entry in rules if "rule" in entry]
    assert statements == [{"dnat": {"addr": "10.0.0.1", "port": 80}}, {"masquerade": None}]
    start_server(lab, "server", "192.0.2.1", 5000)
    start_server(lab, "red", "10.0.0.1", 80)
    assert ask(lab, "red", "192.0.2.1", 5000) == "192.0.2.1 saw 192.0.2.10"
    assert ask(lab, "server", "192.0.2.10", 8080) == "10.0.0.1 saw 192.0.2.1"
    assert ask(lab, "gw", "192.0.2.1", 5000) == "192.0.2.1 saw 192.0.2.10"


def test_two_builds_of_one_plan_are_equal(lab: Lab) -> None:
    routed().build(lab)
    with Lab() as second:
        routed().build(second)
        for name in lab.namespaces():
            assert told(lab, "ip -json link", name) == told(second, "ip -json link", name)
            assert told(lab, "ip -json route", name) == told(second, "ip -json route", name)


def test_a_closed_lab(lab: Lab) -> None:
    net = routed()
    lab.close()
    for act in (net.build, net.remove):
        with pytest.raises(LabClosed):
            act(lab)
