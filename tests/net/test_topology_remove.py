"""What is left of a topology after it was refused, interrupted or removed: nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from clients import client
from from_outside import everything, lan, links, ping, routed, told

from labsupport import Lab
from labsupport.errors import TopologyError
from labsupport.net import Topology

OLD = """
ip netns add sw; ip netns add old
ip -n sw link add name up9 index 900 type veth peer name down9 index 901 netns old
ip -n old address add 172.16.0.1/24 dev down9; ip -n old link set down9 up
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(name="remove") as one:
        yield one


def test_remove_takes_all_away_and_build_works_again(lab: Lab) -> None:
    before = everything(lab)
    net = routed()
    net.remove(lab)  # of what was never built: nothing to do
    for _ in range(3):
        net.build(lab)
        assert len(lab.namespaces()) == 7
        assert ping(lab, "red", "10.0.1.1") == 0
        net.remove(lab)
        assert everything(lab) == before
        assert lab.run("ls /run/netns", echo=False).stdout == ""


def machine() -> Topology:
    """Partly in the lab's first namespace and in one that is there already."""
    net = Topology()
    net.bridge(":br0")
    net.host("red", "10.0.0.1/24", to=":br0", gateway="10.0.0.254")
    net.address(":br0", "10.0.0.254/24")
    net.bridge("sw:br0", subnet="10.0.1.0/24")
    net.host("blue", "10.0.1.1/24", to="sw:br0", gateway="10.0.1.254")
    net.cable("sw:to-old", "old:old0")
    net.port("sw:br0", "sw:to-old")
    net.address("old:old0", "10.0.1.254/24")
    net.route("old", "10.7.0.0/16", via="10.0.1.253")
    net.cable(":a0", ":a1")
    net.masquerade("old:old0", source="172.16.0.0/24")
    return net


def test_on_top_of_namespaces_that_ip_has_made(lab: Lab) -> None:
    lab.run(f"set -e\n{OLD}", echo=False).check()
    before = everything(lab)
    net = machine()
    net.build(lab)
    assert sorted(lab.namespaces()) == ["blue", "old", "red", "sw"]
    assert sorted(links(lab)) == ["a0", "a1", "br0", "lo", "to-red"]
    assert {name: link.get("master") for name, link in links(lab, "sw").items()} == {
        "lo": None, "up9": None, "br0": None, "to-blue": "br0", "to-old": "br0"}
    assert ping(lab, "", "10.0.0.1") == ping(lab, "old", "10.0.1.1") == ping(lab, "blue", "10.0.1.254") == 0
    assert [one["gateway"] for one in told(lab, "ip -json route show 10.7.0.0/16", "old")] == ["10.0.1.253"]
    net.remove(lab)
    assert everything(lab) == before


@pytest.mark.parametrize(("by_hand", "gone"), [
    ("ip netns delete red; ip netns delete sw", {"sw"}),
    ("ip -n old link delete old0; ip link delete br0", set()),
    ("ip netns delete old", {"old"}),
    ("ip netns delete blue; ip link delete a0; ip -n old link delete old0", set()),
    ("ip -n red link delete red0; ip netns exec old nft delete table ip nat", set()),
    ("ip netns delete red; ip netns add red", set()),
])
def test_remove_after_half_of_it_was_deleted_by_hand(lab: Lab, by_hand: str, gone: set[str]) -> None:
    lab.run(f"set -e\n{OLD}", echo=False).check()
    net = machine()
    net.build(lab)
    lab.run(f"set -e\n{by_hand}", echo=False).check()
    net.remove(lab)
    left = set(lab.namespaces())
    assert left == {"old", "sw"} - gone
    assert list(links(lab)) == ["lo"]
    for name in left:
        assert not {"old0", "to-old", "br0"} & set(links(lab, name))
    lab.run("".join(f"ip netns add {name}\n" for name in gone), echo=False).check()
    net.build(lab)
    assert ping(lab, "old", "10.0.1.1") == ping(lab, "", "10.0.0.1") == 0


def test_the_same_topology_twice_is_refused_with_all_that_is_there(lab: Lab) -> None:
    net = routed()
    net.build(lab)
    before = everything(lab)
    with pytest.raises(TopologyError, match="has 7 faults") as caught:
        net.build(lab)
    assert [name for name in lab.namespaces() if f"a namespace {name} already" not in str(caught.value)] == []
    assert everything(lab) == before
    assert ping(lab, "red", "10.0.1.1") == 0


def existing_route(net: Topology) -> None:
    net.route("old", "10.9.0.0/16", via="10.77.0.1")  # nothing is known of the networks of `old`


REFUSED: dict[str, tuple[Callable[[Topology], object], str, str]] = {
    "a setting that there is not": (lambda net: net.sysctl("red", "net.ipv4.no_such_thing", 1),
                                    "sysctl('red', 'net.ipv4.no_such_thing', 1)", "No such file or directory"),
    "a value that it does not take": (lambda net: net.sysctl("blue", "net.ipv4.ip_default_ttl", 256),
                                      "sysctl('blue', 'net.ipv4.ip_default_ttl', 256)", "Invalid argument"),
    "a setting of an old namespace": (lambda net: net.sysctl("old", "net.ipv4.no_such_thing", 1),
                                      "sysctl('old', 'net.ipv4.no_such_thing', 1)", "No such file or directory"),
    "a router that nobody reaches": (existing_route, "route('old', '10.9.0.0/16', via='10.77.0.1')", "invalid gateway"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_kernel_refuses_is_named_and_leaves_nothing(lab: Lab, case: str) -> None:
    lab.run("ip netns add old; ip -n old link add br9 type bridge", echo=False).check()
    before = everything(lab)
    step, where, reason = REFUSED[case]
    net = routed()
    net.cable("old:x0", "red:x1")
    net.bridge(":br0")
    net.masquerade("r1:to-r2", source="10.0.0.0/24")
    step(net)
    with pytest.raises(TopologyError) as caught:
        net.build(lab)
    assert caught.value.where == where
    assert reason in caught.value.observed
    assert caught.value.next_step
    assert everything(lab) == before


def test_what_tc_refuses_is_named_and_leaves_nothing(lab: Lab) -> None:
    net = routed()
    net.impair("r1:to-r2", rate_kbit=10**40)
    with pytest.raises(TopologyError) as caught:
        net.build(lab)
    assert "tc qdisc add dev to-r2" in caught.value.command
    assert caught.value.log_tail
    assert (lab.namespaces(), list(links(lab))) == ([], ["lo"])


def test_no_process_left_to_build_with() -> None:
    hold = "import os, signal\ntry:\n  while True:\n    if not os.fork(): signal.pause()\nexcept OSError:\n  print(1)"
    with Lab(process_limit=20) as lab:
        full = lab.start(["python3", "-I", "-c", hold + "\nimport sys; sys.stdout.flush(); signal.pause()"])
        assert full.read(20) == [("stdout", b"1\n")]
        with pytest.raises(Exception, match="as many processes as it may have"):
            routed().build(lab)
        lab.end_processes()
        assert lab.namespaces() == []
        routed().build(lab)


def test_two_hundred_hosts(lab: Lab) -> None:
    net = Topology()
    net.switch("sw", subnet="10.0.0.0/16")
    for number in range(200):
        net.host(f"h{number}", f"10.0.{number % 4}.{number + 1}/16", to="sw")
    net.build(lab)
    ports = [name for name, link in links(lab, "sw").items() if link.get("master") == "br0"]
    assert len(ports) == 200
    assert ping(lab, "h0", "10.0.3.200") == ping(lab, "h199", "10.0.0.1") == 0
    net.remove(lab)
    assert lab.namespaces() == []


def test_more_ports_than_acknowledgements_fit_into_a_socket(lab: Lab) -> None:
    net = Topology()
    net.switch("sw")
    net.namespace("many")
    for number in range(350):
        net.cable(f"many:m{number}", f"sw:p{number}")
    net.build(lab)
    assert len(links(lab, "sw")) == len(links(lab, "many")) + 1 == 352
    assert all("LOWER_UP" in link["flags"] for link in links(lab, "many").values())


def test_parallel_cables_between_two_switches(lab: Lab) -> None:
    net = Topology()
    for name in ("s1", "s2"):
        net.switch(name, stp=True)
    net.cable("s1:a", "s2:a")
    net.cable("s1:b", "s2:b")
    net.cable("s1:loop1", "s1:loop2")
    net.build(lab)
    assert {name: link.get("master") for name, link in links(lab, "s1").items()} == {
        "lo": None, "br0": None, "a": "br0", "b": "br0", "loop1": "br0", "loop2": "br0"}
    (a, b), (other_a, other_b) = ([links(lab, name)[port] for port in "ab"] for name in ("s1", "s2"))
    assert (a["link_index"], b["link_index"]) == (other_a["ifindex"], other_b["ifindex"])


BUILD_AND_TELL = """
import signal, threading, os, sys
from labsupport import Lab
from labsupport.net import Topology
net = Topology()
net.switch("sw")
for number in range(60):
    net.host(f"h{number}", f"10.0.0.{number + 1}/24", to="sw")
net.impair("h1:h10", rate_kbit=100)
net.bridge(":br7")
lab = Lab()
"""
KILLED = BUILD_AND_TELL + """
print("begun", flush=True)
while True:
    net.build(lab)
    net.remove(lab)
"""
INTERRUPTED = BUILD_AND_TELL + """
for step in range(12):
    timer = threading.Timer(0.01 + step * 0.015, os.kill, (os.getpid(), signal.SIGINT))
    outcome = "built"
    try:
        timer.start()
        net.build(lab)
        timer.join()
    except KeyboardInterrupt:
        outcome = "interrupted"
    there = len(lab.namespaces()), "br7" in lab.run("ip link", echo=False).stdout
    print(outcome, *there, flush=True)
    net.remove(lab)
"""


def test_a_client_that_is_killed_while_it_builds_leaves_nothing() -> None:
    """The fixture `no_lab_left` looks."""
    with client(KILLED) as running:
        assert running.read_line() == "begun"
        running.kill()


def test_ctrl_c_leaves_nothing_or_everything() -> None:
    with client(INTERRUPTED) as running:
        status, out, err = running.end(40)
    assert (status, err) == (0, "")
    seen = out.splitlines()
    assert len(seen) == 12
    assert set(seen) <= {"interrupted 0 False", "interrupted 61 True"}
    assert "interrupted 0 False" in seen


def test_one_plan_in_two_labs(lab: Lab) -> None:
    net = Topology()
    lan(net)
    with Lab() as second:
        net.build(lab)
        net.build(second)
        assert ping(lab, "red", "10.0.0.2") == ping(second, "red", "10.0.0.2") == 0
