"""`wait_until`: the only polling loop, and it always ends."""

from __future__ import annotations

import time

import pytest

from labsupport.errors import WaitTimeout
from labsupport.waiting import wait_until


def test_what_was_observed_is_returned():
    assert wait_until(lambda: [1], what="a list", deadline_s=1) == [1]


def test_it_looks_again_until_it_is_true():
    looks = iter([0, "", None, [], "there"])
    assert wait_until(lambda: next(looks), what="it", deadline_s=5, interval_s=0.001) == "there"


def test_it_gives_up_with_the_last_observation():
    start = time.monotonic()
    with pytest.raises(WaitTimeout, match=r"waited 0\.05 s for the link to be up") as caught:
        wait_until(list, what="the link to be up", deadline_s=0.05, interval_s=0.001)
    assert 0.05 <= time.monotonic() - start < 1
    assert caught.value.observed == "[]"


def test_it_looks_once_even_without_time():
    looks: list[int] = []
    with pytest.raises(WaitTimeout):
        wait_until(lambda: looks.append(1), what="it", deadline_s=0)
    assert looks == [1]


def test_what_the_observation_raises_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0, what="it", deadline_s=1)
