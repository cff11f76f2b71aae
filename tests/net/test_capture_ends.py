"""A capture that is ended by somebody else, or cannot begin, says so; and no thread or process of it is left."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import oracle
import pytest
from from_outside import ping

from labsupport import Lab
from labsupport.errors import CaptureError, LabClosed, ProcessLimitReached
from labsupport.net import Capture
from labsupport.net import capture as capture_module
from labsupport.net.model import Endpoint
from labsupport.waiting import wait_until

BLUE = "10.0.0.2"


@pytest.fixture
def lab(small_lan: Lab) -> Lab:
    return small_lan


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    wait_until(lambda: not [thread for thread in threading.enumerate() if "capture" in thread.name],
               what="the captures' threads to end", deadline_s=2)


def test_a_lab_that_is_closed_meanwhile(lab: Lab) -> None:
    silent, busy = Capture(lab, ":lo"), Capture(lab, "blue")
    assert ping(lab, "blue", "10.0.0.1") == 0
    seen = busy.frames
    assert seen
    lab.close()
    with pytest.raises(LabClosed):
        wait_until(lambda: silent.stop() or not silent.running, what="the end", deadline_s=2)
    for act in (silent.stop, busy.stop, lambda: Capture(lab)):
        with pytest.raises(LabClosed):
            act()
    with pytest.raises(LabClosed):
        assert silent.frames
    assert busy.frames == seen


def test_a_capture_that_the_labs_root_has_killed(lab: Lab) -> None:
    silent, busy = Capture(lab, "blue"), Capture(lab, "red")
    assert ping(lab, "red", BLUE) == 0
    seen = busy.frames
    lab.run("kill -9 -1", echo=False)
    for capture in (silent, busy):
        wait_until(lambda one=capture: not one.running, what="the end", deadline_s=5)
        with pytest.raises(CaptureError, match="the capture was ended") as caught:
            capture.stop()
        assert caught.value.exit_status == -9
    assert busy.frames == seen  # what was captured is kept
    with Capture(lab, "red") as another:
        assert ping(lab, "red", BLUE) == 0
    assert another.frames


def test_a_capture_that_cannot_begin(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "resolve", lambda *_: [Endpoint("red", "gone0")])
    with pytest.raises(CaptureError, match="No such device") as caught:
        Capture(lab)
    assert caught.value.exit_status == 1


def test_a_full_lab_has_no_room_for_one() -> None:
    with Lab(process_limit=8) as lab:
        lab.run("ip link add up0 type veth peer name up1", echo=False).check()
        for _ in range(20):
            try:
                lab.start(["sleep", "infinity"])
            except ProcessLimitReached:
                break
        with pytest.raises(ProcessLimitReached):
            Capture(lab)


def test_an_error_in_the_block_comes_through(lab: Lab) -> None:
    with pytest.raises(KeyError, match="mine"), Capture(lab, "red") as capture:
        raise KeyError("mine")
    assert not oracle.lab_processes_below(os.getpid())[2:]  # but PID 1 and the observer
    wait_until(lambda: not capture.running, what="the end", deadline_s=2)
