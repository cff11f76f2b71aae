"""What a Topology is compared with: a shell loop of `ip`, and Mininet.

All make the same: N namespaces, each with loopback up and one veth to one bridge, with an address, both ends up.

- The loop runs in a lab of the same kind, its script is written beforehand, so only `sh` and `ip` are timed. With
  `ipv6=False` it writes disable_ipv6 in each namespace, as a Topology does, by `ip netns exec NAME sysctl`. It
  gives no MAC addresses, as Topology does; that is in its favour.
- Mininet makes a process for each host and keeps its switch in the first namespace. Importing it is not timed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SWITCH = "sw"


def address(number: int) -> str:
    """Return the address of a host, of which there may be 50,000."""
    return f"10.0.{number // 250}.{number % 250 + 1}/16"


def building(count: int, *, ipv6: bool) -> str:
    """Return the script that makes everything."""
    off = [] if ipv6 else ["ip netns exec {0} sysctl -qw net.ipv6.conf.all.disable_ipv6=1"]
    switch = ["ip netns add {0}", *off, "ip -n {0} link set lo up",
              "ip -n {0} link add br0 type bridge mcast_snooping 0", "ip -n {0} link set br0 up"]
    host = ["ip netns add {0}", *off, "ip -n {0} link set lo up",
            f"ip -n {SWITCH} link add to-{{0}} type veth peer name {{0}}0 netns {{0}}",
            f"ip -n {SWITCH} link set to-{{0}} master br0 up",
            "ip -n {0} address add {1} dev {0}0", "ip -n {0} link set {0}0 up"]
    hosts = [line.format(f"h{number}", address(number)) for number in range(count) for line in host]
    return "\n".join(["set -e", *(line.format(SWITCH) for line in switch), *hosts])


def removing(count: int) -> str:
    return "\n".join(f"ip netns delete {name}" for name in [SWITCH, *(f"h{number}" for number in range(count))])


def reading(names: list[str]) -> str:
    """Return the script that asks for what `network` reads."""
    asked = ["-d address", "route", "-6 route", "neigh"]
    return "\n".join(["set -e", *(f"ip -n {name} -json {what}" for name in names for what in asked)])


def mininet_python() -> tuple[str, str]:
    """Return a Python that can run Mininet, or "" and why there is none."""
    if os.geteuid():
        return "", "skipped: Mininet needs root"
    for program in ("mnexec", "brctl", "ifconfig"):
        if not shutil.which(program):
            return "", f"skipped: Mininet needs {program}, which is not installed"
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import mininet"], capture_output=True, check=False).returncode == 0:
            return python, ""
    return "", "skipped: no Python here has the package mininet"


def mininet_s(python: str, count: int) -> tuple[float, float]:
    """Return how long Mininet takes to build and to tear down."""
    program = Path(__file__).with_name("mininet_probe.py")
    done = subprocess.run(["unshare", "--net", "--mount", python, program, str(count)], capture_output=True, text=True,
                          check=True, timeout=120)
    built, gone = json.loads(done.stdout.splitlines()[-1])
    return built, gone
