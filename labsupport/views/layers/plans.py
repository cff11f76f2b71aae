"""Ways to arrange the switches and routers of a network in rows; the picture tries them and keeps the best.

A host is a namespace without a bridge that cables join with one other namespace. Hosts stand beside the box that they
hang on, so only the other boxes, the cores, need a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from labsupport.net import NamespaceState
from labsupport.views.graph import Group, adjacent, natural

MOST_HOSTS_AS_BOXES = 8   # of one core; more are a list
_MANY_CORES = 8
_MANY_HOSTS = 3   # of one core: perhaps on both sides of it
_GOOD_WIDTH = 1000.0
_HOST_WIDTH = 200.0
_PORT_WIDTH = 170.0


class Plan(NamedTuple):
    """Rows of cores, by name, from top to bottom, and whether hosts stand above and below a core."""

    rows: tuple[tuple[str, ...], ...]
    split: bool


class Parts(NamedTuple):
    """A group taken apart."""

    cores: dict[str, NamespaceState]
    hosts: dict[str, list[NamespaceState]]   # of each core
    joined: dict[str, set[str]]              # with which other cores

    def is_list(self, name: str) -> bool:
        """Return whether the hosts of a core are a list, and so it has a row for itself."""
        return len(self.hosts[name]) > MOST_HOSTS_AS_BOXES

    def width(self, name: str) -> float:
        """Return about how wide a core is with its hosts above it."""
        return max(_HOST_WIDTH * len(self.hosts[name]), _PORT_WIDTH * min(2, len(self.joined[name])) + 40)


def take_apart(group: Group) -> Parts:
    """Tell cores and hosts of a group."""
    neighbours = {name: others - {name} for name, others in adjacent(group).items()}
    in_itself = {cable.first.namespace for cable in group.cables if cable.first.namespace == cable.second.namespace}
    hosts = {state.name for state in group.members
             if len(neighbours[state.name]) == 1 and state.name not in in_itself
             and not any(link.kind == "bridge" for link in state.links)}
    if len(hosts) == len(group.members):
        hosts.remove(min(hosts))
    cores = {state.name: state for state in group.members if state.name not in hosts}
    hosts_of: dict[str, list[NamespaceState]] = {name: [] for name in cores}
    for state in group.members:
        if state.name in hosts:
            hosts_of[next(iter(neighbours[state.name]))].append(state)
    return Parts(cores, hosts_of, {name: neighbours[name] & cores.keys() for name in cores})


def plans(parts: Parts) -> list[Plan]:
    """Return the plans worth trying, the simplest first."""
    order = _line_up(parts)
    found = []
    few = len(order) <= _MANY_CORES
    all_in_one = max(1, round(sum(map(parts.width, order)) / _GOOD_WIDTH))
    for count in range(1, min(len(order), 5) + 1) if few else [all_in_one]:
        rows = _fold(order, count, parts.width)
        found += [rows, [row if number % 2 == 0 else row[::-1] for number, row in enumerate(rows)]]
    by_rank = sorted(order, key=lambda name: (-len(parts.joined[name]), natural(name)))
    found += [_layers(root, parts) for root in by_rank[: 6 if few else 2]]
    has_many = any(len(hosts) > _MANY_HOSTS and not parts.is_list(name) for name, hosts in parts.hosts.items())
    splits = [False, True] if has_many else [False]
    cut = [tuple(_cut(rows, parts)) for rows in found]
    return list(dict.fromkeys(Plan(rows, split) for split in splits for rows in cut))


def _line_up(parts: Parts) -> list[str]:
    """Return all cores in a line in which neighbours are joined if possible: chains from end to end, rings around."""
    joined, left = parts.joined, set(parts.cores)
    place: dict[str, int] = {}
    while left:
        def key(name: str) -> tuple[object, ...]:
            near = [place[other] for other in joined[name] if other in place]
            return -max(near, default=-1), -len(near), len(joined[name]), natural(name)

        chosen = min(left, key=key)
        place[chosen] = len(place)
        left.remove(chosen)
    return list(place)


def _fold(line: list[str], count: int, width: Callable[[str], float]) -> list[list[str]]:
    """Fold a line into so many rows of about the same width, the upper ones rather wider."""
    total, rows, used = sum(map(width, line)), [[]], 0.0  # type: tuple[float, list[list[str]], float]
    for number, name in enumerate(line):
        rows_left, names_left = count - len(rows), len(line) - number
        is_full = used + width(name) / 2 > total * len(rows) / count + 1
        if rows[-1] and rows_left and (is_full or names_left <= rows_left):
            rows.append([])
        rows[-1].append(name)
        used += width(name)
    return rows


def _layers(root: str, parts: Parts) -> list[list[str]]:
    """Return a root in the lowest row, those joined with it above, and so on: a tree that grows upwards."""
    rows, seen = [[root]], {root}
    while True:
        below = rows[-1]
        place = {name: number for number, name in enumerate(below)}
        following = {other for name in below for other in parts.joined[name]} - seen
        if not following:
            return rows[::-1]

        def key(name: str) -> tuple[object, ...]:
            near = [place[other] for other in parts.joined[name] if other in place]  # noqa: B023  (used at once)
            return sum(near) / len(near), natural(name)

        rows.append(sorted(following, key=key))
        seen |= following


def _cut(rows: list[list[str]], parts: Parts) -> Iterator[tuple[str, ...]]:
    """Cut rows that are too wide, and give each core with a list of hosts a row for itself."""
    for row in rows:
        piece: list[str] = []
        for name in row:
            too_wide = sum(map(parts.width, [*piece, name])) > 1.4 * _GOOD_WIDTH
            if piece and (too_wide or parts.is_list(name) or parts.is_list(piece[-1])):
                yield tuple(piece)
                piece = []
            piece.append(name)
        if piece:
            yield tuple(piece)
