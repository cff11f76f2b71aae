"""The picture of a whole lab: its namespaces, their links, and the cables between them."""

from __future__ import annotations

from labsupport.net import Network, network
from labsupport.sandbox import Lab
from labsupport.views.canvas import Canvas
from labsupport.views.describe import describe, headline
from labsupport.views.graph import Group, as_path, groups
from labsupport.views.layers import GOOD_WIDTH, draw_layers
from labsupport.views.picture import Picture
from labsupport.views.row import draw_row

_MARGIN = 14.0
_GROUP_GAP = 30.0


def draw(lab: Lab) -> Picture:
    """Return a picture of the lab's network as it is now.

    It makes visible that a network namespace is a machine of its own, what is plugged into it, which links are down,
    and where the spanning tree protocol cuts a loop. Each box is a network namespace, with what it is for others: a
    switch if all its links are ports of bridges, a router if it forwards. A bar with tips is a bridge. On the edge of
    a box a disc is an interface that is up, a disc with a bar one that its bridge blocks, a ring one without signal, a
    crossed square one that is down. A line is a veth cable: dashed while no frame can cross, dotted where a bridge
    blocks an end of it.

    More than eight hosts of one box are drawn as a list, which leaves out loopback and the MAC addresses of the box's
    ports; more than sixty are folded where they are alike, with a double line for their cables. The text tells
    everything. Not drawn at all: link-local IPv6 addresses, and the lab's first namespace while it has only loopback
    and there are others.

    Args:
        lab: where to look. It is read, never changed; what `ip` made is drawn as well.

    Raises:
        CommandFailed: the network could not be read.
        LabClosed, LabDied: there is no lab to draw.
    """
    return draw_network(network(lab))


def draw_network(state: Network) -> Picture:
    """Return a picture of a network that was read before; see `draw`."""
    canvas = Canvas()
    x = y = line_height = right = 0.0
    for group in groups(state):
        drawing, width, height = _draw_group(group, state)
        if x and x + width > GOOD_WIDTH:
            x, y, line_height = 0.0, y + line_height + _GROUP_GAP, 0.0
        canvas.add(drawing, round(_MARGIN + x, 1), round(_MARGIN + y, 1))
        right = max(right, x + width)
        x += width + _GROUP_GAP
        line_height = max(line_height, height)
    return Picture(headline(state), describe(state), round(right + 2 * _MARGIN, 1),
                   round(y + line_height + 2 * _MARGIN, 1), str(canvas))


def _draw_group(group: Group, state: Network) -> tuple[Canvas, float, float]:
    """Draw a string of namespaces as a row if it is short, and everything else in layers."""
    order = as_path(group)
    if order is not None:
        drawing, width, height = draw_row(group, order, state)
        if width <= GOOD_WIDTH or len(order) < 3:
            return drawing, width, height
    return draw_layers(group, state)
