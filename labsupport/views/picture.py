"""A picture that a notebook shows, a file keeps, and a screen reader reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from labsupport.views.canvas import FILE_COLOURS, NOTEBOOK_COLOURS, PRINT_COLOURS, style_sheet

# In a notebook a wide picture shrinks with the page to this share of its size; below, it scrolls.
_SMALLEST_SCALE = 0.72


@dataclass(frozen=True)
class Picture:
    """A drawing and the same facts as text. The last value of a cell, it is shown; printed, it is the text.

    The same state gives the same picture, byte by byte, so that nbval can compare it.

    Attributes:
        title: what it shows, one line.
        text: all that it shows, as an indented list.
        width: in pixels at full size.
        height: in pixels at full size.
    """

    title: str
    text: str
    width: float
    height: float
    _drawing: str = field(repr=False)

    @property
    def svg(self) -> str:
        """A document of its own: dark on white, in every viewer and on paper."""
        background = f'<rect width="{self.width:g}" height="{self.height:g}" fill="#ffffff"/>\n'
        return self._render(style_sheet(FILE_COLOURS), before=background, attributes="")

    def save(self, path: str | Path) -> None:
        """Write `svg` to a file."""
        Path(path).write_text(self.svg, encoding="utf-8")

    def _repr_html_(self) -> str:
        style = style_sheet(NOTEBOOK_COLOURS) + f"\n@media print {{\n{style_sheet(PRINT_COLOURS)}\n}}"
        least = self.width * _SMALLEST_SCALE
        size = f' style="max-width:100%;min-width:{least:.0f}px;height:auto"'
        return f'<div style="overflow-x:auto">\n{self._render(style, before="", attributes=size)}</div>\n'

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002
        return {"text/html": self._repr_html_(), "text/plain": self.text}

    def __str__(self) -> str:
        return self.text

    def _render(self, style: str, *, before: str, attributes: str) -> str:
        # Ids must differ between pictures of one page and not between runs, so they come from what is in the picture.
        mark = hashlib.sha256((self.text + self._drawing).encode()).hexdigest()[:10]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="labsupport-picture" role="img"'
            f' aria-labelledby="title-{mark} text-{mark}" width="{self.width:g}" height="{self.height:g}"'
            f' viewBox="0 0 {self.width:g} {self.height:g}"{attributes}>\n'
            f'<title id="title-{mark}">{escape(self.title)}</title>\n'
            f'<desc id="text-{mark}">{escape(self.text)}</desc>\n'
            f"<style>\n{style}\n</style>\n{before}{self._drawing}\n</svg>\n"
        )
