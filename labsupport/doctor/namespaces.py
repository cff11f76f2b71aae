"""Whether a lab's namespaces and mounts work here, from what the probe tried."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from labsupport.doctor.ids import IdMap
from labsupport.doctor.machine import Settings
from labsupport.doctor.observing import Outcome, Probed
from labsupport.doctor.report import Check

_ORDINARY_CHILDREN = (
    "/proc/sys/fs/binfmt_misc", "/sys/fs/", "/sys/kernel/security", "/sys/kernel/debug", "/sys/kernel/tracing",
    "/sys/kernel/config", "/sys/firmware/efi/efivars",
)
"""Mounts in /proc and /sys that hide nothing: the kernel keeps empty folders for them."""
_UNREACHED = "not tried, since an earlier step failed"


@dataclass(frozen=True)
class MountPoint:
    """A line of /proc/self/mountinfo; see proc_pid_mountinfo(5)."""

    path: str
    kind: str
    read_only: bool


def parse_mountinfo(text: str) -> list[MountPoint]:
    """Return the mounts that /proc/self/mountinfo lists, in its order."""
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if separator and len(fields) >= 6 and after:
            path = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
            mounts.append(MountPoint(path, after.split()[0], "ro" in fields[5].split(",")))
    return mounts


def masks(mounts: list[MountPoint], root: str) -> list[str]:
    """Return what hides or freezes parts of `root` ("/proc" or "/sys"), as a container runtime's masks do."""
    found = []
    for mount in mounts:
        if mount.path == root and mount.read_only:
            found.append(f"{root} is read-only")
        elif mount.path.startswith(root + "/") and not mount.path.startswith(_ORDINARY_CHILDREN):
            found.append(mount.path)
    return sorted(set(found))


def check_namespaces(probed: Probed, settings: Settings) -> list[Check]:
    """Say whether the two nested user namespaces, and the other namespaces with them, can be made."""
    causes = _causes(settings)
    outer = _required("user namespaces", probed, ("outer user namespace", "id maps", "mount namespace"),
                      "can be made and entered", causes)
    inner = _required("nested namespaces", probed, ("inner namespaces",),
                      "network, PID, mount, IPC, UTS and cgroup namespaces inside a second user namespace", causes)
    return [outer, inner]


def check_mounts(probed: Probed, settings: Settings, mounts: list[MountPoint]) -> list[Check]:
    """Say whether a lab can build its view of the file system, with an /etc, a /proc and a /sys of its own."""
    causes = _causes(settings)
    return [
        _required("mount calls", probed, ("mount calls",), "open_tree, mount_setattr, move_mount, tmpfs, devpts",
                  causes),
        _required("overlayfs", probed, ("overlayfs",), "works in a user namespace",
                  "Labs keep their changes of /etc in one. An administrator may have it as a module:\n"
                  "  sudo modprobe overlay\n" + causes),
        *[_check_view(root, probed, masks(mounts, root)) for root in ("/proc", "/sys")],
    ]


def check_ids(ids: IdMap, user: str, first_free: int, *, has_helpers: bool) -> Check:
    """Say which ids of the host stand behind those of a lab, and what a range of subordinate ids would add."""
    if ids.kind == "shifted":
        return Check("ids", "ok", f"{ids.count}, backed by an unprivileged range from {ids.uids[0][1]}")
    if ids.kind == "subordinate":
        return Check("ids", "ok", f"{ids.count}: you, and a range of subordinate ids from {ids.uids[1][1]}")
    last = first_free + 65535
    if user.isdecimal():
        line = f"  echo '{user}:{first_free}:65536' | sudo tee -a /etc/subuid /etc/subgid"
    else:
        line = f"  sudo usermod --add-subuids {first_free}-{last} --add-subgids {first_free}-{last} {user}"
    package = "" if has_helpers else "  sudo apt-get install uidmap\n"
    return Check("ids", "note", f"1: the lab's root is you ({user}), and there is no other user in it",
                 "All labs run so. With a range of subordinate ids, chown, su and pods that run as another user work "
                 f"as well. An administrator adds it:\n{package}{line}")


def _required(name: str, probed: Probed, steps: tuple[str, ...], works: str, advice: str) -> Check:
    problem = probed.failed(*steps)
    if problem is not None:
        step = next(step for step in steps if probed.steps.get(step) == problem)
        kind = errno.errorcode.get(problem.errno, str(problem.errno))
        label = "" if step == name else f"{step}: "
        return Check(name, "gap", f"{label}{problem.text} ({kind})", _advice(problem, advice), required=True)
    if probed.reached(*steps):
        return Check(name, "ok", works, required=True)
    if probed.trouble:
        return Check(name, "gap", f"the probe came to no end: {probed.trouble}",
                     "Run the doctor again. If this stays, please report it with the line above.", required=True)
    return Check(name, "note", _UNREACHED, required=True)


def _advice(problem: Outcome, advice: str) -> str:
    if problem.errno == errno.ENOSPC:
        return "A limit on namespaces is reached: see namespace limits. In a container, its host has limits as well."
    if problem.errno == errno.ENOSYS:
        return ("The kernel is too old for this call, or a container's seccomp filter hides it. The administrator of "
                "the container may start it with:\n  --security-opt seccomp=unconfined")
    return advice


def _causes(settings: Settings) -> str:
    """Return what may stand behind a refusal here, most likely first."""
    causes = []
    if settings.maxima.get("user", 2) < 2:
        causes.append("A limit forbids it: see namespace limits.")
    if settings.clone_switch == "0" and not settings.root:
        causes.append("A switch of this distribution forbids it: see unprivileged clone.")
    if settings.apparmor_switch not in {"", "0"} and not settings.root:
        causes.append("AppArmor forbids it: see AppArmor.")
    if settings.seccomp:
        causes.append("A seccomp filter watches this process, as in most containers. Their administrator may start "
                      "it with:\n  --security-opt seccomp=unconfined --security-opt apparmor=unconfined")
    if not causes:
        causes.append("No known setting forbids it; a security module, a chroot or a container around this process "
                      "may. `dmesg` and the container's administrator know more.")
    return "\n".join(causes)


def _check_view(root: str, probed: Probed, hidden: list[str]) -> Check:
    name = f"fresh {root}"
    problem = probed.failed(name)
    if problem is None:
        return _required(name, probed, (name,), "can be mounted", "")
    observed = f"cannot be mounted: {problem.text}"
    if hidden:
        shown = ", ".join(hidden[:4]) + (f" and {len(hidden) - 4} more" if len(hidden) > 4 else "")
        observed += f"; parts of {root} are hidden or frozen here: {shown}"
    return Check(name, "gap", observed, _container_advice(root), required=True)


def _container_advice(root: str) -> str:
    where = "This looks like a container, " if in_container() else "Some container or sandbox hides it, "
    writable = "" if root == "/proc" else " /sys has to be writable as well, which Docker grants to --privileged only."
    return (f"{where}and the kernel gives a fresh {root} only to those who see all of the present one. Its "
            "administrator may start it with:\n"
            "  --security-opt systempaths=unconfined --security-opt seccomp=unconfined "
            f"--security-opt apparmor=unconfined\n{writable.strip()}\n"
            "A mode for containers that permit none of this (uml, a kernel in user space) is planned, not there yet. "
            "Until then use a machine or a virtual machine of your own.").replace("\n\n", "\n")


def in_container() -> bool:
    """Whether files and variables that container runtimes leave say that this is one."""
    return any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")) or "container" in os.environ \
        or "KUBERNETES_SERVICE_HOST" in os.environ
