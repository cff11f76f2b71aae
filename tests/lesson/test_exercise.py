"""Exercises: what a check keeps, earns and shows."""

from __future__ import annotations

import pytest

from labsupport import Lab
from labsupport.lesson.exercise import Check, NotData, as_data


def finished(lab: Lab, answer: object = None) -> Check:
    return Check("sample", lab, answer)


def test_points_are_those_of_what_holds(lab: Lab) -> None:
    with finished(lab) as check:
        check.needs("needed", ok=True)
        check.holds("first", True, points=2)
        check.holds("second", False, points=3, hint="look there")
    assert (check.earned, check.possible, check.passed) == (2, 5, False)
    assert repr(check).splitlines() == [
        "sample: not yet, 2 points so far", "  [x] needed", "  [x] first (2 points)", "  [ ] second (3 points)",
        "      hint: look there"]


def test_without_what_is_needed_nothing_is_earned(lab: Lab) -> None:
    with finished(lab) as check:
        check.needs("needed", ok=False)
        check.holds("first", True, points=2)
    assert check.earned == 0


def test_a_check_of_nothing_is_not_passed(lab: Lab) -> None:
    with finished(lab) as check:
        pass
    assert not check.passed


def test_a_check_never_raises_and_says_what_it_could_not_see(lab: Lab) -> None:
    with finished(lab) as check:
        lab.observe(["ip", "link"], namespace="nowhere")
    assert not check.passed
    assert "no network namespace is called 'nowhere'" in check.items[-1].text
    with finished(lab) as check:
        raise KeyError("unexpected")
    assert "KeyError" in check.items[-1].text


def test_ctrl_c_is_no_result(lab: Lab) -> None:
    with pytest.raises(KeyboardInterrupt), finished(lab):
        raise KeyboardInterrupt


def test_html_is_escaped(lab: Lab) -> None:
    with finished(lab) as check:
        check.holds("<script>", False, hint="<b>")
    page = check._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "Hint: &lt;b&gt;" in page


@pytest.mark.parametrize(("answer", "kinds", "ok"), [
    (..., (int,), False), (3, (int,), True), (True, (int,), False), ("3", (int,), False), ((1, 2), (list,), True),
])
def test_the_kind_of_an_answer(lab: Lab, answer: object, kinds: tuple[type, ...], ok: bool) -> None:
    with finished(lab, answer) as check:
        assert check.needs_answer(*kinds) is ok


def test_plain_data() -> None:
    assert as_data({"a": (1, 2.5), 3: {"y", "x"}}) == {"a": [1, 2.5], "3": ["x", "y"]}
    with pytest.raises(NotData):
        as_data(object())
    with pytest.raises(NotData):
        as_data([[[[[[1]]]]]])


def test_an_answer_that_is_no_data_is_refused(lab: Lab) -> None:
    with finished(lab, object()) as check:
        check.holds("free points", True)
    assert check.earned == 0
