"""Errors say what failed, where, what was expected and observed, and what to do next."""

from __future__ import annotations

import inspect
import pickle

import pytest

from labsupport import errors
from labsupport.errors import CommandFailed, LabError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


def test_every_part_is_in_the_message_in_this_order():
    error = CommandFailed("a command failed", where="namespace red", command="ip link", exit_status=-9,
                          expected="status 0", observed="a signal", log_tail="line 1\nline 2\n", next_step="look")
    assert str(error).splitlines() == [
        "a command failed",
        "  where:       namespace red",
        "  command:     ip link",
        "  exit status: -9",
        "  expected:    status 0",
        "  observed:    a signal",
        "  last output: line 1",
        "               line 2",
        "  next:        look",
    ]
    assert (error.where, error.command, error.exit_status, error.next_step) == ("namespace red", "ip link", -9, "look")


def test_parts_that_are_empty_take_no_line():
    assert str(LabError("it failed")) == "it failed"
    assert str(LabError("it failed", exit_status=0)) == "it failed\n  exit status: 0"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_there_is_one_tree_and_it_is_drawn_in_the_docstring(kind):
    assert issubclass(kind, LabError)
    assert kind.__name__ in errors.__doc__
    assert kind.__doc__
    assert "what" in inspect.signature(kind).parameters


def test_an_error_survives_the_way_to_another_process():
    error = LabError("it failed", where="here", exit_status=3, next_step="look")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own bytes)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
