"""Where the words, boxes and cables of a picture are, measured from its SVG alone."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from labsupport.views.picture import Picture

SVG = "{http://www.w3.org/2000/svg}"
# Advance widths of DejaVu Sans Mono and, for the longest of our words, DejaVu Sans, by font size.
MONO_ADVANCE, SANS_ADVANCE = 0.602, 0.60
SANS_CLASSES = {"word", "caption"}


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
    found = []
    for element, dx, dy in elements(picture):
        if not element.attrib["class"].startswith("cable "):
            continue
        steps = re.findall(r"([MVH])(\S+?(?: \S+?)?)(?=[VH]|$)", element.attrib["d"])
        x, y = map(float, steps[0][1].split())
        pieces = []
        for direction, value in steps[1:]:
            to_x, to_y = (x, float(value)) if direction == "V" else (float(value), y)
            if (x, y) != (to_x, to_y):
                pieces.append(Rectangle(min(x, to_x) + dx - 0.5, min(y, to_y) + dy - 0.5,
                                        max(x, to_x) + dx + 0.5, max(y, to_y) + dy + 0.5, direction))
            x, y = to_x, to_y
        found.append(pieces)
    return found


def assert_readable(picture: Picture) -> None:
    words, frames, lines = texts(picture), boxes(picture), cables(picture)
    page = Rectangle(0, 0, picture.width, picture.height, "page")
    assert words
    assert frames
    for one, other in combinations(words, 2):
        assert not one.meets(other), f"{one} lies on {other}"
    for one, other in combinations(frames, 2):
        assert not one.meets(other), f"{one} lies on {other}"
    for frame in frames:
        assert page.contains(frame)
    for word in words:
        assert page.contains(word)
        around = [frame for frame in frames if frame.meets(word)]
        assert all(frame.contains(word) for frame in around), f"{word} sticks out of its box"
        assert around or word.what == "veth pair", f"{word} is in no box"
    for piece in (piece for line in lines for piece in line):
        assert page.contains(piece)
        assert not any(piece.meets(word) for word in words), f"a cable crosses a word: {piece}"
    for one_line, other_line in combinations(lines, 2):
        for piece in one_line:
            assert not any(piece.what == other.what and piece.meets(other) for other in other_line), \
                f"two cables on each other: {piece}"
