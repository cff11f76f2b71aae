"""What a picture of a walk shows, read back from its SVG alone; and walks that nobody has walked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import combinations

from svg_geometry import Rectangle, elements, texts

from labsupport.net import Endpoint, WalkStep
from labsupport.views import Picture

SHAPES = {"a7 7": "sent", "a7.5 7.5": "delivered", "l8 -8": "route", "h16v16": "nat", "h12v15": "conntrack",
          "a3 3": "rule", "l14 14": "end"}


@dataclass
class MadeUp:
    """What the views ask of a walk."""

    steps: tuple[WalkStep, ...]
    answered: bool = True
    lost: bool = False
    peers: dict[Endpoint, Endpoint] = field(default_factory=dict)

    @property
    def capture(self) -> MadeUp:
        return self


def lanes(picture: Picture) -> list[tuple[Rectangle, str]]:
    """Return the boxes and the names in them."""
    found = []
    for element, dx, dy in elements(picture):
        if element.get("class") == "box":
            x, y, width, height = (float(element.attrib[key]) for key in ("x", "y", "width", "height"))
            box = Rectangle(x + dx, y + dy, x + dx + width, y + dy + height, "lane")
            found.append((box, "".join(word.what for word in texts(picture) if box.contains(word) and
                                       word.bottom < y + 70 and not re.fullmatch("[DS]", word.what))))
    return found


def drawn(picture: Picture) -> list[tuple[str, str, str]]:
    """Return the number, the namespaces and the shape of each row, read from the SVG alone."""
    boxes = lanes(picture)

    def lane(x: float, y: float) -> str:
        return next((name for box, name in boxes if box.left < x < box.right and box.top < y < box.bottom), "")

    shapes = []
    for element, _, _ in elements(picture):
        commands = element.get("d", "")
        start = re.match(r"M([-\d.]+) ([-\d.]+)", commands)
        shape = next((name for part, name in SHAPES.items() if part in commands), "")
        if start and shape:
            width = {"sent": 7, "delivered": 7.5, "route": 8, "nat": 8, "conntrack": 6, "rule": 3, "end": 7}[shape]
            top = {"nat": 8, "conntrack": 7.5, "end": 7}.get(shape, 0)
            shapes.append((shape, float(start[1]) + width, float(start[2]) + top))
    first = min(box.left for box, _ in boxes)
    rows = []
    for number in (word for word in texts(picture) if word.right < first and re.fullmatch(r"[\d-]+", word.what)):
        middle = (number.top + number.bottom) / 2
        here = [(lane(x, y), shape) for shape, x, y in shapes if abs(y - middle) < 4]
        if here:
            rows.append((number.what, *here[0]))
            continue
        across = [(float(m[1]), float(m[3])) for element, _, _ in elements(picture)
                  if (m := re.fullmatch(r"M([\d.]+) ([\d.]+)H([\d.]+)", element.get("d", "")))
                  and abs(float(m[2]) - middle) < 4]
        rows.append((number.what, f"{lane(across[0][0], middle)} {lane(across[-1][1], middle)}".strip(), "cable"))
    return rows


def assert_readable(picture: Picture) -> None:
    sheet = Rectangle(0, 0, picture.width, picture.height, "page")
    said = texts(picture)
    for word in said:
        assert sheet.contains(word), f"{word} is not on the page"
    for one, other in combinations(said, 2):
        assert not one.meets(other), f"{one} lies on {other}"
    boxes = [box for box, _ in lanes(picture)]
    for one, other in combinations(boxes, 2):
        assert not one.meets(other)
    for word in said:
        assert all(box.contains(word) or not box.meets(word) for box in boxes), f"{word} sticks out of its lane"
    for element, _, _ in elements(picture):
        line = re.fullmatch(r"M([\d.]+) ([\d.]+)([HV])([\d.]+)", element.get("d", ""))
        if line:
            x, y, end = float(line[1]), float(line[2]), float(line[4])
            right, bottom = (max(x, end), y) if line[3] == "H" else (x, max(y, end))
            left, top = (min(x, end), y) if line[3] == "H" else (x, min(y, end))
            piece = Rectangle(left - 1, top - 1, right + 1, bottom + 1, "way")
            assert sheet.contains(piece)
            crossed = [word.what for word in said if word.meets(piece) and word.what not in ("D", "S")]
            assert crossed == [], f"the way crosses words: {crossed}"
