"""Pictures of the course's topologies, and of random networks: readable, complete, narrow, quick, always the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from some_networks import (
    NARROW,
    TOPOLOGIES,
    Maker,
    any_campus,
    any_network,
    crowd_with_strangers,
    machine,
    ring_of_switches,
    star,
    two_lans,
)
from svg_geometry import Rectangle, assert_readable, boxes, bridges, bundles, cables, elements, leads, texts

from labsupport.net import Endpoint, Link, NamespaceState, Network
from labsupport.views.picture import Picture
from labsupport.views.topology import draw_network

MOST_HOSTS_AS_BOXES = 8
STATES = {"up", "down", "no carrier", "blocking", "learning", "listening", "disabled"}


def is_list(network: Network) -> bool:
    return any(len(state.links) > MOST_HOSTS_AS_BOXES + 2 for state in network.namespaces.values())


def count_cables(picture: Picture) -> int:
    return len(re.findall(r"cable to \S+ in", str(picture)))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_topologies_of_the_course_are_readable_and_fit_into_a_notebook(name: str) -> None:
    make, width = TOPOLOGIES[name]
    picture = draw_network(make())
    assert_readable(picture)
    assert picture.width <= width
    if not bundles(picture):
        assert len(cables(picture)) * 2 == count_cables(picture)


@pytest.mark.parametrize("first_seed", range(0, 120, 30))
def test_any_network_is_readable(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 30):
        picture = draw_network(any_network(seed))
        assert_readable(picture)
        assert len(cables(picture)) * 2 == count_cables(picture)


@pytest.mark.parametrize("first_seed", range(0, 24, 6))
def test_any_campus_is_readable(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 6):
        picture = draw_network(any_campus(seed))
        assert_readable(picture)
        if not bundles(picture):
            assert len(cables(picture)) * 2 == count_cables(picture)


@pytest.mark.parametrize(("kind", "shift", "complaint"), [
    ("cable", "M20 180H400", "a cable is on a box"),
    ("cable", "M20 140H400", "meet the ports at its ends"),
    ("lead", "M30 20V120", "crosses a word"),
])
def test_the_check_of_readability_sees_stray_lines(kind: str, shift: str, complaint: str) -> None:
    picture = draw_network(star(3))
    assert len(cables(picture)) == 3
    stray = picture._drawing.replace("</g>", f'<path class="{kind} cable-up" d="{shift}"/>\n</g>')
    with pytest.raises(AssertionError, match=complaint):
        assert_readable(Picture(picture.title, picture.text, picture.width, picture.height, stray))


def facts(state: NamespaceState) -> list[str]:
    """Return what a box must tell of a namespace, but for its name and states."""
    found = [f"{route.destination} via {route.gateway}" for route in state.routes if route.gateway]
    for link in state.links:
        if link.kind != "loopback":
            found += [link.name, link.mac, *map(str, link.addresses)]
    return found


def section(picture: Picture, name: str) -> str:
    """Return what the text says about one namespace."""
    call = f"- namespace {name}" if name else "- the lab's first namespace"
    found = re.findall(rf"^{re.escape(call)}(?: \(\w+\))?\n(?:  - .*\n?)*", str(picture), re.MULTILINE)
    assert len(found) == 1, name
    return str(found[0])


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_text_tells_every_fact_and_all_that_the_picture_says(name: str) -> None:
    network = TOPOLOGIES[name][0]()
    picture = draw_network(network)
    for state in network.namespaces.values():
        if not state.name and len(state.links) == 1:
            assert "Not drawn: the lab's first namespace, which has only loopback." in str(picture)
            continue
        told = section(picture, state.name)
        for fact in facts(state):
            assert fact in told
        for link in state.links:
            line = next(line for line in told.splitlines() if line.startswith(f"  - {link.name} ") or link.name == "lo")
            assert (f"port of {link.master}" in line) == bool(link.master)
            assert ("(blocking)" in line) == (link.port_state == "blocking")
    for word in texts(picture):
        known = {"lab", "veth pair", "each:"} | STATES
        is_count = re.fullmatch(r"\d+ (network namespaces|alike)|.* … .*|(first )?network namespace(: \w+)?", word.what)
        assert word.what in known or is_count or word.what in str(picture)


@pytest.mark.parametrize("name", [name for name, (make, _) in TOPOLOGIES.items() if not is_list(make())])
def test_each_box_tells_what_its_namespace_has(name: str) -> None:
    network = TOPOLOGIES[name][0]()
    picture = draw_network(network)
    told = Counter(tuple(sorted(words_in(box, picture))) for box in boxes(picture))
    expected = Counter()
    for state in network.namespaces.values():
        if state.name or len(state.links) > 1:
            links = [link for link in state.links if link.kind != "loopback"]
            words = [*facts(state), state.name or "lab", "lo", *map(word_of, state.links), *("bridge" for link in links
                                                                                        if link.kind == "bridge")]
            expected[tuple(sorted(words))] += 1
    assert told == expected


def words_in(box: Rectangle, picture: Picture) -> list[str]:
    return [word.what for word in texts(picture) if box.contains(word) and "network namespace" not in word.what]


def word_of(link: Link) -> str:
    return link.state if link.port_state in {"", "forwarding"} else link.port_state


@pytest.mark.parametrize("hosts", [9, 20, 50])
def test_a_list_tells_every_host(hosts: int) -> None:
    network = star(hosts, "10.0.0.254")
    picture = draw_network(network)
    lines = Counter(tuple(words_in(box, picture)) for box in boxes(picture))
    for state in network.namespaces.values():
        if state.name.startswith("h"):
            link = state.links[1]
            assert lines[state.name, link.name, str(link.addresses[0]), link.mac] == 1
    shown = [word.what for word in texts(picture)]
    assert shown.count("default via 10.0.0.254") == 1
    assert all(shown.count(f"to-h{number + 1}") == 1 for number in range(hosts))
    assert all(len(line) == 1 for line in cables(picture)), "a list needs no bent cables"


def test_hosts_that_are_alike_are_folded_and_strangers_are_seen() -> None:
    picture = draw_network(crowd_with_strangers())
    assert len(boxes(picture)) < 25
    shown = [word.what for word in texts(picture)]
    alike = [int(text.removesuffix(" alike")) for text in shown if text.endswith(" alike")]
    assert len(bundles(picture)) == len(alike) > 1
    assert sum(alike) + len(boxes(picture)) - len(alike) - 1 == 200
    for stranger, word in (("h77", "down"), ("to-h120", "blocking")):
        box = next(box for box in sorted(boxes(picture), key=lambda box: box.right - box.left)
                   if stranger in words_in(box, picture))
        assert word in words_in(box, picture)
    assert str(picture).count("\n- namespace h") == 200


def test_an_end_that_stp_blocks_is_told_by_shape_and_word() -> None:
    picture = draw_network(ring_of_switches(3, 1, parallel=1))
    kinds = Counter(element.attrib["class"] for element, _, _ in elements(picture))
    assert kinds["port port-blocked"] == kinds["port-bar"] == kinds["cable cable-blocked"] == 2
    assert kinds["cable cable-up"] == 5
    assert [word.what for word in texts(picture)].count("blocking") == 2
    assert re.search(r"\.cable-blocked\{[^}]*stroke-dasharray", picture.svg)
    assert re.search(r"- to-s1-0 \(veth\): up, .*port of br0 \(blocking\), cable to to-s2-0 in namespace s1",
                     str(picture))


def test_parallel_cables_are_all_drawn() -> None:
    picture = draw_network(ring_of_switches(2, 1, parallel=1))
    sideways = [line for line in cables(picture) if [piece.what for piece in line] == ["H"]]
    assert len(sideways) == 2
    assert len({line[0].top for line in sideways}) == 2
    assert len({(line[0].left, line[0].right) for line in sideways}) == 1


@pytest.mark.parametrize(("network", "roles"), [
    (two_lans(1), {"r1": "router", "s1": "switch", "s2": "switch", "red": "", "blue": ""}),
    (machine(1), {"": "router", "red": "", "server": ""}),
])
def test_boxes_say_what_a_namespace_does_for_others(network: Network, roles: dict[str, str]) -> None:
    picture = draw_network(network)
    captions = [word.what for word in texts(picture) if "network namespace" in word.what]
    assert sorted(re.sub(r".*namespace(: )?", "", text) for text in captions) == sorted(roles.values())
    for name, role in roles.items():
        assert section(picture, name).splitlines()[0].endswith(f" ({role})") == bool(role)


def test_a_namespace_with_one_leg_is_no_router_whatever_it_inherits() -> None:
    make = Maker()
    make.router("red")
    make.cable("red:red0", "blue:blue0", "10.0.0.1/24", "10.0.0.2/24")
    assert "router" not in str(draw_network(make.network()))
    make.cable("red:red1", "green:green0", "10.0.1.1/24", "10.0.1.2/24")
    assert "- namespace red (router)" in str(draw_network(make.network()))


def test_a_switch_with_another_link_is_none() -> None:
    make = Maker()
    make.bridge("sw")
    make.host("red", "10.0.0.1/24", "sw")
    assert "- namespace sw (switch)" in str(draw_network(make.network()))
    make.cable("sw:up0", "blue:blue0", "10.0.1.1/24", "10.0.1.2/24")
    assert "switch" not in str(draw_network(make.network()))


def test_lines_lead_from_every_port_to_its_bridge() -> None:
    for name in ("star of 6", "triangle with parallel cables", "machine", "star of 50", "two LANs of twelve"):
        network = TOPOLOGIES[name][0]()
        picture = draw_network(network)
        bars = [Rectangle(bar.left - 1, bar.top - 1, bar.right + 1, bar.bottom + 1, "") for bar in bridges(picture)]
        reaching = [line for line in leads(picture) if any(piece.meets(bar) for piece in line for bar in bars)]
        assert len(reaching) == sum(bool(link.master) for state in network.namespaces.values() for link in state.links)


def test_a_link_that_goes_down_moves_nothing() -> None:
    def outlines(make: Maker) -> list[Rectangle]:
        picture = draw_network(make.network())
        return [*boxes(picture), *(piece for line in cables(picture) for piece in line)]

    make = Maker()
    make.bridge("sw")
    for number, name in enumerate(["red", "blue", "green"]):
        make.host(name, f"10.0.0.{number + 1}/24", "sw")
    before = outlines(make)
    make.change(Endpoint("sw", "to-blue"), carrier=False)
    make.change(Endpoint("blue", "blue0"), state="down")
    assert outlines(make) == before


def test_the_same_network_gives_the_same_bytes_in_every_process() -> None:
    program = ("import hashlib; from some_networks import *; from labsupport.views.topology import draw_network\n"
               "nets = [make() for make, _ in TOPOLOGIES.values()] + [any_campus(seed) for seed in range(8)]\n"
               "print(hashlib.sha256(''.join(draw_network(net).svg for net in nets).encode()).hexdigest())")
    sums = set()
    for seed in "12":
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent),
                       "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True,
                              check=True)
        sums.add(done.stdout)
    assert len(sums) == 1


@pytest.mark.parametrize("name", ["star of 50", "star of 200", "six routers in a chain"])
def test_drawing_is_quick(name: str) -> None:
    network = TOPOLOGIES[name][0]()
    times = []
    for _ in range(5):
        start = time.process_time()
        draw_network(network)._repr_html_()
        times.append(time.process_time() - start)
    assert min(times) < 0.1


def test_a_string_is_a_row_while_it_fits() -> None:
    def string(count: int) -> Picture:
        make = Maker()
        for number in range(count - 1):
            make.cable(f"n{number}:right0", f"n{number + 1}:left0", f"10.0.{number}.1/24", f"10.0.{number}.2/24")
        return draw_network(make.network())

    assert len({box.top for box in boxes(string(3))}) == 1
    long = string(9)
    assert len({box.top for box in boxes(long)}) > 1
    assert long.width <= NARROW
    assert_readable(long)
