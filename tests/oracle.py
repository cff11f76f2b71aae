"""Looks at the machine from outside, with the kernel's own views and the distribution's tools.

Imports nothing of labsupport: what a test believes must not come from the code that it tests. Everything here copes
with processes that end while they are looked at and, when run by an ordinary user, with those that it may not read.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

AGENT_MARK, OBSERVER_MARK = "labsupport-agent", "labsupport-observer"
SUPERVISOR_MARK = "labsupport.cluster.supervisor"
NAMESPACE_KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
SESSION_CLUSTER = "LABSUPPORT_CLUSTER"
"""The variable with the name of the cluster that the notebooks of this test session share."""
_TOOLS = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Process:
    """A process as /proc shows it.

    Attributes:
        pid, parent: as seen from here.
        state: the letter of proc_pid_stat(5); "Z" is one that ended and was not collected yet.
        inner_pids: its process ids in nested PID namespaces, outermost first, without the one seen from here.
        command_line: empty for kernel threads and zombies.
    """

    pid: int
    parent: int
    state: str
    inner_pids: tuple[int, ...]
    command_line: str

    @property
    def is_agent(self) -> bool:
        """Whether it calls itself an agent."""
        return AGENT_MARK in self.command_line.split("\0")

    @property
    def is_observer(self) -> bool:
        """Whether it is the part of a lab that stays outside of it."""
        return OBSERVER_MARK in self.command_line.split("\0")

    @property
    def is_supervisor(self) -> bool:
        """Whether it is the process of a cluster."""
        return SUPERVISOR_MARK in self.command_line.split("\0")

    @property
    def is_of_the_session(self) -> bool:
        """Whether it is the process of a cluster that notebooks of this test session share, or of a notebook's own."""
        name = os.environ.get(SESSION_CLUSTER)
        return self.is_supervisor and name is not None and any(
            word == name or word.startswith(f"{name}-") for word in self.command_line.split("\0"))

    @property
    def of_a_lab(self) -> bool:
        """Whether it belongs to some lab and can still do or hold something."""
        return self.state not in {"Z", "X"} and (
            self.is_agent or self.is_observer or self.is_supervisor or bool(self.inner_pids))


def read_process(pid: int) -> Process | None:
    """Return one process, or None if it has gone."""
    folder = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
        command_line = (folder / "cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    inner = tuple(int(number) for number in status.get("NSpid", str(pid)).split()[_OUR_PID_DEPTH:])
    return Process(pid, int(status["PPid"]), status["State"][0], inner, command_line)


def _our_pid_depth() -> int:
    """How many PID namespaces we are in ourselves: a container's tests run in a nested one already."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return len(line.split()) - 1
    return 1


_OUR_PID_DEPTH = _our_pid_depth()


def process_ids() -> list[int]:
    """Return every process id that /proc shows."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def parent_of(pid: int) -> int:
    """Return the parent's process id, or 0 if the process has gone. Most of them are looked at for nothing else."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split(None, 2)[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def processes() -> dict[int, Process]:
    """Return every process by its id."""
    found = (read_process(pid) for pid in process_ids())
    return {process.pid: process for process in found if process is not None}


def descendants(ancestor: int, *, without: Collection[int] = ()) -> list[Process]:
    """Return the processes below `ancestor`: its children, theirs, and so on; not `without` and what is below them.

    The clusters of the whole session are left out too. Whichever worker ran the notebook that started one becomes its
    parent, and its other tests have nothing to do with it.
    """
    children: dict[int, list[int]] = {}
    for pid in process_ids():
        children.setdefault(parent_of(pid), []).append(pid)
    found: list[Process] = []
    waiting = [ancestor]
    while waiting:
        below = [read_process(pid) for pid in children.get(waiting.pop(), []) if pid not in without]
        kept = [process for process in below if process is not None and not process.is_of_the_session]
        found += kept
        waiting += [process.pid for process in kept]
    return found


def lab_processes_below(ancestor: int, *, without: Collection[int] = ()) -> list[Process]:
    """Return the processes of labs that `ancestor` or something below it has started; not `without` and theirs."""
    return [process for process in descendants(ancestor, without=without) if process.of_a_lab]


def cgroup(pid: int) -> Path:
    """Return the folder of the cgroup (version 2) that a process is in."""
    (mount,) = subprocess.run(["findmnt", "--types", "cgroup2", "--noheadings", "--first-only", "--output", "TARGET"],
                              capture_output=True, text=True, check=True, env=_TOOLS, timeout=20).stdout.split()
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    (path,) = [line.removeprefix("0::") for line in lines if line.startswith("0::")]
    return Path(mount) / path.strip("/")


def namespaces_of(pid: int) -> dict[str, str]:
    """Return the namespaces of a process by kind ("net": "net:[4026531840]"); those that may be read."""
    found = {}
    for kind in NAMESPACE_KINDS:
        try:
            found[kind] = str(Path(f"/proc/{pid}/ns/{kind}").readlink())
        except OSError:  # another user's, or gone
            continue
    return found


def holders(ids: Iterable[str], *, below: int | None = None) -> dict[str, list[int]]:
    """Return which processes are in which of these namespaces; an empty result means that none is.

    The kernel gives the number of a namespace that has ended to the next one at once. So whoever asks about the past
    on a machine where others make namespaces must ask about the processes `below` one of its own.
    """
    wanted = set(ids)
    found: dict[str, list[int]] = {}
    for pid in process_ids() if below is None else [process.pid for process in descendants(below)]:
        for identity in wanted & set(namespaces_of(pid).values()):
            found.setdefault(identity, []).append(pid)
    return found


def processes_in_pid_namespace(identity: str) -> list[int]:
    """Return the processes (their ids out here) in a PID namespace, given as "pid:[...]"."""
    return sorted(holders([identity]).get(identity, []))


def held_namespaces() -> set[str]:
    """Return the id of every namespace that some readable process is in."""
    return {identity for pid in process_ids() for identity in namespaces_of(pid).values()}


def lab_sockets(client_pid: int | None = None) -> list[str]:
    """Return the abstract sockets of labs, of one client or of all; see unix(7)."""
    start = "@labsupport-" + ("" if client_pid is None else f"{client_pid}-")
    words = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()]
    return sorted({word for word in words if word.startswith(start)})


_OF_OTHER_TESTS = re.compile(r"/tmp/labsupport-(\d+|api-\w+|\w{8})")
"""Folders of clusters and of those who use them, which tests that run at the same time make and remove."""


def lab_files() -> set[str]:
    """Return what lies about in the host's folders for passing things and is called after labsupport."""
    return {
        str(entry)
        for folder in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/netns", "/run/lock", f"/run/user/{os.getuid()}")
        if os.access(folder, os.R_OK | os.X_OK)
        for entry in Path(folder).iterdir()
        if "labsupport" in entry.name
    }


def _json(*command: str) -> list[dict[str, object]]:
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_TOOLS, timeout=20)
    parsed = json.loads(done.stdout or "[]")
    return parsed if isinstance(parsed, list) else [parsed]


def _enter(pid: int, namespace: str) -> list[str]:
    """Go to the network of a lab's process: into its user and network namespace, with the host's files and programs."""
    network = f"/proc/{pid}/root/run/netns/{namespace}" if namespace else f"/proc/{pid}/ns/net"
    return ["nsenter", "--preserve-credentials", f"--user=/proc/{pid}/ns/user", f"--net={network}"]


def ip_json(pid: int, *arguments: str, namespace: str = "") -> list[dict[str, object]]:
    """Return what `ip -json ARGUMENTS` of the host prints on the network of a process, or in a named one of its lab."""
    return _json(*_enter(pid, namespace), "ip", "-json", *arguments)


def nft_json(pid: int, *arguments: str, namespace: str = "") -> list[dict[str, object]]:
    """Return what `nft -j ARGUMENTS` of the host prints there (default: list ruleset)."""
    return _json(*_enter(pid, namespace), "nft", "-j", *(arguments or ("list", "ruleset")))


def host_links() -> set[str]:
    """Return the network links of this network namespace, with their addresses and whether they are up."""
    return {
        f"{link['ifindex']} {link['ifname']} {link.get('address')} {'UP' in link['flags']}"  # type: ignore[operator]
        for link in _json("ip", "-json", "link")
    }


def host_mounts() -> set[str]:
    """Return the mounts of this mount namespace."""
    done = subprocess.run(["findmnt", "--raw", "--noheadings", "--output", "TARGET,SOURCE,FSTYPE,OPTIONS"],
                          capture_output=True, text=True, check=True, env=_TOOLS, timeout=20)
    return set(done.stdout.splitlines())


def host_rules() -> set[str]:
    """Return the host's nftables rules; root only, an ordinary user may not list them."""
    if os.geteuid() != 0:
        return set()
    (listing,) = _json("nft", "-j", "list", "ruleset")
    return {json.dumps(entry, sort_keys=True) for entry in listing["nftables"]}  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Snapshot:
    """What a lab must not change on the host."""

    links: set[str] = field(default_factory=host_links)
    mounts: set[str] = field(default_factory=host_mounts)
    rules: set[str] = field(default_factory=host_rules)
    files: set[str] = field(default_factory=lab_files)

    def changes(self, before: Snapshot, *, alone: bool = False) -> list[str]:
        """Return what differs from an earlier snapshot, a line each.

        Args:
            before: the earlier one.
            alone: whether no other tests run at the same time.
        """
        lines = []
        for name in ("links", "mounts", "rules", "files"):
            now, then = getattr(self, name), getattr(before, name)
            if name == "files" and not alone:
                now, then = ({file for file in files if not _OF_OTHER_TESTS.fullmatch(file)} for files in (now, then))
            lines += [f"{name}: new: {entry}" for entry in sorted(now - then)]
            lines += [f"{name}: gone: {entry}" for entry in sorted(then - now)]
        return lines


def peak_memory_bytes(pid: int) -> int:
    """Return the most memory that a process has had resident so far (VmHWM of proc_pid_status(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no VmHWM: it is a kernel thread or a zombie")
