"""What the doctor says about clusters."""

from __future__ import annotations

import pytest

from labsupport.doctor.cluster_needs import check_cluster_needs, check_inotify, check_memory


@pytest.mark.parametrize(("kibibytes", "state"), [(8_000_000, "ok"), (2_097_152, "ok"), (2_097_151, "note"),
                                                  (0, "note")])
def test_little_memory_is_noted(kibibytes, state):
    check = check_memory(f"MemTotal:       16000000 kB\nMemAvailable:   {kibibytes} kB\nHugePages_Total:  0\n")
    assert check.state == state
    assert f"{kibibytes >> 10:,} MiB" in check.observed
    assert ("--nodes 1" in check.next_step) == (state == "note")


@pytest.mark.parametrize(("limit", "state"), [("128", "ok"), ("64", "ok"), ("63", "note"), ("", "ok")])
def test_a_low_limit_of_inotify_is_noted_with_the_command_that_raises_it(limit, state):
    check = check_inotify(limit)
    assert check.state == state
    assert ("sudo sysctl -w fs.inotify.max_user_instances=" in check.next_step) == (state == "note")


def test_this_machine_is_looked_at():
    assert [check.name for check in check_cluster_needs()] == ["processors", "memory", "file watches"]
