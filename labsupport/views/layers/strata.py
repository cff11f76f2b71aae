"""The heights of a layered picture, and the cables that lead through its channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from labsupport.views.canvas import LINE_HEIGHT
from labsupport.views.graph import Cable
from labsupport.views.layers.boxes import Box, Edge, Zones, measure_zones
from labsupport.views.layers.cluster import Cluster
from labsupport.views.layers.place import Row, lower_ends, upper_ends
from labsupport.views.layers.tracks import Net, assign_tracks

_TRACK = 15.0
_HOST_CHANNEL = 54.0
_ROW_CHANNEL = 46.0

Point = tuple[float, float]


@dataclass
class Channel:
    """The room between two layers of boxes, and the cables in it."""

    least_height: float
    nets: dict[Cable, Net] = field(default_factory=dict)
    levels: dict[Cable, float] = field(default_factory=dict)   # where the tracks are, for cables that need one
    y: float = 0.0
    floor: float = 0.0

    def assign(self, y: float) -> float:
        """Give each cable that needs one a track, if the channel begins at y; return where it ends."""
        numbers = assign_tracks(list(self.nets.values()))
        count = max(numbers, default=-1) + 1
        least = self.least_height if any(net.upper and net.lower for net in self.nets.values()) else 0.0
        height = max(least, _TRACK * (count + 1) if count else 0.0)
        self.levels = {cable: round(y + height * (number + 1) / (count + 1), 1)
                       for cable, number in zip(self.nets, numbers, strict=True) if number >= 0}
        self.y, self.floor = y, round(y + height, 1)
        return self.floor


class Layer:
    """Boxes of one height beside each other; of none, it has no height."""

    def __init__(self, boxes: list[Box], band: Edge) -> None:
        self.boxes = boxes
        self.zones = measure_zones(boxes, band) if boxes else Zones(band, 0, 0, 0, 0)
        self.y = 0.0
        self.floor = 0.0

    def move_to(self, y: float) -> float:
        """Put the upper edge at y; return the lower edge."""
        self.y, self.floor = y, round(y + self.zones.height, 1)
        return self.floor


class Stratum:
    """A row of clusters: hosts above, boxes, hosts below; a channel over each of them, which may be empty."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.clusters = [item for item in row if isinstance(item, Cluster)]
        self.above = Layer([leaf for cluster in self.clusters for leaf in cluster.above], "top")
        self.cores = Layer([cluster.core for cluster in self.clusters], self.clusters[0].band)
        self.below = Layer([leaf for cluster in self.clusters for leaf in cluster.below], "bottom")
        self.over_above, self.over_cores, self.over_below = (
            Channel(least) for least in (_ROW_CHANNEL, _HOST_CHANNEL, _HOST_CHANNEL))


class Strata:
    """All rows of a picture, from top to bottom."""

    def __init__(self, rows: list[Row]) -> None:
        self.strata = [Stratum(row) for row in rows]
        self.end = Channel(_ROW_CHANNEL)
        self.core_layers = {box.name: stratum.cores for stratum in self.strata for box in stratum.cores.boxes}
        y = 0.0
        for stratum, following in zip(self.strata, [*self.strata[1:], None], strict=True):
            under = following.over_above if following else self.end
            _lead_through(stratum, under, following)
            _lead_to_hosts(stratum)
            _lead_around(stratum, under)
            for channel, layer in ((stratum.over_above, stratum.above), (stratum.over_cores, stratum.cores),
                                   (stratum.over_below, stratum.below)):
                y = layer.move_to(channel.assign(y))
        self.height = self.end.assign(y)

    def cables(self) -> Iterator[tuple[Cable, list[Point]]]:
        """Yield every cable with its corners, but for those to hosts in lists."""
        channels = [channel for stratum in self.strata
                    for channel in (stratum.over_above, stratum.over_cores, stratum.over_below)]
        lines: dict[Cable, list[Point]] = {}
        last: dict[Cable, Point] = {}
        for channel in (*channels, self.end):
            for cable, net in channel.nets.items():
                start, stop = self._ends(cable, net, channel)
                xs = (*net.upper, *net.lower)
                line = lines.setdefault(cable, [(xs[0], start)])
                if cable in channel.levels:
                    line += [(x, channel.levels[cable]) for x in xs]
                last[cable] = (xs[-1], stop)
        for cable, line in lines.items():
            yield cable, [*line, last[cable]]
        for stratum in self.strata:
            yield from _beside(stratum)

    def _ends(self, cable: Cable, net: Net, channel: Channel) -> tuple[float, float]:
        """Return at which heights a cable begins and ends that is in this channel, and perhaps in others."""
        layers = [self.core_layers[end.namespace] for end in cable if end.namespace in self.core_layers]
        if len(layers) == 1:
            return channel.y, channel.floor
        if len(net.upper) != 1:
            return (channel.y, channel.y) if net.upper else (channel.floor, channel.floor)
        return min(layer.floor for layer in layers), max(layer.y for layer in layers)


def _lead_through(stratum: Stratum, under: Channel, following: Stratum | None) -> None:
    """Put the cables to the next row into the channel between."""
    if following:
        lower = upper_ends(following.row)
        under.nets.update({cable: Net((x,), (lower[cable],)) for cable, x in lower_ends(stratum.row).items()})


def _lead_to_hosts(stratum: Stratum) -> None:
    """Put the cables between boxes and their hosts into the channels between them."""
    x_of = {slot.end: slot.x for layer in (stratum.above, stratum.cores, stratum.below)
            for box in layer.boxes for slot in box.slots}
    for channel, hosts, are_above in ((stratum.over_cores, stratum.above, True),
                                      (stratum.over_below, stratum.below, False)):
        for slot in (slot for box in hosts.boxes for slot in box.slots):
            if slot.cable and slot.far:
                here, there = (slot.x,), (x_of[slot.far],)
                channel.nets[slot.cable] = Net(here, there) if are_above else Net(there, here)


def _lead_around(stratum: Stratum, under: Channel) -> None:
    """Put the cables that lead around others of their row into the nearest channel."""
    slots = {slot.end: slot for box in stratum.cores.boxes for slot in box.slots if slot.way == "around"}
    for cable in dict.fromkeys(slot.cable for slot in slots.values() if slot.cable):
        ends = slots[cable.first].x, slots[cable.second].x
        if slots[cable.first].edge == "top":
            (stratum.over_cores if stratum.above.boxes else stratum.over_above).nets[cable] = Net((), ends)
        else:
            (stratum.over_below if stratum.below.boxes else under).nets[cable] = Net(ends, ())


def _beside(stratum: Stratum) -> Iterator[tuple[Cable, list[Point]]]:
    """Yield the cables between neighbours."""
    for left, right in pairwise(stratum.cores.boxes):
        for slot in left.on("right"):
            y = round(stratum.cores.y + stratum.cores.zones.bottom + slot.depth + LINE_HEIGHT / 2, 1)
            if slot.cable:
                yield slot.cable, [(round(left.x + left.width, 1), y), (right.x, y)]
