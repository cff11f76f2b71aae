"""Networks that were planned behave as networks do: what is sent, what arrives where, and what the tables say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from from_outside import ping, told

from labsupport import Lab
from labsupport.net import Capture, Frame, Topology, fdb, links, neighbours, route_get
from labsupport.waiting import wait_until

RED, BLUE, GREEN = "10.0.0.1", "10.0.0.2", "10.0.0.3"
ALL = "ff:ff:ff:ff:ff:ff"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(name="physics") as one:
        yield one


def lan(*names: str, ageing_s: float = 300) -> Topology:
    net = Topology()
    net.switch("sw", ageing_s=ageing_s)
    for number, name in enumerate(names, start=1):
        net.host(name, f"10.0.0.{number}/24", to="sw")
    return net


def chain(routers: int) -> Topology:
    """`red` and `green`, and so many routers in a row between them; every network is 10.0.N.0/24."""
    net = Topology()
    places = ["red", *(f"r{number}" for number in range(1, routers + 1)), "green"]
    for name in places:
        if name in {"red", "green"}:
            net.namespace(name)
        else:
            net.router(name)
    for number, (left, right) in enumerate(pairwise(places)):
        net.cable(f"{left}:right0", f"{right}:left0")
        net.address(f"{left}:right0", f"10.0.{number}.1/24")
        net.address(f"{right}:left0", f"10.0.{number}.2/24")
        for other in range(routers + 1):
            if other > number:
                net.route(left, f"10.0.{other}.0/24", via=f"10.0.{number}.2")
            if other < number:
                net.route(right, f"10.0.{other}.0/24", via=f"10.0.{number}.1")
        if number:
            net.route(right, "10.0.0.0/24", via=f"10.0.{number}.1", metric=9)
    return net


def echoes(frames: tuple[Frame, ...], kind: str) -> list[Frame]:
    return [frame for frame in frames if frame.icmp and frame.icmp.name == kind]


def test_each_router_takes_one_from_the_ttl(lab: Lab) -> None:
    chain(3).build(lab)
    with Capture(lab) as capture:
        assert ping(lab, "red", "10.0.3.2") == 0
    for kind, hops in [("echo request", ["red:right0", "r1:right0", "r2:right0", "r3:right0"]),
                       ("echo reply", ["green:left0", "r3:left0", "r2:left0", "r1:left0"])]:
        sent = [frame for frame in echoes(capture.frames, kind) if frame.direction == "out"]
        assert [(":".join(frame.end), frame.ipv4 and frame.ipv4.ttl) for frame in sent] == list(
            zip(hops, (64, 63, 62, 61), strict=True))


def test_a_packet_whose_ttl_is_used_up_is_reported_by_the_router_where_it_died(lab: Lab) -> None:
    chain(3).build(lab)
    for ttl, router in ((1, "10.0.0.2"), (2, "10.0.1.2"), (3, "10.0.2.2")):
        done = lab.observe(["ping", "-c1", "-W2", f"-t{ttl}", "10.0.3.2"], namespace="red")
        assert f"From {router} icmp_seq=1 Time to live exceeded" in done.stdout
        assert done.exit_status == 1
    assert lab.observe(["ping", "-c1", "-W2", "-t4", "10.0.3.2"], namespace="red").exit_status == 0


def narrow(lab: Lab) -> None:
    net = chain(2)
    net.mtu("r1:right0", 1400)
    net.mtu("r2:left0", 1400)
    net.build(lab)


BIG = ["ping", "-c1", "-W0.5", "-M", "do", "-s", "1472", "10.0.2.2"]


def test_a_router_before_a_narrow_link_tells_its_mtu(lab: Lab) -> None:
    narrow(lab)
    with Capture(lab, "red") as capture:
        done = lab.observe(BIG, namespace="red")
    assert "Frag needed and DF set (mtu = 1400)" in done.stdout
    (told_so,) = [frame for frame in capture.frames if frame.icmp and (frame.icmp.type, frame.icmp.code) == (3, 4)]
    assert told_so.ipv4 is not None
    assert (told_so.ipv4.source, told_so.direction) == ("10.0.0.2", "in")
    assert "mtu 1400" in told_so.summary
    assert told(lab, "ip -json route get 10.0.2.2", "red")[0]["metrics"][0]["mtu"] == 1400
    assert lab.observe([*BIG[:-2], "1372", "10.0.2.2"], namespace="red").exit_status == 0


def test_without_that_message_big_packets_vanish_in_a_black_hole(lab: Lab) -> None:
    narrow(lab)
    lab.run(["nft", "-f", "-"], namespace="r1", echo=False, stdin="""
table ip filter { chain output { type filter hook output priority 0; icmp type destination-unreachable drop
}; }
""").check()
    with Capture(lab) as capture:
        done = lab.observe(BIG, namespace="red")
        assert done.exit_status == 1
        assert "Frag needed" not in done.stdout
        assert ping(lab, "red", "10.0.2.2") == 0
    big = [frame for frame in echoes(capture.frames, "echo request") if frame.length_bytes == 1514]
    assert [":".join(frame.end) for frame in big] == ["red:right0", "r1:left0"]
    assert not [frame for frame in capture.frames if frame.icmp and frame.icmp.type == 3]


def states(lab: Lab, namespace: str) -> dict[str, str]:
    read = {one.ip: one.state for one in neighbours(lab, namespace)}
    return read if read == {one["dst"]: one["state"][0] for one in told(lab, "ip -json neigh", namespace)} else {}


def test_arp_entries_go_through_their_states(lab: Lab) -> None:
    lan("red", "blue").build(lab)
    lab.run("ip ntable change name arp_cache dev red0 base_reachable 400 delay_probe 0 retrans 300", namespace="red",
            echo=False).check()
    assert states(lab, "red") == {}
    with Capture(lab, "red") as capture:
        lab.start(["ping", "-c1", "-W3", "10.0.0.9"], namespace="red")  # nobody has it
        wait_until(lambda: states(lab, "red") == {"10.0.0.9": "INCOMPLETE"}, what="INCOMPLETE", deadline_s=5)
        wait_until(lambda: states(lab, "red") == {"10.0.0.9": "FAILED"}, what="FAILED", deadline_s=10)
        assert ping(lab, "red", BLUE) == 0
        wait_until(lambda: states(lab, "red").get(BLUE) == "STALE", what="STALE", deadline_s=10)
    asked = [frame.arp.target_ip for frame in capture.frames if frame.arp and frame.direction == "out"]
    assert asked == ["10.0.0.9"] * 3 + [BLUE]
    blue = [(change.before.split()[-1:], change.after.split()[-1:]) for change in capture.changes if change.key == BLUE]
    assert ([], ["REACHABLE"]) in blue
    assert (["REACHABLE"], ["STALE"]) in blue


def test_fdb_entries_have_port_and_age_and_are_forgotten(lab: Lab) -> None:
    lan("red", "blue", ageing_s=1).build(lab)
    assert [entry for entry in fdb(lab, "sw") if entry.kind == "learned"] == []
    assert ping(lab, "red", BLUE) == 0

    def learned() -> dict[str, tuple[str, float]]:
        return {entry.mac: (entry.port, entry.age_s) for entry in fdb(lab, "sw", "br0") if entry.kind == "learned"}

    shown = json.loads(lab.observe(["bridge", "-json", "fdb", "show", "br", "br0"], namespace="sw").check().stdout)
    assert {mac: port for mac, (port, _) in learned().items()} == {
        "02:00:00:00:00:01": "to-red", "02:00:00:00:00:02": "to-blue"} == {
        entry["mac"]: entry["ifname"] for entry in shown if entry.get("state", "") == ""}
    before = learned()["02:00:00:00:00:01"][1]
    older = wait_until(lambda: max(learned()["02:00:00:00:00:01"][1] - before - 0.2, 0.0), what="age", deadline_s=0.9)
    assert older < 0.8
    assert ping(lab, "red", BLUE) == 0
    assert learned()["02:00:00:00:00:01"][1] < before + 0.2
    wait_until(lambda: learned() == {}, what="the entries to be forgotten", deadline_s=10)


def test_a_switch_floods_what_it_does_not_know_and_no_more(lab: Lab) -> None:
    lan("red", "blue", "green").build(lab)
    for name, ip, mac in (("red", BLUE, "02:00:00:00:00:02"), ("blue", RED, "02:00:00:00:00:01")):
        lab.run(f"ip neigh add {ip} lladdr {mac} dev {name}0 nud permanent", namespace=name, echo=False).check()

    def seen_by_green(destination: str) -> list[str]:
        with Capture(lab, "blue", "green") as capture:
            assert ping(lab, "red", destination) == 0
        assert any(frame.end.namespace == "blue" for frame in capture.frames)
        return [f"{frame.source[-2:]} > {frame.destination[-2:]}" for frame in capture.frames
                if frame.end.namespace == "green"]

    assert seen_by_green(BLUE) == ["01 > 02"]  # blue was unknown; its answer was seen by nobody but red
    assert seen_by_green(BLUE) == []
    lab.run("bridge fdb del 02:00:00:00:00:02 dev to-blue master", namespace="sw", echo=False).check()
    assert seen_by_green(BLUE) == ["01 > 02"]


def test_a_hub_floods_everything(lab: Lab) -> None:
    lan("red", "blue", "green", ageing_s=0).build(lab)
    assert ping(lab, "red", BLUE) == 0
    with Capture(lab, "green") as capture:
        assert ping(lab, "red", BLUE) == 0
    assert [frame.icmp.name for frame in capture.frames if frame.icmp] == ["echo request", "echo reply"]


def test_a_broadcast_stays_in_its_domain(lab: Lab) -> None:
    net = lan("red", "blue")
    net.router("r1")
    net.cable("r1:lan0", "sw:to-r1")
    net.address("r1:lan0", "10.0.0.254/24")
    net.switch("s2")
    net.host("green", "10.0.1.1/24", to="s2", gateway="10.0.1.254")
    net.cable("r1:lan1", "s2:to-r1")
    net.address("r1:lan1", "10.0.1.254/24")
    net.build(lab)
    with Capture(lab) as capture:
        lab.run("ping -b -c1 -W0.1 10.0.0.255", namespace="red", echo=False)
        lab.run("ping -c1 -W0.1 10.0.0.77", namespace="red", echo=False)  # ARP asks all
    reached = {frame.end.namespace for frame in capture.frames if frame.destination == ALL}
    assert reached == {"red", "sw", "blue", "r1"}
    assert {frame.end.link for frame in capture.frames if frame.end.namespace == "r1"} == {"lan0"}


def test_without_a_route_back_the_request_arrives_and_the_answer_does_not(lab: Lab) -> None:
    net = chain(1)
    net.plan.routes = [route for route in net.plan.routes if route.namespace != "green"]
    net.build(lab)
    with Capture(lab, "green") as capture:
        assert lab.observe(["ping", "-c1", "-W0.3", "10.0.1.2"], namespace="red").exit_status == 1
        assert lab.observe(["ping", "-c1", "-W1", "10.0.0.1"], namespace="green").exit_status == 2  # unreachable
    assert [frame.direction for frame in echoes(capture.frames, "echo request")] == ["in"]
    assert echoes(capture.frames, "echo reply") == []
    assert route_get(lab, "green", "10.0.0.1") is None
    there = route_get(lab, "red", "10.0.1.2")
    assert there is not None
    assert there.gateway == told(lab, "ip -json route get 10.0.1.2", "red")[0]["gateway"] == "10.0.0.2"
    lab.run("ip route add 10.0.0.0/24 via 10.0.1.1", namespace="green", echo=False).check()
    assert ping(lab, "red", "10.0.1.2") == ping(lab, "green", "10.0.0.1") == 0


def test_the_spanning_tree_blocks_one_port_of_a_ring(lab: Lab) -> None:
    net = Topology()
    switches = ("s1", "s2", "s3")
    for name in switches:
        net.switch(name, stp=True)
    for one, other in (("s1", "s2"), ("s2", "s3"), ("s3", "s1")):
        net.cable(f"{one}:to-{other}", f"{other}:to-{one}")
    net.host("red", "10.0.0.1/24", to="s1")
    net.host("blue", "10.0.0.2/24", to="s2")
    net.host("green", "10.0.0.3/24", to="s3")
    net.build(lab)

    def settled() -> list[str]:
        ports = {f"{name}:{link.name}": link.port_state for name in switches for link in links(lab, name)
                 if link.master}
        return [] if {"listening", "learning"} & set(ports.values()) else [
            port for port, state in ports.items() if state == "blocking"]

    blocked = wait_until(settled, what="the tree to settle", deadline_s=20, interval_s=0.1)
    shown = [f"{name}:{port['ifname']}" for name in switches for port in
             json.loads(lab.observe(["bridge", "-json", "link"], namespace=name).check().stdout)
             if port["state"] == "blocking"]
    assert blocked == shown
    assert len(blocked) == 1
    for name, address in (("red", BLUE), ("red", GREEN), ("blue", GREEN), ("green", RED)):
        assert ping(lab, name, address) == 0
    with Capture(lab, blocked[0]) as capture:
        assert ping(lab, "red", GREEN) == ping(lab, "blue", GREEN) == 0
    assert not [frame for frame in capture.frames if frame.icmp]


def test_there_one_way_and_back_another(lab: Lab) -> None:
    net = chain(2)
    net.router("r3")
    net.cable("r2:back0", "r3:in0")
    net.address("r2:back0", "10.0.23.2/24")
    net.address("r3:in0", "10.0.23.3/24")
    net.cable("r3:out0", "r1:back0")
    net.address("r3:out0", "10.0.13.3/24")
    net.address("r1:back0", "10.0.13.1/24")
    net.route("r3", "10.0.0.0/24", via="10.0.13.1")
    net.plan.routes = [route for route in net.plan.routes if (route.namespace, route.destination) != (
        "r2", "10.0.0.0/24")]
    net.route("r2", "10.0.0.0/24", via="10.0.23.3")
    net.build(lab)
    with Capture(lab, "r1:right0", "r3") as capture:
        assert ping(lab, "red", "10.0.2.2") == 0
    assert {frame.end.namespace for frame in echoes(capture.frames, "echo request")} == {"r1"}
    assert {frame.end.namespace for frame in echoes(capture.frames, "echo reply")} == {"r3"}
