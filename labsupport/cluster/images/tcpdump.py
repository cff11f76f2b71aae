#!/usr/bin/python3 -IS
"""tcpdump in a pod: as root it wants to become another user, which where only one user exists ends it.

So it is told to stay root. Where the kernel denies setgroups(2) to the pod's user namespace, staying root fails as
well, since tcpdump sets its groups first: there a filter answers that call with 0, and nothing else.

This file is copied into the image as /usr/bin/tcpdump. Source: tcpdump(8), user_namespaces(7), seccomp(2).
"""

import ctypes
import os
import struct
import sys

PROGRAM = "/usr/libexec/tcpdump"
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SETGROUPS = {"x86_64": 116, "aarch64": 159}


def answer_setgroups(number: int) -> None:
    """Let setgroups(2) do nothing and return 0, for this process and what it starts."""
    instructions = (
        (0x20, 0, 0, 0),  # load the number of the call
        (0x15, 0, 1, number),  # another one: skip the next line
        (0x06, 0, 0, 0x00050000),  # SECCOMP_RET_ERRNO with error 0
        (0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in instructions))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(instructions), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), "prctl")


def groups_denied() -> bool:
    """Whether no process of this user namespace may call setgroups(2)."""
    try:
        with open("/proc/self/setgroups") as file:  # noqa: PTH123  pathlib costs start-up time
            return file.read().strip() == "deny"
    except OSError:
        return False


if __name__ == "__main__":
    machine = os.uname().machine
    if groups_denied() and machine in SETGROUPS:
        answer_setgroups(SETGROUPS[machine])
    stay = ["-Z", "root"] if os.geteuid() == 0 else []
    os.execv(PROGRAM, ["tcpdump", *stay, *sys.argv[1:]])  # noqa: S606
