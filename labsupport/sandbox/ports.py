"""Listens on a port of the host, and says who else does if it is taken."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from labsupport.errors import LabError

_BACKLOG = 512
_LISTENS = "0A"  # TCP_LISTEN in /proc/net/tcp, see proc_net_tcp(5)


def family_of(address: str) -> socket.AddressFamily:
    """Return whether this is an IPv4 or an IPv6 address; a name is neither, as a lab and its host may differ on it.

    Raises:
        LabError: it is none.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address)
        except (OSError, ValueError, UnicodeError):
            continue
        return family
    raise LabError("a forward needs an IP address", expected="an address such as 127.0.0.1 or ::1",
                   observed=repr(address), next_step="write the address in digits, not a name")


def check_port(port: int, least: int) -> None:
    """Refuse what is no TCP port.

    Raises:
        LabError: it is none.
    """
    if not least <= port <= 65535:
        raise LabError("a forward needs a TCP port", expected=f"a number from {least} to 65535", observed=repr(port),
                       next_step="choose another port")


def listen(address: str, port: int) -> socket.socket:
    """Return a socket that listens on the host; port 0 is any that is free.

    Raises:
        LabError: it cannot; the message says why, and who has the port.
    """
    family = family_of(address)
    check_port(port, 0)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _refused(address, port, error) from None
    except BaseException:
        listener.close()
        raise
    return listener


def _refused(address: str, port: int, error: OSError) -> LabError:
    where = f"{address} port {port} of this machine"
    if error.errno == errno.EADDRINUSE:
        return LabError("a forward cannot listen: its port is taken", where=where, expected="a free port",
                        observed=holder(port), next_step="end that program, or choose another port; 0 is any free one")
    if error.errno == errno.EACCES:
        return LabError("a forward cannot listen: this port is for root only", where=where,
                        expected="a port from 1024 on", observed=str(error.strerror), next_step="choose another port")
    return LabError("a forward cannot listen", where=where, expected="an address of this machine",
                    observed=str(error.strerror), next_step="listen on 127.0.0.1")


def holder(port: int) -> str:
    """Say which process listens on a TCP port of the host, as far as this user may see it. Reads /proc only."""
    wanted = {f"socket:[{inode}]" for inode in _listening(port)}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and (command := _command_of(process, wanted)):
            return f"process {process.name} listens there: {command[:200]}"
    return "another program listens there, of a user whose programs you may not see" if wanted else "it is in use"


def _listening(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue  # a machine without IPv6
        for fields in map(str.split, rows):
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _command_of(process: Path, wanted: set[str]) -> str:
    """Return a process's command line if it holds one of these sockets."""
    try:
        if any(str(fd.readlink()) in wanted for fd in (process / "fd").iterdir()):
            return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""  # it has ended, or is another user's
    return ""
