"""System calls that the standard library lacks, or has only from Python 3.12 on.

Each raises OSError with the call and its target in the message. Numbers from 424 on are the same on every
architecture (Linux, Documentation/process/adding-syscalls.rst).
"""

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PARENT = 0x00008000

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND = 0x1000
MS_REC_PRIVATE = 0x4000 | 0x40000
MS_REC_SHARED = 0x4000 | 0x100000
MNT_DETACH = 2
MOUNT_ATTR_RDONLY = 1
PR_SET_DUMPABLE = 4

_AT_FDCWD = -100
_PROT_READ_WRITE, _MAP_SHARED = 3, 1
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_FSCONFIG_CMD_CREATE = 6

_SIOCGSKNS = 0x894C  # linux/sockios.h

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _CLONE3, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 435, 442

# PyDLL keeps the interpreter lock: a raw clone must not come back without it.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _call(name: str, target: str, *arguments: object) -> int:
    converted = [ctypes.c_long(a) if isinstance(a, int) else os.fsencode(a) if isinstance(a, str) else a
                 for a in arguments]
    result: int = getattr(_libc, name)(*converted)
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{target}: {os.strerror(error)}")
    return result


def _words(*values: int) -> bytes:
    return b"".join([value.to_bytes(8, "little") for value in values])


def unshare(flags: int) -> None:
    """Give the calling process new namespaces; see unshare(2)."""
    _call("unshare", f"unshare({flags:#x})", flags)


def setns(fd: int, kind: int) -> None:
    """Move the calling process into the namespace behind `fd`; see setns(2)."""
    _call("setns", f"setns({kind:#x})", fd, kind)


def current_network() -> int:
    """Return a descriptor of the network namespace that this process is in.

    It is that of a fresh socket: over /proc/self/ns/net the lab's root could have mounted another one.
    """
    import _socket  # noqa: PLC0415  (as fcntl, it is there by the time this is called)
    import fcntl  # noqa: PLC0415

    socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
    try:
        return fcntl.ioctl(socket.fileno(), _SIOCGSKNS)
    finally:
        socket.close()


def prctl(option: int, value: int) -> None:
    """Change a property of the calling process; see prctl(2)."""
    _call("prctl", f"prctl({option}, {value})", option, value, 0, 0, 0)


def set_dumpable(value: int) -> None:
    """Allow (1) or forbid (0) others of this uid to trace this process and to look into it."""
    prctl(PR_SET_DUMPABLE, value)


def set_hostname(name: str) -> None:
    """Set the name of the machine in this UTS namespace."""
    _call("sethostname", "sethostname", name, len(name))


def command_line_area() -> tuple[int, int]:
    """Return where in this process's memory its command line begins and ends; see proc_pid_stat(5)."""
    with open("/proc/self/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()
    return int(fields[45]), int(fields[46])  # arg_start and arg_end, counted from the state


def set_command_line(area: tuple[int, int], text: str) -> None:
    """Change what `ps` shows for this process, as far as there is room."""
    begin, end = area
    ctypes.memmove(begin, text.encode()[: end - begin - 1].ljust(end - begin, b"\0"), end - begin)


def mount(kind: str, target: str, options: str = "", flags: int = 0) -> None:
    """Mount a new file system of `kind` on `target`; see mount(2)."""
    _call("mount", f"mount -t {kind} -o {options or 'defaults'} {target}", kind, target, kind, flags, options)


def set_socket_option(fd: int, level: int, option: int, value: bytes) -> None:
    """Set an option of a socket while other threads go on, which `socket.setsockopt` would hold up."""
    if ctypes.CDLL(None, use_errno=True).setsockopt(fd, level, option, value, len(value)):
        error = ctypes.get_errno()
        raise OSError(error, f"setsockopt({option}): {os.strerror(error)}")


def map_shared(fd: int, length: int) -> memoryview:
    """Return the memory that the kernel shares through `fd`; see mmap(2)."""
    _libc.mmap.restype = ctypes.c_void_p
    address = _libc.mmap(None, ctypes.c_size_t(length), _PROT_READ_WRITE, _MAP_SHARED, fd, ctypes.c_long(0))
    if address == ctypes.c_void_p(-1).value:
        error = ctypes.get_errno()
        raise OSError(error, f"mmap of {length} bytes: {os.strerror(error)}")
    return memoryview((ctypes.c_char * length).from_address(address)).cast("B")


def bind(source: str, target: str) -> None:
    """Show `source` at `target` as well; see mount(2)."""
    _call("mount", f"mount --bind {source} {target}", source, target, "none", MS_BIND, "")


def make_shared(target: str) -> None:
    """Let mounts below `target` spread to copies of this mount namespace."""
    _call("mount", f"mount --make-rshared {target}", "none", target, "none", MS_REC_SHARED, "")


def detach(target: str) -> None:
    """Unmount `target`, now or when nobody uses it any more; see umount(2)."""
    _call("umount2", f"umount --lazy {target}", target, MNT_DETACH)


def make_private(target: str) -> None:
    """Stop mounts below `target` from spreading to other mount namespaces and from arriving from them."""
    _call("mount", f"mount --make-rprivate {target}", "none", target, "none", MS_REC_PRIVATE, "")


def open_tree(path: str, dir_fd: int = _AT_FDCWD) -> int:
    """Return a detached copy of the mounts at and below `path`; see open_tree(2)."""
    return _call("syscall", f"open_tree({path})", _OPEN_TREE, dir_fd, path,
                 _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE)


def attach_tree(tree: int, path: str) -> None:
    """Mount a detached tree on `path` and close it; see move_mount(2)."""
    _call("syscall", f"move_mount({path})", _MOVE_MOUNT, tree, "", _AT_FDCWD, path, _MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)


def set_tree_attributes(tree: int, attributes: int) -> None:
    """Set MOUNT_ATTR_* on every mount of a detached tree; see mount_setattr(2)."""
    _call("syscall", f"mount_setattr({attributes:#x})", _MOUNT_SETATTR, tree, "", _AT_EMPTY_PATH | _AT_RECURSIVE,
          _words(attributes, 0, 0, 0), 32)


def set_path_attributes(path: str, attributes: int) -> None:
    """Set MOUNT_ATTR_* on every mount at and below `path`."""
    _call("syscall", f"mount_setattr({path}, {attributes:#x})", _MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE,
          _words(attributes, 0, 0, 0), 32)


def new_tmpfs() -> int:
    """Return a detached, empty tmpfs; see fsmount(2)."""
    context = _call("syscall", "fsopen(tmpfs)", _FSOPEN, "tmpfs", 1)
    _call("syscall", "fsconfig(tmpfs)", _FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
    tree = _call("syscall", "fsmount(tmpfs)", _FSMOUNT, context, 1, 0)
    os.close(context)
    return tree


def clone(flags: int, exit_signal: int = 0) -> int:
    """Fork with clone3(2) and `flags`; return 0 in the child, its process id in the parent."""
    return _call("syscall", f"clone3({flags:#x})", _CLONE3, _words(flags, 0, 0, 0, exit_signal, 0, 0, 0), 64)
