"""What a picture of a walk writes beside each row."""

from __future__ import annotations

from labsupport.net import WalkStep
from labsupport.net.conntrack import ConntrackEntry
from labsupport.net.nft_trace import TraceEvent
from labsupport.net.walk_text import KIND_WORDS, WAY_WORDS
from labsupport.views.canvas import Span, line_width, text_width
from labsupport.views.walk_rows import Row

_LONGEST = 400.0  # pixels
_LONGEST_CHAIN = 26  # letters
Line = tuple[Span, ...]


def heading(row: Row) -> Line:
    """Return what stands above the rows of one way."""
    return Span("name", WAY_WORDS[row.step.way]), Span(
        "value", f"{row.step.before or row.step.flow}, ttl {row.step.ttl}")


def kind_word(row: Row) -> str:
    """Return what a row is, in one word."""
    return "cable" if row.crosses else KIND_WORDS[row.step.kind]


def words(row: Row) -> Line:
    """Return what a row says, no wider than 400 pixels."""
    return _shortened(_words(row))


def _words(row: Row) -> Line:
    step = row.step
    if step.kind in ("out", "in"):
        ends = " → ".join(one.link for one in row.steps)
        return Span("value", ends), Span("faint", str(step.flow))
    if step.kind in ("dnat", "snat"):
        return _translation(step)
    if step.entry is not None:
        return _remembered(step, step.entry)
    if step.kind == "route" and step.link:
        return Span("value", f"→ {step.link}"), Span("faint", f"ttl {step.ttl}")
    if step.kind == "rule" and step.event is not None:
        return (Span("faint", _rule(step, step.event)),)
    return (Span("value" if step.kind in ("dropped", "lost") else "faint", step.text),)


def _translation(step: WalkStep) -> Line:
    ends = step.text.partition(" (")[0]
    word, _, change = ends.partition(" ")
    old, _, new = change.partition(" becomes ")
    return Span("faint", word), Span("value", f"{old} →"), Span("name", new)


def _rule(step: WalkStep, event: TraceEvent) -> str:
    """Return where a rule stands and what it does: of iptables, without what it has matched."""
    where = f"{event.table} {_chain(event.chain)}"
    written = step.text.partition(f" {event.chain}: ")[2].rpartition(" -> ")[0]
    if event.target:
        return f"{where} → {_chain(event.target)}"
    return f"{where}: {written[max(0, written.rfind('-j ')):]}"


def _chain(name: str) -> str:
    """Return the name of a chain, shortened: those of kube-proxy in its nftables mode are long."""
    return name if len(name) <= _LONGEST_CHAIN else f"{name[:_LONGEST_CHAIN - 1]}…"


def _remembered(step: WalkStep, entry: ConntrackEntry) -> Line:
    if step.flow == entry.reply:
        return Span("faint", "known, belongs to"), Span("faint", str(entry.original))
    noted = "noted" if entry.new else "known"
    return Span("faint", f"{noted}, answers will be"), Span("faint", str(entry.reply))


def _shortened(line: Line) -> Line:
    """Cut the end off a line that is too long."""
    while line_width(line) > _LONGEST:
        *rest, last = line
        too_long = line_width(line) - _LONGEST
        letters = text_width(last) / max(1, len(last.text))
        keep = max(0, len(last.text) - int(too_long / letters) - 2)
        line = (*rest, Span(last.style, f"{last.text[:keep]}…")) if keep else tuple(rest)
    return line
