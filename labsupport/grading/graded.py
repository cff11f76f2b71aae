"""The lab that is graded, as the grader sees it: its observations run where nothing in the lab can reach them.

`Lab.observe` runs the host's program with the lab's other processes beside it. That is enough against a student who
replaced `ip`. But the lab's root may trace every process of the lab, so a process in the background could wait for the
program and write its output (ptrace(2), /proc/PID/fd). Here it runs in the grader's PID namespace instead: the lab
cannot see it, only the network stack it looks at is the lab's.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from labsupport.doctor.ids import plan_id_map
from labsupport.errors import CommandTimeout, GradingError, NamespaceNotFound
from labsupport.sandbox import Completed, Lab, RunningLab
from labsupport.sandbox.connection import Connection
from labsupport.sandbox.process import place

MAX_OUTPUT_BYTES = 4 << 20
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class GradedLab(Lab):
    """A lab of the grader, in which a student's code is root.

    Args:
        name: how it is called in messages.
        socket_path: where the student's kernel joins it.

    Raises:
        LabUnavailable: this machine cannot run labs.
        GradingError: the kernel does not let the grader look into its own lab.
    """

    def __init__(self, name: str, socket_path: Path) -> None:
        super().__init__(name, socket_path=socket_path)
        try:
            # Taken before any student's code is there. PID 1 protects itself from being looked into, a child does not.
            child = self.start(["cat"])
            (pid,) = Path(f"/proc/{self._agent}/task/{self._agent}/children").read_text().split()
            self._user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            self._network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            self._root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            child.stop()
        except OSError as error:
            self.close()
            raise GradingError("the grader cannot look into its own lab", where=str(error.filename),
                               expected="the namespaces of a process that it started", observed=str(error),
                               next_step="run `labsupport doctor`; a security module may forbid it") from None
        for fd in (self._user, self._network, self._root):
            weakref.finalize(self, os.close, fd)

    def _set_up(self, name: str, connection: Connection, pid: int, announcement: RunningLab | None) -> None:
        self._agent = pid
        super()._set_up(name, connection, pid, announcement)

    def observe(self, argv: Sequence[str], *, namespace: str = "", timeout_s: float = 10.0) -> Completed:
        """Run one of the host's own programs on the lab's network, out of the lab's sight. See `Lab.observe`."""
        command = shlex.join(argv)
        with contextlib.ExitStack() as stack:
            network = self._open_namespace(stack, namespace, command) if namespace else self._network
            out, error = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            status = self._run(argv, network, out, error, timeout_s)
            if status is None:
                raise CommandTimeout(f"a command was ended after its time limit of {timeout_s:g} s",
                                     where=place(namespace), command=command, expected="it ends by itself",
                                     next_step="look in the lab for what keeps it waiting: routes, servers, firewalls")
            out.seek(0)
            error.seek(0)
            return Completed(command, status, out.read(), error.read(), namespace)

    def _run(self, argv: Sequence[str], network: int, out: IO[bytes], error: IO[bytes], timeout_s: float) -> int | None:
        # With a range of ids the program becomes the lab's root, with a single one it is that already.
        become = ["--preserve-credentials"] if plan_id_map().kind == "single" else ["--setgid", "0", "--setuid", "0"]
        enter = ["nsenter", f"--user=/proc/self/fd/{self._user}", f"--net=/proc/self/fd/{network}", *become, "--"]
        process = subprocess.Popen(["prlimit", f"--fsize={MAX_OUTPUT_BYTES}", *enter, *argv], stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=error, pass_fds=[self._user, network], cwd="/", env=_ENVIRONMENT)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            process.kill()
            process.wait()

    def _open_namespace(self, stack: contextlib.ExitStack, name: str, command: str) -> int:
        """Open /run/netns/NAME of the lab, following no link that its root may have put there."""
        folder = self._root
        try:
            for part in ("run", "netns"):
                folder = os.open(part, _FOLDER, dir_fd=folder)
                stack.callback(os.close, folder)
            if "/" in name or name in {"", ".", ".."}:
                raise FileNotFoundError(name)
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            stack.callback(os.close, fd)
            if os.fstat(fd).st_dev != os.fstat(self._network).st_dev:  # all namespaces lie on one file system, nsfs
                raise FileNotFoundError(name)
        except OSError:
            raise NamespaceNotFound(f"no network namespace is called {name!r}", where="the graded lab", command=command,
                                    next_step=f"make it: ip netns add {shlex.quote(name)}") from None
        return fd
