"""How one step of a capture reads: as HTML for a widget, and as text."""

from __future__ import annotations

from labsupport.net.story import Cause
from labsupport.views.canvas import NOTEBOOK_COLOURS, printable
from labsupport.views.crossings import Crossing
from labsupport.views.frame_table import interface
from labsupport.views.header_words import header_words, summary_of
from labsupport.views.interactive import live, style_sheet, told, value
from labsupport.views.step_picture import draw_step
from labsupport.views.steps import Step, Story, Tables, Where

_CLASS = "labsupport-steps"
_STYLE = style_sheet(_CLASS, {
    # Least sizes, so that little moves from step to step.
    "[role=status]": "min-height:5em",
    "dl": "display:grid;grid-template-columns:max-content 1fr;align-content:start;gap:.1em 1em;margin:.5em 0;"
          "min-height:4.6em",
    "dt": "font-weight:700",
    "dd": "margin:0;white-space:normal",
    ".tables": "display:flex;flex-wrap:wrap;gap:0 2em;align-items:flex-start",
    "tbody th": "min-width:8.5em",
    "td.fdb": "min-width:7em",
    "td.neighbour": "min-width:14.5em",
    "td.word": "min-width:5.5em",
    ".changed": f"font-weight:700;box-shadow:inset 4px 0 {NOTEBOOK_COLOURS.up};"
                "background:var(--jp-layout-color2, rgba(128, 128, 128, .15))",
    ".gone .value": "text-decoration:line-through",
})
_SIGNS = {"new": "+", "changed": "~", "gone": "-"}
_TABLES = {"fdb": ("FDB", "MAC address", "behind port"), "neighbour": ("ARP table", "IP address", "MAC address, state")}


def _place(step: Step) -> str:
    """Return where the frame is in this step."""
    crossing = step.crossing
    if crossing is None:
        return "before the first frame"
    if crossing.start is None or crossing.end is None:
        return f"{crossing.frame.direction} at {interface(crossing.ends[0])}, where no cable is"
    lost = ", where it does not come out: lost" if crossing.lost else ""
    return f"from {interface(crossing.start)} through the cable to {interface(crossing.end)}{lost}"


def headline(step: Step, count: int) -> str:
    """Return number and place of a step."""
    return f"Step {step.number} of {count}: {_place(step)}" if count else "No frame was captured"


def frame_line(crossing: Crossing | None, number: int) -> str:
    """Return what the frame says, and whether it is the one of the step before."""
    if crossing is None:
        return ""
    again = f" (the same frame as in step {number - 1}, byte for byte)" if crossing.repeats else ""
    return f"{summary_of(crossing.frame)}{again}"


def change_lines(step: Step) -> list[str]:
    """Return one sentence for each change of a table."""
    return [_change_line(cause) for cause in step.causes]


def _change_line(cause: Cause) -> str:
    change = cause.change
    word = "gone" if not change.after else "changed" if change.before else "new"
    behind = "behind " if change.table == "fdb" else ""
    values = ", now ".join(behind + text for text in (change.before, change.after) if text)
    meanwhile = "" if cause.certain else " (meanwhile: no frame did this)"
    return f"{_title(change.table, change.namespace, change.device)}, {word}: {change.key} {values}{meanwhile}"


def _title(table: str, namespace: str, device: str) -> str:
    return f"{namespace or 'lab'}: {_TABLES[table][0]} of {device}"


def as_html(story: Story, number: int) -> str:
    """Return where the frame is, its picture, its headers, and the tables after the step."""
    step = story.steps[number]
    title, headers, picture = headline(step, story.last), "", ""
    lines = list(filter(None, [frame_line(step.crossing, number), *change_lines(step)]))
    words = live(f"<p><b>{told(title)}</b>{''.join(f'<br/>{told(line)}' for line in lines)}</p>")
    if story.last:
        picture = draw_step(step.crossing, story.crossings, title)._repr_html_()
    if step.crossing is not None:
        headers = "".join(f"<dt>{told(name)}</dt><dd>{value(text)}</dd>"
                          for name, text in header_words(step.crossing.frame))
    tables = "".join(_table(step, where) for where in story.tables)
    return (f'<div class="{_CLASS}">\n{_STYLE}{words}{picture}<dl>{headers}</dl>'
            f'<div class="tables">{tables}</div></div>\n')


def _table(step: Step, where: Where) -> str:
    _, key, entry = _TABLES[where[0]]
    rows = "".join(_row(where[0], *row) for row in _rows(step, where)) or (
        f'<tr><th scope="row">empty</th><td class="{where[0]}"></td><td class="word"></td></tr>')
    head = f'<tr><th scope="col">{key}</th><th scope="col">{entry}</th><th scope="col">this step</th></tr>'
    return f"<table><caption>{told(_title(*where))}</caption><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _row(table: str, key: str, entry: str, word: str) -> str:
    kind = f' class="changed{" gone" if word == "gone" else ""}"' if word else ""
    mark = f'<span aria-hidden="true">{_SIGNS[word]}</span> {word}' if word else ""
    return (f'<tr{kind}><th scope="row">{value(key)}</th><td class="{table}">{value(entry)}</td>'
            f'<td class="word">{mark}</td></tr>')


def _rows(step: Step, where: Where) -> list[tuple[str, str, str]]:
    """Return the lines of a table after a step: address, text, and "new", "changed" or "gone" if this step did that."""
    before, after = _lines(step.before, where), _lines(step.after, where)
    rows = []
    for key in sorted({*before, *after}, key=_by_number):
        word = "" if before.get(key) == after.get(key) else "new" if key not in before else (
            "changed" if key in after else "gone")
        rows.append((key, after.get(key) or before[key], word))
    return rows


def _lines(tables: Tables, where: Where) -> dict[str, str]:
    return {key: text for (name, table, key, device), text in tables.items() if (table, name, device) == where}


def _by_number(key: str) -> tuple[list[int], str]:
    """Sort 10.0.0.2 before 10.0.0.10."""
    return [int(part) for part in key.split(".") if part.isdigit()], key


def as_text(story: Story, number: int) -> str:
    """Return the same as text."""
    step = story.steps[number]
    lines = [headline(step, story.last)]
    if step.crossing is not None:
        lines.append(f"  {frame_line(step.crossing, number)}")
        lines += [f"    {name}: {words}" for name, words in header_words(step.crossing.frame)]
    lines += [f"  {line}" for line in change_lines(step)]
    for where in story.tables:
        rows = _rows(step, where)
        lines.append(_title(*where))
        lines += [f"  {_SIGNS.get(word, ' ')} {key} {text}{f' ({word})' if word else ''}" for key, text, word in rows]
        lines += [] if rows else ["    empty"]
    return "\n".join(map(printable, lines))
