"""What of the host a lab does not see, and what of a lab the host does not see."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest
from clients import probe

from labsupport import Lab
from labsupport.errors import LabDied

pytestmark = pytest.mark.usefixtures("unchanged_host")


def test_pid_1_keeps_its_secrets(lab):
    results = probe(lab, """
for name in ("root", "cwd", "exe", "fd", "ns/net", "ns/mnt", "ns/user", "ns/pid", "map_files"):
    attempt(name, (os.listdir if name in ("fd", "map_files") else os.readlink), "/proc/1/" + name)
    attempt("open " + name, os.open, "/proc/1/" + name, os.O_RDONLY)
attempt("list its files", os.listdir, "/proc/1/root/")
for name in ("mem", "environ", "maps", "auxv", "syscall", "stack", "io"):
    attempt("read " + name, lambda: os.read(os.open("/proc/1/" + name, os.O_RDONLY), 1))
attempt("write mem", os.open, "/proc/1/mem", os.O_RDWR)
for name in ("oom_score_adj", "uid_map", "gid_map", "setgroups", "coredump_filter"):
    attempt("write " + name, os.open, "/proc/1/" + name, os.O_WRONLY)
call("ptrace seize", "ptrace", 0x4206, 1, 0, 0)  # unlike PTRACE_ATTACH it stops nothing where it is allowed
local = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
call("process_vm_readv", "process_vm_readv", 1, local, 1, local, 1, 0)
pidfd = os.pidfd_open(1)
call("take its descriptor", "syscall", 438, pidfd, 3, 0)
call("enter its namespaces", "setns", pidfd, 0x20000)
call("raise its limits", "prlimit", 1, 6, (1 << 20).to_bytes(8, "little") * 2, 0)
import fcntl
for kind in ("user", "pid"):
    attempt("parent of " + kind, fcntl.ioctl, os.open("/proc/self/ns/" + kind, os.O_RDONLY), 0xB702)
""")
    allowed = {label for label, result in results.items() if result not in {"EACCES", "EPERM"}}
    assert allowed == set(), {label: results[label] for label in allowed}


def test_pid_1_survives_every_signal(lab):
    identity = lab.run("readlink /proc/self/ns/net", echo=False).stdout
    for number in (*range(1, signal.SIGRTMAX + 1), signal.SIGKILL, signal.SIGINT):
        lab.run(["kill", f"-{number}", "1"], echo=False)
    done = lab.run("kill -9 1; echo $?; kill -INT 1; echo $?; kill -STOP 1; echo $?", echo=False)
    assert done.stdout == "0\n0\n0\n"
    assert lab.run("readlink /proc/self/ns/net", echo=False).stdout == identity


def test_a_reboot_ends_the_lab_only():
    with Lab() as lab, pytest.raises(LabDied):
        lab.run(["python3", "-I", "-c", "import ctypes; ctypes.CDLL(None).reboot(0x01234567)"], echo=False)


def test_the_hosts_sockets_are_out_of_reach(lab):
    listed = lab.run("ls -A /run /var/run/", echo=False).stdout
    assert set(listed.split()) <= {"/run:", "/var/run/:", "lock", "netns"}
    results = probe(lab, f"""
for name in ("/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/dbus/system_bus"):
    attempt(name, socket.socket(socket.AF_UNIX).connect, name)
attempt("its own", socket.socket(socket.AF_UNIX).connect, {chr(0) + lab.announcement.address[1:]!r})
""")
    assert results.pop("its own") == "ECONNREFUSED"
    assert set(results.values()) == {"ENOENT"}


@pytest.mark.root_only
def test_a_socket_in_run_is_out_of_reach_while_it_is_there(tmp_path):
    path = f"/run/docker-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        try:
            with Lab() as lab:
                results = probe(lab, f"attempt('connect', socket.socket(socket.AF_UNIX).connect, {path!r})")
        finally:
            Path(path).unlink()
    assert results == {"connect": "ENOENT"}


def test_home_folders_are_hidden(lab):
    homes = {str(Path.home()), "/root", "/home"}
    environments = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]  # these stay: pyenv, conda
    for home in homes - {"/"}:
        done = lab.run(["find", home, "-mindepth", "1"], echo=False)
        for path in map(Path, done.stdout.splitlines()):
            assert any(path.is_relative_to(kept) or kept.is_relative_to(path) for kept in environments), path


@pytest.mark.root_only
def test_a_home_in_an_unusual_place_is_hidden(tmp_path_factory, monkeypatch):
    with tempfile.TemporaryDirectory(dir="/opt" if Path("/opt").is_dir() else "/srv") as home:
        (Path(home) / "secret").write_text("secret")
        Path(home).chmod(0o755)
        monkeypatch.setenv("HOME", home)
        with Lab() as lab:
            assert lab.run(["ls", "-A", home], echo=False).stdout == ""
        monkeypatch.delenv("HOME")
        with Lab() as lab:
            assert lab.run(["ls", "-A", home], echo=False).stdout == "secret\n"


def test_writes_to_etc_succeed_and_stay_inside(lab):
    lab.run("""set -e
echo 10.0.0.2 red >> /etc/hosts; echo nameserver 10.0.0.2 > /etc/resolv.conf; rm /etc/hostname; hostname red
mkdir -p /etc/netns/red /etc/new; echo x > /etc/netns/red/resolv.conf; echo x > /etc/new/file; chmod 600 /etc/passwd
""", echo=False).check()
    assert lab.run("getent hosts red", echo=False).stdout.split() == ["10.0.0.2", "red"]
    assert lab.run("hostname", echo=False).stdout == "red\n"
    assert "10.0.0.2" not in Path("/etc/hosts").read_text()
    assert not Path("/etc/new").exists()
    assert os.uname().nodename != "red"


def test_network_sysctls_are_the_labs_own(lab):
    lab.run("ip netns add red", echo=False).check()
    names = {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.rp_filter": 2, "net.ipv6.conf.all.forwarding": 1,
             "net.ipv4.ip_unprivileged_port_start": 7}
    paths = [Path("/proc/sys", *name.split(".")) for name in names]
    before = [path.read_text() for path in paths]
    settings = [f"{name}={value}" for name, value in names.items()]
    lab.run(["sysctl", "-w", *settings], namespace="red", echo=False).check()
    inside = lab.run(["sysctl", "-n", *names], namespace="red", echo=False).stdout.split()
    assert inside == [str(value) for value in names.values()]
    assert lab.run(["sysctl", "-n", "net.ipv4.ip_forward"], echo=False).stdout == "0\n"
    assert [path.read_text() for path in paths] == before
