"""Rows of words as a table, in HTML and in text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from labsupport.views.canvas import NOTEBOOK_COLOURS

# The class stands twice because JupyterLab's own rule for cells, which aligns them to the right, is a strong one.
_TABLE = "div.labsupport-frames.labsupport-frames"
_STYLE = f"""
{_TABLE}{{overflow-x:auto;color:{NOTEBOOK_COLOURS.text}}}
{_TABLE} table{{border-collapse:collapse;margin:0;font-size:11.5px;border:0}}
{_TABLE} caption{{caption-side:top;text-align:left;padding:0 0 6px;color:inherit;opacity:.75}}
{_TABLE} th,{_TABLE} td{{text-align:left;white-space:pre;padding:3px 9px 3px 0;border:0;
border-bottom:1px solid rgba(128,128,128,.35);font-family:Menlo,Consolas,'DejaVu Sans Mono',monospace;color:inherit}}
{_TABLE} th{{font-weight:700;border-bottom-width:2px}}
{_TABLE} .number{{text-align:right}}
{_TABLE} td:last-child{{white-space:pre-wrap;overflow-wrap:anywhere;min-width:20em}}
""".strip()


class Table:
    """What all tables share. The last value of a cell, it is shown; printed, it is the text.

    Attributes:
        headings: of the columns; the last one is for what may be long.
        right_aligned: those of them whose cells are numbers.
        widths: of columns whose width must not depend on what is in them, in letters.
    """

    headings: Sequence[str] = ()
    right_aligned: frozenset[str] = frozenset()
    widths: Mapping[str, int] = {}

    @property
    def caption(self) -> str:
        """The line above it."""
        raise NotImplementedError

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Its cells; words that can be printed."""
        raise NotImplementedError

    def __str__(self) -> str:
        if not self.rows:
            return self.caption
        rows = [tuple(self.headings), *self.rows]
        widths = [self.widths.get(name, max(len(row[at]) for row in rows)) for at, name in enumerate(self.headings)]
        lines = []
        for row in rows:
            cells = [cell.rjust(width) if heading in self.right_aligned else cell.ljust(width)
                     for cell, width, heading in zip(row, widths, self.headings, strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([self.caption, *lines])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col"{self._number_class(name)}>{escape(name)}</th>' for name in self.headings)
        body = "\n".join(f"<tr>{''.join(map(self._cell, self.headings, row))}</tr>" for row in self.rows)
        table = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n" if self.rows else ""
        return (f'<div class="labsupport-frames">\n<style>\n{_STYLE}\n</style>\n'
                f"<table>\n<caption>{escape(self.caption)}</caption>\n{table}</table>\n</div>\n")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def _cell(self, heading: str, text: str) -> str:
        return f"<td{self._number_class(heading)}>{escape(text)}</td>"

    def _number_class(self, heading: str) -> str:
        return ' class="number"' if heading in self.right_aligned else ""
