"""Everything that can be wrong with a planned network is told, all of it at once, before any of it is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import pytest

from labsupport import Lab
from labsupport.errors import TopologyError
from labsupport.net import Fault, Topology

Plan = Callable[[Topology], object]


def planned(*steps: Plan, ipv6: bool = False) -> Topology:
    net = Topology(ipv6=ipv6)
    for step in steps:
        step(net)
    return net


def lan(net: Topology) -> None:
    net.switch("sw", subnet="10.0.0.0/24")
    net.host("red", "10.0.0.1/24", to="sw")


def routed(net: Topology) -> None:
    lan(net)
    net.router("r1")
    net.cable("r1:lan0", "sw:to-r1")
    net.address("r1:lan0", "10.0.0.254/24")


# What is added to `routed`, where it is told, and words of what is told.
MISTAKES: dict[str, tuple[Plan, str, str]] = {
    "address outside the subnet": (lambda net: net.host("blue", "10.0.9.2/24", to="sw"), "host('blue'",
                                   "10.0.9.2/24 is outside of the subnet 10.0.0.0/24 of sw:br0"),
    "host bits set": (lambda net: net.route("red", "10.9.0.1/16", via="10.0.0.254"), "route('red', '10.9.0.1/16'",
                      "10.9.0.1/16 has host bits set"),
    "host bits set in a subnet": (lambda net: net.switch("s2", subnet="10.0.8.1/24"), "bridge('s2:br0'",
                                  "10.0.8.1/24 has host bits set"),
    "host bits set in a source": (lambda net: net.masquerade("r1:lan0", source="10.0.0.1/24"), "masquerade('r1:lan0'",
                                  "10.0.0.1/24 has host bits set"),
    "name over 15 characters": (lambda net: net.cable("red:abcdefghijklmnop", "r1:x"), "cable('red:abcdefghijklmnop'",
                                "the link name 'abcdefghijklmnop' has 16 characters"),
    "duplicate namespace": (lambda net: net.namespace("red"), "namespace('red')",
                            "a second namespace is called 'red'"),
    "duplicate link": (lambda net: net.cable("r1:lan0", "red:x0"), "cable('r1:lan0'",
                       "a second link is called r1:lan0"),
    "duplicate address": (lambda net: net.host("blue", "10.0.0.1/24", to="sw"), "host('blue'",
                          "red:red0 has the address 10.0.0.1 already"),
    "duplicate address on one link": (lambda net: net.address("red:red0", "10.0.0.1/24"), "address('red:red0'",
                                      "red:red0 has the address 10.0.0.1 already"),
    "duplicate MAC address": (lambda net: (net.mac("red:red0", "02:00:00:00:00:07"),
                                           net.mac("r1:lan0", "02:00:00:00:00:07")), "mac('r1:lan0'",
                              "red:red0 has the MAC address 02:00:00:00:00:07 already"),
    "cable to nowhere": (lambda net: net.cable("red:x0", "nowhere:x1"), "cable('red:x0', 'nowhere:x1')",
                         "there is no namespace 'nowhere' for nowhere:x1"),
    "cable to no link": (lambda net: net.cable("red:x0", "sw"), "cable('red:x0', 'sw')", "'sw' names no link"),
    "host at no switch": (lambda net: net.host("blue", "10.0.0.2/24", to="rde"), "host('blue'",
                          "'rde' is no switch and no bridge"),
    "two subnets that overlap": (lambda net: net.switch("s2", subnet="10.0.0.128/25"), "bridge('s2:br0'",
                                 "the network 10.0.0.128/25 overlaps with 10.0.0.0/24 of bridge('sw:br0')"),
    "two networks of a router that overlap": (
        lambda net: (net.cable("r1:x0", "red:x0"), net.address("r1:x0", "10.0.0.130/25")), "address('r1:x0'",
        "the network 10.0.0.128/25 overlaps with 10.0.0.0/24"),
    "another prefix length": (lambda net: (net.switch("s2", subnet="10.0.8.0/24"),
                                           net.host("blue", "10.0.8.1/25", to="s2")), "host('blue'",
                              "10.0.8.1/25 has another prefix length than the subnet 10.0.8.0/24 of s2:br0"),
    "two prefix lengths on one cable": (
        lambda net: (net.namespace("a"), net.namespace("b"), net.cable("a:x", "b:x"),
                     net.address("a:x", "10.5.0.1/24"), net.address("b:x", "10.5.0.2/25")), "address('b:x'",
        "the network 10.5.0.0/25 overlaps with 10.5.0.0/24"),
    "no prefix length": (lambda net: net.host("blue", "10.0.0.2", to="sw", gateway="10.0.0.254"), "host('blue'",
                         "10.0.0.2 has no prefix length"),
    "no address": (lambda net: net.host("blue", "10.0.0.256/24", to="sw", gateway="10.0.0.254"), "host('blue'",
                   "'10.0.0.256/24' is no address"),
    "the network itself": (lambda net: net.host("blue", "10.0.0.0/24", to="sw"), "host('blue'",
                           "10.0.0.0 is the network 10.0.0.0/24 itself"),
    "the broadcast address": (lambda net: net.host("blue", "10.0.0.255/24", to="sw"), "host('blue'",
                              "10.0.0.255 is the broadcast address of 10.0.0.0/24"),
    "IPv6 where it is off": (lambda net: net.address("red:red0", "fd00::1/64"), "address('red:red0'",
                             "IPv6 is off in the namespaces of this topology"),
    "address of no link": (lambda net: net.address("red:red1", "10.0.8.1/24"), "address('red:red1'",
                           "no planned link is called red:red1"),
    "address of a namespace": (lambda net: net.address("red", "10.0.8.1/24"), "address('red'", "'red' names no link"),
    "no destination": (lambda net: net.route("red", "elsewhere", via="10.0.0.254"), "route('red', 'elsewhere'",
                       "'elsewhere' is no network"),
    "no subnet": (lambda net: net.switch("s2", subnet="many"), "bridge('s2:br0'), subnet='many'",
                  "'many' is no network"),
    "a route that leads nowhere": (lambda net: net.route("red", "10.9.0.0/16"), "route('red'",
                                   "the route leads nowhere"),
    "a router that is no address": (lambda net: net.route("red", "10.9.0.0/16", via="r1"), "route('red'",
                                    "'r1' is no router"),
    "a router out of reach": (lambda net: net.host("far", "10.0.0.2/24", to="sw", gateway="10.0.1.254"), "host('far'",
                              "the router 10.0.1.254 is on no cable of it"),
    "a router that is itself": (lambda net: net.route("red", "default", via="10.0.0.1"), "route('red'",
                                "the router 10.0.0.1 is the namespace itself"),
    "two routes to one place": (lambda net: [net.route("red", "10.9.0.0/16", via="10.0.0.254") for _ in "12"],
                                "route('red'", "a second route of red leads to 10.9.0.0/16"),
    "a route of nobody": (lambda net: net.route("rde", "10.9.0.0/16", via="10.0.0.254"), "route('rde'",
                          "there is no namespace 'rde'"),
    "a route through no link": (lambda net: net.route("red", "10.9.0.0/16", dev="red1"), "route('red'",
                                "no planned link is called red:red1"),
    "an impossible metric": (lambda net: net.route("red", "10.9.0.0/16", via="10.0.0.254", metric=-1), "route('red'",
                             "a metric of -1"),
    "no name for a namespace": (lambda net: net.namespace("a b"), "namespace('a b')",
                                "'a b' is no name for a namespace"),
    "a name that is a path": (lambda net: net.namespace(".."), "namespace('..')", "'..' is no name for a namespace"),
    "no name for a link": (lambda net: net.cable("red:a/b", "r1:x"), "cable('red:a/b'", "'a/b' is no name for a link"),
    "the name of a setting": (lambda net: net.cable("red:all", "r1:x"), "cable('red:all'",
                              "'all' is no name for a link"),
    "no MAC address": (lambda net: net.mac("red:red0", "02:00:00"), "mac('red:red0'",
                       "'02:00:00' is no address for a link"),
    "a multicast MAC address": (lambda net: net.mac("red:red0", "03:00:00:00:00:01"), "mac('red:red0'",
                                "'03:00:00:00:00:01' is no address for a link"),
    "an MTU that is too small": (lambda net: net.mtu("red:red0", 67), "mtu('red:red0'", "an MTU of 67 bytes"),
    "an MTU that is too large": (lambda net: net.mtu("red:red0", 65536), "mtu('red:red0'", "an MTU of 65536 bytes"),
    "MTU of no link": (lambda net: net.mtu("red:red1", 1400), "mtu('red:red1'", "no planned link is called red:red1"),
    "an ageing time below 0": (lambda net: net.switch("s2", ageing_s=-1), "bridge('s2:br0')",
                               "an ageing time of -1 s"),
    "a port of no bridge": (lambda net: net.port("red:br0", "red:red0"), "port('red:br0'",
                            "there is no bridge red:br0"),
    "a port of a namespace": (lambda net: net.port("r1", "r1:lan0"), "port('r1'", "'r1' is no switch and no bridge"),
    "a port far from its bridge": (lambda net: net.port("sw:br0", "red:red0"), "port('sw:br0'",
                                   "red:red0 is in another namespace than the bridge sw:br0"),
    "a port that is no link": (lambda net: net.port("sw:br0", "sw:x"), "port('sw:br0'",
                               "no planned link is called sw:x"),
    "a port twice": (lambda net: net.port("sw:br0", "sw:to-red"), "port('sw:br0'", "sw:to-red is a port twice"),
    "no setting": (lambda net: net.sysctl("red", "kernel.panic", 1), "sysctl('red', 'kernel.panic'",
                   "'kernel.panic' is no setting of a network"),
    "a setting that climbs": (lambda net: net.sysctl("red", "net./../kernel/panic", 1), "sysctl('red'",
                              "is no setting of a network"),
    "no value of a setting": (lambda net: net.sysctl("red", "net.ipv4.ip_forward", "1\n"), "sysctl('red'",
                              r"'1\n' is no value of a setting"),
    "a setting of nobody": (lambda net: net.sysctl("rde", "net.ipv4.ip_forward", 1), "sysctl('rde'",
                            "there is no namespace 'rde'"),
    "nothing to impair": (lambda net: net.impair("red:red0"), "impair('red:red0')", "nothing that can be done"),
    "more than all lost": (lambda net: net.impair("red:red0", loss_percent=101), "impair('red:red0')",
                           "nothing that can be done"),
    "impairing no link": (lambda net: net.impair("red:red1", rate_kbit=9), "impair('red:red1')",
                          "no planned link is called red:red1"),
    "port 0": (lambda net: net.publish("r1:lan0", 0, to="10.0.0.1:80"), "publish('r1:lan0', 0", "0 is no port"),
    "port 65536": (lambda net: net.publish("r1:lan0", 65536, to="10.0.0.1:80"), "publish('r1:lan0', 65536",
                   "65536 is no port"),
    "a port published twice": (lambda net: [net.publish("r1:lan0", 80, to="10.0.0.1:80") for _ in "12"],
                               "publish('r1:lan0'", "port 80 of r1:lan0 is published twice"),
    "published nowhere": (lambda net: net.publish("r1:lan0", 80, to="red:80"), "publish('r1:lan0'",
                          "'red:80' is no place to send connections to"),
    "masquerade on no link": (lambda net: net.masquerade("r1:wan0", source="10.0.0.0/24"), "masquerade('r1:wan0'",
                              "no planned link is called r1:wan0"),
}


def assert_complete(fault: Fault) -> None:
    assert all([fault.where, fault.what, fault.expected, fault.next_step]), fault


def test_what_the_mistakes_are_added_to_has_no_fault() -> None:
    assert planned(routed).faults() == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_fault(mistake: str) -> None:
    step, where, what = MISTAKES[mistake]
    (fault,) = planned(routed, step).faults()
    assert_complete(fault)
    assert fault.where.startswith(where)
    assert what in fault.what


def test_a_router_of_the_other_ip_version() -> None:
    net = planned(routed, ipv6=True)
    net.address("red:red0", "fd00::1/64")
    assert net.faults() == []
    net.route("red", "10.9.0.0/16", via="fd00::2")
    (fault,) = net.faults()
    assert fault.what == "10.9.0.0/16 is IPv4, and the router fd00::2 is IPv6"


@pytest.mark.parametrize("name", ["a;b", "$(reboot)", "`x`", "a|b", "a&", 'a"b', "a'b", "a*", "a{b", "a#", "a\n",
                                  "a\\n", "\u00e4", "a\0", "a:b", "@a", "\ud800"])
def test_names_that_another_program_would_read_in_its_own_way(name: str) -> None:
    for step in (lambda net: net.namespace(name), lambda net: net.cable(f"red:{name}", "r1:x"),
                 lambda net: net.bridge(f":{name}")):
        faults = planned(routed, step).faults()
        assert [fault.what for fault in faults if "is no name for a" in fault.what]
    for step in (lambda net: net.publish("r1:lan0", 1, to=f"10.0.0.1:{name}"),
                 lambda net: net.masquerade("r1:lan0", source=f"10.0.0.0/24{name}")):
        assert len(planned(routed, step).faults()) == 1


@pytest.mark.parametrize("to", ["10.0.0.1:8_0", "10.0.0.1: 80", "10.0.0.1:+80", "10.0.0.1:80\n", "10.0.0.1:\u0668",
                                "10.0.0.1:", ":80", "10.0.0.1", "10.0.0.1:70000"])
def test_what_python_would_take_for_a_port_number(to: str) -> None:
    (fault,) = planned(routed, lambda net: net.publish("r1:lan0", 80, to=to)).faults()
    assert "is no place to send connections to" in fault.what


GOOD = {
    "namespace": ["x"], "bridge": ["r1:br1"], "switch": ["s2"], "router": ["r2"], "port": ["sw:br0", "sw:to-r1"],
    "cable": ["r1:b0", "red:b0"], "address": ["r1:lan0", "10.0.0.253/24"],
    "route": ["red", "10.9.0.0/16", "10.0.0.254", "red0", 5], "mac": ["red:red0", "02:00:00:00:00:99"],
    "mtu": ["red:red0", 1400], "sysctl": ["r1", "net.ipv4.ip_forward", 1], "impair": ["r1:lan0", 100, 1.5, 0.5],
    "masquerade": ["r1:lan0", "10.0.0.0/24"], "publish": ["r1:lan0", 80, "10.0.0.1:80"],
    "host": ["blue", "10.0.0.2/24", "sw"],
}
OPTIONAL = {("bridge", "subnet"), ("switch", "subnet"), ("host", "gateway"), ("host", "mac")}


def wrong_types() -> Iterator[tuple[str, str, object]]:
    for method, values in GOOD.items():
        names = list(inspect.signature(getattr(Topology, method)).parameters)[1:]
        for place, name in enumerate(names):
            is_number = place < len(values) and isinstance(values[place], float)
            for bad in (None, -7, 2.5, b"x", [], float("nan")):
                if name in {"stp", "vlan_filtering", "sysctls"} or (method, name, bad) == ("sysctl", "value", -7):
                    continue
                if not (bad == 2.5 and (is_number or name == "ageing_s")) and not (
                        not bad and (method, name) in OPTIONAL and name in {"gateway", "mac"}):
                    yield method, name, bad


def test_values_of_the_wrong_type_are_faults_of_the_line_that_has_them() -> None:
    tried = 0
    for method, name, bad in wrong_types():
        names = list(inspect.signature(getattr(Topology, method)).parameters)[1:]
        arguments = dict(zip(names, GOOD[method], strict=False)) | {name: bad}
        net = planned(routed)
        getattr(net, method)(**arguments)
        if (method, name) == ("sysctl", "value"):
            continue  # written down as text, as sysctl(8) takes it
        faults = net.faults()
        assert faults, (method, name, bad)
        for fault in faults:
            assert_complete(fault)
        tried += 1
    assert tried > 150


def everything(lab: Lab) -> list[str]:
    """What `ip` of the host tells about the lab's first namespace and its names."""
    commands = (["ip", "-json", "-d", "address"], ["ip", "-json", "route"], ["ip", "netns", "list"])
    return [lab.observe(list(command)).check().stdout for command in commands[:2]] + [
        lab.run(list(commands[2]), echo=False).check().stdout]


def test_build_tells_all_faults_at_once_and_makes_nothing() -> None:
    alone = {name: step for name, (step, _, _) in MISTAKES.items() if not name.startswith("two")}
    net = planned(routed, *alone.values())
    with Lab() as lab:
        lab.run("ip netns add old; ip link add x0 type bridge", echo=False).check()
        before = everything(lab)
        with pytest.raises(TopologyError) as caught:
            net.build(lab)
        assert everything(lab) == before
    told = str(caught.value)
    assert caught.value.what == f"the topology has {len(net.faults())} faults"
    assert [name for name in alone if MISTAKES[name][2] not in told] == []


def conflicting(net: Topology) -> None:
    net.bridge(":br0")
    net.host("red", "10.0.0.1/24", to=":br0")
    net.host("blue", "10.0.0.2/24", to=":br0")


def test_what_the_lab_has_already_is_a_fault() -> None:
    net = planned(conflicting)
    with Lab() as lab:
        assert net.faults() == []
        lab.run("ip netns add red; ip link add br0 type bridge; ip link add to-blue type bridge", echo=False).check()
        before = everything(lab)
        with pytest.raises(TopologyError) as caught:
            net.build(lab)
        assert everything(lab) == before
        told = str(caught.value)
        assert "has 3 faults" in told
        for line in ("namespace red already", "link :br0 already", "link :to-blue already"):
            assert f"the lab has a {line}" in told
        for step in ("ip netns delete red", "ip link delete br0", "ip link delete to-blue"):
            assert step in told  # and so they are mended:
            lab.run(step, echo=False).check()
        net.build(lab)


def test_one_fault_is_told_as_one() -> None:
    with Lab() as lab, pytest.raises(TopologyError, match="the topology has a fault\\n"):
        planned(routed, lambda net: net.mtu("red:red0", 1)).build(lab)
