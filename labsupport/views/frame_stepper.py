"""A widget to go through a capture frame by frame, and watch the tables of switches and hosts change."""

from __future__ import annotations

from typing import Any

from labsupport.errors import LessonError
from labsupport.views.interactive import Interactive
from labsupport.views.step_page import as_html, as_text
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


class FrameStepper(Interactive):
    """What `step_frames` returns. Assign to `step` to move without a mouse or a browser."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._step = 0
        super().__init__()

    @property
    def step(self) -> int:
        """The number of the step that it shows; assign another one to go there."""
        return self._step

    @step.setter
    def step(self, number: int) -> None:
        if not 0 <= number <= self._story.last:
            raise LessonError(f"there is no step {number}", where="step_frames", expected=f"0 to {self._story.last}",
                              observed=str(number), next_step="step 0 is the moment before the first frame")
        self._step = number
        self._slider.value = number
        self._show()

    @property
    def text(self) -> str:
        """All that it shows now."""
        return as_text(self._story, self._step)

    def _make_controls(self) -> list[Any]:
        import ipywidgets  # noqa: PLC0415

        moves = {"First": ("go to the moment before the first frame", lambda: 0),
                 "Back": ("one step back", lambda: self._step - 1),
                 "Forward": ("one step forward", lambda: self._step + 1),
                 "Last": ("go to the last step", lambda: self._story.last)}
        controls = []
        for name, (tooltip, target) in moves.items():
            button = ipywidgets.Button(description=name, tooltip=tooltip, layout={"width": "6em"})
            button.on_click(lambda _, target=target: self._go(target()))
            controls.append(button)
        # A slider needs two places at least.
        self._slider: Any = ipywidgets.IntSlider(description="Step", min=0, max=max(1, self._story.last), readout=False,
                                                 disabled=not self._story.last, layout={"width": "24em"})
        self._slider.observe(self._on_slider, "value")
        return [*controls, self._slider]

    def _page(self) -> str:
        return as_html(self._story, self._step)

    def _on_slider(self, change: dict[str, Any]) -> None:
        if change["new"] != self._step:
            self._go(change["new"])

    def _go(self, number: int) -> None:
        """Go to a step. A button at the end stays on: one that goes off would take the keyboard's focus with it."""
        if 0 <= number <= self._story.last:
            self.step = number
        else:
            self._show("This is the last step." if number > 0 else "This is the first step.")
