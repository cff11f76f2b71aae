"""What all widgets that go step by step share: four buttons and a slider."""

from __future__ import annotations

from typing import Any

from labsupport.errors import LessonError
from labsupport.views.interactive import Interactive


class Stepper(Interactive):
    """Shows one step of several. Assign to `step` to move without a mouse or a browser.

    Args:
        name: the function that makes it, for messages.
        first, last: the numbers of the steps.
        beginning: what the first one is, in words: "the moment before the first frame".
    """

    def __init__(self, name: str, first: int, last: int, beginning: str) -> None:
        self._name, self._first, self._last, self._beginning = name, first, last, beginning
        self._step = first
        super().__init__()

    @property
    def step(self) -> int:
        """The number of the step that it shows; assign another one to go there."""
        return self._step

    @step.setter
    def step(self, number: int) -> None:
        if not self._first <= number <= self._last:
            raise LessonError(f"there is no step {number}", where=self._name,
                              expected=f"{self._first} to {self._last}", observed=str(number),
                              next_step=f"step {self._first} is {self._beginning}")
        self._step = number
        self._slider.value = number
        self._show()

    def _make_controls(self) -> list[Any]:
        import ipywidgets  # noqa: PLC0415

        moves = {"First": (f"go to {self._beginning}", lambda: self._first),
                 "Back": ("one step back", lambda: self._step - 1),
                 "Forward": ("one step forward", lambda: self._step + 1),
                 "Last": ("go to the last step", lambda: self._last)}
        controls = []
        for name, (tooltip, target) in moves.items():
            button = ipywidgets.Button(description=name, tooltip=tooltip, layout={"width": "6em"})
            button.on_click(lambda _, target=target: self._go(target()))
            controls.append(button)
        # A slider needs two places at least.
        self._slider: Any = ipywidgets.IntSlider(
            description="Step", value=self._first, min=self._first, max=max(self._first + 1, self._last), readout=False,
            disabled=self._last == self._first, layout={"width": "24em"})
        self._slider.observe(self._on_slider, "value")
        return [*controls, self._slider]

    def _on_slider(self, change: dict[str, Any]) -> None:
        if change["new"] != self._step:
            self._go(change["new"])

    def _go(self, number: int) -> None:
        """Go to a step. A button at the end stays on: one that goes off would take the keyboard's focus with it."""
        if self._first <= number <= self._last:
            self.step = number
        else:
            self._show("This is the last step." if number > self._first else "This is the first step.")
