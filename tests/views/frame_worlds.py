"""Frames of small networks as a capture would have them, and what a picture of them shows, read back from its SVG."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import NamedTuple

from svg_geometry import SVG, Rectangle, elements, texts

from labsupport.net import Endpoint, Frame
from labsupport.views import Picture

START_NS = 1_795_470_648_000_000_000
CROSSING_NS = 1_500  # how long a frame is in a cable


def arp(asks: int, for_whom: int) -> bytes:
    """Return the ARP request of 10.0.0.`asks` for 10.0.0.`for_whom`."""
    mac = bytes([2, 0, 0, 0, 0, asks])
    start = b"\xff" * 6 + mac + bytes.fromhex("08060001080006040001")
    return start + mac + bytes([10, 0, 0, asks]) + bytes(6) + bytes([10, 0, 0, for_whom])


def echo(source: int, destination: int, sequence: int = 1) -> bytes:
    """Return an ICMP echo request from 10.0.0.`source`; checksums are 0."""
    macs = bytes([2, 0, 0, 0, 0, destination, 2, 0, 0, 0, 0, source])
    ip = bytes.fromhex("450000200000400040010000") + bytes([10, 0, 0, source, 10, 0, 0, destination])
    return macs + b"\x08\x00" + ip + bytes([8, 0, 0, 0, 0, 1]) + sequence.to_bytes(2, "big") + bytes(4)


def dns_question(labels: bytes) -> bytes:
    """Return a frame that asks for an A record; checksums are 0."""
    question = bytes(2) + b"\x01\x00\x00\x01" + bytes(6) + labels + b"\x00\x00\x01\x00\x01"
    udp = bytes([0, 5, 0, 53]) + (8 + len(question)).to_bytes(2, "big") + bytes(2) + question
    ip = bytes.fromhex("4500") + (20 + len(udp)).to_bytes(2, "big") + bytes.fromhex("0000400040110000") + bytes(8)
    return arp(1, 2)[:12] + b"\x08\x00" + ip + udp


@dataclass
class World:
    """Cables, and the frames that went through them."""

    peers: dict[Endpoint, Endpoint] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    now_ns: int = START_NS

    def cable(self, one: str, other: str) -> None:
        here, there = (Endpoint(*end.split(":")) for end in (one, other))
        self.peers |= {here: there, there: here}

    def seen(self, end: str, direction: str, data: bytes) -> None:
        """Record that a frame was captured here."""
        self.now_ns += CROSSING_NS
        where = Endpoint(*end.split(":"))
        self.frames.append(Frame(self.now_ns, where, direction, data, len(data)))  # type: ignore[arg-type]

    def send(self, end: str, data: bytes, *, delivered: bool = True) -> None:
        """Record that a frame left here and, if it did, that it came out of the cable."""
        self.seen(end, "out", data)
        if delivered:
            peer = self.peers[Endpoint(*end.split(":"))]
            self.seen(f"{peer.namespace}:{peer.link}", "in", data)


def switch_world() -> World:
    """Return a `ping` from red to blue over a switch that floods ARP to green as well."""
    world = World()
    for name in ("red", "blue", "green"):
        world.cable(f"{name}:{name}0", f"sw:to-{name}")
    world.send("red:red0", arp(1, 2))
    world.seen("sw:br0", "in", arp(1, 2))
    world.send("sw:to-green", arp(1, 2))
    world.send("sw:to-blue", arp(1, 2))
    world.send("blue:blue0", echo(2, 1))
    world.send("sw:to-red", echo(2, 1))
    return world


def moved(frames: list[Frame], factor: int) -> list[Frame]:
    """Return the same frames as a slower machine would have captured them, another day."""
    return [replace(frame, time_ns=factor * 10**15 + factor * (frame.time_ns - START_NS)) for frame in frames]


class Row(NamedTuple):
    """One row of a picture: an arrow from line to line, or a mark on one line ("in", "out" or "loop")."""

    start: str
    end: str
    shape: str
    beside: tuple[str, ...]
    words: tuple[str, ...]


def lanes(picture: Picture) -> dict[float, str]:
    """Return which namespace each vertical line stands for, by its x, from left to right."""
    names = [(word.left + (word.right - word.left) / 2, word.what) for word, kind in _words(picture) if kind == "name"]
    found = {}
    for element, _, _ in elements(picture):
        if element.attrib["class"] == "lead":
            x = float(re.match(r"M(\S+) ", element.attrib["d"])[1])  # type: ignore[index]
            found[x] = min(names, key=lambda name: abs(name[0] - x))[1]
    return dict(sorted(found.items()))


def rows(picture: Picture) -> list[Row]:
    """Read a picture: what a reader sees in each row."""
    lines, words, shapes = lanes(picture), list(_words(picture)), list(_shapes(picture))
    summaries_x = min(word.left for word, kind in words if kind == "value")
    found = []
    for number, kind in words:
        if kind != "faint" or number.left > min(lines) - 20:
            continue
        top, bottom = number.top - 9, number.bottom + 3.5
        texts_here = [word for word, _ in words if top <= word.top and word.bottom <= bottom and word != number]
        found.append(Row(*_read_shape([(kind, path) for kind, path, y in shapes if top <= y <= bottom], lines),
                         tuple(word.what for word in texts_here if word.left < summaries_x),
                         tuple(word.what for word in texts_here if word.left >= summaries_x)))
    return found


def _words(picture: Picture) -> Iterator[tuple[Rectangle, str]]:
    kinds = [element.attrib["class"] for element, _, _ in elements(picture) if element.tag == f"{SVG}text"]
    return zip(texts(picture), kinds, strict=True)


def _shapes(picture: Picture) -> Iterator[tuple[str, str, float]]:
    """Yield class, path and height of everything that is drawn in a row."""
    for element, _, _ in elements(picture):
        kind = element.attrib["class"]
        if kind.startswith(("cable", "port")):
            circle = f"circle {element.get('cx')} {element.get('cy')}"
            path = element.get("d", circle)
            yield kind, path, float(re.match(r"\D+\S+ ([\d.]+)", path)[1])  # type: ignore[index]


def _read_shape(shapes: list[tuple[str, str]], lines: dict[float, str]) -> tuple[str, str, str]:
    def lane(x: float) -> str:
        return lines[min(lines, key=lambda line: abs(line - x))]

    kinds, paths = [kind for kind, _ in shapes], [path for _, path in shapes]
    x = float(re.match(r"\D+([\d.]+)", paths[0])[1])  # type: ignore[index]
    if kinds == ["port port-up"]:
        return lane(x), lane(x), "in" if paths[0].startswith("circle") else "out"
    arrow = re.fullmatch(r"M\S+ \S+H(\S+)", paths[0])
    if arrow is None:
        assert "h" in paths[0]
        return lane(x), lane(x), "loop" if kinds == ["cable cable-up", "port port-up"] else "lost loop"
    if kinds == ["cable cable-up", "port port-up"]:
        tip = float(re.match(r"M(\S+) ", paths[1])[1])  # type: ignore[index]
        return lane(x), lane(tip), "arrow"
    assert kinds == ["cable cable-down", "port port-down"]
    side = 1 if float(arrow[1]) > x else -1
    # The arrow breaks off before the line that it points to.
    return lane(x), lane(float(arrow[1]) + side * 30), "lost"


def assert_readable(picture: Picture) -> None:
    """Check that no word lies on a word, an arrow or beyond the page."""
    page = Rectangle(0, 0, picture.width, picture.height, "page")
    words = texts(picture)
    for word in words:
        assert page.contains(word), f"{word} is not on the page"
    for one, other in combinations(sorted(words, key=lambda word: word.top), 2):
        if other.top > one.bottom:
            continue
        assert not one.meets(other), f"{one} lies on {other}"
    for element, _, _ in elements(picture):
        arrow = re.fullmatch(r"M(\S+) (\S+)H(\S+)", element.attrib.get("d", ""))
        if arrow:
            start, y, end = map(float, arrow.groups())
            line = Rectangle(min(start, end), y - 1.3, max(start, end), y + 1.3, "arrow")
            assert page.contains(line)
            assert not [word for word in words if word.meets(line)], f"a word lies on an arrow: {line}"


def any_world(seed: int) -> World:
    """Return any frames on any cables: several between two namespaces, some within one, some captured at one end."""
    choose = random.Random(seed)  # noqa: S311  (no secret)
    names = choose.sample(["", "a", "bb", "red", "router", "switch-one", "x" * 60], choose.randint(1, 7))
    world = World()
    for number in range(choose.randint(1, 10)):
        ends = [f"{choose.choice(names)}:{side}{number}" + "x" * choose.randint(0, 12) for side in "ab"]
        world.cable(*ends)
    for _ in range(choose.randint(0, 45)):
        end = ":".join(choose.choice(list(world.peers)))
        other = choose.choice([b"", b"\xff" * choose.randrange(60), echo(2, 1, choose.randrange(9))])
        data = choose.choice([arp(1, 2), echo(1, 2), other])
        what = choose.randrange(5)
        if what < 3:
            world.send(end, data, delivered=what > 0)
        else:
            world.seen(choose.choice([end, f"{choose.choice(names)}:br0"]), choose.choice(["in", "out"]), data)
    return world
