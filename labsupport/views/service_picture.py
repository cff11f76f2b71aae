"""A Service as a picture: what it is, from outside to inside, and which pods on which nodes answer for it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from labsupport.cluster.endpoints import Machines, ServiceEndpoint, ServiceState, read_service
from labsupport.views.canvas import PORT_RADIUS, Canvas, Span, line_width, printable, text_width
from labsupport.views.picture import Picture
from labsupport.views.service_text import (
    describe,
    headline,
    layers,
    node_title,
    notes,
    pod_title,
    requests_word,
    state_word,
)

_MARGIN, _PADDING = 14.0, 12.0
_TOP = _MARGIN + 28             # below the name
_TITLE = 44.0                   # of a box: its kind, and its addresses
_ROW, _POD = 50.0, 42.0         # of an endpoint; of the box in it
_NODE_TITLE, _NODE_GAP = 27.0, 12.0
_CLIENT = (86.0, 34.0)
_GAP, _HEAD = 46.0, 9.0
_LONGEST = 44                   # letters
_NOBODY = Span("word", "nobody answers")


@dataclass(frozen=True)
class _Places:
    """Where everything is, in pixels: the boxes of the Service, the pods, and the middle of each endpoint's row."""

    left: float
    right: float
    inner_right: float
    pods_left: float
    pods_right: float
    middles: tuple[float, ...]
    bottom: float


def draw_service(cluster: Machines, name: str) -> Picture:
    """Return a picture of a Service as it is now.

    It makes visible what a Service is made of. Its types are boxes in each other, because a LoadBalancer is a NodePort
    with an address more, and a NodePort a ClusterIP with a port more. Inside are the addresses that its EndpointSlices
    name, and beside them the pods that have these, node by node. A disc and a line: ready, gets new connections. A
    crossed square and a dashed line: not ready, gets none. On the line stands how many new connections the kernels of
    the nodes have sent there; `service_endpoints` gives the same as data, and says what is counted.

    Args:
        cluster: what `open_cluster` returned.
        name: the Service's, in the notebook's namespace.

    Raises:
        ClusterError: there is no such Service, or the API server does not answer.
        CommandFailed: a node's rules could not be read.

    Effects and privileges: reads the rules of the packet filter on the nodes. Where nodes cannot be entered, as in a
    cluster that labsupport did not make, the numbers are left out, and the picture says so.
    """
    return draw_state(read_service(cluster, name))


def draw_state(state: ServiceState) -> Picture:
    """Return a picture of a Service that was read before; see `draw_service`."""
    canvas, places = Canvas(), _lay_out(state)
    heading = (Span("title", state.service["metadata"]["name"]), Span("word", "Service"))
    canvas.line(_MARGIN, _MARGIN + 14, heading)
    end = _draw_layers(canvas, state, places)
    _draw_client(canvas, places, (_TOP + end) / 2)
    _draw_nodes(canvas, state, places)
    for one, y in zip(state.endpoints, places.middles, strict=True):
        _draw_endpoint(canvas, places, one, y)
    height, width = end, max(places.pods_right, places.right, _MARGIN + line_width(heading))
    for note in notes(state):
        height += 20
        canvas.line(_MARGIN, round(height, 1), (Span("caption", note),))
        width = max(width, _MARGIN + text_width(Span("caption", note)))
    page = Canvas()
    page.add(canvas, 0, 0)
    return Picture(printable(headline(state)), "\n".join(map(printable, describe(state))), round(width + _MARGIN, 1),
                   round(height + _MARGIN, 1), str(page))


def _lay_out(state: ServiceState) -> _Places:
    depth = len(layers(state))
    middles, y = [], _TOP + _TITLE * depth
    for _, group in groupby(state.endpoints, key=lambda one: one.node):
        y += _NODE_TITLE
        for _ in group:
            middles.append(round(y + _ROW / 2, 1))
            y += _ROW
        y += _NODE_GAP
    left = _MARGIN + _CLIENT[0] + _GAP
    needed = [max(text_width(_says(layer.says)), text_width(Span("name", layer.kind))) + 2 * _PADDING * number
              for number, layer in enumerate(layers(state), 1)]
    needed += [text_width(_address(one)) + 2 * PORT_RADIUS + 2 * _PADDING * depth + 12 for one in state.endpoints]
    right = left + max(needed)
    counts = max((text_width(Span("value", requests_word(one))) for one in state.endpoints), default=0.0)
    pods_left = right + max(counts + 30, 80.0)
    names = [max(text_width(_pod(one)), text_width(Span("word", state_word(one)))) + 4 * _PADDING
             for one in state.endpoints]
    names += [text_width(_node(one.node)) + 2 * _PADDING for one in state.endpoints]
    return _Places(left, round(right, 1), round(right - _PADDING * (depth - 1), 1), round(pods_left, 1),
                   round(pods_left + max(names, default=0.0), 1),
                   tuple(middles), round(y if middles else y + 26, 1))


def _says(text: str) -> Span:
    return Span("value", text if len(text) <= _LONGEST else f"{text[:_LONGEST - 1]}…")


def _address(one: ServiceEndpoint) -> Span:
    return Span("value", f"{one.address}:{one.port}")


def _pod(one: ServiceEndpoint) -> Span:
    text = pod_title(one)
    return Span("name", text if len(text) <= _LONGEST else f"{text[:_LONGEST - 1]}…")


def _node(node: str) -> Span:
    return Span("title", node_title(node))


def _draw_layers(canvas: Canvas, state: ServiceState, places: _Places) -> float:
    """Draw the boxes of the Service in each other; return where the outermost ends."""
    nested = layers(state)
    for depth, layer in enumerate(nested):
        left, top = round(places.left + _PADDING * depth, 1), _TOP + _TITLE * depth
        bottom = places.bottom + _PADDING * (len(nested) - depth)
        canvas.rectangle("box", (left, top), (round(places.right - left - _PADDING * depth, 1), round(bottom - top, 1)))
        canvas.line(left + _PADDING, top + 17, (Span("name", layer.kind),))
        canvas.line(left + _PADDING, top + 34, (_says(layer.says),))
    if not state.endpoints:
        canvas.line(places.left + _PADDING * len(nested), places.bottom - 8, (_NOBODY,))
    return places.bottom + _PADDING * len(nested)


def _draw_client(canvas: Canvas, places: _Places, y: float) -> None:
    width, height = _CLIENT
    canvas.rectangle("box", (_MARGIN, round(y - height / 2, 1)), (width, height))
    word = Span("name", "clients")
    canvas.line(round(_MARGIN + (width - text_width(word)) / 2, 1), round(y + 4.5, 1), (word,))
    canvas.path("cable cable-up", f"M{_MARGIN + width:g} {y:g}H{places.left - _HEAD:g}")
    canvas.path("port port-up", f"M{places.left - 1:g} {y:g}l{-_HEAD:g} -4.5v9z")


def _draw_nodes(canvas: Canvas, state: ServiceState, places: _Places) -> None:
    rows = zip(state.endpoints, places.middles, strict=True)
    for node, group in groupby(rows, key=lambda row: row[0].node):
        middles = [y for _, y in group]
        top, bottom = middles[0] - _ROW / 2 - _NODE_TITLE, middles[-1] + _ROW / 2
        size = (round(places.pods_right - places.pods_left, 1), round(bottom - top + 4, 1))
        canvas.rectangle("box", (places.pods_left, round(top, 1)), size)
        canvas.line(places.pods_left + _PADDING, round(top + 19, 1), (_node(node),))


def _draw_endpoint(canvas: Canvas, places: _Places, one: ServiceEndpoint, y: float) -> None:
    """Draw the row of an endpoint: its address in the EndpointSlice, a line, and its pod."""
    pod_left = places.pods_left + _PADDING
    start = places.inner_right
    address = _address(one)
    canvas.line(round(start - 10 - text_width(address), 1), y + 4.5, (address,))
    kind, end = ("up", pod_left - _HEAD) if one.ready else ("down", pod_left)
    canvas.path(f"cable cable-{kind}", f"M{start:g} {y:g}H{end:g}")
    canvas.port(start, y, "up" if one.ready else "down")
    if one.ready:
        canvas.path("port port-up", f"M{pod_left - 1:g} {y:g}l{-_HEAD:g} -4.5v9z")
    if words := requests_word(one):
        count = Span("value", words)
        room = places.pods_left - places.right
        canvas.line(round(places.right + (room - text_width(count)) / 2, 1), y - 6, (count,))
    width = places.pods_right - _PADDING - pod_left
    canvas.rectangle("box", (pod_left, round(y - _POD / 2, 1)), (round(width, 1), _POD))
    canvas.line(pod_left + _PADDING, y - 2, (_pod(one),))
    canvas.line(pod_left + _PADDING, y + 13.5, (Span("word", state_word(one)),))
