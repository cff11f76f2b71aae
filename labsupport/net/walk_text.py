"""A walk as lines of text, for a terminal, and as the text twin of its pictures."""

from __future__ import annotations

from collections.abc import Sequence

from labsupport.net.walk_steps import StepKind, WalkStep

KIND_WORDS: dict[StepKind, str] = {
    "sent": "sent", "out": "out", "in": "in", "conntrack": "conntrack", "rule": "rule", "dnat": "DNAT", "snat": "SNAT",
    "route": "route", "delivered": "delivered", "dropped": "dropped", "lost": "lost"}
WAY_WORDS = {"there": "There, the request", "back": "Back, the answer"}


def walk_headline(steps: Sequence[WalkStep], *, answered: bool, lost: bool) -> str:
    """Return in one line what the walk was and how it ended.

    Args:
        steps: all of them, at least one.
        answered, lost: as a Walk has them.
    """
    first = steps[0]
    end = "there and back" if answered else f"no answer arrives at {place_of(first)}"
    doubt = "; the kernel could not tell everything, steps may be missing" if lost else ""
    return f"Walk of one {first.flow.protocol} packet from {place_of(first)}, {len(steps)} steps: {end}{doubt}"


def walk_lines(steps: Sequence[WalkStep]) -> list[str]:
    """Return the steps in their order, one line each, numbered from 1; a line before each of both ways."""
    lines, way = [], ""
    for number, step in enumerate(steps, 1):
        if step.way != way:
            way = step.way
            lines.append(f"{WAY_WORDS[step.way]}: {step.flow}, ttl {step.ttl}")
        lines.append(f"{number:>3}. {place_of(step)} {KIND_WORDS[step.kind]}: {step.text}")
    return lines


def place_of(step: WalkStep) -> str:
    """Return where a step happens: the namespace, and the link of frames; "lab" is the lab's first namespace."""
    name = step.namespace or "lab"
    return f"{name}:{step.link}" if step.kind in ("out", "in") else name
