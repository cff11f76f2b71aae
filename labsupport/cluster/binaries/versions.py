"""Asks programs that labsupport did not build for their versions, and says which ones the cluster can use."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

_QUESTIONS = {
    "etcd": (["--version"], r"etcd Version: (\d+\.\d+\.\d+)"),
    "kubectl": (["version", "--client"], r"Client Version: v(\d+\.\d+\.\d+)"),
    "containerd": (["--version"], r"containerd \S+ v?(\d+\.\d+\.\d+)"),
    "containerd-shim-runc-v2": (["-v"], r"Version: +v?(\d+\.\d+\.\d+)"),
    "ctr": (["--version"], r"ctr \S+ v?(\d+\.\d+\.\d+)"),
    "runc": (["--version"], r"runc version (\d+\.\d+\.\d+)"),
    "coredns": (["-version"], r"CoreDNS-(\d+\.\d+\.\d+)"),
}
_KUBE = (["--version"], r"Kubernetes v(\d+\.\d+\.\d+)")
_CNI: tuple[list[str], str] = ([], r"CNI \S+ plugin v(\d+\.\d+\.\d+)")
_LIMITS = {  # name -> lowest and highest acceptable version; None: any higher one
    "etcd": ((3, 5), (3, 6)),
    "kubectl": ((1, 35), (1, 37)),
    "containerd": ((2, 0), (2, 999)),
    "containerd-shim-runc-v2": ((2, 0), (2, 999)),
    "ctr": ((2, 0), (2, 999)),
    "runc": ((1, 1), (1, 999)),
    "coredns": ((1, 11), (1, 999)),
}
_KUBE_LIMITS = ((1, 36), (1, 36))
_CNI_LIMITS = ((1, 5), (1, 999))
_COREDNS_PLUGINS = {"errors", "file", "forward", "cache", "health", "hosts", "kubernetes", "loadbalance", "log", "loop",
                    "ready", "reload", "rewrite", "template"}
_DEADLINE_S = 10


def ask(name: str, path: Path) -> str:
    """Return the version that the program tells, without a leading v; empty if it tells none."""
    arguments, pattern = _QUESTIONS.get(name, _KUBE if name.startswith("kube") else _CNI)
    match = re.search(pattern, _output(path, arguments))
    return match.group(1) if match else ""


def fault(name: str, path: Path, version: str) -> str:
    """Return why the cluster cannot use this program, or nothing."""
    lowest, highest = _LIMITS.get(name, _KUBE_LIMITS if name.startswith("kube") else _CNI_LIMITS)
    wanted = f"{_dotted(lowest)} or newer" if highest[1] == 999 else f"{_dotted(lowest)} to {_dotted(highest)}"
    if not version:
        return f"it tells no version; {name} {wanted} is needed"
    major_minor = tuple(int(part) for part in version.split(".")[:2])
    if not lowest <= major_minor <= highest:
        return f"it has version {version}; {wanted} is needed"
    if name == "coredns":
        there = set(re.findall(r"^\s+dns\.(\S+)$", _output(path, ["-plugins"]), re.MULTILINE))
        if lacking := sorted(_COREDNS_PLUGINS - there):
            return f"it lacks the plugins {', '.join(lacking)}"
    return ""


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(str(part) for part in version)


def _output(path: Path, arguments: list[str]) -> str:
    """Return what the program prints; nothing if it cannot be run or takes too long."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    try:
        done = subprocess.run([path, *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=_DEADLINE_S, env=environment, cwd="/")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).decode(errors="replace")
