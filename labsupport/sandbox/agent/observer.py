"""Runs the host's own programs on the lab's network, where nothing in the lab can reach them.

A check must not be fooled by the lab's root, who may trace every process of the lab (ptrace(2)), write into its files
and replace its programs. So the process that built the lab goes on as the observer: in the outer user namespace, of
which the lab's root is not root, in the host's PID namespace, which the lab cannot see, and with a file system that
the lab cannot mount anything into. PID 1 sends it requests, each with the network namespace to enter and the ends of
two pipes (SCM_RIGHTS, unix(7)).

    PID 1 to observer     run number argv...  + 3 descriptors      end number
    observer to PID 1     exit number status

PID 1 and the observer end together, also if one of them was stopped (SIGSTOP). When the client has gone, the observer
kills PID 1. PID 1 cannot kill the observer, since it does not see it; but it holds the one writing end of a pipe, and
the kernel sends the observer SIGKILL when that is closed (O_ASYNC and F_SETSIG, fcntl(2)). Each program is PID 1 of a
PID namespace of its own and dies with the observer (PR_SET_PDEATHSIG, prctl(2)), and with it all that it has started.
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

    def end(self, number: int) -> None:
        """End a program with everything that it has started."""
        try:
            self.socket.send(wire.encode(b"end", b"%d" % number))
        except OSError:
            return  # the observer has gone, and its programs with it; or it is stopped, and its end will end them

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
    """The observer itself.

    Args:
        socket: its end of the pair.
        first: a pidfd of the lab's PID 1.
    """

    def __init__(self, socket: _socket.socket, first: int) -> None:
        self.socket = socket
        self.first = first
        self.itself = os.pidfd_open(os.getpid())
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
        """End, and the lab and the programs with it."""
        try:
            _signal.pidfd_send_signal(self.first, _signal.SIGKILL)
        except ProcessLookupError:
            pass  # it was faster
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
            os.kill(self.running[number], _signal.SIGKILL)

    def run(self, number: bytes, argv: list[bytes], descriptors: list[int]) -> None:
        """Start a program."""
        try:
            pid = syscalls.clone(syscalls.CLONE_NEWPID, _signal.SIGCHLD)
        except OSError as error:
            os.write(descriptors[2], f"{error.strerror}\n".encode())
            self.report(number, 126)
            return
        if pid == 0:
            self.become(argv, *descriptors)
        self.numbers[pid] = number
        self.running[number] = pid

    def become(self, argv: list[bytes], network: int, out: int, error: int) -> None:
        """Go on as a program. Does not return."""
        try:
            syscalls.prctl(_PR_SET_PDEATHSIG, _signal.SIGKILL)
            parent = select.poll()
            parent.register(self.itself, select.POLLIN)
            if parent.poll(0):  # it ended before it could take this process along
                os._exit(1)
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


def serve(socket: _socket.socket, client: int, first: int, alive: int, trusted: int) -> None:
    """Become the observer of the lab that this process has built. Does not return.

    Args:
        socket: the observer's end of the pair.
        client: the pidfd of the lab's client.
        first: the pidfd of the lab's PID 1.
        alive: the reading end of a pipe that ends with PID 1.
        trusted: the file system that programs see.
    """
    _die_at_the_end_of(alive)
    os.fchdir(trusted)
    os.chroot(".")
    os.chdir("/")
    os.closerange(0, 3)
    for _ in range(3):
        os.open("/dev/null", os.O_RDWR)
    kept = sorted((socket.fileno(), client, first, alive))
    for low, high in zip((2, *kept), (*kept, 1024), strict=True):
        os.closerange(low + 1, high)
    Observer(socket, first).serve(client)


def _die_at_the_end_of(pipe: int) -> None:
    """Have the kernel send this process SIGKILL when the other end of `pipe` is closed, even while it is stopped."""
    import fcntl  # noqa: PLC0415

    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, _signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    if poll.poll(0):  # it was closed before
        os._exit(1)
