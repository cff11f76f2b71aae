"""The picture and its text must show what the kernel has, and stay readable whatever it has."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from svg_geometry import SVG, assert_readable, boxes, cables, elements, texts

from labsupport import Lab, net
from labsupport.views import draw
from labsupport.views.picture import Picture
from labsupport.views.topology import draw_network
from labsupport.waiting import wait_until


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(name="views") as one:
        yield one


def shell(lab: Lab, script: str) -> None:
    lab.run("set -e\n" + script, echo=False).check()


PAIR = """
ip netns add red; ip netns add blue
ip link add red0 netns red address 02:00:00:00:00:01 type veth peer name blue0 netns blue address 02:00:00:00:00:02
ip -n red address add 10.0.0.1/24 dev red0
ip -n blue address add 10.0.0.2/24 dev blue0
"""
UP = "ip -n red link set red0 up; ip -n blue link set blue0 up; ip -n red link set lo up"
BRIDGE = """
ip link add br0 address 02:00:00:00:00:ff type bridge; ip link set br0 up; ip address add 10.0.0.254/24 dev br0
i=0
for n in red blue green yellow; do
    i=$((i+1)); ip netns add $n
    ip link add to-$n address 02:00:00:00:01:0$i type veth peer name eth0 address 02:00:00:00:00:0$i netns $n
    ip link set to-$n master br0 up
    ip -n $n link set eth0 up; ip -n $n address add 10.0.0.$i/24 dev eth0; ip -n $n route add default via 10.0.0.254
done
"""
LONG = """
for n in abcdefghijklmno ponmlkjihgfedcb; do ip netns add $n; ip -n $n link set lo up; done
ip link add veth-red-to-blu netns abcdefghijklmno type veth peer name veth-blu-to-red netns ponmlkjihgfedcb
ip -n abcdefghijklmno address add 2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/128 dev veth-red-to-blu nodad
ip -n ponmlkjihgfedcb address add fd00::2/64 dev veth-blu-to-red nodad
ip -n ponmlkjihgfedcb address add 2001:db8:aaaa:bbbb:cccc:dddd:eeee:1111/128 dev veth-blu-to-red nodad
"""
SWITCHES = """
for n in sw1 sw2 a b c d r; do ip netns add $n; done
for s in sw1 sw2; do ip -n $s link add bridge-number-0 type bridge; ip -n $s link add bridge-number-1 type bridge; done
for p in a:sw1 b:sw1 c:sw2 d:sw2 r:sw1 r:sw2; do
    n=${p%:*} s=${p#*:}; ip link add to-$s netns $n type veth peer name to-$n netns $s
    ip -n $s link set to-$n master bridge-number-0 up
done
ip link add trunk netns sw1 type veth peer name trunk netns sw2
ip -n sw1 link set trunk master bridge-number-1; ip -n sw2 link set trunk master bridge-number-1
"""
MESH = """
for n in r1 r2 r3 r4 r5 r6; do ip netns add $n; done
for p in r1:r2 r2:r3 r3:r4 r4:r5 r5:r6 r6:r1 r1:r3 r1:r4 r2:r5; do
    a=${p%:*} b=${p#*:}; ip link add to-$b netns $a type veth peer name to-$a netns $b
done
ip link add loop-a netns r5 type veth peer name loop-b netns r5
"""
BRIDGES = """
for n in sw a b; do ip netns add $n; done
for n in a b; do
    ip -n sw link add bridge-number-$n type bridge
    ip link add eth0 netns $n type veth peer name p-$n netns sw; ip -n sw link set p-$n master bridge-number-$n
done
"""
SIX = "for n in one two three four five six; do ip netns add $n; done"
STRING = """
for n in h1 r1 r2 r3 h2; do ip netns add $n; done
for p in h1:r1 r1:r2 r2:r3 r3:h2; do
    a=${p%:*} b=${p#*:}; ip link add to-$b netns $a type veth peer name to-$a netns $b
    ip -n $a link set to-$b up; ip -n $b link set to-$a up
done
"""
CHAIN = """
for n in h1 r1 h2; do ip netns add $n; done
for h in h1 h2; do for i in 1 2; do ip link add eth$i netns $h type veth peer name $h-$i netns r1; done; done
ip -n r1 address add 10.1.0.1/24 dev h1-1; ip -n r1 address add fd00::1/64 dev h2-2 nodad
"""
ODD = """
ip netns add '<&"x'; ip netns add a-very-long-name-that-goes-on-and-on-and-on
ip link add v0 type veth peer name v1; ip link add empty-bridge type bridge; ip address add 9.9.9.9/32 dev lo
"""
LOOP = """
for s in s1 s2; do
    ip netns add $s; ip -n $s link add br0 type bridge stp_state 1 forward_delay 200; ip -n $s link set br0 up
done
for i in 1 2; do
    ip link add to-s2-$i netns s1 type veth peer name to-s1-$i netns s2
    ip -n s1 link set to-s2-$i master br0; ip -n s2 link set to-s1-$i master br0
    ip -n s1 link set to-s2-$i up; ip -n s2 link set to-s1-$i up
done
"""
LABS = {"empty": "true", "pair": PAIR, "pair up": PAIR + UP, "bridge": BRIDGE, "long": LONG, "switches": SWITCHES,
        "bridges": BRIDGES, "mesh": MESH, "string": STRING, "six": SIX, "chain": CHAIN, "odd": ODD}


@pytest.mark.parametrize("name", LABS)
def test_nothing_lies_on_anything_else(lab: Lab, name: str) -> None:
    shell(lab, LABS[name])
    assert_readable(draw(lab))


def test_the_check_of_readability_sees_overlaps(lab: Lab) -> None:
    shell(lab, PAIR)
    picture = draw(lab)
    shifted = re.sub(r'(class="name" x="[\d.]+" y=")[\d.]+', r"\g<1>33", picture._drawing)
    broken = Picture(picture.title, picture.text, picture.width, picture.height, shifted)
    with pytest.raises(AssertionError, match="lies on"):
        assert_readable(broken)


@pytest.mark.parametrize("name", ["pair", "pair up", "bridge", "long", "chain"])
def test_picture_and_text_tell_every_link_and_address_that_ip_prints(lab: Lab, name: str) -> None:
    shell(lab, LABS[name])
    picture = draw(lab)
    shown = [word.what for word in texts(picture)]
    names = [line["name"] for line in json.loads(lab.run("ip -json netns", echo=False).stdout)]
    first = ["lo"] if "first namespace" not in picture.text or "Not drawn" in picture.text else []
    for namespace in names if first else ["", *names]:
        printed = json.loads(lab.run("ip -json address", namespace=namespace, echo=False).stdout)
        for link in printed:
            told = [f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"]
            for fact in [link["ifname"], *told, *([link["address"]] if link["ifname"] != "lo" else [])]:
                assert fact in shown
                assert fact in str(picture)
    assert len(boxes(picture)) == len(names) + (not first)
    links = [line for line in str(picture).splitlines() if "cable to" in line]
    assert len(cables(picture)) * 2 == len(links)


def test_state_is_told_by_shape_and_word(lab: Lab) -> None:
    shell(lab, PAIR)
    steps = [("true", ["down", "down"], "down"), ("ip -n red link set red0 up", ["down", "no carrier"], "down"),
             ("ip -n blue link set blue0 up", ["up", "up"], "up")]
    shapes, sizes = [], set()
    for command, expected, cable in steps:
        shell(lab, command)
        picture = draw(lab)
        told = re.findall(r"- (?:red0|blue0) \(veth\): ([a-z ]+),", str(picture))
        assert told == expected  # in the order of the names: blue, red
        words = [word.what for word in texts(picture) if word.what in {"up", "down", "no carrier"}]
        assert sorted(words) == sorted([*expected, "down", "down"])  # and twice loopback
        kinds = [element.attrib["class"] for element, _, _ in elements(picture)]
        assert kinds.count(f"cable cable-{cable}") == 1
        shapes.append(sorted((element.tag.removeprefix(SVG), element.attrib["class"])
                             for element, _, _ in elements(picture) if "port" in element.attrib["class"].split()))
        sizes.add((picture.width, picture.height))
    assert len({str(shape) for shape in shapes}) == 3
    assert len(sizes) == 1, "the picture jumps when a link comes up"


def test_a_dashed_line_is_a_cable_that_is_down(lab: Lab) -> None:
    shell(lab, PAIR)
    assert re.search(r"\.cable-down\{[^}]*stroke-dasharray", draw(lab).svg)
    assert not re.search(r"\.cable-up\{[^}]*stroke-dasharray", draw(lab).svg)


def test_the_same_state_gives_the_same_picture(lab: Lab) -> None:
    shell(lab, BRIDGE)
    one = draw(lab)
    with Lab(name="another") as other:
        shell(other, BRIDGE)
        two = draw(other)
    assert one.svg == two.svg
    assert one._repr_html_() == two._repr_html_()
    shell(lab, "ip -n red link set eth0 down")
    assert draw(lab).svg != one.svg


def test_the_first_namespace_is_drawn_when_there_is_something_to_see(lab: Lab) -> None:
    assert "- the lab's first namespace" in str(draw(lab))
    shell(lab, PAIR)
    assert "- the lab's first namespace" not in str(draw(lab))
    assert str(draw(lab)).endswith("Not drawn: the lab's first namespace, which has only loopback.")
    shell(lab, "ip link add br0 type bridge")
    assert "- the lab's first namespace" in str(draw(lab))
    assert len(boxes(draw(lab))) == 3


def test_a_bridge_has_a_shape_of_its_own_and_its_ports_lead_to_it(lab: Lab) -> None:
    shell(lab, BRIDGE)
    picture = draw(lab)
    assert [element.tag for element, _, _ in elements(picture) if element.attrib["class"] == "bridge"] == [f"{SVG}path"]
    assert "br0 (bridge): up, MAC 02:00:00:00:00:ff, 10.0.0.254/24, ports: to-red to-blue to-green to-yellow" \
        in str(picture)
    assert all(len(line) == 1 for line in cables(picture)), "a star can be drawn with straight cables"
    assert str(picture).count("route: default via 10.0.0.254") == 4


def test_stp_cuts_a_loop_and_the_picture_shows_where(lab: Lab) -> None:
    shell(lab, LOOP)

    def states() -> dict[str, str]:
        """Return what the kernel itself says about the ports."""
        return {line["ifname"]: line["state"] for name in ("s1", "s2")
                for line in json.loads(lab.run("bridge -json link", namespace=name, echo=False).stdout)}

    wait_until(lambda: sorted(states().values()) == ["blocking", *["forwarding"] * 3],
               what="STP blocks one end of one of two parallel cables", deadline_s=40)
    picture = draw(lab)
    assert_readable(picture)
    told = re.findall(r"- (\S+) \(veth\): .*port of br0 \(blocking\)", str(picture))
    assert told == [name for name, state in states().items() if state == "blocking"]
    kinds = [element.attrib["class"] for element, _, _ in elements(picture)]
    assert "cable cable-blocked" in kinds
    assert "port-bar" in kinds
    assert str(picture).count("(switch)") == 2


def test_a_bridge_that_is_down_serves_no_port(lab: Lab) -> None:
    shell(lab, BRIDGE)
    assert "(disabled)" not in str(draw(lab))
    shell(lab, "ip link set br0 down")
    assert str(draw(lab)).count("port of br0 (disabled)") == 4


def test_a_router_is_called_so_while_it_forwards(lab: Lab) -> None:
    shell(lab, CHAIN + "ip -n r1 address add 10.2.0.1/24 dev h2-1; ip netns exec r1 sysctl -q -w net.ipv4.ip_forward=1")
    assert "- namespace r1 (router)" in str(draw(lab))
    assert "network namespace: router" in [word.what for word in texts(draw(lab))]
    shell(lab, "ip netns exec r1 sysctl -q -w net.ipv4.ip_forward=0")
    assert "router" not in str(draw(lab))


def test_html_can_be_read_aloud_and_follows_the_theme(lab: Lab) -> None:
    shell(lab, PAIR)
    picture = draw(lab)
    root = ET.fromstring(picture._repr_html_())  # noqa: S314  (our own text)
    svg = root.find(f"{SVG}svg")
    assert svg is not None
    assert svg.attrib["role"] == "img"
    label, text = svg.find(f"{SVG}title"), svg.find(f"{SVG}desc")
    assert label is not None
    assert text is not None
    assert svg.attrib["aria-labelledby"].split() == [label.attrib["id"], text.attrib["id"]]
    assert label.text == "The lab's network: 2 network namespaces, 1 cable"
    assert text.text == str(picture)
    assert "var(--jp-" in picture._repr_html_()
    assert "@media print" in picture._repr_html_()
    bundle = picture._repr_mimebundle_()
    assert bundle == {"text/html": picture._repr_html_(), "text/plain": str(picture)}
    shell(lab, UP)
    assert svg.attrib["aria-labelledby"] not in draw(lab)._repr_html_()


def test_a_saved_picture_stands_alone(lab: Lab, tmp_path: Path) -> None:
    shell(lab, PAIR)
    picture = draw(lab)
    picture.save(tmp_path / "picture.svg")
    written = (tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert written == picture.svg
    assert "var(" not in written
    root = ET.fromstring(written)  # noqa: S314  (our own text)
    background = root.find(f"{SVG}rect")
    assert background is not None
    assert (background.attrib["fill"], background.attrib["width"]) == ("#ffffff", root.attrib["width"])


def test_a_cable_to_a_namespace_without_a_name_is_told() -> None:
    bridge = net.Link("br0", 2, "bridge", "02:00:00:00:00:01", 1500, "up", True, "UP")
    port = net.Link("port0", 3, "veth", "02:00:00:00:00:02", 1500, "up", True, "UP", master="br0")
    free = net.Link("free0", 3, "veth", "02:00:00:00:00:03", 1500, "up", False, "DOWN")
    network = net.Network({"": net.NamespaceState("", (bridge, port)), "red": net.NamespaceState("red", (free,))})
    picture = draw_network(network)
    assert_readable(picture)
    assert [word.what for word in texts(picture)].count("peer: in a namespace without a name") == 2
    assert str(picture).count("cable to a namespace without a name") == 2
    assert cables(picture) == []


def test_names_cannot_break_out_of_the_picture(lab: Lab) -> None:
    shell(lab, "ip netns add '<b>&\"'; ip netns add $'bell\\a'")
    picture = draw(lab)
    assert "<b>" not in picture._repr_html_()
    assert "&lt;b&gt;&amp;" in picture._repr_html_()
    assert "\a" not in picture._repr_html_()
    assert ET.fromstring(picture.svg).tag == f"{SVG}svg"  # noqa: S314  (our own text)
