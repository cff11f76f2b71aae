"""Draws namespaces that a string of cables joins: side by side, ports facing each other, cables straight."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from labsupport.net import Endpoint, NamespaceState, Network
from labsupport.views.canvas import LINE_HEIGHT, CableState, Canvas, Span, text_width
from labsupport.views.graph import Cable, Group, cable_state, port_state
from labsupport.views.labels import (
    BAND_HEIGHT,
    PADDING,
    Block,
    band_width,
    draw_band,
    inner_blocks,
    port_block,
)

CABLE_LENGTH = 104.0
_BLOCK_GAP = 10.0
_COLUMN_GAP = 26.0
_CABLE_WORDS = Span("caption", "veth pair")


@dataclass
class _Box:
    state: NamespaceState
    x: float = 0.0
    width: float = 0.0
    left: list[tuple[Endpoint, float]] = field(default_factory=list)   # ports and how far below the title they are
    right: list[tuple[Endpoint, float]] = field(default_factory=list)
    inner: list[Block] = field(default_factory=list)
    columns_height: float = 0.0


def draw_row(group: Group, order: list[NamespaceState], network: Network) -> tuple[Canvas, float, float]:
    """Draw a group whose namespaces a string of cables passes in this `order`.

    Returns:
        The drawing, its width and its height in pixels.
    """
    boxes = [_Box(state) for state in order]
    cables: list[tuple[Cable, int, float]] = []  # the cable, the box on its left, its height below the title
    for number, (here, there) in enumerate(pairwise(boxes)):
        cables += [(cable, number, y) for cable, y in _connect(here, there, group, network)]
    for box in boxes:
        _measure(box, network)
    height = max(_height(box) for box in boxes)
    x = 0.0
    for box in boxes:
        box.x = round(x, 1)
        x += box.width + CABLE_LENGTH
    canvas = Canvas()
    for cable, number, y in cables:
        _draw_cable(canvas, boxes[number], boxes[number + 1], y, cable_state(cable, network))
    for box in boxes:
        _draw_box(canvas, box, height, network)
    return canvas, round(x - CABLE_LENGTH, 1), height


def _connect(here: _Box, there: _Box, group: Group, network: Network) -> list[tuple[Cable, float]]:
    """Give the ports of all cables between two boxes the same height on both sides."""
    y, found = 0.0, []
    for cable in group.cables:
        if {cable.first.namespace, cable.second.namespace} != {here.state.name, there.state.name}:
            continue
        left, right = (cable if cable.first.namespace == here.state.name else cable[::-1])
        here.right.append((left, y))
        there.left.append((right, y))
        found.append((cable, y))
        y += max(_block(left, network).height, _block(right, network).height) + _BLOCK_GAP
    for box in (here, there):
        box.columns_height = max(box.columns_height, y)
    return found


def _block(end: Endpoint, network: Network) -> Block:
    link = network.link(end)
    assert link is not None, f"a cable ends at {end}, which is not in the network"  # noqa: S101
    return port_block(link)


def _measure(box: _Box, network: Network) -> None:
    ports = {end.link for end, _ in (*box.left, *box.right)}
    box.inner = inner_blocks(box.state, ports)
    sides = [max(_block(end, network).width for end, _ in side) for side in (box.left, box.right) if side]
    columns = sum(sides) + _COLUMN_GAP * (len(sides) - 1) + 2 * PADDING
    inner = max((block.width for block in box.inner), default=0.0) + 2 * PADDING
    box.width = round(max(columns, inner, band_width(box.state)), 1)


def _height(box: _Box) -> float:
    inner = sum(block.height + _BLOCK_GAP for block in box.inner)
    content = box.columns_height + inner
    return BAND_HEIGHT + (content + 12 if content else 0)


def _draw_cable(canvas: Canvas, here: _Box, there: _Box, y: float, state: CableState) -> None:
    level = BAND_HEIGHT + 12 + y + LINE_HEIGHT / 2
    start, end = here.x + here.width, there.x
    canvas.path(f"cable cable-{state}", f"M{start:g} {level:g}H{end:g}")
    middle = (start + end - text_width(_CABLE_WORDS)) / 2
    canvas.line(round(middle, 1), level - 8, (_CABLE_WORDS,))


def _draw_box(canvas: Canvas, box: _Box, height: float, network: Network) -> None:
    canvas.rectangle("box", (box.x, 0), (box.width, height))
    draw_band(canvas, box.state, (box.x, 0), box.width, "top" if height > BAND_HEIGHT else "all")
    top = BAND_HEIGHT + 12
    for side, edge in ((box.left, box.x), (box.right, box.x + box.width)):
        for end, y in side:
            block = _block(end, network)
            link = network.link(end)
            x = edge + PADDING if side is box.left else edge - PADDING - block.width
            block.draw(canvas, round(x, 1), top + y)
            if link is not None:
                canvas.port(edge, top + y + LINE_HEIGHT / 2, port_state(link))
    y = top + box.columns_height
    for block in box.inner:
        block.draw(canvas, box.x + PADDING, y)
        y += block.height + _BLOCK_GAP
