"""The route chooser must say what the kernel does, bit by bit, and say so when the kernel does something else."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
import sys
from ipaddress import IPv4Address

import pytest
from controls import announced, assert_accessible, controls, page, table, words

from labsupport import Lab
from labsupport.errors import LabClosed, LessonError, NamespaceNotFound
from labsupport.net import Route
from labsupport.views.route_chooser import RouteChooser, choose_route
from labsupport.views.route_match import agrees, choose, edges

CAPTION = "IPv4 routes of namespace red, table main"
LOWEST = "0.0.0.0"  # noqa: S104  (an address, and nothing listens)
REFUSALS = {"Invalid argument": "blackhole", "No route to host": "unreachable", "Permission denied": "prohibit",
            "Network is unreachable": "throw"}
WORLD = """
set -e
ip netns add red
ip -n red link set lo up
ip -n red link add red0 type veth peer name other
ip -n red link set red0 up; ip -n red link set other up
ip -n red address add 10.0.0.1/24 dev red0
ip -n red route add default via 10.0.0.254
ip -n red route add 10.0.0.0/8 via 10.0.0.253
ip -n red route add 10.0.1.0/24 via 10.0.0.252 metric 100
ip -n red route add 10.0.1.0/24 via 10.0.0.251 metric 50
ip -n red route add 10.0.1.128/25 via 10.0.0.250
ip -n red route add 10.0.1.7 via 10.0.0.249
ip -n red route add blackhole 10.9.0.0/16
ip -n red route add unreachable 10.8.0.0/16
ip -n red route add prohibit 10.7.0.0/16
ip -n red route add throw 10.6.0.0/16
ip -n red route add 10.5.0.0/16 nexthop via 10.0.0.248 nexthop via 10.0.0.247 weight 2
"""


@pytest.fixture
def world(lab: Lab) -> Lab:
    lab.run(WORLD, echo=False).check()
    return lab


def routes_of(lab: Lab, script: str) -> None:
    lab.run("set -e\n" + script, namespace="red", echo=False).check()


def kernel_says(lab: Lab, destination: str) -> tuple[str, str, str]:
    """Ask `ip route get`: kind, gateway and device; an error is its text, without a device."""
    done = lab.observe(["ip", "-json", "route", "get", destination], namespace="red")
    if done.exit_status:
        return done.stderr.strip().rpartition(": ")[2], "", ""
    route, = json.loads(done.stdout)
    return route.get("type", "unicast"), route.get("gateway", ""), route["dev"]


def winners(chooser: RouteChooser) -> list[list[str]]:
    return [row for row in table(chooser, CAPTION) if "▶ wins" in row[2]]


@pytest.mark.parametrize(("destination", "prefix", "reason", "way"), [
    ("192.0.2.1", "default", "it is the only route that matches", "10.0.0.254"),
    ("10.77.0.1", "10.0.0.0/8", "longest match: 8 bits beat 0", "10.0.0.253"),
    ("10.0.0.77", "10.0.0.0/24", "longest match: 24 bits beat 8", "straight to the destination"),
    ("10.0.1.8", "10.0.1.0/24", "longest match: 24 bits beat 8; same length: the lower metric wins, 50 beats 100",
     "10.0.0.251"),
    ("10.0.1.200", "10.0.1.128/25", "longest match: 25 bits beat 24", "10.0.0.250"),
    ("10.0.1.7", "10.0.1.7", "longest match: 32 bits beat 24", "10.0.0.249"),
    ("10.9.1.1", "10.9.0.0/16", "longest match: 16 bits beat 8", "Invalid argument"),
    ("10.8.1.1", "10.8.0.0/16", "longest match: 16 bits beat 8", "No route to host"),
    ("10.7.1.1", "10.7.0.0/16", "longest match: 16 bits beat 8", "Permission denied"),
    ("10.6.1.1", "10.6.0.0/16", "longest match: 16 bits beat 8", "Network is unreachable"),
])
def test_the_longest_match_wins_and_the_reason_is_told(world, destination, prefix, reason, way):
    chooser = choose_route(world, "red", destination)
    (winner,) = winners(chooser)
    assert winner[0] == prefix
    said = announced(chooser)
    for part in (reason, way, "✓ The kernel says the same"):
        assert part in said
        assert part.removeprefix("✓ ") in chooser.text
    kind, gateway, device = kernel_says(world, destination)
    if kind == "unicast":
        assert way == gateway or (gateway, way) == ("", "straight to the destination")
        assert winner[4] == (f"via {gateway} dev {device}" if gateway else f"dev {device}")
    else:
        assert (kind, winner[4]) == (way, REFUSALS[way])


def test_all_edges_of_all_prefixes_agree_with_ip_route_get(world):
    """Wherever the widget says that the kernel agrees, `ip route get` gives the winner; elsewhere it does not."""
    chooser = choose_route(world, "red")
    told = {"the same": 0, "something else": 0}
    for _ in range(100):
        controls(chooser)["Next edge"].click()
        kind, gateway, device = kernel_says(world, chooser.destination)
        ways = [row[4] for row in winners(chooser)]
        kernels = f"via {gateway} dev {device}" if gateway else f"dev {device}"
        refusal = REFUSALS.get(kind)
        same = refusal in ways if refusal else kind == "unicast" and kernels in ways
        verdict = "the same" if same else "something else"
        assert f"The kernel says {verdict}" in announced(chooser), chooser.destination
        told[verdict] += 1
    assert told["the same"] > 10
    assert told["something else"] > 1


def test_two_next_hops_of_one_route_win_together(world):
    chooser = choose_route(world, "red", "10.5.1.1")
    assert [row[4] for row in winners(chooser)] == ["via 10.0.0.248 dev red0", "via 10.0.0.247 dev red0"]
    assert "10.0.0.248, or out of red0 to the router 10.0.0.247; one route, several next hops" in announced(chooser)
    assert "The kernel says the same" in announced(chooser)


def test_every_bit_of_a_prefix_is_marked_by_its_shape(world):
    chooser = choose_route(world, "red", "10.0.1.7")
    mine, *rows = next(page(chooser).iter("tbody"))
    bits = f"{int(IPv4Address('10.0.1.7')):032b}"
    assert words(mine[1]).replace(" ", "") == bits
    for row in rows:
        prefix = ipaddress.ip_network(words(row[0]).replace("default", "0.0.0.0/0"))
        cells = [(one.tag, one.text) for one in row[1][0]]
        expected = f"{int(prefix.network_address):032b}"[:prefix.prefixlen]
        assert cells == [("u" if bit == bits[at] else "b", bit) for at, bit in enumerate(expected)]
        assert words(row[1]).count("·") == 32 - prefix.prefixlen
        differing = [at for at, (kind, _) in enumerate(cells, 1) if kind == "b"]
        assert (f"✗ bit {differing[0]} differs" in words(row[2])) if differing else ("differs" not in words(row[2]))
        assert row[1].get("aria-hidden") == "true"


def test_the_text_twin_says_the_same(world):
    chooser = choose_route(world, "red", "10.0.1.8")
    text = chooser.text
    for row in table(chooser, CAPTION)[1:]:
        assert re.search(rf"{re.escape(row[0])} .*{re.escape(row[4])}, metric {row[3]}: "
                         rf"{re.escape(re.sub('^[▶✓✗] ', '', row[2]))}\n", text)
    lines = text.splitlines()
    prefix = next(at for at, line in enumerate(lines) if line.startswith("  10.0.1.7 "))
    assert lines[prefix + 1].split() == ["========", "========", "========", "====xxxx"]
    assert str(chooser) == repr(chooser) == text


def test_a_local_address_is_not_decided_by_this_table(world):
    chooser = choose_route(world, "red", "10.0.0.1")
    assert "≠ The kernel says something else: local dev lo." in announced(chooser)
    assert "the table local" in announced(chooser)
    chooser.destination = "10.0.0.255"
    assert "broadcast" in announced(chooser)
    chooser.destination = "224.0.0.1"
    assert "address of a group" in announced(chooser)


def test_a_rule_that_sends_a_packet_to_another_table_is_told(world):
    routes_of(world, "ip rule add to 10.77.0.0/16 lookup 100; ip route add default via 10.0.0.9 table 100")
    chooser = choose_route(world, "red", "10.77.0.1")
    assert "≠ The kernel says something else: via 10.0.0.9 dev red0." in announced(chooser)
    assert "to the table 100" in announced(chooser)


def test_routes_changed_meanwhile_are_read_with_a_button_and_with_every_move(world):
    chooser = choose_route(world, "red", "10.0.1.200")
    routes_of(world, "ip route delete 10.0.1.128/25")
    assert winners(chooser)[0][0] == "10.0.1.128/25"
    controls(chooser)["Read again"].click()
    assert winners(chooser)[0][0] == "10.0.1.0/24"
    routes_of(world, "ip route flush root 0/0")
    controls(chooser)["Next edge"].click()
    assert "no edge to go to" not in announced(chooser), "it went to an edge of the routes that were there"
    assert f"{chooser.destination}: no route Network is unreachable; nothing is sent." in announced(chooser)
    assert "✓ The kernel says the same: Network is unreachable" in announced(chooser)
    assert table(chooser, CAPTION)[1:] == []
    controls(chooser)["Next edge"].click()
    assert "there is no edge to go to" in announced(chooser)


def test_typing_moves_and_what_is_no_address_loses_nothing(world):
    chooser = choose_route(world, "red", "10.0.1.8")
    field = controls(chooser)["Destination"]
    for wrong in ("", "10.0.1", "10.0.1.256", "10.0.1.8/24", "fd00::1", "<b>", "10.0.1.08", "\N{CIRCLED DIGIT ONE}"):
        field.value = wrong
        assert "is no IPv4 address" in announced(chooser)
        assert (wrong or "an empty text") in announced(chooser)
        assert "such as 10.0.0.7" in announced(chooser)
        assert "still about 10.0.1.8" in announced(chooser)
        assert winners(chooser)[0][0] == "10.0.1.0/24"
        assert field.value == wrong, "what was typed can be mended"
    field.value = " 10.0.1.8 "
    assert "is no IPv4 address" not in announced(chooser)
    field.value = " 192.0.2.9 "
    assert (chooser.destination, field.value) == ("192.0.2.9", "192.0.2.9")
    assert winners(chooser)[0][0] == "default"


def test_edges_are_visited_in_order_round_and_round(world):
    chooser = choose_route(world, "red", LOWEST)
    seen = []
    for _ in range(60):
        controls(chooser)["Next edge"].click()
        seen.append(chooser.destination)
    lap = seen[:seen.index(seen[0], 1)]
    assert lap == sorted(lap, key=IPv4Address)
    assert {"9.255.255.255", "10.0.0.0", "10.0.0.1", "10.0.0.255", "10.0.1.0", "10.0.1.127", "10.0.1.128", "10.0.1.255",
            "10.0.2.0", "10.0.1.6", "10.0.1.7", "10.0.1.8", "11.0.0.0"} <= {*lap}
    controls(chooser)["Previous edge"].click()
    assert chooser.destination == seen[-2]
    chooser.destination = lap[0]
    controls(chooser)["Previous edge"].click()
    assert chooser.destination == lap[-1]
    chooser.destination = "10.0.1.127"
    assert "(just before 10.0.1.128/25)" in announced(chooser)


def test_an_unknown_namespace_and_a_bad_first_destination_are_errors(world):
    with pytest.raises(NamespaceNotFound):
        choose_route(world, "rot")
    with pytest.raises(LessonError, match=r"four numbers from 0 to 255(.|\n)*observed: +10\.0\.0\n"):
        choose_route(world, "red", "10.0.0")
    chooser = choose_route(world, "red", "10.0.1.8")
    with pytest.raises(LessonError):
        chooser.destination = "10.0.1"
    assert chooser.destination == "10.0.1.8"


def test_a_closed_lab_is_told_in_the_widget_and_what_was_read_stays(world):
    chooser = choose_route(world, "red", "10.0.1.8")
    world.close()
    for name in ("Read again", "Next edge"):
        controls(chooser)[name].click()
        assert "The routes could not be read: " in announced(chooser)
        assert winners(chooser)[0][0] == "10.0.1.0/24"
        assert chooser.destination == "10.0.1.8"
    with pytest.raises(LabClosed):
        chooser.destination = "10.0.1.9"


def test_names_that_look_like_html_stay_text(lab):
    lab.run("""set -e
ip netns add '<&"x'; ip -n '<&"x' link add '<i>"&' type veth peer name p
ip -n '<&"x' link set '<i>"&' up; ip -n '<&"x' link set p up; ip -n '<&"x' route add 10.0.0.0/24 dev '<i>"&'
""", echo=False).check()
    chooser = choose_route(lab, '<&"x', "10.0.0.7")
    (row,) = table(chooser, 'IPv4 routes of namespace <&"x, table main')[1:]
    assert row[4] == 'dev <i>"&'
    assert 'dev <i>"&' in announced(chooser)
    assert 'dev <i>"&' in chooser.text


def test_it_can_be_used_without_sight_and_without_a_mouse(world):
    chooser = choose_route(world, "red", "10.0.0.1")
    assert list(controls(chooser)) == ["Destination", "Previous edge", "Next edge", "Read again"]
    assert_accessible(chooser)
    controls(chooser)["Destination"].value = "nonsense"
    assert_accessible(chooser)


def test_what_is_slow_to_import_is_not_imported_before_there_is_a_widget():
    code = "import sys, labsupport.views; print(*{'ipywidgets', 'IPython', 'traitlets', 'comm'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == []


def route(destination: str, **more: object) -> Route:
    return Route(destination, "", "eth0", "", "inet", **more)  # type: ignore[arg-type]


def test_a_table_that_nothing_is_in_has_no_winner():
    choice = choose([], IPv4Address("10.0.0.1"))
    assert (choice.winners, agrees(choice, None)) == ((), True)
    assert not agrees(choice, route("10.0.0.0/8"))
    assert edges([]) == []


def test_routes_of_ipv6_are_left_alone():
    other = Route("fd00::/64", "", "eth0", "", "inet6")
    assert choose([other], IPv4Address("10.0.0.1")).matches == ()
    assert edges([other, route("default")]) == []


def test_edges_stay_within_the_addresses_that_there_are():
    assert [str(one) for one in edges([route("0.0.0.0/1"), route("255.255.255.254/31")])] == [
        LOWEST, "127.255.255.255", "128.0.0.0", "255.255.255.253", "255.255.255.254", "255.255.255.255"]
