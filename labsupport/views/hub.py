"""Draws namespaces around bridges or a router: leaves in the upper row, hubs in the lower, cables between the rows.

All ports face the channel between the rows. A cable whose ports stand above each other is a straight line; every other
one has a level of the channel for itself, so that no two cables ever lie on each other, whatever the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from labsupport.net import Endpoint, Link, NamespaceState, Network
from labsupport.views.canvas import LINE_HEIGHT, Canvas
from labsupport.views.graph import Cable, Group, adjacent, cable_is_up, port_state
from labsupport.views.labels import (
    BAND_HEIGHT,
    PADDING,
    Block,
    band_width,
    bridge_block,
    draw_band,
    inner_blocks,
    port_block,
)

_BOX_GAP = 28.0
_SLOT_GAP = 22.0
_TEXT_BESIDE_LEAD = 12.0
_LEVEL_HEIGHT = 15.0
_CHANNEL_LEAST_HEIGHT = 54.0
_ROW_GAP = 12.0
_TIP = 12.0


@dataclass
class _Slot:
    link: Link
    block: Block
    width: float
    cables: list[Cable]
    x: float = 0.0


@dataclass
class _Box:
    state: NamespaceState
    slots: list[_Slot]
    bridges: list[Link]
    inner: list[Block]
    x: float = 0.0
    width: float = 0.0
    bars: list[tuple[Link, float, float]] = field(default_factory=list)  # bridge, left, width

    @property
    def slots_height(self) -> float:
        return max((slot.block.height for slot in self.slots), default=0.0)

    @property
    def inner_height(self) -> float:
        return sum(block.height + _ROW_GAP for block in self.inner)

    @property
    def bars_height(self) -> float:
        return max((bridge_block(link).height + 14 for link in self.bridges), default=0.0)


def draw_hub(group: Group, network: Network) -> tuple[Canvas, float, float]:
    """Draw any group of namespaces.

    Returns:
        The drawing, its width and its height in pixels.
    """
    hubs = _choose_hubs(group)
    upper = _order_leaves(group, hubs)
    leaves = [_make_box(state, group, network) for state in upper]
    centre = [_make_box(state, group, network) for state in hubs]
    _place_leaves(leaves, {state.name for state in hubs})
    port_x = {Endpoint(box.state.name, slot.link.name): slot.x for box in leaves for slot in box.slots}
    _place_hubs(centre, port_x, _reach(leaves))
    return _draw(group, leaves, centre, network)


def _choose_hubs(group: Group) -> list[NamespaceState]:
    """Return the namespaces with bridges; without any, the one that most others are joined with."""
    with_bridge = [state for state in group.members if any(link.kind == "bridge" for link in state.links)]
    if with_bridge or len(group.members) == 1:
        return with_bridge
    neighbours = adjacent(group)
    return [max(group.members, key=lambda state: len(neighbours[state.name] - {state.name}))]


def _order_leaves(group: Group, hubs: list[NamespaceState]) -> list[NamespaceState]:
    """Put leaves above their hubs."""
    position = {state.name: number for number, state in enumerate(hubs)}
    neighbours = adjacent(group)

    def key(state: NamespaceState) -> tuple[float, str]:
        own = [position[name] for name in neighbours[state.name] if name in position]
        return (sum(own) / len(own) if own else len(hubs)), state.name

    return sorted((state for state in group.members if state.name not in position), key=key)


def _make_box(state: NamespaceState, group: Group, network: Network) -> _Box:
    bridges = [link for link in state.links if link.kind == "bridge"]
    masters = {link.name for link in bridges}
    slots = []
    for link in state.links:
        end = Endpoint(state.name, link.name)
        cables = [cable for cable in group.cables if end in cable]
        if cables or link.master in masters:
            block = port_block(link)
            peers = [network.link(cable.other(end)) for cable in cables]
            widest = max([block.width, *(port_block(peer).width for peer in peers if peer is not None)])
            slots.append(_Slot(link, block, widest + _TEXT_BESIDE_LEAD, cables))
    drawn = masters | {slot.link.name for slot in slots}
    return _Box(state, slots, bridges, inner_blocks(state, drawn))


def _least_width(box: _Box) -> float:
    inner = max((block.width for block in box.inner), default=0.0) + 2 * PADDING
    return max(band_width(box.state), inner)


def _place_leaves(leaves: list[_Box], hub_names: set[str]) -> None:
    x = 0.0
    for box in leaves:
        box.x = x
        box.slots.sort(key=lambda slot: (slot.link.peer is None or slot.link.peer.namespace not in hub_names,
                                         slot.link.peer or Endpoint("", ""), slot.link.name))
        x += PADDING
        for slot in box.slots:
            slot.x = round(x, 1)
            x += slot.width + _SLOT_GAP
        box.width = round(max(x - _SLOT_GAP + PADDING - box.x, _least_width(box)), 1)
        x = round(box.x + box.width + _BOX_GAP, 1)


def _reach(leaves: list[_Box]) -> dict[str, float]:
    """Return for each namespace the right edge of the last leaf that is cabled to it."""
    found: dict[str, float] = {}
    for box in leaves:
        for slot in box.slots:
            if slot.link.peer is not None:
                name = slot.link.peer.namespace
                found[name] = max(found.get(name, 0.0), box.x + box.width)
    return found


def _place_hubs(hubs: list[_Box], port_x: dict[Endpoint, float], reach: dict[str, float]) -> None:
    cursor = 0.0
    for box in hubs:
        wanted = {slot.link.name: port_x.get(slot.link.peer) if slot.link.peer else None for slot in box.slots}
        box.slots.sort(key=lambda slot: _slot_order(slot, box.slots, wanted))
        first = next((x for slot in box.slots if (x := wanted[slot.link.name]) is not None), 0.0)
        box.x = round(max(cursor, first - PADDING), 1)
        x = box.x + PADDING
        for slot in box.slots:
            x = max(x, wanted[slot.link.name] or 0.0)
            while any(abs(x - taken) < 6 and slot.link.peer != end for end, taken in port_x.items()):
                x += 6  # two cables must not leave the channel in one line
            slot.x = round(x, 1)
            x = max(x + slot.width, _right_of_bar(box, slot)) + _SLOT_GAP
        _place_bars(box)
        right = max([box.x + _least_width(box), *(slot.x + slot.width + PADDING for slot in box.slots),
                     *(left + width + PADDING / 2 for _, left, width in box.bars)])
        box.width = round(max(right, min(reach.get(box.state.name, 0.0), right + 2 * PADDING)) - box.x, 1)
        cursor = box.x + box.width + _BOX_GAP


def _slot_order(slot: _Slot, slots: list[_Slot], wanted: dict[str, float | None]) -> tuple[float, str, float, str]:
    """Keep the ports of a bridge together, and otherwise follow the other ends of the cables."""
    far = float("inf")
    together = [wanted[other.link.name] for other in slots if other.link.master == slot.link.master]
    first = min((x for x in together if x is not None), default=far)
    own = wanted[slot.link.name]
    return first, slot.link.master, far if own is None else own, slot.link.name


def _bar_least_width(link: Link) -> float:
    return bridge_block(link).width + 2 * _TIP + 12


def _right_of_bar(box: _Box, slot: _Slot) -> float:
    """Return how far a bridge reaches at least, if this is its last port: its text may need more room than they."""
    bridge = next((link for link in box.bridges if link.name == slot.link.master), None)
    ports = [other for other in box.slots if other.link.master == slot.link.master]
    if bridge is None or slot is not ports[-1]:
        return 0.0
    return ports[0].x - PADDING / 2 + _bar_least_width(bridge)


def _place_bars(box: _Box) -> None:
    """Stretch each bridge under its ports; one without ports stands to the right of the others."""
    free = box.x + PADDING / 2
    for link in sorted(box.bridges, key=lambda link: not any(slot.link.master == link.name for slot in box.slots)):
        ports = [slot for slot in box.slots if slot.link.master == link.name]
        left = ports[0].x - PADDING / 2 if ports else free
        right = ports[-1].x + ports[-1].width + PADDING / 2 if ports else left
        box.bars.append((link, left, max(_bar_least_width(link), right - left)))
        free = max(free, *(x + width + _SLOT_GAP for _, x, width in box.bars))


def _draw(group: Group, leaves: list[_Box], hubs: list[_Box], network: Network) -> tuple[Canvas, float, float]:
    leaf_height = max((_leaf_height(box) for box in leaves), default=0.0)
    x_of = {Endpoint(box.state.name, slot.link.name): slot.x for box in (*leaves, *hubs) for slot in box.slots}
    below = {box.state.name for box in hubs}
    bent = [cable for cable in group.cables if not _is_straight(cable, x_of, below)]
    channel = max(_CHANNEL_LEAST_HEIGHT if group.cables else 0.0, _LEVEL_HEIGHT * (len(bent) + 2))
    if not leaves and not bent:
        channel = 0.0
    if not hubs:
        channel = _LEVEL_HEIGHT * (len(bent) + 1)
    floor = leaf_height + channel
    canvas = Canvas()
    for cable in sorted(group.cables, key=lambda cable: min(x_of[cable.first], x_of[cable.second])):
        kind = f"cable cable-{'up' if cable_is_up(cable, network) else 'down'}"
        (x1, y1), (x2, y2) = [(x_of[end], floor if end.namespace in below else leaf_height) for end in cable]
        level = leaf_height + _LEVEL_HEIGHT * (bent.index(cable) + 1.2) if cable in bent else y2
        canvas.path(kind, f"M{x1:g} {y1:g}V{level:g}H{x2:g}V{y2:g}")
    for box in leaves:
        _draw_leaf(canvas, box, leaf_height)
    hub_height = max((_hub_height(box) for box in hubs), default=0.0)
    for box in hubs:
        _draw_hub(canvas, box, floor, hub_height)
    width = max(box.x + box.width for box in (*leaves, *hubs))
    return canvas, round(width, 1), round(floor + hub_height, 1)


def _is_straight(cable: Cable, x_of: dict[Endpoint, float], below: set[str]) -> bool:
    same_row = (cable.first.namespace in below) == (cable.second.namespace in below)
    return not same_row and x_of[cable.first] == x_of[cable.second]


def _leaf_height(box: _Box) -> float:
    return BAND_HEIGHT + _ROW_GAP + box.inner_height + box.slots_height + (14 if box.slots else 0)


def _hub_height(box: _Box) -> float:
    ports = box.slots_height + 14 + _ROW_GAP if box.slots else _ROW_GAP
    bars = box.bars_height + _ROW_GAP if box.bars else 0
    return ports + bars + box.inner_height + BAND_HEIGHT


def _draw_leaf(canvas: Canvas, box: _Box, height: float) -> None:
    canvas.rectangle("box", (box.x, 0), (box.width, height))
    draw_band(canvas, box.state, (box.x, 0), box.width, "top")
    y = BAND_HEIGHT + _ROW_GAP
    for block in box.inner:
        block.draw(canvas, box.x + PADDING, y)
        y += block.height + _ROW_GAP
    for slot in box.slots:
        top = height - 14 - slot.block.height
        canvas.path("lead", f"M{slot.x:g} {top + 3:g}V{height:g}")
        slot.block.draw(canvas, slot.x + _TEXT_BESIDE_LEAD, top)
        canvas.port(slot.x, height, port_state(slot.link))


def _draw_hub(canvas: Canvas, box: _Box, top: float, height: float) -> None:
    canvas.rectangle("box", (box.x, top), (box.width, height))
    bars_y = top + (box.slots_height + 14 + _ROW_GAP if box.slots else _ROW_GAP)
    in_bridge = {link.name for link in box.bridges}
    for slot in box.slots:
        end = bars_y if slot.link.master in in_bridge else top + 14 + slot.block.height
        canvas.path("lead", f"M{slot.x:g} {top:g}V{end:g}")
        slot.block.draw(canvas, slot.x + _TEXT_BESIDE_LEAD, top + 14)
        canvas.port(slot.x, top, port_state(slot.link))
    for link, left, width in box.bars:
        _draw_bar(canvas, link, (left, bars_y), (width, box.bars_height))
    y = bars_y + (box.bars_height + _ROW_GAP if box.bars else 0)
    for block in box.inner:
        block.draw(canvas, box.x + PADDING, y)
        y += block.height + _ROW_GAP
    draw_band(canvas, box.state, (box.x, top + height - BAND_HEIGHT), box.width, "bottom")


def _draw_bar(canvas: Canvas, link: Link, corner: tuple[float, float], size: tuple[float, float]) -> None:
    """Draw a bridge: a bar with a tip at each side."""
    (x, y), (width, height) = corner, size
    straight, half = width - 2 * _TIP, height / 2
    canvas.path("bridge", f"M{x + _TIP:g} {y:g}h{straight:g}l{_TIP:g} {half:g}l{-_TIP:g} {half:g}h{-straight:g}"
                f"l{-_TIP:g} {-half:g}z")
    block = bridge_block(link)
    block.draw(canvas, x + _TIP + 6, y + (height - LINE_HEIGHT * len(block.lines)) / 2)
