"""Where a cluster may make control groups, with which containers are limited (cgroups(7)).

Processor time, memory and the number of processes are limited by the controllers of cgroup v2. Who may use them is a
matter of who owns which folder of the cgroup file system: systemd gives every user who asks for it a part of it, root
has all of it, and most containers have it read-only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from labsupport.doctor.machine import read_text
from labsupport.doctor.namespaces import parse_mountinfo
from labsupport.doctor.report import Check
from labsupport.errors import WaitTimeout
from labsupport.waiting import wait_until

CONTROLLERS = ("cpu", "memory", "pids")
SYSTEMD_DEADLINE_S = 5.0
_NEW_SCOPE = ("call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
              "StartTransientUnit", "ssa(sv)a(sa(sv))")
_ASK = """import json
from labsupport.doctor.cgroups import claim_place
place = claim_place("labsupport-doctor")
print(json.dumps([place.controllers, place.missing]))"""
_SYSTEMD_ADVICE = """For all of them: log in as yourself (not by su), with dbus-user-session installed. Where some are \
still missing, an administrator gives them to everybody who logs in from then on:
  sudo mkdir -p /etc/systemd/system/user@.service.d
  printf '[Service]\\nDelegate=cpu memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf
  sudo systemctl daemon-reload
A machine with cgroup v1 has to be booted with systemd.unified_cgroup_hierarchy=1."""
_OTHER_ADVICE = "For limits a container needs cgroup v2 with cpu, memory and pids, in a folder that it may write to."


@dataclass(frozen=True)
class Place:
    """A cgroup in which this process may make another one and move itself into it.

    Attributes:
        own: the cgroup that this process is in.
        parent: the cgroup to make another one in; None where there is none with any controller.
        controllers: those of `CONTROLLERS` that a cgroup made there has.
        missing: why it has not all of them; "" if it has.
    """

    own: Path
    parent: Path | None
    controllers: tuple[str, ...]
    missing: str = ""


def claim_place(scope: str) -> Place:
    """Find a place for this process; where it has none with all controllers, have systemd give it a scope of its own.

    Args:
        scope: the scope's name will begin with it.

    Effects and privileges: may move this process into the scope, which systemd removes after the end of its last
    process. Needs no privileges: an ordinary user asks the service manager that systemd runs for each user.

    Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst of the kernel, "Delegation"; systemd's "Control Group
    APIs and Delegation"; org.freedesktop.systemd1(5).
    """
    place = find_place()
    if not place.missing or not Path("/run/systemd/system").is_dir():
        return place
    try:
        _enter_scope(f"{scope}-{os.getpid()}.scope")
    except (OSError, subprocess.SubprocessError, WaitTimeout) as error:
        said = getattr(error, "stderr", "") or str(error)
        return replace(place, missing=f"{place.missing}; systemd gives none: {said.strip().splitlines()[-1]}")
    return find_place()


def _enter_scope(scope: str) -> None:
    """Have systemd move this process into a scope, and go on to a cgroup in it, so that the scope itself is empty."""
    bus = [] if os.geteuid() == 0 else ["--user"]
    properties = ["2", "PIDs", "au", "1", str(os.getpid()), "Delegate", "b", "true"]
    subprocess.run(["busctl", *bus, *_NEW_SCOPE, scope, "fail", *properties, "0"], check=True, capture_output=True,
                   text=True, timeout=SYSTEMD_DEADLINE_S, stdin=subprocess.DEVNULL,
                   env=os.environ | {"XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}"})
    wait_until(lambda: find_place().own.name == scope, what=f"systemd to start {scope}", deadline_s=SYSTEMD_DEADLINE_S)
    own = find_place().own
    (own / "client").mkdir()
    (own / "client" / "cgroup.procs").write_text(str(os.getpid()))
    there = (own / "cgroup.controllers").read_text().split()
    (own / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in CONTROLLERS if name in there))


def find_place() -> Place:
    """Find the place that this process has where it is. Reads only; needs no privileges."""
    mounts = [mount.path for mount in parse_mountinfo(read_text("/proc/self/mountinfo")) if mount.kind == "cgroup2"]
    own = next((line[3:] for line in read_text("/proc/self/cgroup").splitlines() if line.startswith("0::")), "")
    return search(Path(mounts[0]), own) if mounts else Place(Path(), None, (), "no cgroup v2 is mounted")


def search(mount: Path, own: str) -> Place:
    """Find the place of a process, upwards from its own cgroup: a process may move below a cgroup that it may write to.

    Args:
        mount: where cgroup v2 is mounted.
        own: the cgroup that the process is in, as /proc/PID/cgroup names it.

    Returns:
        The nearest of those with the most controllers.
    """
    folder = mount / own.strip("/")
    if ".." in folder.parts or not folder.is_dir():
        return Place(folder, None, (), f"the own cgroup {own or '(none)'} is not below {mount}")
    above = [folder, *folder.parents]
    best = Place(folder, None, ())
    for parent in above[: above.index(mount) + 1]:
        enabled = read_text(str(parent / "cgroup.subtree_control")).split()
        controllers = tuple(name for name in CONTROLLERS if name in enabled)
        if len(controllers) > len(best.controllers) and _may_write(folder, parent):
            best = Place(folder, parent, controllers)
    return Place(folder, best.parent, best.controllers, _missing(mount, best.controllers))


def _may_write(own: Path, parent: Path) -> bool:
    """Whether this process may make a cgroup in `parent`, move into it, and back."""
    return os.access(parent, os.W_OK | os.X_OK) and all(
        os.access(cgroup / "cgroup.procs", os.W_OK) for cgroup in (own, parent))


def _missing(mount: Path, controllers: tuple[str, ...]) -> str:
    lacking = [name for name in CONTROLLERS if name not in controllers]
    if not lacking:
        return ""
    there = read_text(str(mount / "cgroup.controllers")).split()
    elsewhere = [name for name in lacking if name not in there]
    if elsewhere:
        return f"cgroup v2 does not have {', '.join(elsewhere)} at {mount}"
    return f"this user may not make a cgroup with {', '.join(lacking)}"


def ask_place() -> Place:
    """Find out what `claim_place` gives a process, by one that ends at once; it is in a cgroup that is gone by then."""
    try:
        done = subprocess.run([sys.executable, "-c", _ASK], check=True, capture_output=True, text=True,
                              timeout=4 * SYSTEMD_DEADLINE_S)
    except (OSError, subprocess.SubprocessError) as error:
        return Place(Path(), None, (), f"no process could be started to find out: {error}")
    controllers, missing = json.loads(done.stdout)
    return Place(Path(), None, tuple(controllers), missing)


def check_limits(place: Place, *, systemd: bool) -> Check:
    """Say which limits of containers a cluster can enforce, and how to have all.

    Args:
        place: see `ask_place`.
        systemd: whether systemd runs here.
    """
    observed = f"{', '.join(place.controllers) or 'none'} can be enforced"
    if not place.missing:
        return Check("container limits", "ok", observed)
    return Check("container limits", "note", f"{observed}: {place.missing}",
                 "Clusters run all the same. " + (_SYSTEMD_ADVICE if systemd else _OTHER_ADVICE))
