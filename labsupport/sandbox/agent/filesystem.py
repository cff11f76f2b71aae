"""What the lab sees of the file system: the host's, read-only, with private folders on top.

Everything here happens in the outer user namespace. The lab runs in the inner one, so for it these mounts are locked:
its root can neither make them writable nor take one away to see what lies under it (mount_namespaces(7)).
"""

import errno
import os
import stat

from labsupport.sandbox.agent import syscalls
from labsupport.sandbox.agent.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount

MEBIBYTE = 1 << 20
COVERED_MEBIBYTES = {
    "/tmp": 256, "/var/tmp": 64, "/var/lib": 256, "/var/log": 64, "/var/cache": 64,
    "/root": 64, "/home": 1, "/mnt": 1, "/media": 1, "/proc": 1, "/sys": 1,
}
RUN_MEBIBYTES = 64
SHARED_MEMORY_MEBIBYTES = 64
FILES_OF_A_TMPFS = 65536
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LARGEST_COPIED_FILE_BYTES = 65536
HOSTS = "127.0.0.1\tlocalhost\n127.0.1.1\tlab\n::1\tlocalhost ip6-localhost ip6-loopback\n"
RESOLV_CONF = "# This lab has no DNS server until you make one.\n"


class View:
    """Collects parts of the host while they can still be reached, then builds the lab's file system from them.

    Args:
        keep: host folders that stay visible, read-only, although they lie in a covered one (a Python environment).
        hidden: more folders to cover, the user's home for one.
    """

    def __init__(self, keep: list[str], hidden: list[str]) -> None:
        self.keep = keep
        self.covers = dict(COVERED_MEBIBYTES)
        for path in hidden:
            self.covers.setdefault(path, 1)
        self.trees: dict[str, int] = {}

    def take_as_root(self) -> None:
        """Take what only root reaches, before root gives up its ids."""
        for path in self.keep:
            self.trees[path] = syscalls.open_tree(path)
        if os.path.exists("/dev/net/tun"):
            self.trees["/dev/net"] = _folder_with_tun()

    def build(self) -> int:
        """Replace this mount namespace's file system by the lab's.

        Returns:
            A detached copy of it without /etc's writable layer, for programs that must not be fooled by the lab.
        """
        syscalls.make_private("/")
        self._take_the_rest()
        proc, system = syscalls.open_tree("/proc"), syscalls.open_tree("/sys")
        syscalls.set_path_attributes("/", syscalls.MOUNT_ATTR_RDONLY)
        _tmpfs("/run", RUN_MEBIBYTES)
        for name in ("proc", "sys", "upper", "work"):
            os.mkdir("/run/" + name)
        # The kernel gives a fresh /proc or /sys only to a namespace that already holds one which is fully visible.
        syscalls.attach_tree(proc, "/run/proc")
        syscalls.attach_tree(system, "/run/sys")
        _fill_etc("/etc", "/run/upper")
        os.chdir("/run")
        _tmpfs("/run", RUN_MEBIBYTES)
        self._cover()
        _make_dev()
        for path, tree in self.trees.items():
            if stat.S_ISDIR(os.fstat(tree).st_mode):
                os.makedirs(path, exist_ok=True)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
            syscalls.attach_tree(tree, path)
        trusted = syscalls.open_tree("/")
        # Relative names: the two folders now lie under the second tmpfs on /run, where the lab cannot reach them.
        _mount_etc("upper")
        os.chdir("/")
        return trusted

    def _take_the_rest(self) -> None:
        for path in self.keep:
            if path not in self.trees:
                self.trees[path] = syscalls.open_tree(path)
            syscalls.set_tree_attributes(self.trees[path], syscalls.MOUNT_ATTR_RDONLY)
        for name in (*DEVICES, "net/tun"):
            path = "/dev/" + name
            if os.path.dirname(path) not in self.trees and os.access(path, os.R_OK | os.W_OK):
                self.trees[path] = syscalls.open_tree(path)

    def _cover(self) -> None:
        for path, mebibytes in self.covers.items():
            if os.path.isdir(path) and not os.path.islink(path):
                _tmpfs(path, mebibytes, 0o1777 if path.endswith("tmp") else 0o755)


def mount_kernel_views() -> None:
    """In the inner namespaces: give PID 1 a /proc and a /sys of its own."""
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount("proc", "/proc", flags=flags)
    mount("sysfs", "/sys", flags=flags)


def _tmpfs(path: str, mebibytes: int, mode: int = 0o755) -> None:
    options = f"size={mebibytes * MEBIBYTE},nr_inodes={FILES_OF_A_TMPFS},mode={mode:o}"
    mount("tmpfs", path, options, MS_NOSUID | MS_NODEV)


def _folder_with_tun() -> int:
    """Return a detached /dev/net with a tun that the shifted root may open; the host's is for the host's root.

    All of the folder, since a kernel older than 6.15 does not let a part be taken out of what is nowhere mounted.
    """
    folder = syscalls.new_tmpfs()
    os.chmod(".", 0o755, dir_fd=folder)
    os.mknod("tun", stat.S_IFCHR | 0o666, os.stat("/dev/net/tun").st_rdev, dir_fd=folder)
    os.chmod("tun", 0o666, dir_fd=folder)
    return folder


def _make_dev() -> None:
    _tmpfs("/dev", 1)
    for name in ("pts", "shm", "net"):
        os.mkdir("/dev/" + name)
    mount("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=620", MS_NOSUID | MS_NOEXEC)
    _tmpfs("/dev/shm", SHARED_MEMORY_MEBIBYTES, 0o1777)
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"),
                         ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, "/dev/" + name)
    for path in ("/run/lock", "/run/netns"):
        os.mkdir(path)


def _fill_etc(source: str, target: str) -> None:
    """Copy all folders and the files on top of /etc into the layer that the lab writes to.

    The kernel refuses to copy a file up later whose owner has no id in the lab; a folder that is already in the upper
    layer can take new files.
    """
    _copy_folders(source, target)
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False) and entry.name not in {"hosts", "resolv.conf", "hostname"}:
                _copy_file(entry.path, f"{target}/{entry.name}")
    for name, text in (("hosts", HOSTS), ("resolv.conf", RESOLV_CONF), ("hostname", "lab\n")):
        _write_file(f"{target}/{name}", text.encode())
    os.makedirs(target + "/netns", exist_ok=True)


def _mount_etc(upper: str) -> None:
    """Put the writable layer over /etc.

    The kernel refuses an overlay over a folder with mounts in it that the lab could uncover that way. Containers have
    such mounts (/etc/hosts, /etc/resolv.conf): there the lab gets a copy of all of /etc instead.
    """
    try:
        mount("overlay", "/etc", f"lowerdir=/etc,upperdir={upper},workdir=work,userxattr")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _copy_rest("/etc", upper)
        syscalls.bind(upper, "/etc")


def _copy_rest(source: str, target: str) -> None:
    """Copy what `_fill_etc` has left out: links, and files in folders."""
    try:
        with os.scandir(source) as entries:
            found = list(entries)
    except PermissionError:
        return  # closed to this user
    for entry in found:
        path = f"{target}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), path)
        elif entry.is_dir():
            _copy_rest(entry.path, path)
        elif entry.is_file() and not os.path.exists(path):
            _copy_file(entry.path, path, MEBIBYTE)


def _copy_folders(source: str, target: str) -> None:
    try:
        with os.scandir(source) as entries:
            folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except PermissionError:
        return  # what the user cannot read stays closed: the lower layer answers with the same error
    for name in folders:
        os.mkdir(f"{target}/{name}")
        _copy_folders(f"{source}/{name}", f"{target}/{name}")


def _copy_file(source: str, target: str, most: int = LARGEST_COPIED_FILE_BYTES) -> None:
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except (PermissionError, FileNotFoundError):
        return  # closed to this user, or gone since the folder was read: the lower layer says so just as well
    try:
        data = os.read(fd, most + 1)
    finally:
        os.close(fd)
    if len(data) <= most:
        _write_file(target, data)


def _write_file(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
