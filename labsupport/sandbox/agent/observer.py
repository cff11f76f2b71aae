"""Runs the host's own programs on the lab's network, where nothing in the lab can reach them.

A check must not be fooled by the lab's root, who may trace every process of the lab (ptrace(2)), write into its files
and replace its programs. So the process that built the lab goes on as the observer: in the outer user namespace, of
which the lab's root is not root, in the host's PID namespace, which the lab cannot see, and with a file system that
the lab cannot mount anything into. PID 1 sends it requests, each with the network namespace to enter and the ends of
two pipes (SCM_RIGHTS, unix(7)).

    PID 1 to observer     run number argv...  + 3 descriptors      signal number signal
    observer to PID 1     exit number status
"""

import _signal
import _socket
import os
import select
import sys

from labsupport.sandbox.agent import jobs, syscalls, wire

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
MAX_REQUEST_BYTES = 65536
_PR_SET_PDEATHSIG = 1
_DESCRIPTORS = 3


def socket_pair() -> "tuple[_socket.socket, _socket.socket]":
    """Return the two ends: PID 1's and the observer's."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)


class Asker:
    """PID 1's end."""

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket
        self.socket.setblocking(False)

    def run(self, number: int, argv: list[bytes], descriptors: tuple[int, int, int]) -> None:
        """Have a program run.

        Args:
            number: the caller's name for it; its end is reported under it.
            argv: the program and its arguments.
            descriptors: a network namespace, its standard output, its standard error.
        """
        request = wire.encode(b"run", b"%d" % number, *argv)
        if len(request) > MAX_REQUEST_BYTES:
            raise jobs.Refused(b"failed", f"a command of {len(request)} bytes is too long to observe with")
        rights = b"".join([fd.to_bytes(4, sys.byteorder) for fd in descriptors])
        self.socket.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])

    def signal(self, number: int, signal: int) -> None:
        """Send a signal to the process group of a program."""
        self.socket.send(wire.encode(b"signal", b"%d" % number, b"%d" % signal))

    def ended(self) -> "list[tuple[int, int]] | None":
        """Return what has ended since the last call, as number and exit status; None if the observer is gone."""
        found: list[tuple[int, int]] = []
        while True:
            try:
                message = self.socket.recv(MAX_REQUEST_BYTES)
            except BlockingIOError:
                return found
            except OSError:  # reset: it was killed
                return None
            if not message:
                return None
            (_, number, status), = wire.Decoder().feed(message)
            found.append((int(number), int(status)))


class Observer:
    """The observer itself."""

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket
        self.numbers: dict[int, bytes] = {}
        self.running: dict[bytes, int] = {}

    def serve(self, client: int) -> None:
        """Run programs until PID 1 or the lab's client is gone. Does not return."""
        ended_read, ended_write = os.pipe()
        for fd in (ended_read, ended_write):
            os.set_blocking(fd, False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.set_wakeup_fd(ended_write, warn_on_full_buffer=False)
        poll = select.poll()
        for fd in (self.socket.fileno(), client, ended_read):
            poll.register(fd, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if client in ready:
                self.end()
            if ended_read in ready:
                os.read(ended_read, 4096)
                self.collect()
            if self.socket.fileno() in ready:
                self.answer()

    def end(self) -> None:
        """End with everything that still runs."""
        for pid in self.numbers:
            _signal_group(pid, _signal.SIGKILL)
        os._exit(0)

    def answer(self) -> None:
        """Take one request."""
        room = _socket.CMSG_SPACE(_DESCRIPTORS * 4)
        try:
            message, ancillary, _, _ = self.socket.recvmsg(MAX_REQUEST_BYTES, room, _socket.MSG_CMSG_CLOEXEC)
        except OSError:
            message = b""
        if not message:
            self.end()
        (kind, number, *fields), = wire.Decoder().feed(message)
        if kind == b"run":
            _, _, rights = ancillary[0]
            fds = [int.from_bytes(rights[at : at + 4], sys.byteorder) for at in range(0, _DESCRIPTORS * 4, 4)]
            self.run(number, fields, fds)
            for fd in fds:
                os.close(fd)
        elif number in self.running:
            _signal_group(self.running[number], int(fields[0]))

    def run(self, number: bytes, argv: list[bytes], descriptors: list[int]) -> None:
        """Start a program."""
        try:
            pid = os.fork()
        except OSError as error:
            os.write(descriptors[2], f"{error.strerror}\n".encode())
            self.report(number, 126)
            return
        if pid == 0:
            _become(argv, *descriptors)
        self.numbers[pid] = number
        self.running[number] = pid

    def collect(self) -> None:
        """Report what has ended."""
        while self.numbers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            number = self.numbers.pop(pid)
            del self.running[number]
            self.report(number, os.waitstatus_to_exitcode(status))

    def report(self, number: bytes, status: int) -> None:
        """Tell PID 1 how a program ended."""
        try:
            self.socket.send(wire.encode(b"exit", number, b"%d" % status))
        except OSError:  # PID 1 is gone, and the lab with it
            self.end()


def serve(socket: _socket.socket, client: int, trusted: int) -> None:
    """Become the observer of the lab that this process has built. Does not return.

    Args:
        socket: the observer's end of the pair.
        client: the pidfd of the lab's client.
        trusted: the file system that programs see.
    """
    os.fchdir(trusted)
    os.chroot(".")
    os.chdir("/")
    os.closerange(0, 3)
    for _ in range(3):
        os.open("/dev/null", os.O_RDWR)
    kept = sorted((socket.fileno(), client))
    for low, high in zip((2, *kept), (*kept, 1024), strict=True):
        os.closerange(low + 1, high)
    Observer(socket).serve(client)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        os.kill(pid, number)  # it has not made its group yet; or it has ended, and is a zombie until collected


def _become(argv: list[bytes], network: int, out: int, error: int) -> None:
    try:
        os.setpgid(0, 0)
        syscalls.prctl(_PR_SET_PDEATHSIG, _signal.SIGKILL)
        syscalls.setns(network, syscalls.CLONE_NEWNET)
        for number, fd in enumerate((os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), out, error)):
            os.dup2(fd, number)
        for signal_number in jobs.DEFAULT_SIGNALS:
            _signal.signal(signal_number, _signal.SIG_DFL)
        for folder in PATH.split(":"):
            try:
                os.execve(os.fsencode(folder) + b"/" + argv[0], argv, {"PATH": PATH, "LC_ALL": "C.UTF-8"})
            except FileNotFoundError:
                continue
        os.write(error, argv[0] + b": not found on the host\n")
    except OSError as problem:
        os.write(error, str(problem).encode() + b"\n")
    finally:
        os._exit(127)
