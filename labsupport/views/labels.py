"""What a picture writes about a namespace and its links, and how much room that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from labsupport.net import Address, Link, NamespaceState
from labsupport.views.canvas import (
    LINE_HEIGHT,
    PORT_RADIUS,
    SPAN_GAP,
    Canvas,
    Corners,
    PortState,
    Span,
    line_width,
    text_width,
)
from labsupport.views.graph import port_state, role, shown_links

BAND_HEIGHT = 42.0
PADDING = 16.0
_LONGEST_TITLE = 28
_LONGEST_WORD = max(text_width(Span("word", word)) for word in get_args(PortState))
# A loopback has no carrier to lose: it is up or down.
_LOOPBACK_ROOM = 2 * PORT_RADIUS + 6 + line_width((Span("faint", "lo"), Span("word", "down")))


@dataclass(frozen=True)
class Block:
    """Some lines of text, left-aligned, with the sign of a link's state in front if `state` says one."""

    lines: tuple[tuple[Span, ...], ...]
    state: PortState | None = None

    @property
    def indent(self) -> float:
        """Room for the sign, in pixels."""
        return 0.0 if self.state is None else 2 * PORT_RADIUS + 6

    @property
    def width(self) -> float:
        """In pixels, at most."""
        return round(max(map(_room, self.lines)) + self.indent, 1)

    @property
    def height(self) -> float:
        """In pixels."""
        return LINE_HEIGHT * len(self.lines)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Write it with its upper left corner at (x, y)."""
        if self.state is not None:
            canvas.port(x + PORT_RADIUS, y + LINE_HEIGHT / 2, self.state)
        for number, line in enumerate(self.lines):
            canvas.line(x + self.indent, y + LINE_HEIGHT * number + 12.5, line)


def _room(line: tuple[Span, ...]) -> float:
    """Return the width of a line with the longest word for a state in it: a box keeps its size when a link comes up."""
    others = sum(text_width(span) for span in line if span.style != "word")
    words = sum(_LONGEST_WORD for span in line if span.style == "word")
    return others + words + SPAN_GAP * (len(line) - 1)


def told_addresses(link: Link) -> tuple[Address, ...]:
    """Return the addresses that pictures tell: not those that the kernel gives every loopback and every IPv6 link.

    Link-local IPv6 addresses appear some time after the link has come up, and nobody has chosen them.
    """
    if link.kind == "loopback":
        return tuple(address for address in link.addresses if str(address) not in {"127.0.0.1/8", "::1/128"})
    return tuple(address for address in link.addresses if (address.family, address.scope) != ("inet6", "link"))


def title(state: NamespaceState) -> str:
    """Return how a picture calls a namespace; the lab's first one has no name of its own."""
    return state.name or "lab"


def gateway_routes(state: NamespaceState) -> list[str]:
    """Return the routes of a namespace that lead over a router."""
    return [f"{route.destination} via {route.gateway}" for route in state.routes if route.gateway]


def port_block(link: Link) -> Block:
    """Return the label of a link whose port is drawn elsewhere, at the end of its cable."""
    return Block(_lines(link))


def inner_blocks(state: NamespaceState, drawn: set[str]) -> list[Block]:
    """Return what stands inside a box: its links that are not `drawn` as ports or bridges, and its routes."""
    blocks = [Block(_lines(link), port_state(link)) for link in shown_links(state)
              if link.name not in drawn and (link.kind != "loopback" or told_addresses(link))]
    routes = tuple((Span("faint", text),) for text in gateway_routes(state))
    return [*blocks, Block(routes)] if routes else blocks


def bridge_block(link: Link) -> Block:
    """Return what is written into a bridge."""
    return Block(_lines(link), port_state(link))


def band_width(state: NamespaceState) -> float:
    """Return how much room the title of a box needs, in pixels."""
    caption, name, loopback = _band(state)
    needed = line_width((name,)) + (0 if loopback is None else 22 + _LOOPBACK_ROOM)
    return round(max(needed, line_width((caption,))) + 2 * PADDING, 1)


def draw_band(canvas: Canvas, state: NamespaceState, corner: tuple[float, float], width: float,
              round_corners: Corners, free: tuple[float, float] | None = None) -> None:
    """Draw the title of a box: what it is, its name, and loopback, the one link that every namespace is born with.

    The words stand between the two x of `free`, at least `band_width` apart, if something else crosses the band.
    """
    caption, name, loopback = _band(state)
    x, y = corner
    left, right = free or (x, x + width)
    canvas.rectangle("band", corner, (width, BAND_HEIGHT), round_corners)
    canvas.line(left + PADDING, y + 15.5, (caption,))
    canvas.line(left + PADDING, y + 33, (name,))
    if loopback is not None:
        loopback.draw(canvas, round(right - PADDING - _LOOPBACK_ROOM, 1), y + 20)


def _band(state: NamespaceState) -> tuple[Span, Span, Block | None]:
    text = title(state)
    if len(text) > _LONGEST_TITLE:
        text = text[: _LONGEST_TITLE - 1] + "…"
    what = "network namespace" if state.name else "first network namespace"
    caption = Span("caption", f"{what}: {role(state)}" if role(state) else what)
    loopback = next((link for link in state.links if link.kind == "loopback"), None)
    block = None
    if loopback is not None:
        word = port_state(loopback)
        block = Block(((Span("faint", loopback.name), Span("word", word)),), word)
    return caption, Span("title", text), block


def _lines(link: Link) -> tuple[tuple[Span, ...], ...]:
    first = [Span("name", link.name), Span("word", port_state(link))]
    if link.kind != "veth":
        first.append(Span("caption", link.kind))
    lines = [tuple(first)]
    if link.kind != "loopback" and link.mac:
        lines.append((Span("faint", link.mac),))
    lines += [(Span("value", str(address)),) for address in told_addresses(link)]
    if link.kind == "veth" and link.peer is None:
        lines.append((Span("caption", "peer: in a namespace without a name"),))
    return tuple(lines)
