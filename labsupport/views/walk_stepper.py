"""A widget to go through a walk step by step, and watch the headers of the packet change."""

from __future__ import annotations

from labsupport.views.stepper import Stepper
from labsupport.views.walk_page import as_html, as_text
from labsupport.views.walk_rows import Walked, ended


def step_walk(walk: Walked) -> WalkStepper:
    """Return a widget that goes through a walk, one link, decision or translation after the other.

    It makes visible what each step does to the packet: beside what happens, such as the words of the rule, stand its
    addresses, ports and TTL as they are after the step, with a mark at what the step has changed, and the part of
    `draw_walk`'s picture around it. Steps are numbered as there and in `walk_table`.

    Args:
        walk: one that has ended.

    Raises:
        LessonError: it has not.
    """
    return WalkStepper(ended(walk))


class WalkStepper(Stepper):
    """What `step_walk` returns. Assign to `step` to move without a mouse or a browser."""

    def __init__(self, walk: Walked) -> None:
        self._walk = walk
        super().__init__("step_walk", 1, len(walk.steps), "the beginning of the way")

    @property
    def text(self) -> str:
        """All that it shows now."""
        return as_text(self._walk, self.step)

    def _page(self) -> str:
        return as_html(self._walk, self.step)
