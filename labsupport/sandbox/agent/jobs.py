"""One running command of a lab: its processes, its streams, and how it is started."""

import _signal
import os

TYPE_CHECKING = False  # typing itself is slow to import
if TYPE_CHECKING:
    from labsupport.sandbox.agent.observer import Asker

READ_BYTES = 65536
NAMESPACES = "/run/netns/"
TIOCSWINSZ = 0x5414
NSFS = os.stat("/proc/self/ns/net").st_dev  # the file system that all namespaces are files of
DEFAULT_SIGNALS = tuple(number for number in range(1, 32) if number not in {_signal.SIGKILL, _signal.SIGSTOP})


class Refused(Exception):
    """A request that cannot be carried out; `code` tells the client which error to raise."""

    def __init__(self, code: bytes, text: str) -> None:
        super().__init__(text)
        self.code = code


class Job:
    """A process group in the lab, its leader's streams, and the request that it belongs to.

    Attributes:
        outputs: streams that are open, by file descriptor: b"stdout" or b"stderr".
        pending: bytes of stdin that the process has not taken yet.
        untaken_bytes: how much output was sent that nobody at the client has taken yet.
    """

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.pid = 0
        self.stdin = -1
        self.terminal = -1
        self.outputs: dict[int, bytes] = {}
        self.pending = bytearray()
        self.end_of_input = False
        self.untaken_bytes = 0

    def start(self, mode: bytes, namespace: str, size: tuple[int, int], argv: list[bytes],
              environment: dict[str, str]) -> None:
        """Start `argv` as leader of a new session.

        Args:
            mode: b"pipes" (two outputs), b"merged" (one) or b"terminal".
            namespace: a named network namespace, or "" for the lab's first one.
            size: rows and columns of the terminal.

        Raises:
            Refused: it could not be started.
        """
        if namespace:
            os.close(open_namespace(namespace))
            check_program(argv, environment["PATH"])  # `ip` would only fail with a status of its own
            argv = [b"ip", b"netns", b"exec", os.fsencode(namespace), *argv]
        if mode == b"terminal":
            self._start_in_terminal(argv, environment, size)
        else:
            self._start_with_pipes(argv, environment, merged=mode == b"merged")

    def _start_with_pipes(self, argv: list[bytes], environment: dict[str, str], *, merged: bool) -> None:
        pipes = open_pipes(2 if merged else 3)
        stdin_read, self.stdin = pipes[0]
        theirs = [stdin_read]
        for (ours, other), stream in zip(pipes[1:], (b"stdout", b"stderr"), strict=False):
            self.outputs[ours] = stream
            theirs.append(other)
        standard = theirs if len(theirs) == 3 else [*theirs, theirs[1]]
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(standard)]
        self._spawn(argv, environment, actions, theirs)

    def _start_in_terminal(self, argv: list[bytes], environment: dict[str, str], size: tuple[int, int]) -> None:
        self.terminal, other = os.openpty()
        self.outputs[self.terminal] = b"stdout"
        self.stdin = self.terminal
        self.resize(*size)
        # Opening it as leader of a fresh session makes it the controlling terminal (setsid(2), tty(4)).
        actions = [(os.POSIX_SPAWN_OPEN, 0, os.ttyname(other), os.O_RDWR, 0),
                   (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
        self._spawn(argv, environment | {"TERM": "xterm-256color"}, actions, [other])

    def _spawn(self, argv: list[bytes], environment: dict[str, str], actions: list, theirs: list[int]) -> None:  # type: ignore[type-arg]
        try:
            self.pid = os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsid=True,
                                       setsigmask=(), setsigdef=DEFAULT_SIGNALS)
        except OSError as error:
            self.close()
            raise refusal(error, argv) from None
        finally:
            for fd in theirs:
                os.close(fd)
        self.set_nonblocking()

    def set_nonblocking(self) -> None:
        """Let no read or write of this process wait."""
        for fd in (self.stdin, *self.outputs):
            if fd >= 0:
                os.set_blocking(fd, False)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the programs in the terminal its new size."""
        if self.terminal >= 0:
            import fcntl  # noqa: PLC0415  (only terminals need it)

            size = b"".join([value.to_bytes(2, "little") for value in (rows & 0xFFFF, columns & 0xFFFF, 0, 0)])
            fcntl.ioctl(self.terminal, TIOCSWINSZ, size)

    def signal(self, number: int) -> None:
        """Send a signal to the process group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            os.kill(self.pid, number)  # it was forked, but has not made its group yet; or it has ended: a zombie

    def write(self) -> int:
        """Pass pending stdin on as far as it goes without waiting; return how many bytes went."""
        went = 0
        try:
            while self.pending:
                count = os.write(self.stdin, self.pending[:READ_BYTES])
                del self.pending[:count]
                went += count
        except BlockingIOError:
            return went
        except OSError:  # the process closed its end (EPIPE), or the terminal hung up (EIO): nobody will read it
            went += len(self.pending)
            self.pending.clear()
        if self.end_of_input and not self.pending and self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1
        return went

    def end_input(self) -> None:
        """Let the process see the end of its input once it has taken what is pending."""
        if self.terminal >= 0:
            self.pending += b"\x04"  # what Ctrl-D sends: VEOF of termios(3)
        else:
            self.end_of_input = True

    def close(self) -> None:
        """Close what is open; the process may go on."""
        for fd in {self.stdin, *self.outputs} - {-1}:
            os.close(fd)
        self.stdin = self.terminal = -1
        self.outputs = {}


class ObservedJob(Job):
    """A program that runs outside of the lab, for a client that looks at the lab's network; see observer."""

    def __init__(self, request: bytes, number: int, asker: "Asker") -> None:
        super().__init__(request)
        self.number = number
        self.asker = asker

    def observe(self, argv: list[bytes], network: int) -> None:
        """Have `argv` run on a network namespace."""
        (out_read, out_write), (error_read, error_write) = open_pipes(2)
        self.outputs = {out_read: b"stdout", error_read: b"stderr"}
        self.set_nonblocking()
        try:
            self.asker.run(self.number, argv, (network, out_write, error_write))
        finally:
            os.close(out_write)
            os.close(error_write)

    def signal(self, _number: int) -> None:
        """End the program: whatever the signal, there is nothing else to want of one that only looks."""
        self.asker.end(self.number)


def open_pipes(count: int) -> list[tuple[int, int]]:
    """Return so many pipes, or none if there are not enough descriptors left."""
    pipes: list[tuple[int, int]] = []
    try:
        while len(pipes) < count:
            pipes.append(os.pipe())
    except OSError:
        for ends in pipes:
            for fd in ends:
                os.close(fd)
        raise
    return pipes


def read_available(fd: int, limit: int) -> tuple[bytes, bool]:
    """Read what is there now, `limit` bytes at most; the flag says whether the stream has ended."""
    data = bytearray()
    while len(data) < limit:
        try:
            part = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return bytes(data), False
        except OSError:  # EIO: the last process has closed the terminal
            return bytes(data), True
        if not part:
            return bytes(data), True
        data += part
    return bytes(data), False


def namespace_names() -> list[str]:
    """Return the network namespaces that `ip netns list` shows, sorted."""
    try:
        names = sorted(os.listdir(NAMESPACES))
    except OSError:  # the lab's root may have removed the folder, or put a file in its place
        return []
    return [name for name in names if _is_namespace(name)]


def open_namespace(name: str) -> int:
    """Return a descriptor of a named network namespace; refuse one that is not there."""
    fd = _opened(name)
    if fd is None:
        raise Refused(b"no-namespace", ", ".join(namespace_names()))
    return fd


def _is_namespace(name: str) -> bool:
    fd = _opened(name)
    if fd is None:
        return False
    os.close(fd)  # else it would keep the namespace alive
    return True


def _opened(name: str) -> "int | None":
    """Open /run/netns/NAME if that is a namespace, and no link, pipe or file that somebody put there."""
    if "/" in name or "\0" in name or name in {"", ".", ".."}:
        return None
    try:
        fd = os.open(NAMESPACES + name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if os.fstat(fd).st_dev == NSFS:
        return fd
    os.close(fd)
    return None


def check_program(argv: list[bytes], path: str) -> None:
    """Refuse a program that is not on `path`, or not where its name says."""
    name = argv[0]
    places = [name] if b"/" in name else [os.fsencode(folder) + b"/" + name for folder in path.split(":")]
    problem = 2  # ENOENT
    for place in places:
        if os.path.isfile(place) and os.access(place, os.X_OK):
            return
        if os.path.exists(place):
            problem = 13  # EACCES
    raise refusal(OSError(problem, os.strerror(problem)), argv)


def refusal(error: OSError, argv: list[bytes]) -> Refused:
    """Say which error of the client a failed start stands for."""
    if error.errno == 11:  # EAGAIN: RLIMIT_NPROC
        return Refused(b"process-limit", os.fsdecode(argv[0]))
    if error.errno in {2, 13, 20}:  # ENOENT, EACCES, ENOTDIR
        return Refused(b"no-command", f"{os.fsdecode(argv[0])}: {error.strerror}")
    return Refused(b"failed", f"{os.fsdecode(argv[0])}: {error.strerror}")
