"""A widget to go through a capture frame by frame, and watch the tables of switches and hosts change."""

from __future__ import annotations

from labsupport.views.step_page import as_html, as_text
from labsupport.views.stepper import Stepper
from labsupport.views.steps import Recorded, Story, tell_story


def step_frames(capture: Recorded) -> FrameStepper:
    """Return a widget that goes through the life of the frames of a capture, one crossing of a cable after the other.

    It makes visible how switches and hosts learn: beside the frame and its headers stand the FDB of every switch and
    the ARP table of every host as they are after the step, with a mark at what this frame changed. A change belongs to
    the frame that caused it (labsupport.net.story); one that no frame caused is told as "meanwhile". Steps are numbered
    as the arrows of `draw_frames`; step 0 is the moment before the first frame. The kernel does not announce that an
    ARP entry is INCOMPLETE or DELAY, so these states are not seen here.

    Args:
        capture: what it has seen until now; frames that come later are not shown.
    """
    return FrameStepper(tell_story(capture))


class FrameStepper(Stepper):
    """What `step_frames` returns. Assign to `step` to move without a mouse or a browser."""

    def __init__(self, story: Story) -> None:
        self._story = story
        super().__init__("step_frames", 0, story.last, "the moment before the first frame")

    @property
    def text(self) -> str:
        """All that it shows now."""
        return as_text(self._story, self.step)

    def _page(self) -> str:
        return as_html(self._story, self.step)
