"""Starts an agent: a fresh Python that builds the lab around itself and becomes its PID 1.

The client itself never enters a namespace: a process with threads, such as a Jupyter kernel, may not, and it should
stay what it was.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from labsupport.doctor.ids import IdMap, plan_id_map
from labsupport.doctor.tools import lab_path
from labsupport.errors import LabUnavailable
from labsupport.sandbox.agent import wire
from labsupport.sandbox.interrupts import INTERRUPTS
from labsupport.sandbox.portable import load

_PACKAGE = "labsupport.sandbox.agent"
_MODULES = tuple(f"{_PACKAGE}.{name}" for name in (
    "wire", "syscalls", "identity", "filesystem", "jobs", "forked", "observer", "client", "serve", "boot"))
_BOOTSTRAP = """\
import marshal, os, sys
stream, client, listener, length = map(int, sys.argv[2:6])
data = bytearray()
while len(data) < length:
    part = os.read(stream, length - len(data))
    if not part:
        sys.exit("the client has gone")
    data += part
modules, settings = marshal.loads(bytes(data))
for name, code in modules:
    module = sys.modules[name] = type(sys)(name)
    if code is None:
        module.__path__ = []
    else:
        exec(code, module.__dict__)
module.main(stream, client, listener, settings)
"""
PROGRAM_MARK = "labsupport-agent"
"""In the command line of every agent, so that `ps` tells what it is."""
START_DEADLINE_S = 20.0
PATIENCE_S = 2.0


@dataclass(frozen=True)
class Settings:
    """What an agent is told at its start.

    Attributes:
        kind, uids, gids: see labsupport.doctor.ids.IdMap.
        keep: folders that stay visible, read-only, although they lie in a covered one.
        hidden: folders to cover with an empty one, besides those that always are.
        process_limit: how many processes the lab may have.
        token: what a second client has to know.
        environment: the environment of the lab's commands.
    """

    kind: str
    uids: tuple[tuple[int, int, int], ...]
    gids: tuple[tuple[int, int, int], ...]
    keep: list[str]
    hidden: list[str]
    process_limit: int
    token: bytes
    environment: dict[str, str] = field(default_factory=dict)


def make_settings(*, visible: tuple[Path, ...], hidden: tuple[Path, ...], process_limit: int,
                  token: bytes) -> Settings:
    """Choose the settings of a lab on this machine."""
    ids: IdMap = plan_id_map()
    environment = {
        "PATH": lab_path(),
        "HOME": "/root",
        "USER": "root",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }
    home = Path.home()
    return Settings(
        kind=ids.kind,
        uids=ids.uids,
        gids=ids.gids,
        keep=_keep(Path(sys.prefix).absolute(), Path(sys.base_prefix).absolute(), *visible),
        hidden=[str(folder.resolve()) for folder in (home, *hidden) if folder.resolve() != Path("/")],
        process_limit=process_limit,
        token=token,
        environment=environment,
    )


def _keep(*folders: Path) -> list[str]:
    """Return the folders under the names they are known by and those they really have, none inside another."""
    wanted = sorted({str(name) for folder in folders for name in (folder, folder.resolve())} - {"/", "/usr"})
    kept: list[str] = []
    for name in wanted:
        inside = any(name.startswith(other + "/") for other in kept)
        if not inside and Path(name).is_dir() and not Path(name).is_symlink():
            kept.append(name)
    return kept


class Agent:
    """The two processes of a lab, both children of this one; they end when the stream is closed.

    Attributes:
        stream: to PID 1, already greeted once `launch` has returned it.
        pid: the process id of PID 1; 0 before it is known.
    """

    def __init__(self, stream: socket.socket, builder: subprocess.Popen[bytes]) -> None:
        self.stream = stream
        self.pid = 0
        self._builder = builder  # it goes on as the observer
        self._decoder = wire.Decoder()

    def handshake(self, code: bytes) -> None:
        """Send the agent its code, and wait until it is PID 1 of its lab."""
        self.stream.settimeout(START_DEADLINE_S)
        end = time.monotonic() + START_DEADLINE_S
        poll = select.poll()
        for readable in (self.stream, INTERRUPTS.wake):
            poll.register(readable, select.POLLIN)
        self.stream.sendall(code)
        while True:
            poll.poll(max(0.0, end - time.monotonic()) * 1000)
            if INTERRUPTS.pending():
                raise KeyboardInterrupt
            if time.monotonic() >= end:
                raise TimeoutError
            for frame in self._frames():
                if frame[0] == b"failed":
                    raise _refused(frame)
                if frame[0] == b"cloned":
                    self.stream.sendall(wire.encode(b"hello", b"", wire.VERSION, b""))
                if frame[0] == b"hello":
                    return

    def _frames(self) -> list[list[bytes]]:
        data = self.stream.recv(65536)
        if not data:
            raise ConnectionError("end of file")
        frames = self._decoder.feed(data)
        for frame in frames:
            if frame[0] == b"cloned":
                self.pid = int(frame[2])
        return frames

    def give_up(self) -> str:
        """End a lab that has not started; return what its builder said last."""
        try:
            self.stream.shutdown(socket.SHUT_WR)  # PID 1, if it comes to that, sees this and ends
            self.stream.settimeout(PATIENCE_S)
            while not self.pid:
                self._frames()
        except (OSError, wire.MalformedFrameError):
            pass  # there is no PID 1 and will be none; or the builder is stuck, and SIGKILL is its end
        self._builder.kill()
        self.stream.close()
        self.collect(0)
        return self._builder.stderr.read().decode(errors="replace")[-2000:] if self._builder.stderr else ""

    def collect(self, patience_s: float = PATIENCE_S) -> None:
        """Wait for the end of both after the stream was closed; one that takes too long (it was stopped) is killed."""
        for pid in (self.pid, self._builder.pid):
            if pid:
                _collect(pid, patience_s)
        self._builder.wait()

    def close_errors(self) -> None:
        """Close what the builder prints errors to."""
        if self._builder.stderr is not None:
            self._builder.stderr.close()


def launch(settings: Settings, listener: socket.socket) -> Agent:
    """Start an agent and wait until it is PID 1 of its lab. The caller holds interrupts back until it is in charge.

    Args:
        settings: see Settings.
        listener: a listening socket on which the agent takes further clients.

    Raises:
        LabUnavailable: the machine does not allow it; the message names the step.
        KeyboardInterrupt: Ctrl-C came meanwhile; nothing is left.
    """
    code = marshal.dumps((load(_MODULES), asdict(settings)))
    agent = _start_builder(listener, len(code))
    try:
        agent.handshake(code)
    except TimeoutError:
        raise _broken(f"the lab did not start within {START_DEADLINE_S:g} s", agent.give_up()) from None
    except (ConnectionError, wire.MalformedFrameError) as problem:
        raise _broken(f"the agent ended before the lab was there ({problem})", agent.give_up()) from None
    except BaseException:
        agent.give_up()
        raise
    finally:
        agent.close_errors()
    return agent


def _start_builder(listener: socket.socket, length: int) -> Agent:
    """Start the process that reads so many bytes of code and builds a lab."""
    stream, theirs = socket.socketpair()
    watch = os.pidfd_open(os.getpid())
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, PROGRAM_MARK,
             str(theirs.fileno()), str(watch), str(listener.fileno()), str(length)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno(), watch, listener.fileno()],
            cwd="/", env={}, start_new_session=True,
        )
    except BaseException:
        stream.close()
        raise
    finally:
        theirs.close()
        os.close(watch)
    return Agent(stream, process)


def _collect(pid: int, patience_s: float) -> None:
    try:
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return
        process = os.pidfd_open(pid)
    except ChildProcessError:
        return  # somebody in this process collects all children
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        if not poll.poll(patience_s * 1000):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ChildProcessError, ProcessLookupError):
        return  # as above
    finally:
        os.close(process)


def _refused(frame: list[bytes]) -> LabUnavailable:
    step, text = frame[2].decode(), frame[3].decode(errors="replace")
    return LabUnavailable(
        f"this machine does not let a lab start: {step} failed",
        where="the start of a lab",
        expected="the kernel allows user namespaces and mounts inside them",
        observed=text,
        next_step="run `labsupport doctor`: it says which setting is missing and who can change it",
    )


def _broken(what: str, tail: str) -> LabUnavailable:
    return LabUnavailable(what, log_tail=tail, next_step="run `labsupport doctor` and read the last output above")
