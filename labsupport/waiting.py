"""The only polling loop of the project: a deadline is mandatory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from labsupport.errors import WaitTimeout

Value = TypeVar("Value")


def wait_until(
    observe: Callable[[], Value],
    *,
    what: str,
    deadline_s: float,
    interval_s: float = 0.01,
) -> Value:
    """Call `observe` until it returns something true, and return that.

    Args:
        observe: looks at the world; a false value means "not yet".
        what: what is waited for, as it reads in "waited 5 s for ...".
        deadline_s: how long to wait at most, in seconds.
        interval_s: the pause between two looks, in seconds.

    Raises:
        WaitTimeout: `deadline_s` has passed; the last observation is in the message.
    """
    end = time.monotonic() + deadline_s
    while True:
        value = observe()
        if value:
            return value
        if time.monotonic() >= end:
            raise WaitTimeout(
                f"waited {deadline_s:g} s for {what}",
                expected=what,
                observed=repr(value),
                next_step="look at the last observation; a slow machine may need a longer deadline",
            )
        time.sleep(interval_s)
