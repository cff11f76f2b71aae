"""What takes long in a notebook says what it does."""

from __future__ import annotations

import sys
import time

PATIENCE_S = 2.0


class Steps:
    """Says under the cell what is being done, each step with the seconds since the first."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._said = ""

    def say(self, step: str) -> None:
        """Say what begins now."""
        self._said = step
        sys.stdout.write(f"[{time.monotonic() - self._begun:5.1f} s] {step}\n")
        sys.stdout.flush()

    def say_if_late(self, step: str) -> None:
        """Say, once, what goes on for so long that the reader wonders."""
        if step != self._said and time.monotonic() - self._begun > PATIENCE_S:
            self.say(step)
