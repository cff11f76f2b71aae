"""Puts all checks together."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata

from labsupport.doctor import cluster_needs, features, machine, namespaces, observing, tools
from labsupport.doctor.ids import first_free_subordinate_id, plan_id_map, user_name
from labsupport.doctor.report import Check, Report, State

OLDEST_PYTHON = (3, 11)


def diagnose(system: str | None = None) -> Report:
    """Find out whether labs can run on this machine, by doing for a moment what a lab does.

    Labs need things of the kernel that distributions and containers switch off in several ways. The report says what
    is missing and who can change it.

    Args:
        system: the operating system; by default the one that this Python runs on.

    Effects and privileges: starts short-lived processes, one of them in namespaces of its own, and leaves nothing
    behind. Needs no privileges; what it says holds for the user who asks.

    Source: user_namespaces(7), mount_namespaces(7), proc_pid_mountinfo(5).
    """
    system = system or platform.system()
    release = platform.release()
    on_linux = _check_on_linux(release) if system == "Linux" and "Microsoft" not in release else []
    return Report((machine.check_system(system, release), *on_linux, *_check_python()))


def _check_on_linux(release: str) -> list[Check]:
    """Everything that only Linux has."""
    ids, path = plan_id_map(), tools.lab_path()
    settings = machine.read_settings()
    mounts = namespaces.parse_mountinfo(machine.read_text("/proc/self/mountinfo"))
    process = observing.start_probe(ids, features.trials(), path)
    programs = tools.check_tools(path)  # while the probe runs
    probed = observing.finish_probe(process)
    made = probed.reached("inner namespaces") and not probed.failed(
        "outer user namespace", "id maps", "mount namespace", "mount calls", "inner namespaces")
    return [
        *machine.check_kernel(release, platform.machine()),
        *namespaces.check_namespaces(probed, settings),
        machine.check_maxima(settings),
        *machine.check_clone_switch(settings, works=made),
        machine.check_apparmor(settings, works=made),
        *namespaces.check_mounts(probed, settings, mounts),
        namespaces.check_ids(ids, user_name(), first_free_subordinate_id(),
                             has_helpers=bool(shutil.which("newuidmap") and shutil.which("newgidmap"))),
        *features.check_features(probed),
        *cluster_needs.check_cluster_needs(),
        *programs,
    ]


def _check_python() -> list[Check]:
    version = platform.python_version()
    oldest = ".".join(map(str, OLDEST_PYTHON))
    python = Check("Python", "ok", f"{version}, {os.path.realpath(sys.executable)}", required=True)
    if sys.version_info[:2] < OLDEST_PYTHON:
        python = Check("Python", "gap", f"{version}, older than {oldest}", f"Make the environment with Python {oldest} "
                       "or newer, then: make install", required=True)
    return [python, _package("jupyterlab", "gap", "Without it the notebooks cannot be opened here."),
            _package("ipykernel", "gap", "Without it the notebooks cannot be run here."),
            _package("nbval", "note", "Only the tests of the course need it.")]


def _package(name: str, missing: State, purpose: str) -> Check:
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, missing, "not installed",
                     f"{purpose} Install it:\n  {sys.executable} -m pip install {name}")
