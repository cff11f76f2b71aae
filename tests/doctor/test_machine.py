"""What the machine's settings mean, for machines that are not at hand."""

from __future__ import annotations

import subprocess

import pytest

from labsupport.doctor import machine
from labsupport.doctor.machine import Settings

KINDS = dict.fromkeys(machine.NAMESPACE_KINDS, 100)


def settings(*, root: bool = False, clone: str = "", apparmor: str = "", maxima: dict[str, int] = KINDS) -> Settings:
    return Settings(root=root, maxima=maxima, clone_switch=clone, apparmor_switch=apparmor, seccomp=False)


@pytest.mark.parametrize(("release", "state"), [("6.8.0-45-generic", "ok"), ("5.15.0", "ok"), ("5.14.0-427.el9", "gap"),
                                                ("4.4.0", "gap"), ("what", "gap"), ("10.0", "ok")])
def test_the_kernel_has_to_be_5_15(release: str, state: str) -> None:
    kernel, _ = machine.check_kernel(release, "x86_64")
    assert (kernel.state, kernel.required) == (state, True)
    assert release in kernel.observed


def test_another_processor_is_only_noted() -> None:
    _, processor = machine.check_kernel("6.1", "riscv64")
    assert processor.state == "note"


def test_wsl1_is_refused_and_wsl2_is_linux() -> None:
    old = machine.check_system("Linux", "4.4.0-19041-Microsoft")
    assert old.stops_labs
    assert "wsl --set-version" in old.next_step
    assert machine.check_system("Linux", "5.15.153.1-microsoft-standard-WSL2").state == "ok"


@pytest.mark.parametrize(("system", "advice"), [("Darwin", "Lima"), ("Windows", "WSL2"), ("Plan9", "virtual machine")])
def test_other_systems_are_told_where_to_go(system: str, advice: str) -> None:
    check = machine.check_system(system, "1")
    assert check.stops_labs
    assert advice in check.next_step


def test_a_short_namespace_limit_is_named_with_its_cure() -> None:
    check = machine.check_maxima(settings(maxima=KINDS | {"net": 0}))
    assert check.stops_labs
    assert check.observed == "user.max_net_namespaces is 0"
    assert "sysctl -w user.max_net_namespaces=" in check.next_step
    assert machine.check_maxima(settings()).state == "ok"


def test_debians_switch_stops_ordinary_users_only() -> None:
    (check,) = machine.check_clone_switch(settings(clone="0"), works=False)
    assert check.stops_labs
    assert "sysctl -w kernel.unprivileged_userns_clone=1" in check.next_step
    (check,) = machine.check_clone_switch(settings(clone="0", root=True), works=True)
    assert check.state == "ok"
    assert machine.check_clone_switch(settings(), works=True) == []


def test_apparmor_advice_is_a_profile_for_the_real_python_and_a_weaker_switch() -> None:
    check = machine.check_apparmor(settings(apparmor="1"), works=False, python="/usr/bin/python3.12")
    assert check.stops_labs
    profile, parser, weaker = (check.next_step.index(word) for word in (
        'profile labsupport "/usr/bin/python3.12" flags=(unconfined) {',
        "apparmor_parser -r /etc/apparmor.d/labsupport",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"))
    assert profile < parser < weaker
    assert "userns," in check.next_step


def test_the_line_that_writes_the_profile_can_be_pasted() -> None:
    python = "/home/o'neil/envs/my lab/bin/python3.12"
    advice = machine.profile_advice(python)
    pasted = "\n".join(line for line in advice.splitlines() if line.startswith(" "))
    without_root = 'sudo() { if [ "$1" = tee ]; then cat; else echo "run $*"; fi; }\n'
    done = subprocess.run(["bash", "-ec", without_root + pasted], capture_output=True, text=True,
                          timeout=10, check=True)
    assert done.stdout == f"""\
abi <abi/4.0>,
include <tunables/global>
profile labsupport "{python}" flags=(unconfined) {{
  userns,
}}
run apparmor_parser -r /etc/apparmor.d/labsupport
run sysctl -w kernel.apparmor_restrict_unprivileged_userns=0
"""


@pytest.mark.parametrize(("switch", "works"), [("", False), ("0", False), ("1", True)])
def test_apparmor_is_not_blamed_for_what_it_does_not_do(switch: str, works: bool) -> None:
    assert machine.check_apparmor(settings(apparmor=switch), works=works).state == "ok"
