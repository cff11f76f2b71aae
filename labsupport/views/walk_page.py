"""How one step of a walk reads: as HTML for a widget, and as text."""

from __future__ import annotations

from collections.abc import Mapping

from labsupport.net import WalkStep
from labsupport.net.walk_text import KIND_WORDS, WAY_WORDS, place_of
from labsupport.views.canvas import NOTEBOOK_COLOURS, printable
from labsupport.views.interactive import live, style_sheet, told, value
from labsupport.views.walk_picture import draw_part
from labsupport.views.walk_rows import Walked

_CLASS = "labsupport-walk"
_STYLE = style_sheet(_CLASS, {
    # Least sizes, so that little moves from step to step.
    "[role=status]": "min-height:4.5em",
    "tbody th": "min-width:8.5em",
    "td.value": "min-width:14em",
    "td.word": "min-width:14em",
    ".changed": f"font-weight:700;box-shadow:inset 4px 0 {NOTEBOOK_COLOURS.up};"
                "background:var(--jp-layout-color2, rgba(128, 128, 128, .15))",
})
_MOST_ROWS = 9
_HEADERS = ("source address", "source port", "destination address", "destination port", "TTL")
_ECHO = {"source port": "identifier"}
Fields = Mapping[str, str]


def step_title(walk: Walked, number: int) -> str:
    """Return number, way, place and kind of a step."""
    step = walk.steps[number - 1]
    return f"Step {number} of {len(walk.steps)}: {WAY_WORDS[step.way]}, at {place_of(step)}: {KIND_WORDS[step.kind]}"


def fields(walk: Walked, number: int) -> list[tuple[str, str, str]]:
    """Return the packet's headers after a step: name, value, and the value before if this step has changed it."""
    step = walk.steps[number - 1]
    now, before = _fields(step), _before(walk, number)
    return [(name, text, "" if before[name] == text else before[name]) for name, text in now.items()]


def _before(walk: Walked, number: int) -> Fields:
    """Return the headers before a step; the answer is another packet than the request."""
    step = walk.steps[number - 1]
    earlier = walk.steps[number - 2] if number > 1 else step
    return _fields(earlier if earlier.way == step.way else step)


def _fields(step: WalkStep) -> Fields:
    flow = step.flow
    values = (flow.source, str(flow.source_port), flow.destination, str(flow.destination_port), str(step.ttl))
    found = dict(zip(_HEADERS, values, strict=True))
    if flow.protocol != "icmp":
        return found
    return {_ECHO.get(name, name): text for name, text in found.items() if name != "destination port"}


def as_html(walk: Walked, number: int) -> str:
    """Return where the packet is, its headers, and the part of the picture around it."""
    step, title = walk.steps[number - 1], step_title(walk, number)
    words = live(f"<p><b>{told(title)}</b><br/>{told(step.text)}</p>")
    rows = "".join(_row(*field) for field in fields(walk, number))
    head = '<tr><th scope="col">header</th><th scope="col">value</th><th scope="col">this step</th></tr>'
    caption = f"The {step.flow.protocol} packet after this step"
    table = f"<table><caption>{told(caption)}</caption><thead>{head}</thead><tbody>{rows}</tbody></table>"
    picture = draw_part(walk, number, _MOST_ROWS, title)._repr_html_()
    return f'<div class="{_CLASS}">\n{_STYLE}{words}{table}{picture}</div>\n'


def _row(name: str, text: str, old: str) -> str:
    kind = ' class="changed"' if old else ""
    mark = f'<span aria-hidden="true">~</span> changed, was {told(old)}' if old else ""
    return (f'<tr{kind}><th scope="row">{told(name)}</th><td class="value">{value(text)}</td>'
            f'<td class="word">{mark}</td></tr>')


def as_text(walk: Walked, number: int) -> str:
    """Return the same as text."""
    lines = [step_title(walk, number), f"  {walk.steps[number - 1].text}"]
    lines += [f"  {'~' if old else ' '} {name}: {text}{f' (changed, was {old})' if old else ''}"
              for name, text, old in fields(walk, number)]
    return "\n".join(map(printable, lines))
