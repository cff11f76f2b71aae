"""The doctor in places where labs cannot run: it must see that, say why, and say what to do."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bad_worlds import CLONE3, UNSHARE, checks, doctor, doctor_after, doctor_under_filter, gaps

from labsupport import Lab
from labsupport.doctor.tools import lab_path


def hide(program: str) -> str:
    """Return shell lines that take a program away from every folder where labs look for it."""
    places = {os.path.realpath(found) for folder in lab_path().split(":")
              if (found := shutil.which(program, path=folder))}
    assert places, f"{program} is not there to be hidden"
    return "\n".join(f"mount --bind /dev/null '{place}'" for place in sorted(places))


def test_here_labs_run_and_the_doctor_says_so() -> None:
    with Lab() as lab:
        lab.ping()
    status, report = doctor()
    assert status == 0
    assert report["can_run_labs"] is True
    assert gaps(report) == set()


def test_no_user_namespaces_left() -> None:
    status, report = doctor_after("echo 0 > /proc/sys/user/max_user_namespaces")
    found = checks(report)
    assert status == 1
    assert report["can_run_labs"] is False
    assert {"user namespaces", "namespace limits"} <= gaps(report)
    assert "ENOSPC" in found["user namespaces"]["observed"]
    assert "user.max_user_namespaces is 0" in found["namespace limits"]["observed"]
    assert "sysctl -w user.max_user_namespaces=" in found["namespace limits"]["next_step"]
    assert found["nested namespaces"]["state"] == "note"


def test_only_one_user_namespace_left_is_not_enough() -> None:
    """A lab nests two; the outer one alone can be made here."""
    status, report = doctor_after("echo 1 > /proc/sys/user/max_user_namespaces")
    assert status == 1
    assert "namespace limits" in gaps(report)
    assert gaps(report) & {"user namespaces", "nested namespaces"}


def test_a_masked_proc_as_in_containers() -> None:
    status, report = doctor_after("mount --bind /dev/null /proc/version")
    fresh = checks(report)["fresh /proc"]
    assert status == 1
    assert gaps(report) == {"fresh /proc"}
    assert "/proc/version" in fresh["observed"]
    assert "--security-opt systempaths=unconfined" in fresh["next_step"]
    assert "uml" in fresh["next_step"]


def test_a_read_only_sys_as_in_containers() -> None:
    status, report = doctor_after("mount -o remount,bind,ro /sys")
    assert status == 1
    assert "fresh /sys" in gaps(report)
    assert "/sys is read-only" in checks(report)["fresh /sys"]["observed"]


@pytest.mark.parametrize("program", ["ip", "bash"])
def test_without_a_required_tool_no_lab_runs(program: str) -> None:
    status, report = doctor_after(hide(program))
    tool = checks(report)[program]
    assert status == 1
    assert program in gaps(report)
    assert tool["observed"] == "not found"
    assert "sudo apt-get install" in tool["next_step"]


def test_without_another_tool_labs_run_and_those_that_suffer_are_named() -> None:
    status, report = doctor_after(hide("tcpdump"))
    tool = checks(report)["tcpdump"]
    assert status == 0
    assert tool["state"] == "gap"
    assert "every lab that captures packets" in tool["next_step"]
    assert "apt-get install tcpdump" in tool["next_step"]


def test_a_tool_on_the_users_path_only_does_not_count(tmp_path: Path) -> None:
    """Labs do not use the user's PATH, so the doctor must not either."""
    status, report = doctor_after(f"cp \"$(command -v tcpdump)\" {tmp_path}\n{hide('tcpdump')}\nPATH={tmp_path}:$PATH")
    assert status == 0
    assert checks(report)["tcpdump"]["state"] == "gap"


@pytest.mark.parametrize(("number", "error", "name"), [(UNSHARE, errno.EPERM, "user namespaces"),
                                                       (CLONE3, errno.ENOSYS, "nested namespaces")])
def test_a_seccomp_filter_as_in_containers(number: int, error: int, name: str) -> None:
    status, report = doctor_under_filter(number, error)
    assert status == 1
    assert gaps(report) == {name}
    assert errno.errorcode[error] in checks(report)[name]["observed"]
    assert "--security-opt seccomp=unconfined" in checks(report)[name]["next_step"]


@pytest.mark.parametrize("preparation", ["echo 0 > /proc/sys/user/max_user_namespaces",
                                         "mount --bind /dev/null /proc/version"])
def test_where_the_doctor_says_no_a_lab_does_not_start(preparation: str) -> None:
    """The probe takes the steps of a lab; this holds the two together."""
    code = "from labsupport import Lab\nwith Lab() as lab: lab.ping()"
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec",
                           f'{preparation}\nexec "$@"', "sh", sys.executable, "-c", code],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "LabUnavailable" in done.stderr
