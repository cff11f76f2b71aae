"""Where the words, boxes, ports and cables of a picture are, measured from its SVG alone."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from bisect import bisect_left
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from labsupport.views.picture import Picture

SVG = "{http://www.w3.org/2000/svg}"
# Advance widths of DejaVu Sans Mono and, for the longest of our words, DejaVu Sans, by font size.
MONO_ADVANCE, SANS_ADVANCE = 0.602, 0.60
SANS_CLASSES = {"word", "caption"}
# Words outside all boxes: beside a cable, and above a list of hosts.
OUTSIDE = re.compile(r"veth pair|\d+ network namespaces|each:|\S+ via \S+")


class Rectangle(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float
    what: str

    def meets(self, other: Rectangle) -> bool:
        return (self.left < other.right and other.left < self.right
                and self.top < other.bottom and other.top < self.bottom)

    def contains(self, other: Rectangle) -> bool:
        return (self.left <= other.left and other.right <= self.right
                and self.top <= other.top and other.bottom <= self.bottom)

    def smaller(self, by: float) -> Rectangle:
        return Rectangle(self.left + by, self.top + by, self.right - by, self.bottom - by, self.what)


def elements(picture: Picture) -> Iterator[tuple[ET.Element, float, float]]:
    """Yield every element with the shift of its group."""
    root = ET.fromstring(picture.svg)  # noqa: S314  (our own text)
    for group in root.iter(f"{SVG}g"):
        shift = re.fullmatch(r"translate\((\S+) (\S+)\)", group.attrib["transform"])
        assert shift is not None
        for element in group:
            yield element, float(shift[1]), float(shift[2])


def texts(picture: Picture) -> list[Rectangle]:
    found = []
    for element, dx, dy in elements(picture):
        if element.tag == f"{SVG}text":
            size, text = float(element.attrib["font-size"]), element.text or ""
            width = len(text) * size * (SANS_ADVANCE if element.attrib["class"] in SANS_CLASSES else MONO_ADVANCE)
            x, y = float(element.attrib["x"]) + dx, float(element.attrib["y"]) + dy
            found.append(Rectangle(x, y - 0.76 * size, x + width, y + 0.24 * size, text))
    return found


def boxes(picture: Picture) -> list[Rectangle]:
    found = []
    for element, dx, dy in elements(picture):
        if element.attrib["class"] == "box":
            x, y, width, height = (float(element.attrib[key]) for key in ("x", "y", "width", "height"))
            found.append(Rectangle(x + dx, y + dy, x + dx + width, y + dy + height, "box"))
    return found


def cables(picture: Picture) -> list[list[Rectangle]]:
    """Return each cable as its straight pieces, half a pixel thick to each side."""
    return _lines(picture, "cable")


def leads(picture: Picture) -> list[list[Rectangle]]:
    """Return the lines between ports and their labels or bridges in the same way."""
    return _lines(picture, "lead")


def bundles(picture: Picture) -> list[list[Rectangle]]:
    """Return the double lines that stand for several cables in the same way."""
    return _lines(picture, "bundle")


def bridges(picture: Picture) -> list[Rectangle]:
    """Return the rectangles around the bridges."""
    found = []
    for element, dx, dy in elements(picture):
        if element.attrib["class"] == "bridge":
            steps = re.findall(r"([Mhvl])([-\d.]+)(?: ([-\d.]+))?", element.attrib["d"])
            x, y, corners = 0.0, 0.0, []
            for kind, first, second in steps:
                x += float(first) if kind in "Mhl" else 0
                y += float(first) if kind == "v" else float(second) if kind in "Ml" else 0
                corners.append((x + dx, y + dy))
            across, along = zip(*corners, strict=True)
            found.append(Rectangle(min(across), min(along), max(across), max(along), "bridge"))
    return found


def ports(picture: Picture) -> list[Rectangle]:
    """Return the squares around the signs of links."""
    found = []
    for element, dx, dy in elements(picture):
        if element.attrib["class"].startswith("port "):
            if element.tag == f"{SVG}circle":
                x, y, radius = (float(element.attrib[key]) for key in ("cx", "cy", "r"))
            else:
                corner = re.match(r"M([-\d.]+) ([-\d.]+)h([\d.]+)", element.attrib["d"])
                assert corner is not None
                radius = float(corner[3]) / 2
                x, y = float(corner[1]) + radius, float(corner[2]) + radius
            x, y = x + dx, y + dy
            found.append(Rectangle(x - radius, y - radius, x + radius, y + radius, "port"))
    return found


def _lines(picture: Picture, kind: str) -> list[list[Rectangle]]:
    found = []
    for element, dx, dy in elements(picture):
        if element.attrib["class"].split()[0] != kind:
            continue
        steps = re.findall(r"([MVH])(\S+?(?: \S+?)?)(?=[MVH]|$)", element.attrib["d"])
        x = y = 0.0
        pieces = []
        for direction, value in steps:
            if direction == "M":
                x, y = map(float, value.split())
                continue
            to_x, to_y = (x, float(value)) if direction == "V" else (float(value), y)
            if (x, y) != (to_x, to_y):
                pieces.append(Rectangle(min(x, to_x) + dx - 0.5, min(y, to_y) + dy - 0.5,
                                        max(x, to_x) + dx + 0.5, max(y, to_y) + dy + 0.5, direction))
            x, y = to_x, to_y
        found.append(pieces)
    return found


def assert_readable(picture: Picture) -> None:
    assert_words_are_free(picture)
    assert_boxes_and_ports_are_free(picture)
    assert_cables_are_free(picture)


def assert_words_are_free(picture: Picture) -> None:
    words, frames, bars = texts(picture), boxes(picture), bridges(picture)
    page = Rectangle(0, 0, picture.width, picture.height, "page")
    lines = [piece for line in (*cables(picture), *bundles(picture), *leads(picture)) for piece in line]
    assert words
    for one, other in _pairs_that_meet(words, words):
        raise AssertionError(f"{one} lies on {other}")
    for word, piece in _pairs_that_meet(words, lines):
        raise AssertionError(f"a line crosses a word: {piece} {word}")
    for word, port in _pairs_that_meet(words, ports(picture)):
        raise AssertionError(f"a port lies on a word: {port} {word}")
    for word, frame in _pairs_that_meet(words, [*frames, *bars]):
        assert frame.contains(word), f"{word} sticks out of its {frame}"
    for word in words:
        assert page.contains(word)
        assert OUTSIDE.fullmatch(word.what) or any(frame.contains(word) for frame in frames), f"{word} is in no box"


def assert_boxes_and_ports_are_free(picture: Picture) -> None:
    frames, bars, signs = boxes(picture), bridges(picture), ports(picture)
    page = Rectangle(0, 0, picture.width, picture.height, "page")
    assert frames
    for alike in (frames, bars, signs):
        for one, other in _pairs_that_meet(alike, alike):
            raise AssertionError(f"{one} lies on {other}")
    for inner in bars:
        assert any(frame.contains(inner) for frame in frames), f"{inner} is in no box"
    for item in (*frames, *signs):
        assert page.contains(item), f"{item} is outside the page"
    for line in leads(picture):
        inside = [frame for frame in frames if all(frame.contains(piece.smaller(0.6)) for piece in line)]
        assert inside, "the line from a port to its bridge leaves its box"


def assert_cables_are_free(picture: Picture) -> None:
    frames, signs = [frame.smaller(1) for frame in boxes(picture)], ports(picture)
    lines = [*cables(picture), *bundles(picture)]
    page = Rectangle(0, 0, picture.width, picture.height, "page")
    pieces = [piece for line in lines for piece in line]
    for piece in pieces:
        assert page.contains(piece)
    for piece, frame in _pairs_that_meet(pieces, frames):
        raise AssertionError(f"a cable is on a box: {piece} {frame}")
    number_of = {id(piece): number for number, line in enumerate(lines) for piece in line}
    for one, other in _pairs_that_meet(pieces, pieces):
        crosses = one.what != other.what
        assert crosses or number_of[id(one)] == number_of[id(other)], f"two cables on each other: {one} {other}"
    for line in lines:
        assert line, "a cable without length"
        ends = {number for number, sign in enumerate(signs) if any(piece.meets(sign) for piece in line)}
        assert len(ends) == 2, f"a cable must meet the ports at its ends and no other: {line} meets {len(ends)}"


def _pairs_that_meet(ones: list[Rectangle], others: list[Rectangle]) -> Iterator[tuple[Rectangle, Rectangle]]:
    """Yield pairs of different rectangles that meet, each once."""
    if ones is others:
        yield from ((one, other) for one, other in combinations(ones, 2) if one.meets(other))
        return
    from_left = sorted(others)
    lefts = [other.left for other in from_left]
    for one in ones:
        yield from ((one, other) for other in from_left[: bisect_left(lefts, one.right)] if one.meets(other))
