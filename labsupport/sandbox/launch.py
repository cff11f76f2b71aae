"""Starts an agent: a fresh Python that builds the lab around itself and becomes its PID 1.

The client itself never enters a namespace: a process with threads, such as a Jupyter kernel, may not, and it should
stay what it was.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from labsupport.doctor.ids import IdMap, plan_id_map
from labsupport.errors import LabUnavailable, ProtocolError
from labsupport.sandbox.agent import wire

_PACKAGE = "labsupport.sandbox.agent"
_MODULES = ("wire", "syscalls", "identity", "filesystem", "jobs", "observer", "client", "serve", "boot")
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


@dataclass(frozen=True)
class Settings:
    """What an agent is told at its start.

    Attributes:
        kind, uids, gids: see labsupport.doctor.ids.IdMap.
        keep: folders that stay visible, read-only, although they lie in a covered one.
        hidden: folders to cover with an empty one, besides those that always are.
        work: the one folder of the host that the lab may write to, or "".
        process_limit: how many processes the lab may have.
        token: what a second client has to know.
        environment: the environment of the lab's commands.
    """

    kind: str
    uids: tuple[tuple[int, int, int], ...]
    gids: tuple[tuple[int, int, int], ...]
    keep: list[str]
    hidden: list[str]
    work: str
    process_limit: int
    token: bytes
    environment: dict[str, str] = field(default_factory=dict)


def make_settings(*, work: Path | None, visible: tuple[Path, ...], process_limit: int, token: bytes,
                  hidden: tuple[Path, ...] = ()) -> Settings:
    """Choose the settings of a lab on this machine."""
    ids: IdMap = plan_id_map()
    prefix = Path(sys.prefix).absolute()
    environment = {
        "PATH": f"{prefix / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
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
        keep=_keep(prefix, Path(sys.base_prefix).absolute(), *visible),
        hidden=[str(folder.resolve()) for folder in (home, *hidden) if folder.resolve() != Path("/")],
        work="" if work is None else str(work.resolve()),
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


@cache
def _modules() -> list[tuple[str, object]]:
    modules: list[tuple[str, object]] = [("labsupport", None), ("labsupport.sandbox", None), (_PACKAGE, None)]
    for module in _MODULES:
        name = f"{_PACKAGE}.{module}"
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None or not hasattr(spec.loader, "get_code"):
            raise LabUnavailable(
                f"the module {name} of labsupport is not there",
                next_step="install labsupport again: make install",
            )
        modules.append((name, spec.loader.get_code(name)))
    return modules


def launch(settings: Settings, listener: socket.socket) -> tuple[socket.socket, int, subprocess.Popen[bytes]]:
    """Start an agent and wait until it is PID 1 of its lab.

    Args:
        settings: see Settings.
        listener: a listening socket on which the agent takes further clients.

    Returns:
        The stream to the agent, already greeted; the agent's process id, a child of this process; and the process that
        built the lab and goes on as its observer. Both end when the stream is closed.

    Raises:
        LabUnavailable: the machine does not allow it; the message names the step.
    """
    code = marshal.dumps((_modules(), asdict(settings)))
    stream, theirs = socket.socketpair()
    watch = os.pidfd_open(os.getpid())
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, PROGRAM_MARK,
             str(theirs.fileno()), str(watch), str(listener.fileno()), str(len(code))],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno(), watch, listener.fileno()],
            cwd="/", env={}, start_new_session=True,
        )
    finally:
        theirs.close()
        os.close(watch)
    try:
        return stream, _handshake(stream, code, process), process
    except BaseException:
        stream.close()
        process.kill()
        process.wait()
        raise
    finally:
        if process.stderr is not None:
            process.stderr.close()


def _handshake(stream: socket.socket, code: bytes, process: subprocess.Popen[bytes]) -> int:
    stream.settimeout(START_DEADLINE_S)
    decoder = wire.Decoder()
    pid = 0
    try:
        stream.sendall(code)
        while True:
            data = stream.recv(65536)
            if not data:
                raise _broken("the agent ended before the lab was there", process)
            for frame in decoder.feed(data):
                if frame[0] == b"failed":
                    raise _refused(frame)
                if frame[0] == b"cloned":
                    pid = int(frame[2])
                    stream.sendall(wire.encode(b"hello", b"", wire.VERSION, b""))
                if frame[0] == b"hello":
                    return pid
    except TimeoutError:
        raise _broken(f"the lab did not start within {START_DEADLINE_S:g} s", process) from None
    except (ConnectionError, wire.MalformedFrameError) as problem:
        raise _broken(f"the agent ended before the lab was there ({problem})", process) from None
    finally:
        if pid and sys.exc_info()[0] is not None:
            stream.close()
            os.waitpid(pid, 0)


def _refused(frame: list[bytes]) -> LabUnavailable:
    step, text = frame[2].decode(), frame[3].decode(errors="replace")
    return LabUnavailable(
        f"this machine does not let a lab start: {step} failed",
        where="the start of a lab",
        expected="the kernel allows user namespaces and mounts inside them",
        observed=text,
        next_step="run `labsupport doctor`: it says which setting is missing and who can change it",
    )


def _broken(what: str, process: subprocess.Popen[bytes]) -> LabUnavailable | ProtocolError:
    process.kill()
    tail = process.stderr.read().decode(errors="replace")[-2000:] if process.stderr else ""
    return LabUnavailable(what, log_tail=tail, next_step="run `labsupport doctor` and read the last output above")
