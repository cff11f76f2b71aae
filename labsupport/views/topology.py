"""The picture of a whole lab: its namespaces, their links, and the cables between them."""

from __future__ import annotations

from labsupport.net import Network, network
from labsupport.sandbox import Lab
from labsupport.views.canvas import Canvas
from labsupport.views.describe import describe, headline
from labsupport.views.graph import as_path, groups
from labsupport.views.hub import draw_hub
from labsupport.views.picture import Picture
from labsupport.views.row import draw_row

_MARGIN = 14.0
_GROUP_GAP = 30.0
_LINE_WIDTH = 1000.0


def draw(lab: Lab) -> Picture:
    """Return a picture of the lab's network as it is now.

    It makes visible that a network namespace is a machine of its own, what is plugged into it, and which links are
    down. Each box is a network namespace; a disc on its edge is an interface that is up, a crossed square one that is
    down, a ring one that is up but gets no signal; a line is a veth cable, dashed while no frame can cross; a bar with
    tips is a bridge. Not drawn: link-local IPv6 addresses, and the lab's first namespace while it has only loopback
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
        order = as_path(group)
        drawing, width, height = draw_hub(group, state) if order is None else draw_row(group, order, state)
        if x and x + width > _LINE_WIDTH:
            x, y, line_height = 0.0, y + line_height + _GROUP_GAP, 0.0
        canvas.add(drawing, round(_MARGIN + x, 1), round(_MARGIN + y, 1))
        right = max(right, x + width)
        x += width + _GROUP_GAP
        line_height = max(line_height, height)
    return Picture(headline(state), describe(state), round(right + 2 * _MARGIN, 1),
                   round(y + line_height + 2 * _MARGIN, 1), str(canvas))
