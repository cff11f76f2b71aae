"""The doctor as a program: what it prints, what it leaves, and where there is no Linux."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import oracle
import pytest
from bad_worlds import PROGRAM, checks, doctor

from labsupport.waiting import wait_until

ELSEWHERE = """
import os, platform, sys
for name in ("pwd", "grp", "fcntl", "termios", "tty", "resource", "pty"):
    sys.modules[name] = None
for name in ("geteuid", "getuid", "getegid", "memfd_create", "eventfd", "eventfd_read", "pidfd_open", "posix_spawn"):
    if hasattr(os, name):
        delattr(os, name)
platform.system = lambda: sys.argv[1]
from labsupport.cli import main
sys.exit(main(["doctor", *sys.argv[2:]]))
"""


def elsewhere(system: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", ELSEWHERE, system, *arguments], capture_output=True, text=True,
                          timeout=30, check=False)


def test_text_and_json_say_the_same() -> None:
    status, report = doctor()
    text = subprocess.run([PROGRAM, "doctor"], capture_output=True, text=True, timeout=30, check=False)
    assert text.returncode == status == 0
    assert text.stdout.splitlines()[-1] == "This machine can run the labs."
    assert "\x1b" not in text.stdout
    for name in checks(report):
        assert f" {name} " in text.stdout


def test_every_gap_says_what_to_do() -> None:
    _, report = doctor()
    assert [check["name"] for check in report["checks"] if check["state"] == "gap" and not check["next_step"]] == []
    for check in report["checks"]:
        assert set(check) == {"name", "state", "observed", "next_step", "required"}
        assert check["state"] in {"ok", "gap", "note"}
        assert check["observed"]


def test_what_it_says_about_tools_is_what_is_there() -> None:
    _, report = doctor()
    version = subprocess.run(["tcpdump", "--version"], capture_output=True, text=True, check=True, timeout=10)
    said = checks(report)["tcpdump"]["observed"].split(",")[0]
    assert said in version.stdout + version.stderr


def test_what_it_says_about_features_is_what_the_kernel_does() -> None:
    """Asks the kernel once more, by another way: a namespace of unshare(1) and sysfs instead of our probe."""
    _, report = doctor()
    for name, kind in (("VXLAN", "vxlan id 7 dstport 4789"), ("802.1Q", "vlan id 10")):
        link = "link lo" if kind.startswith("vlan") else ""
        tried = subprocess.run(["unshare", "--user", "--map-root-user", "--net", "sh", "-c",
                                f"ip link add {link} name probe0 type {kind} && grep -q probe0 /proc/net/dev"],
                               capture_output=True, text=True, timeout=10, check=False)
        assert checks(report)[name]["state"] == ("ok" if tried.returncode == 0 else "gap"), name


def left_below_us() -> list[oracle.Process]:
    return [process for process in oracle.descendants(os.getpid())
            if "probe.py" in process.command_line or process.of_a_lab]


def test_it_leaves_nothing_behind() -> None:
    before = oracle.Snapshot()
    doctor()
    after = oracle.Snapshot()
    assert (after.links, after.mounts, after.rules) == (before.links, before.mounts, before.rules)
    assert left_below_us() == []


@pytest.mark.parametrize("after_ms", [60, 100, 140, 180])
def test_when_it_is_killed_its_probe_goes_as_well(after_ms: int) -> None:
    process = subprocess.Popen([PROGRAM, "doctor"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after_ms / 1000)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_until(lambda: not left_below_us(), what="the probe to be gone", deadline_s=2)


@pytest.mark.parametrize(("system", "advice"), [("Darwin", "lima"), ("Windows", "wsl --install")])
def test_without_linux_it_says_where_to_go(system: str, advice: str) -> None:
    done = elsewhere(system)
    assert done.returncode == 1
    assert done.stderr == ""
    assert advice in done.stdout
    assert done.stdout.splitlines()[-1].endswith("What stops it: operating system.")
    assert json.loads(elsewhere(system, "--json").stdout)["can_run_labs"] is False


def test_it_works_where_the_current_folder_has_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(["sh", "-c", f"cd {gone} && rmdir {gone} && exec {PROGRAM} doctor"], capture_output=True,
                          text=True, timeout=30, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "This machine can run the labs."
