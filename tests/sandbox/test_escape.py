"""What the lab's root cannot do to the host, and with which error the kernel refuses it.

The lab's root tries everything that root could do, from inside, with plain system calls. Each refusal is the kernel's,
so each is asserted by its errno. Run as root and as an ordinary user: the two id maps must refuse the same.

Not tried: AF_VSOCK, which has no namespaces. Where the host is a virtual machine, a lab can speak to
the hypervisor's vsock ports as any unprivileged process of the host can.
"""

from __future__ import annotations

import os
import platform
import stat
import sys
from pathlib import Path

import pytest
from clients import probe

X86 = platform.machine() == "x86_64"
INIT_MODULE, FINIT_MODULE, DELETE_MODULE = (175, 313, 176) if X86 else (105, 273, 106)
OPEN_BY_HANDLE_AT, KEXEC_LOAD, BPF = (304, 246, 321) if X86 else (265, 104, 280)
NESTED = ("unshare", "-Urm")
pytestmark = pytest.mark.usefixtures("unchanged_host")
ALONE, NESTED_TOO = pytest.param((), id="lab"), pytest.param(NESTED, id="nested user namespace")
REFUSED_WRITE = {"EROFS", "EACCES", "EPERM"}


@pytest.mark.parametrize("prefix", [ALONE, NESTED_TOO])
def test_host_files_can_be_neither_removed_nor_written(lab, prefix):
    results = probe(lab, f"""
for path in ("/usr/bin/env", "/bin/ls", {sys.executable!r}, {__file__!r}):
    if os.path.exists(path):
        attempt("unlink " + path, os.unlink, path)
        attempt("open " + path, os.open, path, os.O_WRONLY)
        attempt("chmod " + path, os.chmod, path, 0o777)
        attempt("chown " + path, os.chown, path, 0, 0)
for folder in ("/", "/usr", "/usr/bin", "/opt", "/srv", "/boot", {sys.prefix!r}):
    if os.path.isdir(folder):
        attempt("create in " + folder, os.open, folder + "/made-by-a-lab", os.O_CREAT | os.O_WRONLY)
attempt("rename", os.rename, "/usr/bin/env", "/usr/bin/env2")
""", prefix=prefix)
    assert {label: result for label, result in results.items() if result not in REFUSED_WRITE} == {}
    assert results["unlink /usr/bin/env"] == "EROFS"
    assert results["create in /usr"] == "EROFS"


@pytest.mark.parametrize("prefix", [ALONE, NESTED_TOO])
def test_no_global_sysctl_can_be_written(lab, prefix):
    """Each is written back as it is, so that a lab which may do it changes nothing. Some belong to the namespace."""
    own = ("kernel/msg", "kernel/sem", "kernel/shm", "kernel/auto_msgmni", "kernel/ns_last_pid", "kernel/pid_max",
           "kernel/hostname", "kernel/domainname", "fs/mqueue/", "user/", "net/", "fs/binfmt_misc/")
    results = probe(lab, f"""
for folder, _, names in os.walk("/proc/sys"):
    for name in names:
        path = os.path.join(folder, name)
        if path[len("/proc/sys/"):].startswith({own!r}):
            continue
        try:
            text = open(path).read()
        except OSError:
            text = None  # only to be written: opening it is all that is tried
        if text is None:
            attempt(path, os.open, path, os.O_WRONLY)
        else:
            attempt(path, write, path, text)
attempt("swappiness", write, "/proc/sys/vm/swappiness", "61")
attempt("sysrq", os.open, "/proc/sysrq-trigger", os.O_WRONLY)
""", prefix=prefix)
    assert results.pop("sysrq") in {"EACCES", "ENOENT"}
    assert results["swappiness"] == "EACCES"
    assert len(results) > 50
    assert {label: result for label, result in results.items() if result not in REFUSED_WRITE} == {}


def test_nothing_under_sys_can_be_written_but_the_labs_own_network(lab):
    results = probe(lab, """
for folder, _, names in os.walk("/sys"):
    if not folder.startswith(("/sys/class/net", "/sys/devices/virtual/net")):
        for name in names:
            attempt(os.path.join(folder, name), os.open, os.path.join(folder, name), os.O_WRONLY)
""")
    assert len(results) > 500
    assert {label: result for label, result in results.items() if result not in REFUSED_WRITE} == {}


@pytest.mark.parametrize("prefix", [ALONE, NESTED_TOO])
def test_what_only_the_hosts_root_may(lab, prefix):
    results = probe(lab, f"""
import time
usr = os.open("/usr", os.O_RDONLY)
handle = (8).to_bytes(4, "little") + (1).to_bytes(4, "little") + (2).to_bytes(8, "little")
call("load a module", "syscall", {INIT_MODULE}, b"x", 1, b"")
call("load a module file", "syscall", {FINIT_MODULE}, usr, b"", 0)
call("unload a module", "syscall", {DELETE_MODULE}, b"loop", 0)
call("kexec", "syscall", {KEXEC_LOAD}, 0, 0, 0, 0)
call("open by handle", "syscall", {OPEN_BY_HANDLE_AT}, usr, handle, os.O_RDONLY)
call("bpf", "syscall", {BPF}, 5, bytes(128), 128)
call("read the kernel's log", "klogctl", 3, bytes(100), 100)
call("clear the kernel's log", "klogctl", 5, b"", 0)
call("swap", "swapon", "/tmp", 0)
call("accounting", "acct", "/tmp/accounting")
call("quota", "quotactl", 0x800002 << 8, b"/dev/null", 0, b"")
call("mknod", "mknod", "/tmp/disk", {stat.S_IFBLK | 0o600}, {Path("/").stat().st_dev})
call("mknod in /dev", "mknod", "/dev/disk", {stat.S_IFBLK | 0o600}, {Path("/").stat().st_dev})
call("mknod of a character device", "mknod", "/tmp/mem", {stat.S_IFCHR | 0o600}, {os.makedev(1, 1)})
call("mount a disk", "mount", "/dev/vda", "/mnt", "ext4", 0, b"")
call("set the clock", "settimeofday", int(time.time()).to_bytes(8, "little") + bytes(8), 0)
call("set a high priority", "setpriority", 0, 0, -5)
call("be real-time", "sched_setscheduler", 0, 1, (1).to_bytes(4, "little"))
call("lock memory", "mlock", ctypes.create_string_buffer(1 << 26), 1 << 26)
call("mount cgroups", "mount", "none", "/mnt", "cgroup2", 0, b"")
if results["mount cgroups"] == "allowed":
    attempt("make a cgroup", os.mkdir, "/mnt/made-by-a-lab")
    attempt("leave its cgroup", write, "/mnt/cgroup.procs", "0")
attempt("the kernel's log as a file", os.open, "/dev/kmsg", os.O_RDONLY)
attempt("the kernel's memory", os.open, "/proc/kcore", os.O_RDONLY)
attempt("the disk", os.open, "/dev/vda", os.O_RDONLY)
""", prefix=prefix)
    assert results.pop("be real-time") in {"EPERM", "EINVAL"}
    assert results.pop("mount a disk") in {"EPERM", "ENOENT"}
    assert results.pop("mount cgroups") in {"allowed", "EPERM", "EBUSY"}
    assert results.pop("make a cgroup", "EACCES") == "EACCES"
    assert results.pop("leave its cgroup", "EACCES") == "EACCES"
    assert results.pop("lock memory") in {"ENOMEM", "EPERM", "EAGAIN"}
    assert results.pop("set a high priority") in {"EACCES", "EPERM"}
    assert results.pop("quota") in {"EPERM", "ENOTBLK", "ENOSYS"}
    for label in ("the kernel's log as a file", "the disk"):
        assert results.pop(label) == "ENOENT"
    assert results.pop("the kernel's memory") in {"EACCES", "EPERM", "ENOENT"}
    for label in ("load a module", "load a module file", "unload a module", "kexec"):
        assert results.pop(label) in {"EPERM", "ENOSYS"}  # ENOSYS: a kernel built without it
    assert set(results.values()) == {"EPERM"}, results


MOUNT_PROBE = """
MS_REMOUNT, MS_BIND, MS_REC, MS_MOVE, MNT_DETACH = 32, 4096, 16384, 8192, 2
for path in PATHS:
    if os.path.ismount(path):
        call("umount " + path, "umount2", path, 0)
        call("umount -l " + path, "umount2", path, MNT_DETACH)
        call("move " + path, "mount", path, "/run/lock", b"", MS_MOVE, b"")
call("remount / rw", "mount", b"none", "/", b"", MS_REMOUNT | MS_BIND, b"")
call("remount the superblock rw", "mount", b"none", "/", b"", MS_REMOUNT, b"")
call("clear read-only", "syscall", 442, -100, "/", 0x8000, bytes(8) + (1).to_bytes(8, "little") + bytes(16), 32)
call("clear nosuid", "syscall", 442, -100, "/tmp", 0, bytes(8) + (6).to_bytes(8, "little") + bytes(16), 32)
call("copy / without its covers", "mount", "/", "/run/lock", b"", MS_BIND, b"")
call("copy / detached", "syscall", 428, -100, "/", 1)
call("bind /usr", "mount", "/usr", "/usr", b"", MS_BIND | MS_REC, b"")
call("remount the copy rw", "mount", b"none", "/usr", b"", MS_REMOUNT | MS_BIND, b"")
call("pivot onto itself", "pivot_root", ".", ".")
tree = libc.syscall(428, ctypes.c_long(-100), b"/var/log", ctypes.c_long(1))
call("mount beneath a cover", "syscall", 429, tree, b"", -100, "/var/log", 0x204)
attempt("write into the copy", os.open, "/usr/made-by-a-lab", os.O_CREAT | os.O_WRONLY)
"""


@pytest.mark.parametrize("prefix", [ALONE, NESTED_TOO])
def test_no_mount_can_be_undone(lab, prefix):
    covers = ["/run", "/home", "/root", "/tmp", "/mnt", "/dev", "/proc", "/sys", "/etc", "/var/lib", sys.prefix]
    results = probe(lab, MOUNT_PROBE.replace("PATHS", repr(covers)), prefix=prefix)
    own = {label for label in results if prefix == () and label.split()[-1] in {"/proc", "/sys"}}
    assert len(results) > 30
    for label, result in results.items():
        if label.startswith(("umount", "move")) and label not in own:
            assert result == "EINVAL", label
    assert results["remount / rw"] == results["clear read-only"] == results["remount the copy rw"] == "EPERM"
    assert results["clear nosuid"] == "EPERM"
    assert results["remount the superblock rw"] == "EPERM"
    assert results["copy / without its covers"] == results["copy / detached"] == "EINVAL"
    assert results["pivot onto itself"] == "EINVAL"
    assert results["mount beneath a cover"] == "EINVAL"
    assert results["write into the copy"] == "EROFS"


def test_taking_away_the_labs_own_proc_and_sys_reveals_nothing(lab):
    line = "umount /proc; umount /sys; ls -A /proc /sys; umount /proc; umount /sys; ls -A /proc /sys; mount"
    done = lab.run(line, echo=False)
    assert "kernel" not in done.stdout.split("mount:")[0].split()
    assert "self" not in done.stdout.split()
