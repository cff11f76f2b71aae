"""Runs `labsupport doctor --json` in places where labs cannot run, made of the kernel's own means."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = str(Path(sys.executable).with_name("labsupport"))
LIMIT_S = 30
CLONE3 = 435
UNSHARE = {"x86_64": 272, "aarch64": 97}[platform.machine()]


def doctor(*prefix: str) -> tuple[int, dict[str, Any]]:
    """Return the exit status and the report of `PREFIX... labsupport doctor --json`."""
    done = subprocess.run([*prefix, PROGRAM, "doctor", "--json"], capture_output=True, text=True, timeout=LIMIT_S,
                          check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def doctor_after(preparation: str) -> tuple[int, dict[str, Any]]:
    """Return the same from a user and mount namespace in which a line of shell ran before."""
    return doctor("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", f'{preparation}\nexec "$@"', "sh")


def doctor_under_filter(number: int, error: int) -> tuple[int, dict[str, Any]]:
    """Return the same where a seccomp filter answers one system call with an error, as containers do."""
    return doctor(sys.executable, __file__, str(number), str(error))


def checks(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the checks of a report by name."""
    by_name = {check["name"]: check for check in report["checks"]}
    assert len(by_name) == len(report["checks"]), "two checks have one name"
    return by_name


def gaps(report: dict[str, Any]) -> set[str]:
    """Return the names of the required checks that are gaps."""
    return {check["name"] for check in report["checks"] if check["required"] and check["state"] == "gap"}


def install_filter(number: int, error: int) -> None:
    """Let the kernel answer system call `number` with `error` from now on; see seccomp(2)."""
    load, jump_if_equal, give_back = 0x20, 0x15, 0x06
    program = b"".join(struct.pack("=HBBI", *line) for line in (
        (load, 0, 0, 0), (jump_if_equal, 0, 1, number), (give_back, 0, 0, 0x00050000 | error),
        (give_back, 0, 0, 0x7FFF0000)))
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, filter_mode, header, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    install_filter(int(sys.argv[1]), int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606  (the filter stays with this process)
