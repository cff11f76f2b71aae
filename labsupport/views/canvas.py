"""Draws SVG elements, and knows how wide a text gets at most without asking a font.

Everything that is an identifier or a value is set in a monospaced font: it is what the terminal shows, and its width is
known in advance. State is told by shape and by word; colour only repeats it. Blue and orange stay apart for
colour-blind readers.
"""

from __future__ import annotations

import unicodedata
from html import escape
from typing import Literal, NamedTuple

PortState = Literal["up", "down", "no carrier", "disabled", "blocking", "listening", "learning"]
CableState = Literal["up", "down", "blocked"]
Corners = Literal["all", "top", "bottom"]

LINE_HEIGHT = 17.0
PORT_RADIUS = 6.0
CORNER_RADIUS = 8.0
SPAN_GAP = 8.0
_MONO_ADVANCE = 0.615  # of the font size; Menlo and DejaVu Sans Mono have 0.602, Courier 0.600, Consolas 0.550
_SANS_ADVANCE = 0.62   # more than lower-case words need on average in common fonts


class Span(NamedTuple):
    """A piece of text in one style."""

    style: str
    text: str


class _Style(NamedTuple):
    size: float
    mono: bool
    rules: str


_STYLES = {
    "title": _Style(15, True, "font-weight:700"),
    "caption": _Style(10.5, False, "opacity:.75"),
    "name": _Style(13, True, "font-weight:700"),
    "word": _Style(11.5, False, ""),
    "value": _Style(12, True, ""),
    "faint": _Style(11, True, "opacity:.75"),
}


class Colours(NamedTuple):
    """Colours in CSS."""

    text: str
    background: str
    up: str
    down: str


FILE_COLOURS = Colours("#1a1a1a", "#ffffff", "#0067a5", "#c04f00")
PRINT_COLOURS = Colours("#000000", "#ffffff", "#0067a5", "#c04f00")
# JupyterLab's theme decides, light or dark; elsewhere the colour of the text around the picture does.
NOTEBOOK_COLOURS = Colours(
    "var(--jp-content-font-color1, inherit)",
    "var(--jp-layout-color0, var(--vscode-editor-background, #ffffff))",
    "var(--jp-brand-color1, #0067a5)",
    "var(--jp-warn-color1, #c04f00)",
)
_MONO = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_SANS = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


def style_sheet(colours: Colours) -> str:
    """Return the CSS of a picture; every rule is bound to its class, since CSS in a notebook reaches the whole page."""
    rules = {
        "": f"color:{colours.text};background:none",
        "text": "fill:currentColor",
        ".box": "fill:currentColor;fill-opacity:.03;stroke:currentColor;stroke-opacity:.55;stroke-width:1.2",
        ".band": "fill:currentColor;fill-opacity:.09",
        ".bridge": "fill:currentColor;fill-opacity:.10;stroke:currentColor;stroke-opacity:.8;stroke-width:1.6",
        ".lead": "stroke:currentColor;stroke-opacity:.45;stroke-width:1.4;fill:none",
        ".cable": "fill:none;stroke-width:2.6;stroke-linejoin:round",
        ".bundle": "fill:none;stroke-width:1.8",
        ".cable-up": f"stroke:{colours.up}",
        ".cable-down": f"stroke:{colours.down};stroke-dasharray:7 5",
        ".cable-blocked": f"stroke:{colours.down};stroke-dasharray:.1 6;stroke-linecap:round",
        ".port": f"fill:{colours.background};stroke-width:2",
        ".port-up": f"fill:{colours.up};stroke:{colours.up}",
        ".port-down": f"stroke:{colours.down}",
        ".port-blocked": f"fill:{colours.down};stroke:{colours.down}",
        ".port-bar": f"stroke:{colours.background};stroke-width:2.4",
    }
    for name, style in _STYLES.items():
        rules[f".{name}"] = f"font-family:{_MONO if style.mono else _SANS};{style.rules}".rstrip(";")
    return "\n".join(f"{' '.join(['.labsupport-picture', key]).strip()}{{{value}}}" for key, value in rules.items())


def text_width(span: Span) -> float:
    """Return how wide a text gets at most, in pixels."""
    style = _STYLES[span.style]
    wide = 0 if span.text.isascii() else sum(unicodedata.east_asian_width(letter) in "WF" for letter in span.text)
    cells = len(span.text) + wide
    return cells * style.size * (_MONO_ADVANCE if style.mono else _SANS_ADVANCE)


def line_width(spans: tuple[Span, ...]) -> float:
    """Return how wide a line of several texts gets at most, in pixels."""
    return sum(map(text_width, spans)) + SPAN_GAP * (len(spans) - 1)


def printable(text: str) -> str:
    """Return a text with everything replaced that XML or a page cannot show."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


class Canvas:
    """Collects SVG elements."""

    def __init__(self) -> None:
        self._elements: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self._elements)

    def add(self, other: Canvas, x: float, y: float) -> None:
        """Put another canvas's elements here, with their origin at (x, y)."""
        self._elements.append(f'<g transform="translate({x:g} {y:g})">\n{other}\n</g>')

    def line(self, x: float, baseline: float, spans: tuple[Span, ...]) -> None:
        """Write texts side by side."""
        for span in spans:
            size = _STYLES[span.style].size
            self._elements.append(f'<text class="{span.style}" x="{x:g}" y="{baseline:g}" font-size="{size:g}">'
                                  f"{escape(printable(span.text))}</text>")
            x = round(x + text_width(span) + SPAN_GAP, 1)

    def rectangle(self, kind: str, corner: tuple[float, float], size: tuple[float, float],
                  round_corners: Corners = "all") -> None:
        """Draw a rectangle."""
        (x, y), (width, height), radius = corner, size, CORNER_RADIUS
        if round_corners == "all":
            self._elements.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
                                  f' rx="{radius:g}"/>')
            return
        # From the middle of the left side: over the round corners to the right one, and back along the square ones.
        sign, sweep = (-1, 1) if round_corners == "top" else (1, 0)
        up, flat = sign * (height / 2 - radius), width - 2 * radius
        arc = f"a{radius:g} {radius:g} 0 0 {sweep} {radius:g}"
        self.path(kind, f"M{x:g} {y + height / 2:g}v{up:g}{arc} {sign * radius:g}h{flat:g}{arc} {-sign * radius:g}"
                  f"v{-sign * (height - radius):g}h{-width:g}z")

    def path(self, kind: str, commands: str) -> None:
        """Draw a path."""
        self._elements.append(f'<path class="{kind}" d="{commands}"/>')

    def port(self, x: float, y: float, state: PortState) -> None:
        """Draw an interface: a full disc (up), a ring (no carrier), a crossed square (down), or a disc with a bar.

        The bar is the road sign: no entry. The port is up, but its bridge lets no frames through it.
        """
        radius = PORT_RADIUS
        if state == "down":
            edge = radius - 0.5
            self.path("port port-down", f"M{x - edge:g} {y - edge:g}h{2 * edge:g}v{2 * edge:g}h{-2 * edge:g}z"
                      f"l{2 * edge:g} {2 * edge:g}m0 {-2 * edge:g}l{-2 * edge:g} {2 * edge:g}")
            return
        kind = {"up": "up", "no carrier": "down"}.get(state, "blocked")
        self._elements.append(f'<circle class="port port-{kind}" cx="{x:g}" cy="{y:g}" r="{radius - 0.5:g}"/>')
        if kind == "blocked":
            self.path("port-bar", f"M{x - 4:g} {y:g}h8")
