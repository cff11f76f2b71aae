"""Turns a plan into rows of clusters: which port is on which edge of its box, and in which order they stand there."""

from __future__ import annotations

from itertools import pairwise

from labsupport.views.graph import Cable
from labsupport.views.layers.boxes import UPPER_AND_LOWER, Box, Edge, Slot, Wiring, make_box, set_depths
from labsupport.views.layers.cluster import Cluster, Entry, Section
from labsupport.views.layers.place import Pass, Row, add_passes, position
from labsupport.views.layers.plans import Parts, Plan
from labsupport.views.layers.roster import ListCluster

_Key = tuple[float, float, float]
_MOST_BESIDE = 5   # hosts that find room beside each other


def arrange(plan: Plan, parts: Parts, wiring: Wiring) -> list[Row]:
    """Return the rows of a plan; what is in them has no place yet."""
    clusters: dict[str, Cluster] = {}
    for number, names in enumerate(plan.rows):
        is_last = number > 0 and number == len(plan.rows) - 1
        for name in names:
            clusters[name] = _make_cluster(name, parts, wiring, split=plan.split, below=is_last)
    cables = [cable for cable in dict.fromkeys(wiring.cables.values())
              if cable.first.namespace in clusters and cable.second.namespace in clusters]
    rows = add_passes(plan, clusters, cables)
    lines = _Lines(rows)
    for row in rows:
        lines.join_neighbours(row)
    for cable in cables:
        lines.choose_edges(cable)
    for row in rows:
        in_row = [item for item in row if isinstance(item, Cluster)]
        for cluster in in_row:
            lines.make_sections(cluster)
        _choose_band(in_row)
    return rows


def _make_cluster(name: str, parts: Parts, wiring: Wiring, *, split: bool, below: bool) -> Cluster:
    core = make_box(parts.cores[name], wiring)
    in_order = list(dict.fromkeys(slot.leads_to for slot in core.slots))
    leaves = [make_box(state, wiring) for state in sorted(parts.hosts[name], key=lambda one: in_order.index(one.name))]
    for slot in core.slots:
        slot.edge = "bottom" if below else "top"
        slot.way = "host" if slot.leads_to in {leaf.name for leaf in leaves} else ""
    if parts.is_list(name):
        return ListCluster(core, leaves)
    above, below_it = _split(core, leaves) if split else ([], leaves) if below else (leaves, [])
    cluster = Cluster(core, above, below_it)
    _hang(core, cluster.above, "top", "bottom")
    _hang(core, cluster.below, "bottom", "top")
    return cluster


def _split(core: Box, leaves: list[Box]) -> tuple[list[Box], list[Box]]:
    """Return which hosts stand above a box and which below: those on its bridges and the others, or else halves."""
    plugged = {slot.leads_to for slot in core.slots if core.is_in_bridge(slot)}
    above = [leaf for leaf in leaves if leaf.name in plugged]
    below = [leaf for leaf in leaves if leaf.name not in plugged]
    half = (len(leaves) + 1) // 2
    if (above and below and max(len(above), len(below)) <= _MOST_BESIDE) or len(leaves) < 2:
        return above, below
    return leaves[:half], leaves[half:]


def _hang(core: Box, leaves: list[Box], edge: Edge, facing: Edge) -> None:
    """Put the ports between a core and its hosts on the edges that face each other."""
    names = {leaf.name for leaf in leaves}
    for slot in core.slots:
        if slot.leads_to in names:
            slot.edge = edge
    for leaf in leaves:
        for slot in leaf.slots:
            slot.edge, slot.way = facing, "host"


class _Lines:
    """The cables between cores."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.place = {item.core.name: (number, at, position(row, at)) for number, row in enumerate(rows)
                      for at, item in enumerate(row) if isinstance(item, Cluster)}
        self.slots = {slot.end: slot for row in rows for item in row if isinstance(item, Cluster)
                      for slot in item.core.slots}
        self.order = {cable: number for number, cable in enumerate(
            dict.fromkeys(slot.cable for slot in self.slots.values() if slot.cable))}
        self.passes = {(number, item.cable): position(row, at) for number, row in enumerate(rows)
                       for at, item in enumerate(row) if isinstance(item, Pass)}

    def join_neighbours(self, row: Row) -> None:
        """Put the ports between neighbours of a row on the sides that face each other, if their bridges reach there."""
        for left, right in pairwise(row):
            if not (isinstance(left, Cluster) and isinstance(right, Cluster)) or left.is_list or right.is_list:
                continue
            lefts = [slot for slot in left.core.slots if slot.leads_to == right.core.name]
            rights = [self.slots[slot.far] for slot in lefts if slot.far]
            if lefts and _reaches(left.core, "right", lefts) and _reaches(right.core, "left", rights):
                for slot, other in zip(lefts, rights, strict=True):
                    slot.edge, other.edge = "right", "left"
                    slot.way = other.way = "beside"
                set_depths(lefts, rights)

    def choose_edges(self, cable: Cable) -> None:
        """Choose the edges of a cable that does not join neighbours."""
        one, other = (self.slots[end] for end in cable)
        if one.way:
            return
        upper, lower = sorted((one, other), key=lambda slot: self.place[slot.end.namespace])
        row = self.place[upper.end.namespace][0]
        if row == self.place[lower.end.namespace][0]:
            edge: Edge = "top" if row and row == len(self.rows) - 1 else "bottom"
            upper.edge = lower.edge = edge
            upper.way = lower.way = "around"
        else:
            upper.edge, lower.edge = "bottom", "top"
            upper.way = lower.way = "through"

    def make_sections(self, cluster: Cluster) -> None:
        """Group the ports of a cluster by bridges, and put them in the order in which their cables cross least."""
        core = cluster.core
        loose = [slot for slot in core.on("top", "bottom") if not core.is_in_bridge(slot)]
        bridges = [] if cluster.is_list else sorted(core.bridges, key=lambda link: _rank(link.name, core))
        sections = {link.name: Section(link) for link in bridges}
        if loose or not sections:
            names = list(sections)
            names.insert(len(names) - ("right" in _sides(core)), "")
            sections = {name: sections.get(name, Section(None)) for name in names}
        for edge in UPPER_AND_LOWER:
            entries = _make_entries(core.on(edge), cluster)
            for entry in sorted(entries, key=lambda entry: self._key(entry, cluster)):
                master = entry.slots[0].link.master
                sections[master if master in sections else ""].entries[edge].append(entry)
        cluster.sections = list(sections.values())
        cluster.joins = len({slot.leads_to for slot in core.on("top") if slot.way == "through"})

    def _key(self, entry: Entry, cluster: Cluster) -> _Key:
        """Return where an entry belongs on its edge."""
        slot = entry.slots[0]
        number = cluster.core.slots.index(slot)
        if slot.cable is None or slot.far is None or slot.way == "host":
            return 2, number, 0
        row, at, own = self.place[cluster.core.name]
        if slot.leads_to == cluster.core.name:
            return 5, min(number, cluster.core.slots.index(self.slots[slot.far])), number
        other_row, other_at, place = self.place[slot.far.namespace]
        order = self.order[slot.cable]
        if row == other_row:
            return (0, at - other_at, -order) if other_at < at else (4, at - other_at, order)
        place = self.passes.get((row + (1 if other_row > row else -1), slot.cable), place)
        return (1 if place < own else 3), place, order


def _rank(bridge: str, core: Box) -> tuple[int, int]:
    """Order bridges: first that with ports on the left side, last that with ports on the right side."""
    sides = _sides(core)
    numbers = [number for number, slot in enumerate(core.slots) if slot.link.master == bridge]
    return (bridge == sides.get("right")) - (bridge == sides.get("left")), min(numbers, default=len(core.slots))


def _sides(core: Box) -> dict[Edge, str]:
    """Return which bridge must reach to the left and to the right side of a box."""
    return {slot.edge: slot.link.master for slot in core.on("left", "right") if core.is_in_bridge(slot)}


def _reaches(core: Box, edge: Edge, slots: list[Slot]) -> bool:
    """Return whether the bridge of some ports can reach to a side of the box, and those at the other side still can."""
    masters = {slot.link.master if core.is_in_bridge(slot) else "" for slot in slots}
    if masters == {""}:
        return True
    rest = [slot for slot in core.slots if slot not in slots and slot.edge not in {"left", "right"}]
    sections = len(core.bridges) + any(not core.is_in_bridge(slot) for slot in rest)
    other = _sides(core).get("left" if edge == "right" else "right", "")
    return len(masters) == 1 and (sections == 1 or masters != {other})


def _make_entries(slots: list[Slot], cluster: Cluster) -> list[Entry]:
    """Return a host with those of its ports that are in one bridge, and every other port, each for itself."""
    leaf_of: dict[str | None, Box] = {leaf.name: leaf for leaf in cluster.leaves}
    found: dict[str, Entry] = {}
    rest: list[Entry] = []
    for slot in slots:
        leaf = leaf_of.get(slot.leads_to)
        entry = found.get(leaf.name) if leaf else None
        if leaf is None or (entry and entry.slots[0].link.master != slot.link.master):
            rest.append(Entry([slot]))
        elif entry:
            entry.slots.append(slot)
        else:
            found[leaf.name] = Entry([slot], leaf)
    for entry in found.values():
        together = [slot.cable for slot in entry.slots]
        assert entry.leaf is not None  # noqa: S101  (made above)
        entry.leaf.slots.sort(key=lambda slot: together.index(slot.cable) if slot.cable in together else len(together))
    return [*found.values(), *rest]


def _choose_band(clusters: list[Cluster]) -> None:
    """Put the titles of a row where no port leads through them, or else the fewest."""
    def weight(edge: Edge) -> tuple[bool, int]:
        return (any(not cluster.is_free(edge) for cluster in clusters),
                sum(len(cluster.core.on(edge)) for cluster in clusters))

    for cluster in clusters:
        cluster.band = "top" if weight("top") < weight("bottom") else "bottom"
