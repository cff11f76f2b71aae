"""Draws a network of switches and routers: they stand in rows, with their hosts above, below or beside them.

Boxes face the channels between the rows with their ports. Cables run down and up, and sideways only in a channel,
each on a track of its own: no cable meets a box that it does not end at, and no two lie on each other.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import NamedTuple

from labsupport.net import Network
from labsupport.views.canvas import Canvas
from labsupport.views.graph import Cable, Group, cable_state
from labsupport.views.layers.arrange import arrange
from labsupport.views.layers.boxes import Wiring
from labsupport.views.layers.cluster import Cluster
from labsupport.views.layers.place import Row, pack, settle, trim
from labsupport.views.layers.plans import plans, take_apart
from labsupport.views.layers.strata import Point, Strata

GOOD_WIDTH = 1000.0
_MOST_COMPARED = 80   # cables; with more of them crossings are not counted


class _Layout(NamedTuple):
    strata: Strata
    cables: dict[Cable, list[Point]]
    width: float


def draw_layers(group: Group, network: Network) -> tuple[Canvas, float, float]:
    """Draw any group of namespaces: the best of some arrangements.

    Returns:
        The drawing, its width and its height in pixels.
    """
    wiring, parts = Wiring(group), take_apart(group)
    layouts = [_lay_out(arrange(plan, parts, wiring)) for plan in plans(parts)]
    best = min(layouts, key=_cost)
    canvas = Canvas()
    for cable, line in sorted(best.cables.items()):
        _draw_cable(canvas, line, f"cable cable-{cable_state(cable, network)}")
    for stratum in best.strata.strata:
        for cluster in stratum.clusters:
            cluster.draw_hosts(canvas, stratum.cores.y + stratum.cores.zones.middle, network)
        for layer in (stratum.above, stratum.cores, stratum.below):
            for box in layer.boxes:
                box.draw(canvas, layer.y, layer.zones)
    return canvas, best.width, best.strata.height


def _lay_out(rows: list[Row]) -> _Layout:
    clusters = [item for row in rows for item in row if isinstance(item, Cluster)]
    for cluster in clusters:
        cluster.measure()
    pack(rows)
    settle(rows)
    width = trim(rows)
    for cluster in clusters:
        cluster.finish()
    strata = Strata(rows)
    return _Layout(strata, dict(strata.cables()), width)


def _draw_cable(canvas: Canvas, line: list[Point], kind: str) -> None:
    path = f"M{line[0][0]:g} {line[0][1]:g}"
    for (x, y), (to_x, to_y) in pairwise(line):
        path += (f"H{to_x:g}" if to_x != x else "") + (f"V{to_y:g}" if to_y != y else "")
    canvas.path(kind, path)


def _cost(layout: _Layout) -> float:
    """Return how bad a picture is: too wide, too high, cables that bend, cross, or go a long way."""
    pieces = [list(pairwise(line)) for line in layout.cables.values()]
    bends = sum(len(one) > 1 for one in pieces)
    length = sum(abs(x - to_x) + abs(y - to_y) for one in pieces for (x, y), (to_x, to_y) in one)
    compared = pieces if len(pieces) <= _MOST_COMPARED else []
    crossings = sum(_cross(one, other) for one, other in combinations(compared, 2))
    too_wide = max(0.0, layout.width - GOOD_WIDTH)
    size = 4 * too_wide + 0.2 * layout.width + 0.5 * layout.strata.height + 80 * len(layout.strata.strata)
    return size + 25 * bends + 100 * crossings + 0.1 * length


def _cross(one: list[tuple[Point, Point]], other: list[tuple[Point, Point]]) -> int:
    """Return how often two cables cross."""
    count = 0
    for (x1, y1), (x2, y2) in one:
        for (u1, v1), (u2, v2) in other:
            if (x1 == x2) != (u1 == u2):
                across, along = ((u1, u2, v1), (y1, y2, x1)) if x1 == x2 else ((x1, x2, y1), (v1, v2, u1))
                count += min(across[:2]) < along[2] < max(across[:2]) and min(along[:2]) < across[2] < max(along[:2])
    return count
