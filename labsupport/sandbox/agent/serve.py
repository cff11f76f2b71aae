"""PID 1 of a lab: waits for requests, output, the ends of processes and the end of its client.

It never blocks but in `poll`: what a client does not take is queued, and a command that prints into a full queue is no
longer read, so it waits. When the client is gone, in whatever way, PID 1 exits, and with it the kernel ends every
process and every namespace of the lab (pid_namespaces(7)). End of file on the stream is not enough to know that,
since a fork of the client may hold a copy of it; so the client's pidfd is watched as well.
"""

import _signal
import _socket
import itertools
import os
import select

from labsupport.sandbox.agent import jobs
from labsupport.sandbox.agent.client import Connection
from labsupport.sandbox.agent.jobs import Job, ObservedJob
from labsupport.sandbox.agent.observer import Asker

TYPE_CHECKING = False  # typing itself is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[int], object]

LONGEST_PIPE_BYTES = 1 << 20
MOST_CONNECTIONS = 32
IFF_UP, SIOCGIFFLAGS, SIOCSIFFLAGS = 1, 0x8913, 0x8914


def run(stream: int, client: int, listener: int, asker: Asker, settings: dict) -> None:  # type: ignore[type-arg]
    """Serve until the client is gone. Does not return."""
    _loopback_up()
    server = Server(asker, _socket.socket(fileno=listener), settings)
    try:
        server.watch(client, select.POLLIN, lambda _events: os._exit(0))
        server.watch(listener, select.POLLIN, lambda _events: server.accept())
        server.add_connection(stream, main=True)
        server.serve()
    except BaseException:  # the last words of PID 1, which has no other place to say them
        import traceback  # noqa: PLC0415

        server.end(b"serving", traceback.format_exc())


def _loopback_up() -> None:
    """A lab's first network namespace is like a machine after its start: lo is up."""
    import fcntl  # noqa: PLC0415

    with _Socket() as control:
        request = bytearray(b"lo".ljust(40, b"\0"))
        fcntl.ioctl(control.fileno(), SIOCGIFFLAGS, request)
        request[16] |= IFF_UP
        fcntl.ioctl(control.fileno(), SIOCSIFFLAGS, request)


class _Socket(_socket.socket):
    def __enter__(self) -> "_Socket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Server:
    """The event loop and what all clients share."""

    def __init__(self, asker: Asker, listener: _socket.socket, settings: dict) -> None:  # type: ignore[type-arg]
        self.asker = asker
        self.listener = listener
        self.spare = os.dup(0)
        self.first_network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.observations: dict[int, tuple[Connection, ObservedJob]] = {}
        self.numbers = itertools.count(1)
        self.token: bytes = settings["token"]
        self.environment: dict[str, str] = settings["environment"]
        self.poll = select.poll()
        self.handlers: dict[int, Handler] = {}
        self.connections: list[Connection] = []
        self.ending: list[tuple[Connection, bytes]] = []
        self.running: dict[int, tuple[Connection, Job]] = {}
        ended_read, ended_write = os.pipe()
        for fd in (ended_read, ended_write):
            os.set_blocking(fd, False)
        for number in (_signal.SIGINT, _signal.SIGPIPE):
            _signal.signal(number, _signal.SIG_DFL if number == _signal.SIGINT else _signal.SIG_IGN)
        _signal.set_wakeup_fd(ended_write, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        self.watch(ended_read, select.POLLIN, lambda _events: self.on_child(ended_read))
        self.watch(asker.socket.fileno(), select.POLLIN, lambda _events: self.on_observed())

    def watch(self, fd: int, events: int, handler: "Handler") -> None:
        """Call `handler` with the events of `fd` from now on."""
        self.handlers[fd] = handler
        self.poll.register(fd, events)

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer."""
        if self.handlers.pop(fd, None) is not None:
            self.poll.unregister(fd)

    def serve(self) -> None:
        """Wait and handle, for ever."""
        while True:
            for fd, events in self.poll.poll():
                handler = self.handlers.get(fd)
                if handler is not None:  # an earlier event of this round may have closed it
                    handler(events)

    def add_connection(self, fd: int, *, main: bool) -> None:
        """Take a client on."""
        self.connections.append(Connection(self, fd, main=main))

    def end(self, step: bytes, why: str) -> None:
        """End the lab; tell its client why, as far as that one takes it without waiting. Does not return."""
        for connection in self.connections[:1]:
            connection.send(b"failed", b"", step, why.encode()[-4000:], b"0")
            connection.flush()
        os._exit(1)

    def accept(self) -> None:
        """Take on a client that knocks; without the token it will not get far."""
        os.close(self.spare)  # so that it can be turned away even if no descriptor is left
        try:
            fd, _ = self.listener._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionAbortedError):
            self.spare = os.dup(0)
            return
        try:
            self.spare = os.dup(0)
        except OSError:
            os.close(fd)
            self.spare = os.dup(0)
            return
        strangers = [connection for connection in self.connections[1:] if not connection.greeted]
        full = len(self.connections) > MOST_CONNECTIONS
        if full and not strangers:
            os.close(fd)
            return
        if full:
            strangers[0].close()  # it has had the most time to say who it is
        os.set_inheritable(fd, False)
        self.add_connection(fd, main=False)

    def watch_outputs(self, connection: Connection, job: Job) -> None:
        """Read what a command prints while its client takes that; and write to its terminal."""
        taken = connection.takes_output_of(job)
        for fd in job.outputs:
            if fd == job.terminal:
                events = (select.POLLIN if taken else 0) | (select.POLLOUT if job.pending else 0)
                self.watch(fd, events, lambda ready: self.on_terminal(connection, job, ready))
            elif not taken:
                self.forget(fd)
            elif fd not in self.handlers:
                self.watch(fd, select.POLLIN, self.output_handler(connection, job, fd))

    def output_handler(self, connection: Connection, job: Job, fd: int) -> "Handler":
        """Return what to do when a command has printed something."""
        return lambda _events: self.on_output(connection, job, fd)

    def discard_handler(self, job: Job, fd: int) -> "Handler":
        """Return what to do when what is left of an ended command prints something."""
        return lambda _events: self.discard(job, fd)

    def on_terminal(self, connection: Connection, job: Job, events: int) -> None:
        """Move bytes in both directions of a terminal."""
        if events & select.POLLOUT:
            connection.feed(job)
        if events & (select.POLLIN | select.POLLHUP) and job.terminal >= 0:
            self.on_output(connection, job, job.terminal)

    def on_output(self, connection: Connection, job: Job, fd: int) -> None:
        """Pass on what a command printed, and stop reading while its client has too much to take."""
        if fd != job.terminal and not connection.takes_output_of(job):
            self.forget(fd)
            return
        data, ended = jobs.read_available(fd, jobs.READ_BYTES)
        if data and connection.fd >= 0:
            connection.send(job.outputs[fd], job.request, data)
            job.untaken_bytes += len(data)
        if ended:
            self.close_output(job, fd)
        if not connection.takes_output_of(job):
            self.watch_outputs(connection, job)

    def close_output(self, job: Job, fd: int) -> None:
        """Forget a stream that has ended."""
        self.forget(fd)
        job.outputs.pop(fd, None)
        if fd == job.terminal:
            job.stdin = job.terminal = -1
        os.close(fd)

    def on_child(self, ended_read: int) -> None:
        """Some process has ended."""
        try:
            os.read(ended_read, 4096)
        except BlockingIOError:
            pass
        self.collect()

    def collect(self) -> None:
        """Collect every process that has ended, orphans too, and report those that a client started."""
        if self.ending:  # again each time: what another client starts meanwhile must not put the end off
            self.kill_all()
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:  # none is left, alive or dead
                for connection, request in self.ending:
                    connection.send(b"reply", request)
                self.ending.clear()
                return
            if pid == 0:
                return
            if pid in self.running:
                self.finish(*self.running.pop(pid), os.waitstatus_to_exitcode(status))

    def kill_all(self) -> None:
        """Kill every process of the lab but PID 1."""
        try:
            os.kill(-1, _signal.SIGKILL)
        except ProcessLookupError:
            pass  # there is none

    def on_observed(self) -> None:
        """Report the observer's programs that have ended; without an observer the lab ends."""
        ended = self.asker.ended()
        if ended is None:
            self.end(b"observing", "its observer, a process outside of it, was ended")
            return
        for number, status in ended:
            self.finish(*self.observations.pop(number), status)

    def finish(self, connection: Connection, job: Job, status: int) -> None:
        """Report a command's end, after everything that it had printed by then."""
        for fd, stream in list(job.outputs.items()):
            data, ended = jobs.read_available(fd, LONGEST_PIPE_BYTES)
            for start in range(0, len(data), jobs.READ_BYTES):
                connection.send(stream, job.request, data[start : start + jobs.READ_BYTES])
            if ended or fd == job.terminal:
                self.close_output(job, fd)
            else:
                # A process in the background still has it: were it closed, that one's next line would kill it.
                self.watch(fd, select.POLLIN, self.discard_handler(job, fd))
        if job.stdin >= 0:
            self.forget(job.stdin)
            os.close(job.stdin)
            job.stdin = -1
        connection.jobs.pop(job.request, None)
        connection.send(b"exit", job.request, b"%d" % status)

    def discard(self, job: Job, fd: int) -> None:
        """Throw away what a process in the background prints after its command has ended."""
        _, ended = jobs.read_available(fd, jobs.READ_BYTES)
        if ended:
            self.close_output(job, fd)
