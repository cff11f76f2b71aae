"""The table of frames must tell the same in HTML and in text, and nothing but its times may differ between two runs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from frame_worlds import World, arp, echo, moved, switch_world

from labsupport.views import frame_table

ASKS, PING, WHO = "ARP who has 10.0.0.2? tell 10.0.0.1", "ICMP echo request seq 1, ttl 64", "10.0.0.2 > 10.0.0.1"


def html_rows(html: str) -> list[list[str]]:
    table = ET.fromstring(html)  # noqa: S314  (our own text)
    return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]


@pytest.mark.parametrize("factor", [1, 7, 9999])
def test_only_the_times_of_the_table_change(factor: int) -> None:
    frames = switch_world().frames
    one, other = frame_table(frames), frame_table(moved(frames, factor))
    assert [len(line) for line in str(one).splitlines()] == [len(line) for line in str(other).splitlines()]
    for before, after in ((str(one), str(other)), (one._repr_html_(), other._repr_html_())):
        assert re.sub(r" *\+\d+\.\d{3} ms", "TIME", before) == re.sub(r" *\+\d+\.\d{3} ms", "TIME", after)


def test_the_table_and_its_text_tell_the_same() -> None:
    frames = switch_world().frames
    table = frame_table(frames)
    html = html_rows(table._repr_html_())
    lines = str(table).splitlines()
    assert lines[0] == "11 frames"
    assert [re.split(r"  +", line.strip()) for line in lines[1:]] == html
    assert html[0] == ["no.", "time", "interface", "in/out", "from > to", "bytes", "what"]
    assert html[1] == ["1", "+0.000 ms", "red:red0", "out", "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff", "42", ASKS]
    assert html[3][1:4] == ["+0.003 ms", "sw:br0", "in"]
    assert html[-1][4:] == ["02:00:00:00:00:02 > 02:00:00:00:00:01", "46", f"{WHO}, {PING}"]
    assert table._repr_mimebundle_() == {"text/html": table._repr_html_(), "text/plain": str(table)}


def test_a_table_of_some_frames_counts_from_the_first_of_them() -> None:
    frames = switch_world().frames
    assert html_rows(frame_table(frame for frame in frames[4:])._repr_html_())[1][1] == "+0.000 ms"


def test_no_frames() -> None:
    assert str(frame_table([])) == "No frames"
    assert html_rows(frame_table([])._repr_html_()) == []
    assert "No frames" in frame_table([])._repr_html_()


def test_more_than_two_hundred() -> None:
    world = World()
    for sequence in range(345):
        world.seen("red:red0", "out", echo(1, 2, sequence))
    table = frame_table(world.frames)
    assert str(table).splitlines()[0] == "The first 200 of 345 frames; 145 are left out"
    assert len(html_rows(table._repr_html_())) == len(str(table).splitlines()) - 1 == 201


def test_two_hundred_are_not_too_many() -> None:
    world = World()
    for _ in range(200):
        world.seen("red:red0", "out", arp(1, 2))
    assert str(frame_table(world.frames)).splitlines()[0] == "200 frames"
