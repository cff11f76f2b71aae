"""What all widgets share: controls in a notebook, the same facts as text everywhere else."""

from __future__ import annotations

from html import escape
from typing import Any

from labsupport.views.canvas import NOTEBOOK_COLOURS, printable

_WIDGET = "application/vnd.jupyter.widget-view+json"
_NOTICE = "labsupport-notice"
_RULES = {
    "": f"color:{NOTEBOOK_COLOURS.text};line-height:1.45;overflow-x:auto",
    "p": "margin:.3em 0;white-space:normal",
    "table": "border-collapse:collapse;margin:.5em 0",
    "caption": "text-align:left;font-weight:700;padding:.3em 0",
    "th, {0} td": "text-align:left;vertical-align:top;padding:.15em .8em .15em .6em;white-space:nowrap",
    "tr": "border-bottom:1px solid var(--jp-border-color2, #bdbdbd)",
    "th": "font-weight:700",
    "code, {0} pre, {0} .value": "font-family:Menlo, Consolas, 'DejaVu Sans Mono', monospace;font-size:12px;"
                                 "background:none;color:inherit;padding:0;margin:0",
    ".faint": "opacity:.75",
    ".problem": f"border-left:4px solid {NOTEBOOK_COLOURS.down};padding:.2em .8em",
    ".told": f"border-left:4px solid {NOTEBOOK_COLOURS.up};padding:.2em .8em",
}


class Interactive:
    """Something with controls. The last value of a cell, it shows them; printed, it is the text of what it shows.

    nbval compares the text, and not the controls, whose ids differ from run to run.
    """

    def __init__(self) -> None:
        import ipywidgets  # noqa: PLC0415  (it is slow to import)

        self._result: Any = ipywidgets.HTML()
        row = ipywidgets.HBox(self._make_controls(), layout={"flex_flow": "row wrap"})
        self._box: Any = ipywidgets.VBox([row, self._result])
        self._show()

    @property
    def text(self) -> str:
        """All that it shows now."""
        raise NotImplementedError

    def _make_controls(self) -> list[Any]:
        """Return the ipywidgets that move it, in the order of the Tab key."""
        raise NotImplementedError

    def _page(self) -> str:
        """Return as HTML what it shows now."""
        raise NotImplementedError

    def _show(self, message: str = "") -> None:
        self._result.value = notice(message) + self._page()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:  # noqa: ARG002
        return {"text/plain": self.text, _WIDGET: self._box._repr_mimebundle_()[_WIDGET]}

    def __repr__(self) -> str:
        return self.text


def told(text: object) -> str:
    """Return a text, whoever wrote it, as HTML that shows exactly that text."""
    return escape(printable(str(text)))


def value(text: object) -> str:
    """Return an identifier or a value as HTML, in the font of a terminal."""
    return f'<span class="value">{told(text)}</span>'


def style_sheet(name: str, extra: dict[str, str]) -> str:
    """Return the CSS of a widget whose HTML stands in an element of class `name`; it reaches nothing else."""
    rules = _RULES | extra
    lines = (f".{name} {key.format(f'.{name}')}{{{rule}}}" if key else f".{name}{{{rule}}}"
             for key, rule in rules.items())
    return "<style>\n" + "\n".join(lines) + "\n</style>\n"


def live(html: str) -> str:
    """Return HTML that screen readers tell when it changes."""
    return f'<div role="status" aria-live="polite" aria-atomic="true">{html}</div>\n'


def notice(text: str) -> str:
    """Return a message for the reader, to stand above what the widget shows; "" gives nothing."""
    if not text:
        return ""
    message = live(f'<p class="problem"><span aria-hidden="true">✗</span> {told(text)}</p>')
    return f'<div class="{_NOTICE}">\n{style_sheet(_NOTICE, {})}{message}</div>\n'
