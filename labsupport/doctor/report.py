"""What `labsupport doctor` found, for people and for programs."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "gap", "note"]

_COLOURS = {"ok": "32", "gap": "33", "note": "36"}
_RED = "31"
_NARROWEST_TEXT = 40


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what it is about.
        state: "ok", "gap" (something is missing, and `next_step` says what to do) or "note" (good to know).
        observed: what is there.
        next_step: what to do about it; lines that start with a blank are for pasting.
        required: whether no lab at all can run here while this is a gap.
    """

    name: str
    state: State
    observed: str
    next_step: str = ""
    required: bool = False

    @property
    def stops_labs(self) -> bool:
        """Whether no lab can run because of this."""
        return self.required and self.state == "gap"


@dataclass(frozen=True)
class Report:
    """Everything that was looked at, in the order in which it is shown."""

    checks: tuple[Check, ...]

    @property
    def can_run_labs(self) -> bool:
        """Whether every required check holds."""
        return not any(check.stops_labs for check in self.checks)

    def as_json(self) -> str:
        """Return it as one JSON object: can_run_labs, and checks with the attributes of `Check`."""
        checks = [asdict(check) for check in self.checks]
        return json.dumps({"can_run_labs": self.can_run_labs, "checks": checks}, indent=2)

    def as_text(self, *, width: int = 100, colour: bool = False, symbols: bool = True) -> str:
        """Return it as lines for a terminal.

        Args:
            width: how many columns there are.
            colour: colour the states as well; their words and symbols stay.
            symbols: whether the terminal can show more than ASCII.
        """
        column = max((len(check.name) for check in self.checks), default=0)
        lines: list[str] = []
        for check in self.checks:
            lines += _lines(check, column, max(width, column + 9 + _NARROWEST_TEXT), colour=colour, symbols=symbols)
        return "\n".join([*lines, "", self.verdict()])

    def verdict(self) -> str:
        """Return the last line: whether labs can run here, or what stops them."""
        stopping = [check.name for check in self.checks if check.stops_labs]
        if not stopping:
            return "This machine can run the labs."
        return f"This machine cannot run the labs yet. What stops it: {', '.join(stopping)}."


def _lines(check: Check, column: int, width: int, *, colour: bool, symbols: bool) -> list[str]:
    mark = {"ok": "✓", "gap": "✗" if check.required else "!", "note": "·"}[check.state]
    if not symbols:
        mark = {"✓": "+", "✗": "X", "!": "!", "·": "-"}[mark]
    state = f"{mark} {check.state:<4}"
    if colour:
        code = _RED if check.stops_labs else _COLOURS[check.state]
        state = f"\x1b[{code}m{state}\x1b[0m"
    indent = " " * (column + 9)
    room = width - len(indent)
    first, *rest = textwrap.wrap(check.observed, room, break_long_words=False, break_on_hyphens=False) or [""]
    lines = [f"{state} {check.name:<{column}}  {first}", *[indent + line for line in rest]]
    for paragraph in check.next_step.splitlines():
        if paragraph.startswith(" "):
            lines.append(indent + paragraph)  # for pasting: never broken
        else:
            lines += [indent + line for line in
                      textwrap.wrap(paragraph, room, break_long_words=False, break_on_hyphens=False)]
    return lines
