"""A short-lived program that tries what a lab needs, and says what the kernel answered.

It takes the steps of a lab's start (labsupport.sandbox.agent.boot), in their order, since only the kernel knows
whether they work: settings of the distribution, security modules and containers all have a say. It runs by itself,
`python -I -S probe.py PLAN`, because the caller must not enter a namespace. What it makes belongs to its own
namespaces and ends with it; a kernel module that the kernel loads for it stays, as it would after a lab.

PLAN is JSON: kind, uids, gids (see labsupport.doctor.ids.IdMap) and trials (name, argv, stdin).
Each line of output is a JSON object: {"step", "errno", "text"} or {"trial", "status", "stdout", "stderr"}.
"""

import ctypes
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NEWNS, NEWUSER, NEWNET = 0x00020000, 0x10000000, 0x40000000
ALL_NEW = NEWNS | NEWUSER | NEWNET | 0x20000000 | 0x08000000 | 0x04000000 | 0x02000000  # PID, IPC, UTS, cgroup
OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, CLONE3, MOUNT_SETATTR = 428, 429, 430, 431, 432, 435, 442
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
ATTR_RDONLY = 1
NOSUID_NODEV_NOEXEC, REC_PRIVATE = 2 | 4 | 8, 0x4000 | 0x40000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
TUNSETIFF, IFF_TUN_NO_PI = 0x400454CA, 0x1001
TRIAL_LIMIT_S = 5

libc = ctypes.PyDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def tell(**fields: object) -> None:
    """Print one line for the doctor; in one write, since two processes share the pipe."""
    os.write(1, json.dumps(fields).encode() + b"\n")


def step(name: str, act: Callable[..., Any], *arguments: object, fatal: bool = True) -> Any:
    """Do one step of a lab's start and tell how it went; without a `fatal` one the rest cannot be tried."""
    try:
        value = act(*arguments)
    except OSError as error:
        tell(step=name, errno=error.errno or 0, text=error.strerror or str(error))
        if fatal:
            os._exit(0)
        return None
    tell(step=name, errno=0, text="")
    return value


def call(name: str, *arguments: object) -> int:
    """Call a function of libc; numbers are passed as long."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else os.fsencode(a) if isinstance(a, str) else a
                 for a in arguments]
    result: int = getattr(libc, name)(*converted)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def words(*values: int) -> bytes:
    """Return 64-bit fields of a structure."""
    return b"".join([value.to_bytes(8, "little") for value in values])


def mount(kind: str, target: str, options: str = "", flags: int = 0) -> None:
    """See mount(2)."""
    call("mount", kind, target, kind, flags, options)


def open_tree(path: str) -> int:
    """Return a detached copy of the mounts at and below `path`."""
    return call("syscall", OPEN_TREE, AT_FDCWD, path, 1 | os.O_CLOEXEC | AT_RECURSIVE)


def attach_tree(tree: int, path: str) -> None:
    """Mount a detached tree."""
    call("syscall", MOVE_MOUNT, tree, "", AT_FDCWD, path, 4)


def lines(ranges: list[list[int]]) -> str:
    """Return the text of a uid_map."""
    return "".join([f"{inside} {outside} {count}\n" for inside, outside, count in ranges])


def write(path: str, text: str, dir_fd: int | None = None) -> None:
    """Write a file of /proc in one go."""
    fd = os.open(path, os.O_WRONLY, dir_fd=dir_fd)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def make_outer() -> tuple[int, int, int]:
    """Let a helper make the outer user namespace; return its process id, a pipe to end it by closing, and the fd."""
    made_read, made_write = os.pipe()
    done_read, done_write = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(made_read)
        os.close(done_write)
        try:
            call("unshare", NEWUSER)
            os.write(made_write, b"0")
            os.read(done_read, 1)
        except OSError as error:
            os.write(made_write, b"%d" % (error.errno or 0))
        os._exit(0)
    os.close(made_write)
    os.close(done_read)
    number = int(os.read(made_read, 20) or b"5")
    if number:
        raise OSError(number, os.strerror(number))
    return helper, done_write, os.open(f"/proc/{helper}/ns/user", os.O_RDONLY)


def map_ids(plan: dict, helper: int) -> None:  # type: ignore[type-arg]
    """Write the id maps of the outer user namespace from outside."""
    if plan["kind"] == "subordinate":
        for program, ranges in (("newuidmap", plan["uids"]), ("newgidmap", plan["gids"])):
            numbers = [str(number) for line in ranges for number in line]
            done = subprocess.run([program, str(helper), *numbers], capture_output=True, text=True, check=False)
            if done.returncode:
                raise OSError(1, done.stderr.strip() or f"{program}: exit status {done.returncode}")
        return
    if plan["kind"] == "single":
        write(f"/proc/{helper}/setgroups", "deny")
    write(f"/proc/{helper}/uid_map", lines(plan["uids"]))
    write(f"/proc/{helper}/gid_map", lines(plan["gids"]))


def enter(kind: str, outer: int) -> None:
    """Become root of the outer user namespace, with a mount namespace that it owns."""
    call("setns", outer, NEWUSER)
    if kind != "single":
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
    call("unshare", NEWNS)
    call("mount", "none", "/", "none", REC_PRIVATE, "")


def cover() -> None:
    """Make the file system read-only and cover folders, as a lab does."""
    proc, system = open_tree("/proc"), open_tree("/sys")
    call("syscall", MOUNT_SETATTR, AT_FDCWD, "/", AT_RECURSIVE, words(ATTR_RDONLY, 0, 0, 0), 32)
    mount("tmpfs", "/run")
    for name in ("proc", "sys", "upper", "work"):
        Path("/run", name).mkdir()
    attach_tree(proc, "/run/proc")
    attach_tree(system, "/run/sys")
    os.chdir("/run")
    for path in ("/run", "/proc", "/sys"):
        mount("tmpfs", path)
    for name in ("netns", "pts"):
        Path("/run", name).mkdir()
    mount("devpts", "/run/pts", "newinstance,ptmxmode=0666,mode=620")


def folder_with_tun() -> int:
    """As root: return a detached folder with a `tun` device that the shifted root may open."""
    context = call("syscall", FSOPEN, "tmpfs", 1)
    call("syscall", FSCONFIG, context, 6, None, None, 0)
    folder = call("syscall", FSMOUNT, context, 1, 0)
    os.mknod("tun", stat.S_IFCHR | 0o666, Path("/dev/net/tun").stat().st_rdev, dir_fd=folder)
    os.chmod("tun", 0o666, dir_fd=folder)  # noqa: S103  (as on most hosts; nobody else sees this folder)
    return folder


def make_tun(folder: int | None) -> None:
    """Make a tun interface."""
    import fcntl  # noqa: PLC0415  (not on every platform on which this file is only imported)

    fd = os.open("/dev/net/tun", os.O_RDWR) if folder is None else os.open("tun", os.O_RDWR, dir_fd=folder)
    fcntl.ioctl(fd, TUNSETIFF, b"pt0".ljust(16, b"\0") + IFF_TUN_NO_PI.to_bytes(2, "little") + bytes(22))


def clone_inner(plan: dict, proc_fd: int) -> int:  # type: ignore[type-arg]
    """Make the inner namespaces with their first process; return 0 in it once its ids are mapped."""
    gate_read, gate_write = os.pipe()
    pid = call("syscall", CLONE3, words(ALL_NEW, 0, 0, 0, int(signal.SIGCHLD), 0, 0, 0), 64)
    if pid == 0:
        os.close(gate_write)
        call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.read(gate_read, 2) != b"go":
            os._exit(1)
        return 0
    if plan["kind"] == "single":
        write(f"{pid}/setgroups", "deny", proc_fd)
    write(f"{pid}/uid_map", lines([[first, first, count] for first, _, count in plan["uids"]]), proc_fd)
    write(f"{pid}/gid_map", lines([[first, first, count] for first, _, count in plan["gids"]]), proc_fd)
    os.write(gate_write, b"go")
    return pid


def run_trials(trials: list) -> None:  # type: ignore[type-arg]
    """Run programs in the inner namespaces and tell how each went."""
    for name, argv, stdin in trials:
        try:
            done = subprocess.run(argv, input=stdin.encode(), capture_output=True, timeout=TRIAL_LIMIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            tell(trial=name, status=None, stdout="", stderr=str(error))
            continue
        tell(trial=name, status=done.returncode, stdout=done.stdout.decode(errors="replace")[:20000],
             stderr=done.stderr.decode(errors="replace")[:20000])


def main() -> None:
    """Take the steps."""
    plan = json.loads(sys.argv[1])
    proc_fd = os.open("/proc", os.O_PATH)
    shifted = plan["kind"] == "shifted"
    tun = step("tun device", folder_with_tun, fatal=False) if shifted else None
    helper, release, outer = step("outer user namespace", make_outer)
    step("id maps", map_ids, plan, helper)
    step("mount namespace", enter, plan["kind"], outer)
    os.close(release)
    step("mount calls", cover)
    step("overlayfs", mount, "overlay", "/etc", "lowerdir=/etc,upperdir=upper,workdir=work,userxattr", fatal=False)
    inner = step("inner namespaces", clone_inner, plan, proc_fd)
    if inner:
        os.waitpid(inner, 0)
        return
    step("fresh /proc", mount, "proc", "/proc", "", NOSUID_NODEV_NOEXEC, fatal=False)
    step("fresh /sys", mount, "sysfs", "/sys", "", NOSUID_NODEV_NOEXEC, fatal=False)
    if not shifted or tun is not None:
        step("tun interface", make_tun, tun, fatal=False)
    run_trials(plan["trials"])


if __name__ == "__main__":
    main()
