"""The outer user namespace: who the lab's root is for the host.

A helper process makes the namespace, this process writes its id maps from outside and then moves into it. The order
matters: only a process outside may map more than one id, and only one that has left the host's ids behind may make
the mount namespace, so that nothing in it belongs to the host's root.
"""

import os

from labsupport.sandbox.agent import syscalls


class OuterNamespace:
    """A fresh user namespace, with its id maps written, that this process can enter.

    Args:
        kind: "shifted", "subordinate" or "single", as in labsupport.doctor.ids.IdMap.
        uids: lines of uid_map, as (inside, outside, count).
        gids: lines of gid_map.
    """

    def __init__(self, kind: str, uids: list[tuple[int, int, int]], gids: list[tuple[int, int, int]]) -> None:
        self.kind = kind
        made_read, made_write = os.pipe()
        done_read, done_write = os.pipe()
        helper = os.fork()
        if helper == 0:
            try:
                os.close(made_read)
                os.close(done_write)
                syscalls.unshare(syscalls.CLONE_NEWUSER)
                os.write(made_write, b"made")
                os.read(done_read, 1)
            except OSError as error:
                os.write(made_write, f"{error.errno} {error.strerror}".encode())
            finally:
                os._exit(0)
        os.close(made_write)
        os.close(done_read)
        answer = os.read(made_read, 500)
        os.close(made_read)
        try:
            if answer != b"made":
                number, _, text = answer.decode().partition(" ")
                raise OSError(int(number or 5), text or "the helper process ended early")
            if kind == "subordinate":
                _map_by_helper("newuidmap", helper, uids)
                _map_by_helper("newgidmap", helper, gids)
            else:
                if kind == "single":
                    _write(f"/proc/{helper}/setgroups", "deny")
                _write(f"/proc/{helper}/uid_map", _lines(uids))
                _write(f"/proc/{helper}/gid_map", _lines(gids))
            self.fd = os.open(f"/proc/{helper}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(done_write)
            os.waitpid(helper, 0)

    def enter(self) -> None:
        """Become root of the namespace, with a mount namespace that it owns."""
        syscalls.setns(self.fd, syscalls.CLONE_NEWUSER)
        os.close(self.fd)
        if self.kind != "single":
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        syscalls.set_dumpable(1)  # the change of ids took it away, and with it the right to write PID 1's uid_map
        syscalls.unshare(syscalls.CLONE_NEWNS)


def map_all(process: int, proc_fd: int, uids: list[tuple[int, int, int]], gids: list[tuple[int, int, int]]) -> None:
    """Give the inner user namespace of `process` the same ids as the outer one."""
    if sum(count for _, _, count in uids) == 1:
        _write(f"{process}/setgroups", "deny", proc_fd)
    _write(f"{process}/uid_map", _lines([(first, first, count) for first, _, count in uids]), proc_fd)
    _write(f"{process}/gid_map", _lines([(first, first, count) for first, _, count in gids]), proc_fd)


def _lines(ranges: list[tuple[int, int, int]]) -> str:
    return "".join([f"{inside} {outside} {count}\n" for inside, outside, count in ranges])


def _write(path: str, text: str, dir_fd: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"writing {text.strip()!r} to {path}: {error.strerror}") from None
    finally:
        os.close(fd)


def _map_by_helper(program: str, process: int, ranges: list[tuple[int, int, int]]) -> None:
    numbers = [str(number) for line in ranges for number in line]
    pid = os.posix_spawnp(program, [program, str(process), *numbers], {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"})
    _, status = os.waitpid(pid, 0)
    if status:
        raise OSError(1, f"{program} {process} {' '.join(numbers)}: exit status {os.waitstatus_to_exitcode(status)}")
