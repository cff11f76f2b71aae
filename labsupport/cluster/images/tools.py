"""The layer that `lab.local/tools` and most images stand on: this machine's shell, network tools and Python.

Not busybox: its static build crashes in the resolver, and learners meet these programs on every Linux.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labsupport.cluster.images import tcpdump
from labsupport.cluster.images.machine import add_programs, find_tool, shared_libraries
from labsupport.cluster.images.python import add_python
from labsupport.cluster.images.rootfs import Rootfs, inside

PACKAGES = {
    "bash": "bash",
    "bind9-dnsutils": "dig nslookup",
    "coreutils": "arch base64 basename cat chmod chown cksum comm cp cut date dd df dirname du echo env expr false "
                 "fold head id install join ln ls md5sum mkdir mkfifo mktemp mv nice nl nohup nproc od paste printenv "
                 "printf pwd readlink realpath rm rmdir seq sha256sum shuf sleep sort split stat stty sum sync tac "
                 "tail tee test timeout touch tr true truncate tty uname uniq wc whoami yes",
    "curl": "curl",
    "debianutils": "which",
    "findutils": "find xargs",
    "grep": "egrep fgrep grep",
    "gzip": "gunzip gzip zcat",
    "hostname": "hostname",
    "iperf": "iperf",
    "iproute2": "ip ss",
    "iputils-ping": "ping",
    "libc-bin": "getent",
    "mawk": "awk",
    "mount": "mount",
    "netcat-openbsd": "nc",
    "openssl": "openssl",
    "procps": "free kill pgrep pkill ps sysctl top",
    "sed": "sed",
    "tar": "tar",
    "tcpdump": "tcpdump",
    "util-linux": "ipcs mountpoint",
    "wget": "wget",
}
"""Debian package -> its programs that the image has."""

USERS = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "SSL_CERT_FILE": CERTIFICATES,  # OpenSSL's own place for them differs between distributions
    "PYTHONUNBUFFERED": "1",  # so that kubectl logs shows lines when they are printed
    "TAR_OPTIONS": "--no-same-owner",  # kubectl cp would give a file to the host's user, whom a lab may not know
}
STAY = ("bash", "-c", "trap 'exit 0' TERM INT; sleep infinity & wait")
"""What a pod of tools runs unless told otherwise: it waits to be entered, and ends at once when asked to."""

_CERTIFICATE_PLACES = (CERTIFICATES, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem")
_TERMINALS = ("dumb", "linux", "screen", "screen-256color", "tmux-256color", "vt100", "xterm", "xterm-256color")
_LOADED_LATER = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2", "libgcc_s.so.1")
"""Libraries that no program names, because the C library loads them when it resolves a name or ends a thread."""
_PROMPT = "PS1='\\h:\\w\\$ '\n"
_WGETRC = "tries = 1\n"  # as busybox's, which images usually have; GNU's tries twenty times
_NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n"


@dataclass(frozen=True)
class MissingTool:
    """A program that an image lacks.

    Attributes:
        name: how it is called.
        package: the Debian package that brings it.
        reason: why it is not there.
    """

    name: str
    package: str
    reason: str


def add_tools(rootfs: Rootfs) -> list[MissingTool]:
    """Add all that this machine has of the tools, and return what it has not."""
    missing = []
    wanted: dict[str, Path] = {}
    packages = {tool: package for package, tools in PACKAGES.items() for tool in tools.split()}
    for tool, package in packages.items():
        source = find_tool(tool, rootfs)
        if source is None:
            missing.append(MissingTool(tool, package, "this machine does not have it"))
        else:
            wanted[_place_of(tool, source)] = source
    for path, reason in add_programs(rootfs, wanted).items():
        tool = Path(path).name
        missing.append(MissingTool(tool, packages[tool], reason))
    if reason := add_python(rootfs):
        missing.append(MissingTool("python3", "python3", reason))
    else:
        _wrap_tcpdump(rootfs)
    _add_what_is_loaded_later(rootfs)
    _add_settings(rootfs)
    return missing


def _wrap_tcpdump(rootfs: Rootfs) -> None:
    for path in ("usr/bin/tcpdump", "usr/sbin/tcpdump"):
        if path in rootfs.entries:
            rootfs.entries[tcpdump.PROGRAM.lstrip("/")] = rootfs.entries.pop(path)
            rootfs.text("usr/bin/tcpdump", Path(tcpdump.__file__).read_text(), 0o755)


def _place_of(tool: str, source: Path) -> str:
    return inside(str(source)) if str(source).startswith(("/usr/", "/bin/", "/sbin/")) else f"usr/local/bin/{tool}"


def _add_what_is_loaded_later(rootfs: Rootfs) -> None:
    shell = find_tool("bash", rootfs)
    libc = shared_libraries([shell.resolve()])[shell.resolve()].found.get("libc.so.6") if shell else None
    if libc is not None:
        libraries = {inside(str(libc.with_name(name))): libc.with_name(name) for name in _LOADED_LATER}
        add_programs(rootfs, {path: source for path, source in libraries.items() if source.exists()})


def _add_settings(rootfs: Rootfs) -> None:
    add_base_folders(rootfs)
    rootfs.text("etc/passwd", USERS)
    rootfs.text("etc/group", GROUPS)
    rootfs.text("etc/nsswitch.conf", _NSSWITCH)
    rootfs.text("etc/wgetrc", _WGETRC)
    rootfs.text("etc/bash.bashrc", _PROMPT)
    rootfs.text("root/.bashrc", _PROMPT)
    rootfs.link("usr/bin/sh", "bash")
    for path in ("/etc/services", "/etc/protocols", "/etc/ssl/openssl.cnf", "/usr/lib/ssl/openssl.cnf"):
        rootfs.copy_if_there(inside(path), Path(path))
    for path in _CERTIFICATE_PLACES:
        if rootfs.copy_if_there(inside(CERTIFICATES), Path(path)):
            break
    for database in ("/lib/terminfo", "/usr/share/terminfo"):
        for terminal in _TERMINALS:
            path = f"{database}/{terminal[0]}/{terminal}"
            rootfs.copy_if_there(inside(path), Path(path))
    for path in ("/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"):
        rootfs.notes += rootfs.copy_tree(inside(path), Path(path)) if rootfs.look(Path(path)) else []


def add_base_folders(rootfs: Rootfs) -> None:
    """Add the folders that a container's runtime mounts over, and those that programs expect."""
    for path in ("dev", "etc", "proc", "root", "run", "sys", "usr/lib", "usr/lib64", "usr/sbin", "var/log"):
        rootfs.folder(path)
    for path in ("tmp", "var/tmp"):
        rootfs.folder(path, 0o1777)
    rootfs.link("var/run", "/run")
