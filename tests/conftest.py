"""What all tests share: labs to use, and the proof that nothing of them is left.

Other programs on this machine may run labs of their own meanwhile. So a check looks only below this process: every
process of pytest is made a child subreaper (prctl(2)), which keeps the orphans of its labs below it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import oracle
import pytest
import shared_cluster
from xdist.scheduler import LoadFileScheduling

from labsupport import Lab
from labsupport.errors import WaitTimeout
from labsupport.waiting import wait_until

PR_SET_CHILD_SUBREAPER = 36
GONE_WITHIN_S = 1.0
STUCK_WITHIN_S = 10.0
ROWS = 2
SEVERAL_WORKERS_NEED = 400
"""inotify instances of one user: up to twelve clusters at once, of 31 each."""
ONCE = ("browser/", "unit/", "views/", "grading/test_answers", "grading/test_cluster_grading", "grading/test_course",
        "grading/test_graft", "grading/test_reference", "lesson/test_cluster_", "net/test_frames", "net/test_netlink",
        "net/test_pcapng", "net/test_story", "doctor/test_parsing", "doctor/test_report", "cluster/test_backend_",
        "cluster/test_cluster_backends", "cluster/test_cluster_kubectl", "cluster/test_cluster_many_pods",
        "cluster/test_cluster_metallb", "cluster/test_cluster_network", "cluster/test_cluster_service_picture",
        "cluster/test_cluster_walk", "cluster/test_images_layers")
"""Files with tests that find the same whoever runs them: calculations; answers to exercises (the notebooks run both
ways, by nbval); and what happens inside of a cluster, where everybody is root."""
_before = pytest.StashKey[oracle.Snapshot]()
_left = pytest.StashKey[list[str]]()


class _Scheduling(LoadFileScheduling):
    """What needs a cluster runs one after the other where a user's inotify instances do not last for several.

    Otherwise notebooks with a cluster run in two rows, beside the rows of the other tests with clusters: more clusters
    at once would make each other late.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        notebooks = shared_cluster.notebooks()
        row = next((number % ROWS for number, name in enumerate(notebooks) if name in nodeid), None)
        several = shared_cluster.inotify_instances() >= SEVERAL_WORKERS_NEED
        if row is not None and several:
            return f"notebooks with clusters, row {row}"
        if row is None and "test_cluster_" not in file and "test_images_containerd" not in file:
            return file
        return "clusters" if file.startswith("tests/cluster/") or not several else "clusters of graders and notebooks"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    return _Scheduling(config, log)


def pytest_configure() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a job in the background of a script; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    shared_cluster.choose_name()


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).as_posix().startswith(ONCE):
            item.add_marker(pytest.mark.once)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # what is there now stays: collections, which some tests ask for, need not look at it again


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.stash[_before] = oracle.Snapshot()


def pytest_sessionfinish(session: pytest.Session) -> None:
    before = session.config.stash.get(_before, None)
    if before is None:
        return
    shared_cluster.stop()
    left = [f"process {process.pid}: {process.command_line}" for process in _left_below(os.getpid())]
    left += oracle.Snapshot().changes(before, alone=True)
    session.config.stash[_left] = left
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(_left, []):
        terminalreporter.line(f"ERROR the host is not as it was before the tests: {line}", red=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root_only") and os.geteuid() != 0:
        pytest.skip("observes the whole machine, so it needs root")
    if item.path.suffix == ".ipynb" and "open_cluster(" in item.path.read_text(encoding="utf-8"):
        shared_cluster.need_programs()


def _left_below(ancestor: int, *, without: Collection[int] = ()) -> list[oracle.Process]:
    """Return the processes of labs that are still there after the time in which they must be gone.

    One in state D waits in the kernel, where not even SIGKILL reaches it, and one in state R for a processor, which
    clusters of other tests keep busy: they get more time.
    """
    def left() -> list[oracle.Process]:
        return oracle.lab_processes_below(ancestor, without=without)

    try:
        wait_until(lambda: all(process.state not in ("D", "R") for process in left()), deadline_s=STUCK_WITHIN_S,
                   what="the kernel to let go of the labs")
        wait_until(lambda: not left(), what="the labs to be gone", deadline_s=GONE_WITHIN_S, interval_s=0.02)
    except WaitTimeout:
        return left()
    return []


@pytest.fixture(scope="session")
def lasting_clusters() -> set[int]:
    """Process ids of clusters that several tests share. Whoever starts one puts it in, and takes it out at its end."""
    return set()


@pytest.fixture(autouse=True)
def no_lab_left(lasting_clusters: set[int]) -> Iterator[None]:
    """After each test: no process of a lab below this one, and no socket of a lab that this process made."""
    yield
    if oracle.lab_processes_below(os.getpid(), without=lasting_clusters):  # seldom: one look is enough for most tests
        left = _left_below(os.getpid(), without=lasting_clusters)
        assert not left, f"a lab outlived its test: {left}"
    assert oracle.lab_sockets(os.getpid()) == []


@pytest.fixture
def namespace_ids() -> Iterator[Callable[[Lab], dict[str, str]]]:
    """Tells a lab's namespaces by kind; after the test none of those told may be held by any process."""
    told: set[str] = set()

    def tell(lab: Lab) -> dict[str, str]:
        paths = [f"/proc/self/ns/{kind}" for kind in oracle.NAMESPACE_KINDS]
        ids = lab.run(["readlink", *paths], echo=False).check().stdout.split()
        told.update(ids)
        return dict(zip(oracle.NAMESPACE_KINDS, ids, strict=True))

    yield tell
    wait_until(lambda: not oracle.holders(told, below=os.getpid()), what=f"nobody to be in {told}",
               deadline_s=GONE_WITHIN_S)


@pytest.fixture
def lab(namespace_ids: Callable[[Lab], dict[str, str]]) -> Iterator[Lab]:
    """A fresh lab, closed after the test."""
    with Lab() as fresh:
        namespace_ids(fresh)
        yield fresh


@pytest.fixture
def inside_pid(lab: Lab) -> Iterator[int]:
    """The host's process id of a process in `lab`, for the oracle's `ip_json` and `nft_json`."""
    sleeper = lab.start(["sleep", "infinity"])
    yield next(process.pid for process in oracle.lab_processes_below(os.getpid())
               if process.inner_pids == (sleeper.pid,) and process.command_line.startswith("sleep\0"))
    sleeper.stop()
