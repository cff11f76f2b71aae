"""Which programs labs use, and where to get those that are missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from labsupport.doctor.report import Check

_VERSION_LIMIT_S = 3.0
_VERSION = re.compile(r"(?<![a-z\d.])v?(\d+(?:\.\d+)+|\d{8})|-(ss\d{6})")


@dataclass(frozen=True)
class Tool:
    """A program that labs call.

    Attributes:
        name: how it is called.
        package: the package of Debian and Ubuntu that has it.
        version: the arguments that make it print its version.
        labs: what suffers without it.
        required: whether no lab can run without it.
    """

    name: str
    package: str
    version: tuple[str, ...]
    labs: str
    required: bool = False


TOOLS = (
    Tool("ip", "iproute2", ("-V",), "all labs", required=True),
    Tool("bash", "bash", ("--version",), "all labs", required=True),
    Tool("bridge", "iproute2", ("-V",), "labs 01 Switches and 04 Linux bridge"),
    Tool("tc", "iproute2", ("-V",), "lab 01 Switches, where it limits a loop"),
    Tool("ss", "iproute2", ("-V",), "labs 00 Start here and 03 Network namespaces"),
    Tool("nft", "nftables", ("--version",), "lab 04 Linux bridge and the labs on Services and policies"),
    Tool("iptables", "iptables", ("--version",), "the labs on Services, where kube-proxy uses it"),
    Tool("tcpdump", "tcpdump", ("--version",), "every lab that captures packets"),
    Tool("ping", "iputils-ping", ("-V",), "labs 00 to 05"),
    Tool("curl", "curl", ("--version",), "labs 03 Network namespaces and 04 Linux bridge, and the labs on Services"),
    Tool("conntrack", "conntrack", ("--version",), "lab 04 Linux bridge and the labs on Services"),
    Tool("ethtool", "ethtool", ("--version",), "labs 03 and 04, where they look into a veth pair"),
    Tool("sysctl", "procps", ("--version",), "labs 02 Routers and 04 Linux bridge, and the labs on Kubernetes"),
    Tool("nsenter", "util-linux", ("--version",), "the labs on Kubernetes, whose nodes are namespaces"),
    Tool("setpriv", "util-linux", ("--version",), "the labs on Kubernetes, which it ends together with their cluster"),
    Tool("lsns", "util-linux", ("--version",), "the labs on Kubernetes, where they look into pods"),
    Tool("dig", "bind9-dnsutils", ("-v",), "the labs on Kubernetes: it becomes a part of their images"),
    Tool("nc", "netcat-openbsd", ("-h",), "the labs on Kubernetes: it becomes a part of their images"),
)


def lab_path() -> str:
    """Return the PATH that commands of a lab get: this Python's programs, then the system's, sbin included."""
    return f"{Path(sys.prefix).absolute() / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check_tools(path: str) -> list[Check]:
    """Look for every tool on `path` and ask those that are there for their versions, all at once."""
    asked: list[tuple[Tool, str | None, subprocess.Popen[str] | None]] = []
    for tool in TOOLS:
        program = shutil.which(tool.name, path=path)
        asked.append((tool, program, _ask(program, tool) if program else None))
    return [_check(tool, program, process) for tool, program, process in asked]


def _ask(program: str, tool: Tool) -> subprocess.Popen[str] | None:
    try:
        return subprocess.Popen([program, *tool.version], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace",
                                env={"PATH": os.defpath, "LC_ALL": "C"})
    except OSError:
        return None


def _check(tool: Tool, program: str | None, process: subprocess.Popen[str] | None) -> Check:
    if program is None:
        return Check(tool.name, "gap", "not found", f"Needed by {tool.labs}. An administrator installs it:\n"
                     f"  sudo apt-get install {tool.package}", tool.required)
    if process is None:
        return Check(tool.name, "gap", f"{program} cannot be run", f"Needed by {tool.labs}. Look at it: file {program}",
                     tool.required)
    try:
        text, _ = process.communicate(timeout=_VERSION_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Check(tool.name, "gap", f"{program} does not answer", f"Needed by {tool.labs}. Try it by hand: "
                     f"{program} {' '.join(tool.version)}", tool.required)
    return Check(tool.name, "ok", f"{parse_version(text) or 'version unknown'}, {program}", required=tool.required)


def parse_version(text: str) -> str:
    """Return the version in what a program prints about itself, or ""."""
    for line in text.splitlines():
        found = _VERSION.search(line)
        if found:
            return found[1] or found[2]
    return ""
