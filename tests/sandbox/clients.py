"""Programs that tests run: clients of a lab in a process of their own, and probes that run inside a lab."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labsupport import Lab
from labsupport.sandbox import Process

FORKED_WAITS = """
import _signal, os
def main():
    os.write(1, b"begun\\n")
    while True:
        _signal.pause()
"""
"""The module forked_waits, for `Lab.fork`: it says that it runs, and waits for a signal."""
PROBE_START = """\
import ctypes, errno, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
results = {}
def call(label, function, *arguments):
    ctypes.set_errno(0)
    converted = [a.encode() if isinstance(a, str) else ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    failed = getattr(libc, function)(*converted) == -1
    results[label] = errno.errorcode[ctypes.get_errno()] if failed else "allowed"
def attempt(label, function, *arguments, **named):
    try:
        function(*arguments, **named)
        results[label] = "allowed"
    except OSError as error:
        results[label] = errno.errorcode[error.errno]
def write(path, text):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
"""
PROBE_END = "\nprint(json.dumps(results))\n"


def probe(lab: Lab, code: str, *, prefix: tuple[str, ...] = ()) -> dict[str, str]:
    """Run Python in the lab that tries things with `call` and `attempt`; return what the kernel said to each."""
    python = [*prefix, "python3", "-I", "-"]
    done = lab.run(python, stdin=PROBE_START + code + PROBE_END, echo=False, timeout_s=30).check()
    results: dict[str, str] = json.loads(done.stdout)
    return results


def read_all(process: Process) -> bytes:
    """Read a command of `Lab.start` to its end; return what it printed."""
    output = b""
    while process.exit_status is None:
        output += b"".join(data for _, data in process.read(10))
    return output + b"".join(data for _, data in process.read(0))


class Client:
    """A Python process of its own; `read_line` and `end` never wait longer than their deadline."""

    def __init__(self, code: str, *, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"}, cwd=cwd, start_new_session=True,
        )
        self.pid = self.process.pid
        self._seen = bytearray()

    def read_line(self, deadline_s: float = 10.0) -> str:
        """Return the next line of its standard output."""
        assert self.process.stdout is not None
        end = time.monotonic() + deadline_s
        while b"\n" not in self._seen:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the client printed no line within {deadline_s} s, but {bytes(self._seen)!r}"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, f"the client ended early: {self.stderr_after_kill()}"
            self._seen += data
        line, _, rest = bytes(self._seen).partition(b"\n")
        self._seen = bytearray(rest)
        return line.decode()

    def stderr_after_kill(self) -> str:
        """Kill it and return what it printed to its standard error."""
        self.process.kill()
        assert self.process.stderr is not None
        return self.process.stderr.read().decode(errors="replace")

    def kill(self) -> None:
        """SIGKILL, and collect it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def end(self, deadline_s: float = 15.0) -> tuple[int, str, str]:
        """Wait for its end; return exit status, standard output (what was not read yet) and standard error."""
        out, err = self.process.communicate(timeout=deadline_s)
        return self.process.returncode, (bytes(self._seen) + out).decode(), err.decode()


@contextmanager
def client(code: str, *, cwd: Path | None = None) -> Iterator[Client]:
    """Start a client; whatever happens, it is gone in the end."""
    running = Client(code, cwd=cwd)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(10)
        for stream in (running.process.stdin, running.process.stdout, running.process.stderr):
            if stream is not None and not stream.closed:
                stream.close()
