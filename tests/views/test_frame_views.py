"""The picture of frames must tell every fact twice, in the SVG and in its text, and stay readable."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace

import pytest
from frame_worlds import (
    START_NS,
    Row,
    World,
    any_world,
    arp,
    assert_readable,
    dns_question,
    echo,
    lanes,
    moved,
    rows,
    switch_world,
)
from svg_geometry import texts

from labsupport.net import Endpoint, Frame, Link, NamespaceState, Network
from labsupport.views import Picture, draw_frames, frame_table

ASKS, PING, WHO = "ARP who has 10.0.0.2? tell 10.0.0.1", "ICMP echo request seq 1, ttl 64", "10.0.0.2 > 10.0.0.1"
HOSTILE = "<b onload=\"x\">&amp;\x1b[2J\u202e'"


def picture_of(world: World) -> Picture:
    return draw_frames(world.frames, world.peers)


def test_one_arrow_for_each_crossing() -> None:
    picture = picture_of(switch_world())
    assert list(lanes(picture).values()) == ["red", "sw", "green", "blue"]
    assert rows(picture) == [
        Row("red", "sw", "arrow", (), (ASKS,)),
        Row("sw", "sw", "in", ("br0 in",), (ASKS,)),
        Row("sw", "green", "arrow", (), (ASKS,)),
        Row("sw", "blue", "arrow", (), (ASKS,)),
        Row("blue", "sw", "arrow", (), (PING, WHO)),
        Row("sw", "red", "arrow", (), (PING, WHO)),
    ]
    assert str(picture).splitlines() == [
        "Who sent what to whom: 4 network namespaces, 2 frames, 5 crossings of cables",
        "Lines from left to right: red, sw, green, blue",
        f"1. red:red0 > sw:to-red: {ASKS}",
        f"2. sw:br0 in, the same frame: {ASKS}",
        f"3. sw:to-green > green:green0, the same frame: {ASKS}",
        f"4. sw:to-blue > blue:blue0, the same frame: {ASKS}",
        f"5. blue:blue0 > sw:to-blue: {WHO}, {PING}",
        f"6. sw:to-red > red:red0, the same frame: {WHO}, {PING}",
    ]


def test_one_end_is_enough() -> None:
    world = switch_world()
    whole = [row for row in rows(picture_of(world)) if row.shape == "arrow"]
    for direction in ("in", "out"):
        half = [frame for frame in world.frames if frame.direction == direction and frame.end.link != "br0"]
        assert rows(draw_frames(half, world.peers)) == whole
    only_red = [frame for frame in world.frames if frame.end.namespace == "red"]
    assert [row[:3] for row in rows(draw_frames(only_red, world.peers))] == [
        ("red", "sw", "arrow"), ("sw", "red", "arrow")]


@dataclass(frozen=True)
class Listened:
    """What `draw_frames` takes from a capture."""

    frames: tuple[Frame, ...]
    peers: dict[Endpoint, Endpoint]
    ends: list[Endpoint]


def test_a_capture_knows_where_it_listened() -> None:
    world = World()
    world.cable("red:red0", "blue:blue0")
    world.send("red:red0", arp(1, 2), delivered=False)
    shapes = [rows(draw_frames(Listened(tuple(world.frames), world.peers, ends)))[0].shape  # type: ignore[arg-type]
              for ends in ([Endpoint("red", "red0")], list(world.peers))]
    assert shapes == ["arrow", "lost"], "nobody listened at blue0, so nobody knows; somebody did, and got nothing"


def test_a_frame_that_did_not_come_out_of_its_cable_is_lost() -> None:
    world = switch_world()
    world.send("red:red0", echo(1, 3), delivered=False)
    world.send("sw:to-blue", echo(1, 3), delivered=False)
    picture = picture_of(world)
    assert [row[:4] for row in rows(picture)[-2:]] == [
        ("red", "sw", "lost", ("lost",)), ("sw", "blue", "lost", ("lost",))]
    assert str(picture).splitlines()[-2:] == [
        f"7. red:red0 > sw:to-red, lost: 10.0.0.1 > 10.0.0.3, {PING}",
        f"8. sw:to-blue > blue:blue0, lost, the same frame: 10.0.0.1 > 10.0.0.3, {PING}"]


def test_of_two_equal_frames_the_one_that_arrived_is_told_from_the_lost_one() -> None:
    world = World()
    world.cable("red:red0", "blue:blue0")
    world.send("blue:blue0", echo(2, 1))
    world.send("red:red0", arp(1, 2), delivered=False)
    world.now_ns += 1_000_000_000  # the kernel asks again
    world.send("red:red0", arp(1, 2))
    assert [row.shape for row in rows(picture_of(world))] == ["arrow", "lost", "arrow"]
    assert "same" not in str(picture_of(world)), "sent again, so it is not the same frame on its way"


def test_a_frame_that_comes_long_after_is_another_one() -> None:
    world = World()
    world.cable("red:red0", "blue:blue0")
    world.send("red:red0", arp(1, 2), delivered=False)
    world.now_ns += 1_000_000_000
    world.seen("blue:blue0", "in", arp(1, 2))
    assert [row.shape for row in rows(picture_of(world))] == ["lost", "arrow"]


def test_both_ends_may_see_a_frame_at_the_same_time() -> None:
    world = switch_world()
    out, arrival = (replace(frame, time_ns=START_NS) for frame in world.frames[:2])
    for frames in ([out, arrival], [arrival, out]):
        assert [row[:3] for row in rows(draw_frames(frames, world.peers))] == [("red", "sw", "arrow")]


def test_a_bridge_gets_a_frame_from_its_port_however_the_kernel_tells_it() -> None:
    world = switch_world()
    port, bridge = (replace(frame, time_ns=START_NS) for frame in world.frames[1:3])
    for frames in ([port, bridge], [bridge, port]):
        assert [row.shape for row in rows(draw_frames(frames, world.peers))] == ["arrow", "in"]


def test_a_long_line_is_cut_in_the_picture_but_not_in_the_text() -> None:
    name = ".".join(["x" * 58] * 4)
    labels = b"".join(b"\x3a" + b"x" * 58 for _ in range(4))
    data = dns_question(labels)
    picture = draw_frames([Frame(1, Endpoint("red", "red0"), "out", data, len(data))])
    assert f"DNS asks for A of {name}" in str(picture)
    (row,) = rows(picture)
    assert row.words[0].endswith("xxx…")
    assert picture.width < 1200


def test_a_frame_in_a_loop_is_told_lap_by_lap() -> None:
    world = World()
    for name in ("a", "b"):
        world.cable(f"s1:{name}1", f"s2:{name}2")
    for _ in range(3):
        world.send("s1:a1", arp(1, 2))
        world.send("s2:b2", arp(1, 2))
    picture = picture_of(world)
    assert [row[:4] for row in rows(picture)] == [("s1", "s2", "arrow", ("a1",)), ("s2", "s1", "arrow", ("b2",))] * 3
    assert [("same" in line) for line in str(picture).splitlines()[2:]] == [False, True] * 3


def test_a_cable_with_both_ends_in_one_namespace() -> None:
    world = World()
    world.cable("sw:one", "sw:two")
    world.send("sw:one", arp(1, 2))
    world.send("sw:one", arp(3, 4), delivered=False)
    assert [row[:4] for row in rows(picture_of(world))] == [
        ("sw", "sw", "loop", ("one > two",)), ("sw", "sw", "lost loop", ("one > two lost",))]


def test_without_cables_there_are_marks() -> None:
    picture = draw_frames(switch_world().frames[:2])
    assert [row[:4] for row in rows(picture)] == [
        ("red", "red", "out", ("red0 out",)), ("sw", "sw", "in", ("to-red in",))]
    assert str(picture).splitlines()[2:] == [f"1. red:red0 out: {ASKS}", f"2. sw:to-red in, the same frame: {ASKS}"]


def test_order_and_a_namespace_without_frames() -> None:
    world = switch_world()
    picture = draw_frames(world.frames, world.peers, order=["yellow", "blue", "sw"])
    assert list(lanes(picture).values()) == ["yellow", "blue", "sw", "red", "green"]
    assert "Lines from left to right: yellow, blue, sw, red, green\n" in str(picture)
    assert rows(picture) == rows(picture_of(world))


def test_cables_of_a_network() -> None:
    world = switch_world()
    states = {}
    for name in ("", *dict.fromkeys(end.namespace for end in world.peers)):
        links = [Link(end.link, 2, "veth", "", 1500, "up", True, "UP", peer=peer)
                 for end, peer in world.peers.items() if end.namespace == name]
        states[name] = NamespaceState(name, tuple(links))
    assert draw_frames(world.frames, Network(states)) == picture_of(world)


def test_the_first_namespace_has_a_name_in_words() -> None:
    picture = draw_frames([Frame(1, Endpoint("", "br0"), "in", arp(1, 2), 42)])
    assert list(lanes(picture).values()) == ["lab"]
    assert "Lines from left to right: the lab's first namespace\n1. :br0 in: " in str(picture)


def test_no_frames() -> None:
    assert str(draw_frames([])).splitlines() == [
        "Who sent what to whom: 0 network namespaces, 0 frames, 0 crossings of cables",
        "Lines from left to right: none"]
    ET.fromstring(draw_frames([]).svg)  # noqa: S314  (our own text)


@pytest.mark.parametrize("factor", [1, 7, 9999])
def test_the_picture_does_not_change_with_the_times(factor: int) -> None:
    world = switch_world()
    slower = draw_frames(moved(world.frames, factor), world.peers)
    assert slower._repr_html_() == picture_of(world)._repr_html_()
    assert draw_frames(world.frames[::-1], world.peers) == picture_of(world), "frames need not be sorted"


def test_more_than_two_hundred() -> None:
    world = World()
    world.cable("red:red0", "blue:blue0")
    for sequence in range(345):
        world.send("red:red0", echo(1, 2, sequence))
    picture = picture_of(world)
    note = "The first 200 of 345 are drawn; 145 are left out."
    assert len(rows(picture)) == 200
    assert str(picture).splitlines()[-1] == note
    assert note in [word.what for word in texts(picture)]
    assert_readable(picture)


def test_hostile_text_stays_text() -> None:
    data = dns_question(b"\x04<b>\x1b")
    frames = [Frame(1, Endpoint(HOSTILE, HOSTILE), "out", data, len(data)),
              Frame(2, Endpoint("x", HOSTILE), "in", b"", 0)]
    picture = draw_frames(frames, {Endpoint(HOSTILE, HOSTILE): Endpoint("y", HOSTILE)}, order=[HOSTILE])
    table = frame_table(frames)
    for text in (picture.svg, picture._repr_html_(), table._repr_html_()):
        root = ET.fromstring(text)  # noqa: S314  (our own text)
        assert not [element for element in root.iter() if element.tag.endswith("}b") or element.tag == "b"]
        assert "<b" not in text
    for text in (picture.svg, str(picture), str(table), table._repr_html_()):
        assert all(letter.isprintable() for letter in text.replace("\n", ""))
    assert r"DNS asks for A of <b>\027" in str(picture)
    assert HOSTILE[:15] in str(table)


def ends_told(line: str) -> tuple[str, str]:
    """Return from which line to which the text says that a frame went, as the names are written in the picture."""
    names = re.match(r"\d+\. (\S*):\S+ (?:> (\S*):\S+)?", line)
    assert names is not None
    start, end = ("lab" if not name else name if len(name) <= 28 else name[:27] + "…" for name in names.groups(""))
    return start, end if names[2] is not None else start


@pytest.mark.parametrize("first_seed", range(0, 200, 50))
def test_any_frames_are_readable_and_told_in_full(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 50):
        world = any_world(seed)
        picture = picture_of(world)
        assert_readable(picture)
        drawn = rows(picture) if world.frames else []
        told = str(picture).splitlines()[2:]
        assert len(drawn) == len(told)
        for row, line in zip(drawn, told, strict=True):
            assert all(word in line for word in (*row.words, *" ".join(row.beside).split())), (row, line)
            assert ("lost" in row.shape) == (", lost" in line)
            assert f" {row.shape}" in line or row.shape not in {"in", "out"}
            assert (row.start, row.end) == ends_told(line), (row, line)


def test_the_check_of_readability_sees_overlaps() -> None:
    picture = picture_of(switch_world())
    shifted = re.sub(r'(class="faint" x=")[\d.]+', r"\g<1>90", picture._drawing)
    with pytest.raises(AssertionError, match="lies on"):
        assert_readable(Picture(picture.title, picture.text, picture.width, picture.height, shifted))
