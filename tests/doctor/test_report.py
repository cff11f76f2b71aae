"""How the report reads, for people and for programs."""

from __future__ import annotations

import json

import pytest

from labsupport.doctor.report import Check, Report

OK = Check("kernel", "ok", "6.1", required=True)
OPTIONAL_GAP = Check("netem (delay, loss)", "gap", "unknown qdisc", "Needed by a section.\n  sudo modprobe sch_netem")
STOP = Check("user namespaces", "gap", "Operation not permitted", "Ask.", required=True)


@pytest.mark.parametrize(("checks", "can_run"), [((OK,), True), ((OK, OPTIONAL_GAP), True), ((OK, STOP), False)])
def test_only_required_gaps_stop_labs(checks: tuple[Check, ...], can_run: bool) -> None:
    report = Report(checks)
    assert report.can_run_labs is can_run
    assert json.loads(report.as_json())["can_run_labs"] is can_run


def test_the_last_line_is_the_verdict() -> None:
    assert Report((OK, OPTIONAL_GAP)).as_text().splitlines()[-1] == "This machine can run the labs."
    assert "What stops it: user namespaces." in Report((OK, STOP)).as_text().splitlines()[-1]


def test_columns_are_aligned_and_states_are_words() -> None:
    first, second, advice, paste, *_ = Report((OK, OPTIONAL_GAP)).as_text().splitlines()
    column = first.index("6.1")
    assert second.index("unknown qdisc") == column
    assert advice.index("Needed") == column
    assert paste == " " * (column + 2) + "sudo modprobe sch_netem"
    assert " ok " in first
    assert " gap " in second


def test_lines_for_pasting_are_never_broken() -> None:
    command = "sudo " + "x" * 300
    text = Report((Check("a", "gap", "b", f"{'word ' * 60}\n  {command}"),)).as_text(width=80)
    assert any(line.strip() == command for line in text.splitlines())
    assert all(len(line) <= 80 for line in text.splitlines() if "word" in line)


def test_without_colour_there_is_no_escape_and_with_colour_the_words_stay() -> None:
    report = Report((OK, OPTIONAL_GAP, STOP))
    assert "\x1b" not in report.as_text()
    coloured = report.as_text(colour=True)
    assert "\x1b[" in coloured
    for code in ("32", "33", "31", "0"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == report.as_text()


def test_a_terminal_without_unicode_gets_ascii() -> None:
    Report((OK, OPTIONAL_GAP, STOP, Check("ids", "note", "1"))).as_text(symbols=False).encode("ascii")
