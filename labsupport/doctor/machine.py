"""The machine as it says it is: operating system, kernel, and the settings that forbid namespaces.

The settings tell why a lab cannot start and who can change that; whether it can, only the probe knows.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from labsupport.doctor.report import Check

OLDEST_KERNEL = (5, 15)
TESTED_MACHINES = ("x86_64", "aarch64")
NAMESPACE_KINDS = ("user", "mnt", "net", "pid", "ipc", "uts", "cgroup")
ELSEWHERE = {
    "Darwin": "On macOS, run the course in a Linux machine of Lima (https://lima-vm.io):\n"
              "  brew install lima\n  limactl start template://debian\n  limactl shell debian\n"
              "or on your course's JupyterHub.",
    "Windows": "On Windows, run the course in WSL2. In PowerShell as administrator:\n  wsl --install -d Debian\n"
               "then open Debian and go on there; or use your course's JupyterHub.",
}
_CLONE_SWITCH = "kernel.unprivileged_userns_clone"
_APPARMOR_SWITCH = "kernel.apparmor_restrict_unprivileged_userns"


@dataclass(frozen=True)
class Settings:
    """What this machine says about user namespaces; "" or an empty dict where it says nothing.

    Attributes:
        root: whether the doctor runs as root.
        maxima: how many namespaces of each kind may exist, by kind.
        clone_switch: kernel.unprivileged_userns_clone of Debian and older Ubuntu.
        apparmor_switch: kernel.apparmor_restrict_unprivileged_userns of Ubuntu since 23.10.
        seccomp: whether a seccomp filter watches this process's system calls, as in most containers.
    """

    root: bool
    maxima: dict[str, int]
    clone_switch: str
    apparmor_switch: str
    seccomp: bool


def read_settings() -> Settings:
    """Read them from /proc."""
    maxima = {}
    for kind in NAMESPACE_KINDS:
        text = read_text(f"/proc/sys/user/max_{kind}_namespaces")
        if text.isdecimal():
            maxima[kind] = int(text)
    status = dict(line.split(":\t", 1) for line in read_text("/proc/self/status").splitlines() if ":\t" in line)
    return Settings(
        root=os.geteuid() == 0,
        maxima=maxima,
        clone_switch=read_text("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor_switch=read_text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        seccomp=status.get("Seccomp", "0") == "2",
    )


def read_text(path: str) -> str:
    """Return the text of a file of /proc without white space around it, or "" if it is not there."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def check_system(system: str, release: str) -> Check:
    """Say whether this is a Linux that has namespaces at all."""
    if system != "Linux":
        return Check("operating system", "gap", system or "unknown", ELSEWHERE.get(
            system, "Labs act on a Linux kernel: run the course on Linux, in a virtual machine, or on a JupyterHub."),
            required=True)
    if "Microsoft" in release:  # WSL1 translates system calls; WSL2, whose name has a small m, is a Linux kernel
        return Check("operating system", "gap", f"WSL1 ({release}), which has no Linux kernel",
                     "Change this distribution to WSL2. In PowerShell:\n"
                     f"  wsl --set-version {os.environ.get('WSL_DISTRO_NAME', 'Debian')} 2", required=True)
    return Check("operating system", "ok", "Linux in WSL2" if "microsoft" in release else "Linux", required=True)


def check_kernel(release: str, machine: str) -> list[Check]:
    """Say whether the kernel is new enough and runs on a processor that labs were tested on."""
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    oldest = ".".join(map(str, OLDEST_KERNEL))
    kernel = Check("kernel", "ok", release, required=True)
    if version < OLDEST_KERNEL:
        kernel = Check("kernel", "gap", f"{release}, older than {oldest}",
                       f"Labs need Linux {oldest} or newer: update the system (Debian 12, Ubuntu 22.04 or newer have "
                       "it), or use a virtual machine or a hub.", required=True)
    if machine in TESTED_MACHINES:
        return [kernel, Check("processor", "ok", machine)]
    return [kernel, Check("processor", "note", f"{machine}; labs were tested on {' and '.join(TESTED_MACHINES)} only")]


def check_maxima(settings: Settings) -> Check:
    """Say whether the limits of namespaces(7) leave room for a lab: two user namespaces, one or more of the others."""
    short = {kind: most for kind, most in settings.maxima.items() if most < 2}
    if not short:
        observed = ", ".join(f"{kind} {most}" for kind, most in settings.maxima.items())
        return Check("namespace limits", "ok", observed or "none", required=True)
    lines = "\n".join(f"  sudo sysctl -w user.max_{kind}_namespaces=10000" for kind in short)
    observed = ", ".join(f"user.max_{kind}_namespaces is {most}" for kind, most in short.items())
    return Check("namespace limits", "gap", observed,
                 f"A lab needs two of each. An administrator sets, here and in /etc/sysctl.d/ for good:\n{lines}",
                 required=True)


def check_clone_switch(settings: Settings, *, works: bool) -> list[Check]:
    """Say whether Debian's switch forbids user namespaces to ordinary users; nothing where there is no switch."""
    if not settings.clone_switch:
        return []
    name = "unprivileged clone"
    if settings.clone_switch != "0" or settings.root:
        return [Check(name, "ok", f"{_CLONE_SWITCH} is {settings.clone_switch}", required=True)]
    return [Check(name, "note" if works else "gap", f"{_CLONE_SWITCH} is 0: only root may make user namespaces",
                  "An administrator allows it, here and in /etc/sysctl.d/ for good:\n"
                  f"  sudo sysctl -w {_CLONE_SWITCH}=1", required=True)]


def check_apparmor(settings: Settings, *, works: bool, python: str = "") -> Check:
    """Say whether AppArmor restricts user namespaces, and what an administrator does about it.

    Args:
        settings: what the machine says.
        works: whether the probe got its namespaces.
        python: the program that makes a lab's namespaces, without symbolic links, since AppArmor goes by that name.
    """
    if settings.apparmor_switch in {"", "0"}:
        return Check("AppArmor", "ok", "does not restrict user namespaces", required=True)
    restricts = f"{_APPARMOR_SWITCH} is {settings.apparmor_switch}"
    if works:
        who = "root is not concerned" if settings.root else "labs start all the same"
        return Check("AppArmor", "ok", f"{restricts}; {who}", required=True)
    return Check("AppArmor", "gap", f"{restricts}: only programs with a profile may use user namespaces",
                 profile_advice(python or os.path.realpath(sys.executable)), required=True)


def profile_advice(python: str) -> str:
    """Return what an administrator of Ubuntu 23.10 or newer does, so that `python` may make user namespaces."""
    profile = shlex.quote(f'profile labsupport "{python}" flags=(unconfined) {{')
    return f"""\
An administrator gives the Python that runs labs, {python}, a profile:
  printf '%s\\n' 'abi <abi/4.0>,' 'include <tunables/global>' \\
    {profile} '  userns,' '}}' |
    sudo tee /etc/apparmor.d/labsupport
  sudo apparmor_parser -r /etc/apparmor.d/labsupport
It lets every program run by this Python make user namespaces. Weaker, since it lifts the restriction for all programs \
of the machine:
  sudo sysctl -w {_APPARMOR_SWITCH}=0"""
