"""How a choice among routes reads: as HTML for a widget, and as text."""

from __future__ import annotations

from collections.abc import Sequence

from labsupport.net import Route
from labsupport.views.canvas import NOTEBOOK_COLOURS, printable
from labsupport.views.interactive import live, style_sheet, told, value
from labsupport.views.route_match import ADDRESS_BITS, Choice, Match, agrees, bits_of, place_of, way_out

_CLASS = "labsupport-routes"
_NO_BIT = "·"
_SAME, _OTHER = "=", "x"  # below a bit, in the text
_STYLE = style_sheet(_CLASS, {
    ".bits": "white-space:pre;letter-spacing:.04em",
    ".bits u": f"text-decoration-thickness:2px;text-underline-offset:3px;text-decoration-color:{NOTEBOOK_COLOURS.up}",
    ".bits b": f"outline:2px solid {NOTEBOOK_COLOURS.down};font-weight:700",
    "td.words": "white-space:normal;min-width:9em",
    ".wins": "font-weight:700;background:var(--jp-layout-color2, rgba(128, 128, 128, .15))",
})
_HEADINGS = ("Route", "Bits of its prefix", "Result", "Metric", "Way out")


def result_of(match: Match, choice: Choice) -> str:
    """Return in words how a route fared, and what the underlined and framed bits show."""
    length = match.prefix.prefixlen
    if not match.matches:
        first, further = match.differing[0], len(match.differing) - 1
        return f"bit {first} differs" + (f", and {further} more" if further else "")
    bits = f"all {length} bits match" if length > 1 else "its one bit matches" if length else "no bits to match"
    best = choice.winners[0]
    if match in choice.winners:
        return f"wins: {bits}"
    if match.prefix != best.prefix:
        return f"{bits}, fewer than {best.prefix.prefixlen}"
    return f"{bits}, but metric {match.route.metric} is higher"


def headline(choice: Choice) -> str:
    """Return which route wins."""
    winner = f"the route {choice.winners[0].prefix} wins" if choice.winners else "no route"
    return f"{choice.destination}: {winner}"


def explanation(choice: Choice) -> str:
    """Return why it wins, and what happens then."""
    return f"{choice.reason}; {choice.outcome}"


def kernel_verdict(choice: Choice, answer: Route | None) -> str:
    """Return what the kernel itself says, and if it is something else, where it looked."""
    said = "Network is unreachable" if answer is None else way_out(answer)
    if agrees(choice, answer):
        return f"The kernel says the same: {said}"
    return f"The kernel says something else: {said}. {_why_else(answer)}"


def _why_else(answer: Route | None) -> str:
    if answer is not None and answer.kind == "local":
        return "Before this table it asks the table local, and there it finds that the address is its own."
    if answer is not None and answer.kind == "broadcast":
        return "It is a broadcast address: the table local, which it asks before this one, says so."
    if answer is not None and answer.kind == "multicast":
        return "It is the address of a group, and those follow rules of their own."
    if answer is not None and answer.table != "main":
        return f"A rule sends this packet to the table {answer.table}, not to main: see ip rule."
    return "Another table or a rule decides (ip rule shows the rules), or the routes were changed in this moment."


def as_html(namespace: str, choice: Choice, answer: Route | None) -> str:
    """Return the verdict, the kernel's answer, and the table of routes."""
    sign = "✓" if agrees(choice, answer) else "≠"
    kind = "told" if agrees(choice, answer) else "problem"
    place = place_of(choice.destination, [one.route for one in choice.matches])
    where = f' <span class="faint">({told(place)})</span>' if place else ""
    words = (f"<p><b>{told(headline(choice))}</b>{where}<br/>{told(explanation(choice))}.</p>"
             f'<p class="{kind}"><span aria-hidden="true">{sign}</span> {told(kernel_verdict(choice, answer))}'
             f' <span class="faint">({value(f"ip route get {choice.destination}")})</span></p>')
    rows = "".join(_row(match, choice) for match in choice.matches)
    head = "".join(f'<th scope="col">{heading}</th>' for heading in _HEADINGS)
    mine = (f'<tr><th scope="row">destination</th>'
            f'<td aria-hidden="true">{_bits(_groups(bits_of(int(choice.destination))))}</td>'
            '<td colspan="3"></td></tr>')
    table = (f"<table><caption>{told(_title(namespace))}</caption><thead><tr>{head}</tr></thead>"
             f"<tbody>{mine}{rows}</tbody></table>")
    return f'<div class="{_CLASS}">\n{_STYLE}{live(words)}{table}</div>\n'


def _row(match: Match, choice: Choice) -> str:
    wins = match in choice.winners
    sign = "▶" if wins else "✓" if match.matches else "✗"
    cells = (f'<td aria-hidden="true">{_bits(_marked_bits(match))}</td>',
             f'<td class="words"><span aria-hidden="true">{sign}</span> {result_of(match, choice)}</td>',
             f"<td>{match.route.metric}</td>", f'<td class="words">{value(way_out(match.route))}</td>')
    kind = ' class="wins"' if wins else ""
    return f'<tr{kind}><th scope="row">{value(match.route.destination)}</th>{"".join(cells)}</tr>'


def _bits(html: str) -> str:
    return f'<span class="value bits">{html}</span>'


def _marked_bits(match: Match) -> str:
    """Return the bits of a prefix: underlined where the destination has the same, framed where it has not."""
    bits = bits_of(int(match.prefix.network_address))[: match.prefix.prefixlen]
    cells = [f"<b>{bit}</b>" if at in match.differing else f"<u>{bit}</u>" for at, bit in enumerate(bits, 1)]
    return _groups([*cells, *(ADDRESS_BITS - len(cells)) * [_NO_BIT]])


def _groups(cells: Sequence[str]) -> str:
    """Join 32 cells, with a space after every eighth."""
    return " ".join("".join(cells[at : at + 8]) for at in range(0, len(cells), 8))


def as_text(namespace: str, choice: Choice, answer: Route | None) -> str:
    """Return the same as text; below each prefix, `=` stands for a bit that is the same and `x` for one that is not."""
    names = [match.route.destination for match in choice.matches]
    width = max(map(len, ["destination", *names]))
    lines = [_title(namespace), f"  {'destination':{width}}  {_groups(bits_of(int(choice.destination)))}"
             f"  {choice.destination}"]
    for match in choice.matches:
        length = match.prefix.prefixlen
        bits = bits_of(int(match.prefix.network_address))[:length].ljust(ADDRESS_BITS, _NO_BIT)
        marks = "".join(_OTHER if at in match.differing else _SAME for at in range(1, length + 1))
        lines.append(f"  {match.route.destination:{width}}  {_groups(bits)}  {way_out(match.route)},"
                     f" metric {match.route.metric}: {result_of(match, choice)}")
        lines.append(f"  {'':{width}}  {_groups(marks.ljust(ADDRESS_BITS))}")
    lines += [f"{headline(choice)}: {explanation(choice)}.", kernel_verdict(choice, answer)]
    return "\n".join(printable(line.rstrip()) for line in lines)


def _title(namespace: str) -> str:
    place = f"namespace {namespace}" if namespace else "the lab's first namespace"
    return f"IPv4 routes of {place}, table main"
