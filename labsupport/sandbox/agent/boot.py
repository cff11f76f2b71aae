"""From a fresh Python on the host to PID 1 of a lab, and to its observer.

The steps and why they come in this order are in the modules they call. What fails is sent to the client as a frame
`failed` with the step's name, so that it can say more than "it did not start".
"""

import os
import resource

from labsupport.sandbox.agent import filesystem, identity, observer, serve, syscalls, wire

_NEW_FOR_PID_1 = (
    syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP
)


class _Steps:
    """Names the step under way, for the message if it fails."""

    def __init__(self) -> None:
        self.name = "starting"


def main(stream: int, client: int, listener: int, settings: dict[str, object]) -> None:
    """Build the lab and become its PID 1; the process that called this ends.

    Args:
        stream: the socket to the client.
        client: the client's pidfd.
        listener: the listening socket for further clients.
        settings: see labsupport.sandbox.launch.
    """
    steps = _Steps()
    try:
        _build(steps, stream, client, listener, settings)
    except OSError as error:
        failed = wire.encode(b"failed", b"", steps.name.encode(), str(error).encode(),
                             b"%d" % (error.errno or 0))
        os.write(stream, failed)
        os._exit(1)


def _build(steps: _Steps, stream: int, client: int, listener: int, settings: dict) -> None:  # type: ignore[type-arg]
    for fd in (stream, client, listener):
        os.set_inheritable(fd, False)
    kind, uids, gids = settings["kind"], settings["uids"], settings["gids"]
    view = filesystem.View(settings["keep"], settings["hidden"])
    proc_fd = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    command_line = syscalls.command_line_area()
    steps.name = "making the outer user namespace"
    outer = identity.OuterNamespace(kind, uids, gids)
    if kind == "shifted":
        steps.name = "taking the Python environment"
        view.take_as_root()
    steps.name = "entering the outer user namespace"
    outer.enter()
    steps.name = "building the lab's file system"
    trusted = view.build()
    steps.name = "setting the lab's limits"
    processes, most = _limit(settings["process_limit"])
    asking, observing = observer.socket_pair()
    alive_read, alive_write = os.pipe()
    steps.name = "making the inner namespaces"
    gate_read, gate_write = os.pipe()
    pid = syscalls.clone(syscalls.CLONE_PARENT | _NEW_FOR_PID_1)
    if pid:
        os.write(stream, wire.encode(b"cloned", b"", b"%d" % pid))  # first: the client has to collect it in any case
        syscalls.set_command_line(command_line, "labsupport-observer")
        first = os.pidfd_open(pid)
        identity.map_all(pid, proc_fd, uids, gids)
        os.write(gate_write, b"go")
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        asking.close()
        os.close(alive_write)
        observer.serve(observing, client, first, alive_read, trusted)
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    syscalls.set_command_line(command_line, "labsupport-agent")
    observing.close()
    os.close(gate_write)
    if os.read(gate_read, 2) != b"go":
        os._exit(1)
    _close_all_but((stream, client, listener, asking.fileno(), alive_write))
    _settle(steps, settings["environment"])
    serve.run(stream, client, listener, observer.Asker(asking), settings)


def _limit(processes: int) -> tuple[int, int]:
    """Set the limits that the inner namespaces take over; return how many processes, and how many before."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core_pattern that names a program would run it on the host
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    if most != resource.RLIM_INFINITY:
        processes = min(processes, most)
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, most))  # the inner user namespace counts all of its users
    return processes, most


def _settle(steps: _Steps, environment: dict[str, str]) -> None:
    """Make the new PID 1 at home in its namespaces."""
    syscalls.set_dumpable(0)  # the lab's root may not trace PID 1 or look into it: its memory belongs to the host
    steps.name = "mounting /proc and /sys"
    filesystem.mount_kernel_views()
    steps.name = "setting the host name"
    syscalls.set_hostname("lab")
    os.chdir("/root")
    os.umask(0o022)
    os.environ["PATH"] = environment["PATH"]  # posix_spawnp looks on the caller's own PATH for a program


def _close_all_but(kept: tuple[int, ...]) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    lowest = 3
    for fd in sorted(kept):
        os.closerange(lowest, fd)
        lowest = fd + 1
    os.closerange(lowest, 1024)
