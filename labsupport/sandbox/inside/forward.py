"""The end of a port forward that is in the lab: connects to a port of the lab, or listens on one.

Standard input and output carry the frames of mux; before these it says one of

    ready PORT       it works; PORT is where it connects to, or listens
    failed CODE TEXT it cannot; see labsupport.sandbox.agent.jobs.Refused
"""

import _socket
import errno
import fcntl
import os
import resource
import select

from labsupport.sandbox.agent import jobs, syscalls, wire
from labsupport.sandbox.inside.mux import CHUNK_BYTES, Mux

_BACKLOG = 512
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1 << 18


class Place:
    """An address and a port in a network namespace.

    It goes into a named namespace for the moment in which it makes a socket. So it does not keep alive one whose name
    was taken away, and finds a new one of the same name.
    """

    def __init__(self, namespace: str, address: str, port: int) -> None:
        self.namespace = namespace
        self.address = address, port
        self.home = syscalls.current_network() if namespace else -1

    def socket(self) -> _socket.socket:
        """Return a fresh socket that was made there."""
        family = _socket.AF_INET6 if ":" in self.address[0] else _socket.AF_INET
        kind = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        if not self.namespace:
            return _socket.socket(family, kind)
        space = jobs.open_namespace(self.namespace)
        try:
            syscalls.setns(space, syscalls.CLONE_NEWNET)
            try:
                return _socket.socket(family, kind)
            finally:
                syscalls.setns(self.home, syscalls.CLONE_NEWNET)
        finally:
            os.close(space)

    def dial(self) -> _socket.socket:
        """Return a socket that connects to it."""
        try:
            socket = self.socket()
        except jobs.Refused as refused:
            raise OSError(errno.ENOENT, str(refused)) from None
        error = socket.connect_ex(self.address)
        if error not in {0, errno.EINPROGRESS}:
            socket.close()
            raise OSError(error, os.strerror(error))
        return socket

    def listener(self) -> _socket.socket:
        """Return a socket that listens on it."""
        socket = self.socket()
        try:
            socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            socket.bind(self.address)
            socket.listen(_BACKLOG)
        except OSError:
            socket.close()
            raise
        return socket


def main(side: bytes, namespace: bytes, address: bytes, port: bytes) -> None:
    """Carry connections until the input ends.

    Args:
        side: b"connect" or b"listen".
        namespace: the name of a network namespace, or b"".
        address: an IP address.
        port: in digits.
    """
    _set_limits()
    place = Place(os.fsdecode(namespace), address.decode(), int(port))
    try:
        if side == b"listen":
            listener = place.listener()
            mux = Mux(listener=listener)
            bound = listener.getsockname()[1]
        else:
            place.socket().close()  # is there such a namespace?
            mux = Mux(dial=place.dial)
            bound = place.address[1]
    except jobs.Refused as refused:
        os.write(1, wire.encode(b"failed", refused.code, str(refused).encode()))
        return
    except OSError as error:
        os.write(1, wire.encode(b"failed", b"%d" % (error.errno or 0), (error.strerror or str(error)).encode()))
        return
    mux.out += wire.encode(b"ready", b"%d" % bound)
    _carry(mux)


def _set_limits() -> None:
    """Allow as many connections as this process may have descriptors, and write to pipes that hold several chunks."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for fd in (0, 1):
        os.set_blocking(fd, False)
        try:
            fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            pass  # this user's pipes have all the memory that they may have (pipe(7)): slower, but it works


def _carry(mux: Mux) -> None:
    mux.poll.register(0, select.EPOLLIN)
    waits = _write(mux, waits=False)
    while True:
        for fd, _ in mux.poll.poll():
            if fd == 0:
                data = os.read(0, 4 * CHUNK_BYTES)
                if not data:
                    return
                mux.feed(data)
            else:
                mux.handle(fd)
        waits = _write(mux, waits=waits)
        mux.settle()


def _write(mux: Mux, *, waits: bool) -> bool:
    """Write what the other end takes now; return whether `poll` has to tell when there is room for the rest."""
    try:
        while mux.out:
            with memoryview(mux.out) as view:
                count = os.write(1, view)
            del mux.out[:count]
    except BlockingIOError:
        pass
    if mux.out and not waits:
        mux.poll.register(1, select.EPOLLOUT)
    elif waits and not mux.out:
        mux.poll.unregister(1)
    return bool(mux.out)
