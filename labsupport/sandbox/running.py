"""Finds the labs that run on this machine, so that a second program can join one.

A lab leaves no file on the host, not even for a moment. What a second client needs (the name of the abstract Unix
socket and a token) stands in a memfd of the process that made the lab (memfd_create(2)). The kernel shows it under
/proc/PID/fd only to those who might as well trace that process: the same user, and root. It goes with its process.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

_MEMFD = "labsupport-lab"
_SHOWN_AS = f"/memfd:{_MEMFD} (deleted)"
_LONGEST_BYTES = 65536


@dataclass(frozen=True)
class RunningLab:
    """A lab that can be joined.

    Attributes:
        name: what its owner called it.
        address: its socket: "@NAME" in the abstract namespace, or a path.
        token: proves to the agent that the one who knocks could read this.
        client_pid: the process that made it, a notebook's kernel for one.
        notebook: the notebook's path as Jupyter tells it, or "".
        started_unix_s: when it was made, in seconds since 1970.
    """

    name: str
    address: str
    token: str
    client_pid: int
    notebook: str
    started_unix_s: float


def new_listener(path: Path | None) -> tuple[socket.socket, str]:
    """Return a listening socket and its address: abstract, or at `path` where network namespaces differ."""
    listener = socket.socket(socket.AF_UNIX)
    if path is None:
        name = f"labsupport-{os.getpid()}-{secrets.token_hex(4)}"
        listener.bind("\0" + name)
        address = "@" + name
    else:
        listener.bind(str(path))
        address = str(path)
    listener.listen()
    listener.setblocking(False)
    return listener, address


def announce(lab: RunningLab) -> int:
    """Make a lab findable; return the descriptor that holds the announcement. Closing it ends the announcement."""
    memory = os.memfd_create(_MEMFD, os.MFD_CLOEXEC)
    os.write(memory, json.dumps(asdict(lab)).encode())
    return memory


def find_running_labs() -> list[RunningLab]:
    """Return the labs that the calling user may join, oldest first. Reads /proc only."""
    labs: dict[str, RunningLab] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            for lab in _labs_of(process):
                labs[lab.address] = lab
    return sorted(labs.values(), key=lambda lab: lab.started_unix_s)


def _labs_of(process: Path) -> list[RunningLab]:
    try:
        entries = list((process / "fd").iterdir())
    except OSError:
        return []  # it has ended, or is another user's: none of its labs can be joined
    found = (_read(entry) for entry in entries)
    return [lab for lab in found if lab is not None and lab.client_pid == int(process.name)]


def _read(entry: Path) -> RunningLab | None:
    try:
        if str(entry.readlink()) != _SHOWN_AS:
            return None
        # Root looks at every user's: one may be a forgery, a pipe say, at which a plain open would wait for ever.
        fd = os.open(entry, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None  # closed since the folder was read
    try:
        text = os.read(fd, _LONGEST_BYTES)
    except OSError:
        return None  # a forgery
    finally:
        os.close(fd)
    try:
        lab = RunningLab(**json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None  # another version's, or no announcement at all
    return lab if tuple(map(type, astuple(lab))) == (str, str, str, int, str, float) else None


def connect(address: str) -> socket.socket:
    """Open a stream to the agent behind `address`."""
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        stream.close()
        raise
    return stream
