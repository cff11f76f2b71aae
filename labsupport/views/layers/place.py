"""Gives every box, port and cable of a plan its place from left to right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from labsupport.views.graph import Cable
from labsupport.views.layers.boxes import Edge, Slot
from labsupport.views.layers.cluster import BOX_GAP, MOST_SHIFT, Cluster
from labsupport.views.layers.plans import Plan

_SIDE_CABLE = 64.0
_PASS_GAP = 20.0
_APART = 6.0
_NUDGE = 60.0   # a row moves so far at most to make cables straight
# How far ends of cables move aside at most: a pass less than its distance from the boxes beside it.
_SHIFTS = tuple(sign * shift for shift in (6.0, 12.0, MOST_SHIFT) for sign in (1, -1))


@dataclass
class Pass:
    """A cable that goes down between the boxes of a row."""

    cable: Cable
    x: float = 0.0
    width: float = 0.0


Row = list[Cluster | Pass]


def add_passes(plan: Plan, clusters: dict[str, Cluster], cables: list[Cable]) -> list[Row]:
    """Return the rows of a plan, with places for the cables that cross them."""
    rows: list[Row] = [[clusters[name] for name in names] for names in plan.rows]
    place = {name: (number, position(row, number_in_row)) for number, row in enumerate(plan.rows)
             for number_in_row, name in enumerate(row)}
    wanted: dict[int, list[tuple[float, Cable]]] = {}
    for cable in cables:
        (upper, start), (lower, end) = sorted(place[one.namespace] for one in cable)
        for number in range(upper + 1, lower):
            share = (number - upper) / (lower - upper)
            wanted.setdefault(number, []).append((start + (end - start) * share, cable))
    for number, passes in wanted.items():
        names = plan.rows[number]
        items: list[tuple[float, int, Cluster | Pass]] = [
            (position(names, place_in_row), -1, clusters[name]) for place_in_row, name in enumerate(names)]
        items += [(at, order, Pass(cable)) for order, (at, cable) in enumerate(passes)]
        # A pass exactly at the middle of a box goes to its right.
        rows[number] = [item for _, _, item in sorted(items, key=lambda one: one[:2])]
    return rows


def position(row: tuple[str, ...] | Row, number: int) -> float:
    """Return where a member of a row is, from -1 (left) to 1."""
    return (2 * number + 1) / len(row) - 1


def pack(rows: list[Row]) -> None:
    """Place the members of all rows side by side, each row below those that it is joined with."""
    for row in rows:
        x = 0.0
        for before, item in pairwise([None, *row]):
            assert item is not None  # noqa: S101  (only the first is)
            x += _gap(before, item)
            _move(item, x)
            x += item.width
    width = max(_right(row) for row in rows)
    for row in rows:
        _shift(row, (width - _right(row)) / 2)
    links = list(_links(rows))
    for _ in range(3):
        for number, row in enumerate(rows):
            pulls = [_middle(other) - _middle(own) for own, other, at in links if at == number]
            if pulls:
                wish = sum(pulls) / len(pulls)
                _shift(row, min(max(wish, -row[0].x), width - _right(row)))


def trim(rows: list[Row]) -> float:
    """Move everything until the leftmost box is at 0; return the width."""
    left = min(row[0].x for row in rows)
    for row in rows:
        _shift(row, -left)
    return round(max(_right(row) for row in rows), 1)


def _gap(before: Cluster | Pass | None, item: Cluster | Pass) -> float:
    if before is None:
        return 0.0
    if isinstance(before, Pass) or isinstance(item, Pass):
        return _PASS_GAP
    return _SIDE_CABLE if before.core.on("right") else BOX_GAP


def _move(item: Cluster | Pass, x: float) -> None:
    if isinstance(item, Pass):
        item.x = round(x, 1)
    else:
        item.move_to(x)


def _shift(row: Row, distance: float) -> None:
    for item in row:
        _move(item, item.x + distance)


def _right(row: Row) -> float:
    return row[-1].x + row[-1].width


def _middle(item: Cluster | Pass) -> float:
    return item.x + item.width / 2


def _links(rows: list[Row]) -> Iterator[tuple[Cluster | Pass, Cluster | Pass, int]]:
    """Yield each pair of members that a cable joins in neighbouring rows, both ways, with the row of the first."""
    for number, (upper, lower) in enumerate(pairwise(rows)):
        ends = _leaving(upper, "bottom")
        for cable, item in _leaving(lower, "top").items():
            yield ends[cable], item, number
            yield item, ends[cable], number + 1


def _leaving(row: Row, edge: Edge) -> dict[Cable, Cluster | Pass]:
    """Return the members of a row from which cables lead to the next row, or to the one before."""
    found: dict[Cable, Cluster | Pass] = {}
    for item in row:
        if isinstance(item, Pass):
            found[item.cable] = item
        else:
            found.update((slot.cable, item) for slot in item.core.on(edge) if slot.cable and slot.way == "through")
    return found


def settle(rows: list[Row]) -> None:
    """Move ports and passes along their edges until most cables between rows are straight, and no two meet."""
    above: dict[Cable, float] = {}
    for number, row in enumerate(rows):
        following = _leaving(rows[number + 1], "top") if number + 1 < len(rows) else {}
        _settle_row(row, above, following)
        nudges = [above[cable] - x for cable, x in upper_ends(row).items() if 0 < abs(above[cable] - x) <= _NUDGE]
        for nudge in nudges:
            straight = _count_straight(row, above)
            _shift(row, nudge)
            _settle_row(row, above, following)
            if _count_straight(row, above) <= straight:
                _shift(row, -nudge)
                _settle_row(row, above, following)
        if number:
            _separate(row, rows[number - 1])
        above = lower_ends(row)


def _settle_row(row: Row, above: dict[Cable, float], following: dict[Cable, Cluster | Pass]) -> None:
    _straighten_passes(row, above)
    for item in row:
        if isinstance(item, Cluster):
            _settle_cluster(item, above, following, row)


def _count_straight(row: Row, above: dict[Cable, float]) -> int:
    return sum(above[cable] == x for cable, x in upper_ends(row).items())


def lower_ends(row: Row) -> dict[Cable, float]:
    """Return at which x cables leave a row towards the next."""
    return _ends(row, "bottom")


def upper_ends(row: Row) -> dict[Cable, float]:
    """Return at which x cables come into a row from the one before."""
    return _ends(row, "top")


def _ends(row: Row, edge: Edge) -> dict[Cable, float]:
    return {end.cable: end.x for end in _facing(row, edge)
            if end.cable and (isinstance(end, Pass) or end.way == "through")}


def _straighten_passes(row: Row, above: dict[Cable, float]) -> None:
    for number, item in enumerate(row):
        if isinstance(item, Pass):
            left = row[number - 1].x + row[number - 1].width + _PASS_GAP if number else item.x
            right = row[number + 1].x - _PASS_GAP if number + 1 < len(row) else item.x
            item.x = round(max(left, min(right, above[item.cable])), 1)


def _settle_cluster(cluster: Cluster, above: dict[Cable, float], following: dict[Cable, Cluster | Pass],
                    row: Row) -> None:
    """Move the ports of a cluster: the upper ones below where cables come from, the lower ones to where they go."""
    left_of: dict[str | None, float] = {item.core.name: item.x for item in row if isinstance(item, Cluster)}

    def around(slot: Slot) -> float | None:
        """Cables to the right of the row start at the right end of the edge."""
        return cluster.x + cluster.width if left_of[slot.leads_to] > cluster.x else None

    def wanted_above(slot: Slot) -> float | None:
        return around(slot) if slot.way == "around" else above.get(slot.cable) if slot.cable else None

    def wanted_below(slot: Slot) -> float | None:
        if slot.way == "around":
            return around(slot)
        other = following.get(slot.cable) if slot.cable else None
        if other is None:
            return None
        if isinstance(other, Pass):
            return other.x
        return _meeting_place(slot, cluster, other)

    cluster.settle("top", wanted_above)
    cluster.settle("bottom", wanted_below)


def _meeting_place(slot: Slot, upper: Cluster, lower: Cluster) -> float:
    """Return where a cable from one cluster down to another would best be straight."""
    there = next(one for one in lower.core.slots if one.end == slot.far)
    if not lower.is_free("top"):
        return there.x
    spans = [upper.span(upper.section_of(slot), "bottom"), lower.span(lower.section_of(there), "top")]
    left = max(span[0] for span in spans)
    right = min(span[1] for span in spans) - slot.room
    together = sum(one.leads_to == lower.core.name for one in upper.core.on("bottom"))
    wish = (left + right - slot.room * (together - 1)) / 2
    opposite = upper.core.on("top")
    if len(opposite) == len(upper.core.on("bottom")) == 1:
        wish = opposite[0].x   # one line in, one line out: nicest if they are one line
    if left > right:
        return left if lower.x > upper.x else right
    return max(left, min(right, wish))


def _separate(row: Row, before: Row) -> None:
    """Move the upper ends of cables aside that would lie on others in the channel above the row."""
    taken = [(end.cable, end.x) for end in _facing(before, "bottom")]
    for end in _facing(row, "top"):
        others = [x for cable, x in taken if cable != end.cable]
        tries = (round(end.x + shift, 1) for shift in (0.0, *_SHIFTS))
        end.x = next((x for x in tries if all(abs(x - other) >= _APART for other in others)), end.x)
        taken.append((end.cable, end.x))


def _facing(row: Row, edge: Edge) -> Iterator[Pass | Slot]:
    """Yield the ends of cables in the channel over or under a row, but for those to hosts."""
    for item in row:
        if isinstance(item, Pass):
            yield item
        else:
            yield from (slot for slot in item.core.on(edge) if slot.way in {"through", "around"})
