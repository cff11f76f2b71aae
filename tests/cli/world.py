"""A small world for `labsupport`: a PID namespace whose /proc shows only the labs that a test asked for.

Run as `python world.py NOTEBOOKS COMMAND...`: for each of NOTEBOOKS (JSON: name to namespaces) a process opens a lab as
a notebook's kernel does; then COMMAND runs, and its exit status becomes this one's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

KERNEL = """
import sys
from labsupport import Lab
name, *namespaces = sys.argv[2:]
with Lab(name) as lab:
    for namespace in namespaces:
        lab.run(["ip", "netns", "add", namespace]).check()
    print("ready", flush=True)
    sys.stdin.read()
"""


def kernel_mark(name: str) -> str:
    """Return the word in the command line of the process that owns the lab `name`."""
    return f"kernel-of-{name}"


def main() -> int:
    kernels = []
    for name, namespaces in json.loads(sys.argv[1]).items():
        environment = os.environ | {"JPY_SESSION_NAME": f"/course/{name}.ipynb"}
        kernel = subprocess.Popen([sys.executable, "-c", KERNEL, kernel_mark(name), name, *namespaces],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert kernel.stdout is not None
        if kernel.stdout.readline() != b"ready\n":
            raise SystemExit(f"the lab {name} did not start")
        kernels.append(kernel)
    status = subprocess.run(sys.argv[2:], check=False).returncode
    for kernel in kernels:
        kernel.communicate()
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main())
