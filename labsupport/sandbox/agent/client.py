"""One client of the agent: its frames in, its frames out, its jobs."""

import _signal
import os
import select

from labsupport.sandbox.agent import jobs, wire
from labsupport.sandbox.agent.forked import ForkedJob
from labsupport.sandbox.agent.jobs import Job, ObservedJob, Refused

TYPE_CHECKING = False  # typing itself is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable

    from labsupport.sandbox.agent.serve import Server

QUEUE_HIGH_BYTES = 1 << 20


class Connection:
    """One client: its frames in, its frames out, its jobs."""

    def __init__(self, server: "Server", fd: int, *, main: bool) -> None:
        self.server = server
        self.fd = fd
        self.main = main
        self.greeted = False
        self.decoder = wire.Decoder()
        self.out = bytearray()
        self.jobs: dict[bytes, Job] = {}
        self.wants_room = False
        self.receiving = False
        os.set_blocking(fd, False)
        self.watch(wants_room=False)

    def on_ready(self, events: int) -> None:
        """Move bytes in both directions."""
        if events & select.POLLOUT:
            self.flush()
        if self.fd >= 0 and events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self.receive()

    def receive(self) -> None:
        """Read once and answer every whole frame."""
        try:
            data = os.read(self.fd, jobs.READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # reset by the peer: the same as its end
            data = b""
        if not data:
            self.close()
            return
        self.receiving = True  # what the requests lead to is written at the end, without a round through poll
        try:
            for frame in self.decoder.feed(data):
                self.answer(frame)
        except wire.MalformedFrameError as problem:
            self.send(b"error", b"", b"malformed", str(problem).encode())
            self.flush()
            self.close()
            return
        finally:
            self.receiving = False
        if self.out and self.fd >= 0:
            self.flush()

    def answer(self, frame: list[bytes]) -> None:
        """Carry out one request; what is wrong with it becomes a frame `error`."""
        kind, request = frame[0], frame[1] if len(frame) > 1 else b""
        handler = REQUESTS.get(kind)
        if handler is None or (kind != b"hello" and not self.greeted):
            raise wire.MalformedFrameError(f"unexpected frame {kind[:40]!r}")
        try:
            handler(self, *frame[1:])
        except Refused as refusal:
            self.send(b"error", request, refusal.code, str(refusal).encode())
        except OSError as problem:  # no file descriptor left, say: the lab goes on without this request
            self.send(b"error", request, b"failed", f"{kind.decode()}: {problem.strerror}".encode())
        except (TypeError, ValueError) as problem:  # the wrong number of fields, or no number where one belongs
            raise wire.MalformedFrameError(f"frame {kind[:40]!r}: {problem}") from None

    def send(self, *fields: bytes) -> None:
        """Queue a frame."""
        if self.fd < 0:
            return
        self.out += wire.encode(*fields)
        if not self.wants_room and not self.receiving:
            self.watch(wants_room=True)

    def watch(self, *, wants_room: bool) -> None:
        """Wait for frames, and for room to write if there is something to write."""
        self.wants_room = wants_room
        self.server.watch(self.fd, select.POLLIN | (select.POLLOUT if wants_room else 0), self.on_ready)

    def flush(self) -> None:
        """Write what the client takes now."""
        was_full = len(self.out) >= QUEUE_HIGH_BYTES
        try:
            while self.out:
                with memoryview(self.out) as view:
                    count = os.write(self.fd, view[: jobs.READ_BYTES])
                del self.out[:count]
        except BlockingIOError:
            pass
        except OSError:  # EPIPE, ECONNRESET: the client is gone
            self.close()
            return
        if self.wants_room != bool(self.out):
            self.watch(wants_room=bool(self.out))
        if was_full and len(self.out) < QUEUE_HIGH_BYTES:
            for job in self.jobs.values():
                self.server.watch_outputs(self, job)

    def takes_output_of(self, job: Job) -> bool:
        """Whether there is room for more of what a command prints; a client that has gone takes, and drops, all."""
        return self.fd < 0 or (len(self.out) < QUEUE_HIGH_BYTES and job.untaken_bytes < wire.OUTPUT_WINDOW_BYTES)

    def close(self) -> None:
        """The client is gone: end its jobs, or the whole lab if it was the lab's own client."""
        if self.main:
            os._exit(0)
        if self.fd < 0:
            return
        self.server.forget(self.fd)
        os.close(self.fd)
        self.fd = -1
        for job in self.jobs.values():
            job.signal(_signal.SIGKILL)
        self.server.connections.remove(self)

    def hello(self, _request: bytes, version: bytes, token: bytes) -> None:
        """Check that both ends speak the same version and that the other one may be here."""
        if version != wire.VERSION:
            raise wire.MalformedFrameError(f"the client speaks version {version[:20]!r}, this lab {wire.VERSION!r}")
        if not self.main and token != self.server.token:
            raise wire.MalformedFrameError("the token is not this lab's")
        self.greeted = True
        self.send(b"hello", b"", wire.VERSION, b"%d" % os.getpid())

    def ping(self, request: bytes) -> None:
        """Answer at once."""
        self.send(b"reply", request)

    def list(self, request: bytes) -> None:
        """Name the network namespaces."""
        self.send(b"reply", request, *map(os.fsencode, jobs.namespace_names()))

    def end_all(self, request: bytes) -> None:
        """End every process of the lab but PID 1; the reply follows when the last one is collected."""
        self.server.ending.append((self, request))
        self.server.collect()

    def execute(self, request: bytes, mode: bytes, namespace: bytes, rows: bytes, columns: bytes,
                *argv: bytes) -> None:
        """Start a command; its output and its end follow as frames of their own."""
        self.check_command(request, argv)
        if mode not in {b"pipes", b"merged", b"terminal"}:
            raise ValueError("an unknown mode")
        job = Job(request)
        try:
            job.start(mode, os.fsdecode(namespace), (int(rows), int(columns)), list(argv), self.server.environment)
        except OSError:
            job.close()
            raise
        self.server.running[job.pid] = self, job
        self.started(job)

    def observe(self, request: bytes, namespace: bytes, *argv: bytes) -> None:
        """Have the observer start one of the host's programs on the lab's network."""
        self.check_command(request, argv)
        network = jobs.open_namespace(os.fsdecode(namespace)) if namespace else os.dup(self.server.first_network)
        job = ObservedJob(request, next(self.server.numbers), self.server.asker)
        try:
            job.observe(list(argv), network)
        except (OSError, Refused):
            job.close()
            raise
        finally:
            os.close(network)
        self.server.observations[job.number] = self, job
        self.started(job)

    def fork(self, request: bytes, code: bytes) -> None:
        """Start a copy of PID 1 that runs code of the client's."""
        if request in self.jobs:
            raise ValueError("an id in use")
        job = ForkedJob(request)
        try:
            job.fork(code)
        except OSError:
            job.close()
            raise
        self.server.running[job.pid] = self, job
        self.started(job)

    def check_command(self, request: bytes, argv: tuple[bytes, ...]) -> None:
        """Refuse what no program can be started with."""
        if not argv or request in self.jobs:
            raise ValueError("no command, or an id in use")
        if any(b"\0" in word for word in argv):
            raise ValueError("a word with a NUL byte")

    def started(self, job: Job) -> None:
        """Take on a command that runs."""
        self.jobs[job.request] = job
        self.send(b"started", job.request, b"%d" % job.pid)
        self.server.watch_outputs(self, job)

    def stdin(self, request: bytes, data: bytes) -> None:
        """Pass input on to a command."""
        job = self.jobs.get(request)
        if job is None or job.stdin < 0:
            self.send(b"taken", request, b"%d" % len(data))
            return
        if len(job.pending) + len(data) > wire.STDIN_WINDOW_BYTES:
            raise ValueError(f"more than {wire.STDIN_WINDOW_BYTES} bytes of stdin on the way")
        job.pending += data
        self.feed(job)

    def eof(self, request: bytes) -> None:
        """End a command's input."""
        job = self.jobs.get(request)
        if job is not None and job.stdin >= 0:
            job.end_input()
            self.feed(job)

    def feed(self, job: Job) -> None:
        """Write pending input, and come back when there is room for the rest."""
        stdin = job.stdin
        went = job.write()
        if went:
            self.send(b"taken", job.request, b"%d" % went)
        if stdin == job.terminal:
            self.server.watch_outputs(self, job)
        elif job.pending:
            self.server.watch(stdin, select.POLLOUT, lambda _events: self.feed(job))
        else:
            self.server.forget(stdin)

    def taken(self, request: bytes, count: bytes) -> None:
        """Send more of what a command prints."""
        job = self.jobs.get(request)
        if job is not None:
            job.untaken_bytes = max(0, job.untaken_bytes - int(count))
            self.server.watch_outputs(self, job)

    def signal(self, request: bytes, number: bytes) -> None:
        """Send a signal to a command's process group."""
        job = self.jobs.get(request)
        if job is not None and 0 < int(number) < 65:
            job.signal(int(number))

    def resize(self, request: bytes, rows: bytes, columns: bytes) -> None:
        """Set the size of a command's terminal."""
        job = self.jobs.get(request)
        if job is not None:
            job.resize(int(rows), int(columns))


REQUESTS: "dict[bytes, Callable[..., None]]" = {
    b"hello": Connection.hello, b"ping": Connection.ping, b"list": Connection.list, b"endall": Connection.end_all,
    b"exec": Connection.execute, b"observe": Connection.observe, b"fork": Connection.fork, b"stdin": Connection.stdin,
    b"eof": Connection.eof, b"taken": Connection.taken, b"signal": Connection.signal, b"resize": Connection.resize,
}
