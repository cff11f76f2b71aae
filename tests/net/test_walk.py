"""A walk tells what one connection met, as a second capture, conntrack and the rules themselves tell it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from from_outside import everything, routed
from walk_worlds import CONNECT, MANY, SEND_UDP, python, serve, serve_udp, translated, two_homes
from witness import Witness

from labsupport import Lab
from labsupport.errors import CaptureError
from labsupport.net import Capture, Walk, WalkStep
from labsupport.waiting import wait_until

SERVER, GATEWAY = "203.0.113.80", "203.0.113.1"
DECISIONS = {"sent", "route", "rule", "conntrack", "dnat", "snat", "delivered", "dropped", "lost"}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(name="walk") as lab:
        translated().build(lab)
        for name in ("server", "red"):
            serve(lab, name)
        serve_udp(lab, "server")
        yield lab


def told(walk: Walk, way: str, *kinds: str) -> list[tuple[str, str, str]]:
    return [(step.namespace, step.kind, step.link) for step in walk.steps
            if step.way == way and (not kinds or step.kind in kinds)]


def crossings(walk: Walk, namespace: str) -> list[tuple[str, str, str]]:
    return [(step.link, step.kind, str(step.flow)) for step in walk.steps
            if step.namespace == namespace and step.kind in ("in", "out")]


@contextmanager
def unchanged(lab: Lab) -> Iterator[None]:
    before = everything(lab)
    yield
    assert everything(lab) == before


def test_a_masqueraded_connection_there_and_back(lab: Lab) -> None:
    with unchanged(lab):
        witness = Witness(lab, "red", "gw", "server")
        with Walk(lab, "red", to=SERVER, port=80) as walk:
            python(lab, "red", CONNECT, SERVER, "80")
        seen = witness.stop()
    assert walk.answered
    assert not walk.lost
    for name, crossed in seen.items():
        assert crossings(walk, name) == crossed != []
    assert told(walk, "there") == [
        ("red", "sent", ""), ("red", "route", "red0"), ("red", "out", "red0"), ("sw", "in", "to-red"),
        ("sw", "out", "to-gw"), ("gw", "in", "lan0"), ("gw", "route", "wan0"), ("gw", "rule", ""), ("gw", "snat", ""),
        ("gw", "conntrack", ""), ("gw", "out", "wan0"), ("wan", "in", "to-gw"), ("wan", "out", "to-server"),
        ("server", "in", "server0"), ("server", "route", ""), ("server", "delivered", "")]
    assert told(walk, "back") == [
        ("server", "sent", ""), ("server", "route", "server0"), ("server", "out", "server0"),
        ("wan", "in", "to-server"), ("wan", "out", "to-gw"), ("gw", "in", "wan0"), ("gw", "conntrack", ""),
        ("gw", "dnat", ""), ("gw", "route", "lan0"), ("gw", "out", "lan0"), ("sw", "in", "to-gw"),
        ("sw", "out", "to-red"), ("red", "in", "red0"), ("red", "route", ""), ("red", "delivered", "")]
    listed = lab.observe(["conntrack", "-L", "-p", "tcp"], namespace="gw").check().stdout
    (entry,) = walk.entries
    port = entry.original.source_port
    assert f"src=10.0.0.1 dst={SERVER} sport={port} dport=80 src={SERVER} dst={GATEWAY} sport=80 dport={port}" in listed
    (snat,) = [step for step in walk.steps if step.kind == "snat"]
    assert snat.before == entry.original == walk.flow
    assert snat.flow == entry.forwarded
    frames = [step for step in walk.steps if step.kind in ("in", "out")]
    assert [step.ttl for step in frames if step.way == "there"] == [64] * 4 + [63] * 4


def test_a_published_port_is_translated_before_the_route_is_chosen(lab: Lab) -> None:
    with unchanged(lab), Walk(lab, "server", to=GATEWAY, port=8080) as walk:
        python(lab, "server", CONNECT, GATEWAY, "8080")
    at_gw = [(step.kind, step.link) for step in walk.steps if (step.namespace, step.way) == ("gw", "there")]
    assert at_gw == [("in", "wan0"), ("rule", ""), ("dnat", ""), ("route", "lan0"), ("conntrack", ""), ("out", "lan0")]
    back = [(step.kind, step.link) for step in walk.steps if (step.namespace, step.way) == ("gw", "back")]
    assert back == [("in", "lan0"), ("conntrack", ""), ("route", "wan0"), ("snat", ""), ("out", "wan0")]
    (rule,) = [step for step in walk.steps if step.kind == "rule"]
    assert rule.text == 'ip nat prerouting: iifname "wan0" tcp dport 8080 dnat to 10.0.0.1:80 -> accept'
    (dnat,) = [step for step in walk.steps if step.kind == "dnat"]
    assert (dnat.before.destination, dnat.before.destination_port, dnat.ttl) == (GATEWAY, 8080, 64)
    assert (dnat.flow.destination, dnat.flow.destination_port) == ("10.0.0.1", 80)


@pytest.mark.parametrize(("protocol", "port"), [("icmp", 0), ("udp", 53)])
def test_echoes_and_datagrams(lab: Lab, protocol: str, port: int) -> None:
    with unchanged(lab), Walk(lab, "red", to=SERVER, port=port, protocol=protocol) as walk:
        if protocol == "icmp":
            lab.run(["ping", "-c2", "-i0.2", SERVER], namespace="red", echo=False).check()
        else:
            python(lab, "red", SEND_UDP, SERVER, "53")
    assert walk.answered
    assert [name for name, *_ in told(walk, "there", "in")] == ["sw", "gw", "wan", "server"]
    assert [name for name, *_ in told(walk, "back", "in")] == ["wan", "gw", "sw", "red"]
    assert told(walk, "there", "snat", "dnat") == [("gw", "snat", "")]
    assert told(walk, "back", "snat", "dnat") == [("gw", "dnat", "")]
    (entry,) = walk.entries
    assert entry.replied
    assert (entry.original.source, entry.reply.destination) == ("10.0.0.1", GATEWAY)


def test_a_hundred_connections_do_not_confuse_it(lab: Lab) -> None:
    witness = Witness(lab, "gw")
    with Walk(lab, "red", to=SERVER, port=80) as walk:
        python(lab, "red", MANY, SERVER, "80", "100")
    (seen,) = witness.stop().values()
    assert len(set(walk.flows)) == 100
    assert not walk.lost
    own = {str(walk.flow), str(walk.entries[0].forwarded), str(walk.entries[0].reply), str(walk.flow.reverse)}
    assert crossings(walk, "gw") == [crossed for crossed in seen if crossed[2] in own]
    assert len(walk.steps) == 31
    assert {step.flow for step in walk.steps} <= {walk.flow, walk.flow.reverse, walk.entries[0].reply,
                                                  walk.entries[0].forwarded}


def test_one_of_many_is_chosen_by_its_port(lab: Lab) -> None:
    ports = []
    with Walk(lab, "red", to=SERVER, port=80, source_port=40077) as walk:
        for number in range(40070, 40080):
            lab.run(["curl", "-s", "--http0.9", "--local-port", str(number), f"http://{SERVER}"], namespace="red",
                    echo=False).check()
            ports.append(number)
    assert [flow.source_port for flow in walk.flows] == ports
    assert walk.flow.source_port == 40077
    assert len(walk.steps) == 31


def test_two_networks_with_the_same_addresses_do_not_confuse_it() -> None:
    with Lab() as lab:
        two_homes().build(lab)
        serve(lab, "server")
        with Walk(lab, "right", to=SERVER, port=80) as walk:
            for side in ("left", "right"):
                lab.run(["curl", "-s", "--http0.9", "--local-port", "41000", f"http://{SERVER}"], namespace=side,
                           echo=False).check()
    assert walk.answered
    assert not [step for step in walk.steps if step.namespace.startswith("left")]


def test_a_routed_network_without_translation_tracks_nothing() -> None:
    with Lab() as lab:
        routed().build(lab)
        serve(lab, "green")
        with unchanged(lab), Walk(lab, "red", to="10.0.1.1", port=80) as walk:
            python(lab, "red", CONNECT, "10.0.1.1", "80")
        assert walk.entries == ()
        assert {step.kind for step in walk.steps} == {"sent", "route", "in", "out", "delivered"}
        assert [(step.namespace, step.ttl) for step in walk.steps if step.kind == "route" and step.way == "there"] == [
            ("red", 64), ("r1", 63), ("r2", 62), ("green", 62)]
        assert "".join(lab.observe(["conntrack", "-L"], namespace=name).stdout for name in ("r1", "r2")) == ""


@pytest.mark.parametrize(("rules", "last"), [
    ("add table ip f; add chain ip f c { type filter hook forward priority 0; }; add rule ip f c tcp dport 80 drop",
     ("dropped", "dropped in ip f c")),
    ("add table ip f; add chain ip f c { type filter hook forward priority 0; policy drop; }",
     ("dropped", "dropped in ip f c")),
    ("add table ip f; add chain ip f sub; add chain ip f c { type filter hook forward priority 0; };"
     "add rule ip f sub tcp dport 80 drop; add rule ip f c jump sub; ", ("dropped", "dropped in ip f sub")),
])
def test_the_rule_that_drops_is_named(rules: str, last: tuple[str, str]) -> None:
    with Lab() as lab:
        routed().build(lab)
        lab.run(["nft", "-f", "-"], namespace="r1", stdin=rules.replace(";", "\n").replace("forward priority 0\n",
                "forward priority 0;").replace("policy drop\n", "policy drop;"), echo=False).check()
        with Walk(lab, "red", to="10.0.1.1", port=80) as walk:
            lab.run(["curl", "-s", "--max-time", "0.3", "http://10.0.1.1"], namespace="red", echo=False)
    assert not walk.answered
    assert (walk.steps[-1].kind, walk.steps[-1].text) == last
    assert walk.steps[-1].namespace == "r1"


def test_rules_of_iptables_have_the_words_of_iptables() -> None:
    written = '-p tcp -m comment --comment "to green; yes" -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.1:80'
    with Lab() as lab:
        routed().build(lab)
        serve(lab, "green")
        lab.run(f"iptables -t nat -A PREROUTING -p udp -j ACCEPT; iptables -t nat -A PREROUTING {written}; "
                "ip6tables -t nat -A PREROUTING -j ACCEPT", namespace="r1", echo=False).check()
        with Walk(lab, "red", to="10.0.0.254", port=8080) as walk:
            python(lab, "red", CONNECT, "10.0.0.254", "8080")
    (rule,) = [step for step in walk.steps if step.kind == "rule"]
    assert rule.text == f"ip nat PREROUTING: {written} -> accept"


def test_a_router_that_does_not_forward_is_named() -> None:
    with Lab() as lab:
        routed().build(lab)
        lab.run("sysctl -qw net.ipv4.ip_forward=0", namespace="r1", echo=False).check()
        with Walk(lab, "red", to="10.0.1.1", protocol="icmp") as walk:
            lab.run(["ping", "-c1", "-W0.3", "10.0.1.1"], namespace="red", echo=False)
    assert (walk.steps[-1].kind, walk.steps[-1].namespace) == ("lost", "r1")
    assert "ip_forward" in walk.steps[-1].text


def test_a_refused_connection_is_answered_too(lab: Lab) -> None:
    with Walk(lab, "red", to=SERVER, port=81) as walk:
        lab.run(["curl", "-s", f"http://{SERVER}:81"], namespace="red", echo=False)
    assert walk.answered
    assert "RST" in next(step.text for step in walk.steps if (step.way, step.kind) == ("back", "out"))


def test_nothing_is_left_behind_whatever_ends_it(lab: Lab) -> None:
    before = everything(lab)
    with pytest.raises(KeyboardInterrupt), Walk(lab, "red", to=SERVER, port=80):
        raise KeyboardInterrupt
    wait_until(lambda: everything(lab) == before, what="the tables to go", deadline_s=5)
    walk = Walk(lab, "red", to=SERVER, port=80)
    assert everything(lab) != before
    lab.end_processes()
    wait_until(lambda: everything(lab) == before, what="the tables to go", deadline_s=5)
    with pytest.raises(CaptureError):
        walk.stop()


def test_bad_arguments_are_told_all_at_once(lab: Lab) -> None:
    with pytest.raises(CaptureError) as caught:
        Walk(lab, "rde", to="server", port=70000, source_port=-1)
    assert caught.value.what == "this walk has 4 faults"
    for part in ("'rde'", "gw, red", "'server' is no IP address", "70000", "-1"):
        assert part in caught.value.observed
    for faulty in ({"to": SERVER}, {"to": SERVER, "protocol": "sctp"}, {"to": SERVER, "port": 1, "protocol": "icmp"}):
        with pytest.raises(CaptureError, match="1 fault"):
            Walk(lab, "red", **faulty)


def test_no_connection_is_an_error_that_says_which_was_expected(lab: Lab) -> None:
    expected = r"no tcp connection to 203\.0\.113\.80 port 80 was begun"
    with unchanged(lab), pytest.raises(CaptureError, match=expected), Walk(lab, "red", to=SERVER, port=80):
        lab.run(["ping", "-c1", SERVER], namespace="red", echo=False).check()


def test_a_second_walk_at_once_is_refused(lab: Lab) -> None:
    with Walk(lab, "red", to=SERVER, port=80) as walk:
        with pytest.raises(CaptureError, match="cannot be traced"):
            Walk(lab, "red", to=SERVER, port=80)
        python(lab, "red", CONNECT, SERVER, "80")
    assert walk.answered


def test_its_frames_are_an_ordinary_captures(lab: Lab) -> None:
    started = time.time_ns()
    with Walk(lab, "red", to=SERVER, port=80) as walk, Capture(lab) as capture:
        python(lab, "red", CONNECT, SERVER, "80")
    frames = [(frame.end, frame.direction, frame.data) for frame in capture.frames]
    steps: list[WalkStep] = [step for step in walk.steps if step.kind not in DECISIONS]
    assert all((step.frame.end, step.frame.direction, step.frame.data) in frames for step in steps)
    times = [step.time_ns for step in steps]
    assert started < times[0] <= times[-1] < time.time_ns()
    assert times == sorted(times)
