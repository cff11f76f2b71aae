"""`Lab`: one private Linux, and everything that can be asked of it."""

from __future__ import annotations

import os
import secrets
import time
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from labsupport.errors import LabClosed, LabDied, LabError
from labsupport.sandbox.connection import Connection
from labsupport.sandbox.interrupts import INTERRUPTS
from labsupport.sandbox.launch import Agent, launch, make_settings
from labsupport.sandbox.portable import Modules, pack
from labsupport.sandbox.process import Completed, Process
from labsupport.sandbox.run import Echo, print_output, run_to_end
from labsupport.sandbox.running import RunningLab, announce, connect, new_listener

if TYPE_CHECKING:
    from labsupport.sandbox.forward import Forward, Handler, Service, Tunnel

DEFAULT_TIMEOUT_S = 60.0
DEFAULT_OUTPUT_BYTES = 4 << 20
DEFAULT_PROCESSES = 1024


class Lab:
    """A private Linux: network, processes, mounts and host name of its own, and root in it, on this machine's kernel.

    It makes visible what a container is made of: the same kernel features (namespaces(7)) that a container runtime
    uses. Nothing in it reaches the host, and when the process that made it ends, in whatever way, it is gone.

    Args:
        name: how it is called in lists and messages.
        visible: more host folders that stay readable although they lie in a hidden one (home folders are).
        hidden: more host folders to hide; what is `visible` inside them stays.
        process_limit: how many processes and threads may run in it at once.
        socket_path: where further clients find it, for those in another network namespace; the default, an abstract
            Unix socket, leaves nothing on disk.

    Raises:
        LabUnavailable: this machine does not allow it; `labsupport doctor` says why.

    Effects and privileges: starts two processes as children of this one, the lab's PID 1 and its observer. Needs no
    privileges. Started by root, the lab's root is an unprivileged user of the host as well.

    Source: user_namespaces(7), pid_namespaces(7), mount_namespaces(7).
    """

    def __init__(self, name: str = "lab", *, visible: Sequence[str | Path] = (), hidden: Sequence[str | Path] = (),
                 process_limit: int = DEFAULT_PROCESSES, socket_path: Path | None = None) -> None:
        self.name = name
        token = secrets.token_hex(16)
        settings = make_settings(visible=tuple(map(Path, visible)), hidden=tuple(map(Path, hidden)),
                                 process_limit=process_limit, token=token.encode())
        notebook = os.environ.get("JPY_SESSION_NAME", "")
        with INTERRUPTS, ExitStack() as undo:
            listener, address = new_listener(socket_path)
            if socket_path is not None:
                undo.callback(socket_path.unlink, missing_ok=True)
            with listener:
                announcement = RunningLab(name, address, token, os.getpid(), notebook, time.time())
                memory = announce(announcement)
                undo.callback(os.close, memory)
                agent = launch(settings, listener)
                undo.callback(agent.give_up)
            self._set_up(Connection(agent.stream, name), (address, token), announcement, memory, agent)
            undo.pop_all()

    def _set_up(self, connection: Connection, key: tuple[str, str], announcement: RunningLab | None = None,
                memory: int = -1, agent: Agent | None = None) -> None:
        self.announcement = announcement
        self._connection = connection
        self._key = key
        self._tunnels: weakref.WeakSet[Tunnel] = weakref.WeakSet()
        self._finalizer = weakref.finalize(self, _end, connection, self._tunnels, memory, agent, os.getpid())

    @classmethod
    def join(cls, address: str, token: str, name: str = "lab") -> Lab:
        """Return a second handle on a lab that another process made; closing it leaves the lab running.

        Raises:
            LabClosed: nobody answers at `address`.
            ProtocolError: the token is wrong, or the other side is of another version.
        """
        connection = _reach(address, token, name)
        lab = cls.__new__(cls)
        lab.name = name
        lab._set_up(connection, (address, token))
        return lab

    @property
    def closed(self) -> bool:
        """Whether it was closed or has ended."""
        return not self._finalizer.alive or self._connection.ended

    def run(self, command: str | Sequence[str], *, namespace: str = "", stdin: str | bytes | None = None,
            timeout_s: float = DEFAULT_TIMEOUT_S, max_output_bytes: int = DEFAULT_OUTPUT_BYTES,
            echo: bool | Echo = True, merge: bool = False) -> Completed:
        """Run a command to its end, showing its output as it comes.

        Args:
            command: a line for bash, or a program and its arguments.
            namespace: the named network namespace to run it in; "" is the lab's first one.
            stdin: what it reads; nothing by default.
            timeout_s: after so many seconds its process group is ended.
            max_output_bytes: when it has printed more, its process group is ended.
            echo: False to keep quiet, or a function that takes "stdout" or "stderr" and text.
            merge: let both outputs go into stdout, in the order in which they were printed.

        Raises:
            CommandTimeout, OutputLimitExceeded: see above; what was printed is in the message.
            CommandNotFound, NamespaceNotFound, ProcessLimitReached: it could not start.
            LabClosed, LabDied: there is no lab to run it in.
        """
        show: Echo | None = (print_output if echo else None) if isinstance(echo, bool) else echo
        data = stdin.encode() if isinstance(stdin, str) else stdin or b""
        return run_to_end(lambda: self.start(command, namespace=namespace, merge=merge), data=data,
                          timeout_s=timeout_s, max_output_bytes=max_output_bytes, echo=show)

    def start(self, command: str | Sequence[str], *, namespace: str = "", merge: bool = False,
              terminal: tuple[int, int] | None = None) -> Process:
        """Start a command and return at once.

        Args:
            command: a line for bash, or a program and its arguments.
            namespace: the named network namespace to run it in.
            merge: let both outputs go into stdout.
            terminal: give it a terminal of so many rows and columns instead of pipes.

        Raises:
            CommandNotFound, NamespaceNotFound, ProcessLimitReached: it could not start.
            LabClosed, LabDied: there is no lab to run it in.
        """
        mode = "terminal" if terminal else "merged" if merge else "pipes"
        return Process(self._connection, command, mode=mode, namespace=namespace, size=terminal or (0, 0))

    def observe(self, argv: Sequence[str], *, namespace: str = "", timeout_s: float = 10.0) -> Completed:
        """Run one of the host's own programs on the lab's network, out of the lab's reach.

        A check must not be fooled: whatever the lab's root has mounted over `ip`, put on the PATH or into /etc, this
        program, its libraries and its environment are the host's. No process of the lab can see, trace or stop it.
        It reads nothing, sees the file system read-only, and of the lab nothing but the network.

        Raises:
            CommandTimeout, OutputLimitExceeded: it was ended, as in `run`.
            NamespaceNotFound: there is no such namespace.
            LabClosed, LabDied: there is no lab to look at.
        """
        return run_to_end(lambda: Process(self._connection, argv, mode="observed", namespace=namespace),
                          data=b"", timeout_s=timeout_s,
                          max_output_bytes=DEFAULT_OUTPUT_BYTES, echo=None)

    def fork(self, modules: Modules, *arguments: bytes) -> Process:
        """Start code of this package inside the lab, in a copy of its PID 1; it is there in about a millisecond.

        Args:
            modules: full names of modules, each after those that it imports; see labsupport.sandbox.portable.
            arguments: what the last module's `main` is called with.

        Raises:
            ProcessLimitReached: it could not start.
            LabClosed, LabDied: there is no lab to run it in.
        """
        return Process(self._connection, [modules[-1]], mode="forked", code=pack(modules, arguments))

    def run_forked(self, modules: Modules, *arguments: bytes, stdin: bytes = b"",
                   timeout_s: float = DEFAULT_TIMEOUT_S, max_output_bytes: int = DEFAULT_OUTPUT_BYTES) -> Completed:
        """Run such code to its end; see `fork` and `run`."""
        return run_to_end(lambda: self.fork(modules, *arguments), data=stdin,
                          timeout_s=timeout_s, max_output_bytes=max_output_bytes, echo=None)

    def forward(self, address: str, port: int, *, namespace: str = "",
                listen: tuple[str, int] = ("127.0.0.1", 0)) -> Forward:
        """Let connections to a port of this machine arrive at a TCP port of the lab.

        Programs of the host can then use what runs in the lab: a browser, or kubectl. It goes on until it is closed,
        or the lab is.

        Args:
            address: the IP address in the lab to connect to.
            port: its TCP port; nobody needs to listen there yet.
            namespace: the named network namespace in which that is; "" is the lab's first one.
            listen: the IP address and the port of this machine; port 0 is any that is free, `Forward.address` says
                which. An address that is not a loopback one lets other machines into the lab.

        Raises:
            LabError: the port of this machine is taken; the message says by whom.
            NamespaceNotFound, ProcessLimitReached: it could not start in the lab.
            LabClosed, LabDied: there is no lab to connect to.

        Effects and privileges: starts a thread here and a process in the lab. Needs no privileges.
        """
        from labsupport.sandbox.forward import Forward  # noqa: PLC0415  (most labs need none)

        forward = Forward(self._second_connection, address, port, namespace=namespace, listen=listen)
        self._tunnels.add(forward)
        return forward

    def serve(self, handler: Handler, address: str, port: int, *, namespace: str = "") -> Service:
        """Listen on a TCP port of the lab, and call a function of this process for each connection.

        Programs of the lab can then use what runs on the host, and only that.

        Args:
            handler: called in a thread of its own with a socket, which is closed when it returns; it should return
                when the socket has come to its end.
            address: the IP address in the lab to listen on.
            port: its TCP port; 0 is any that is free, `Service.address` says which.
            namespace: the named network namespace in which that is; "" is the lab's first one.

        Raises:
            LabError: it cannot listen there.
            NamespaceNotFound, ProcessLimitReached: it could not start in the lab.
            LabClosed, LabDied: there is no lab to listen in.

        Effects and privileges: starts a thread here, one more per connection, and a process in the lab. Needs no
        privileges.
        """
        from labsupport.sandbox.forward import Service  # noqa: PLC0415  (most labs need none)

        service = Service(self._second_connection, handler, address, port, namespace=namespace)
        self._tunnels.add(service)
        return service

    def _second_connection(self) -> Connection:
        """Return a connection for one who should not wait for the others, nor make them wait."""
        self.ping()
        try:
            return _reach(*self._key, self.name)
        except LabDied:
            self.ping()
            raise LabError(f"the lab {self.name} has as many clients as it may have", where=self.name,
                           next_step="close some of its shells and forwards") from None

    def namespaces(self) -> list[str]:
        """Return the names that `ip netns list` shows in the lab, sorted."""
        return [os.fsdecode(name) for name in self._connection.call(b"list")]

    def ping(self) -> None:
        """Ask the agent for a sign of life.

        Raises:
            LabClosed, LabDied: there is none.
        """
        self._connection.call(b"ping")

    def end_processes(self) -> None:
        """End every process in the lab with SIGKILL, and wait for their end; its network stays as it is."""
        self._connection.call(b"endall")

    def close(self) -> None:
        """End the lab and everything in it; a joined lab is only left. Closing twice is no error."""
        with INTERRUPTS:
            self._finalizer()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Lab {self.name!r}, {'closed' if self.closed else 'running'}>"


def _reach(address: str, token: str, name: str) -> Connection:
    """Return one more connection to an agent; raises as `Lab.join`."""
    try:
        connection = Connection(connect(address), name)
    except OSError as error:
        raise LabClosed(f"the lab {name} cannot be reached", where=address, observed=str(error),
                        next_step="it may have ended; `labsupport shell` lists the labs that run") from None
    try:
        connection.greet(token.encode())
    except BaseException:
        connection.close()
        raise
    return connection


def _end(connection: Connection, tunnels: weakref.WeakSet[Tunnel], memory: int, agent: Agent | None,
         owner: int) -> None:
    """Close the stream; the agent sees it and exits, and the kernel ends what it had started."""
    if os.getpid() == owner:
        for tunnel in list(tunnels):
            tunnel.close()
    with INTERRUPTS:
        connection.close()
        if memory >= 0:
            os.close(memory)
        if agent is not None and os.getpid() == owner:
            agent.collect()
