"""One long-running program of a cluster: started, watched, and started again when it ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from labsupport.cluster.logs import Log
from labsupport.errors import ClusterError, LabClosed, LabDied, LabError
from labsupport.sandbox import Lab
from labsupport.sandbox.process import Process

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
STEADY_AFTER_S = 60.0
FAILING_AFTER_ENDS, FAILING_FOR_S = 3, 10.0
COLLECT_AFTER_PERCENT = "10"
"""Every component is a Go program: this much more memory, and it collects garbage. A learner's machine has less memory
than time to spare: with 10 instead of Go's 100, two nodes take 120 MB less, and start half a second later."""


@dataclass(frozen=True)
class ComponentStatus:
    """What is known of a component now.

    Attributes:
        name: "etcd", or "kubelet@node1".
        state: "running", "waiting" before it is started again, or "stopped".
        restarts: how often it was started again.
        last_end: how it ended the last time, or "".
    """

    name: str
    state: str
    restarts: int
    last_end: str


class Component:
    """A program that has to run as long as its cluster or its node.

    Args:
        lab: where it runs.
        name: see ComponentStatus.
        argv: the program and its arguments.
        log: takes what it prints.
        notice: called with one line when it ended by itself.
    """

    def __init__(self, lab: Lab, name: str, argv: Sequence[str], log: Log,
                 notice: Callable[[str], None] = lambda _line: None) -> None:
        self.name = name
        self._lab = lab
        self._argv = list(argv)
        self.log = log
        self._notice = notice
        self._stopping = threading.Event()
        self._process: Process | None = None
        self._restarts = 0
        self._early_ends = 0
        self._last_end = ""
        self._started_at = 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start it and keep it running; returns at once.

        Raises:
            CommandNotFound, ProcessLimitReached: it could not be started the first time.
        """
        self._launch()
        self._thread.start()

    def forget(self) -> None:
        """Don't start it again: what it runs in is gone."""
        self._stopping.set()

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.exit_status is None and not self._stopping.is_set()

    @property
    def failing(self) -> bool:
        """Whether it has ended by itself again and again, shortly after each start."""
        young = time.monotonic() - self._started_at < FAILING_FOR_S
        return self._early_ends >= FAILING_AFTER_ENDS and young

    def status(self) -> ComponentStatus:
        """Return what is known of it now."""
        state = "stopped" if self._stopping.is_set() else "running" if self.running else "waiting"
        return ComponentStatus(self.name, state, self._restarts, self._last_end)

    def _launch(self) -> None:
        self._started_at = time.monotonic()
        percent = os.environ.get("GOGC", COLLECT_AFTER_PERCENT)
        self._process = self._lab.start(["env", f"GOGC={percent}", *self._argv], merge=True)
        self._process.close_stdin()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                self._follow()
                if self._stopping.is_set():
                    return
                steady = time.monotonic() - self._started_at > STEADY_AFTER_S
                self._early_ends = 0 if steady else self._early_ends + 1
                pause_s = FIRST_PAUSE_S if steady else min(pause_s * 2, LONGEST_PAUSE_S)
                if self._stopping.wait(pause_s):
                    return
                self._restarts += 1
                self._launch_again()
        except (LabClosed, LabDied):
            self._stopping.set()

    def _follow(self) -> None:
        """Take what it prints until it has ended."""
        process = self._process
        if process is None:
            return
        while process.exit_status is None:
            for _stream, data in process.read():
                self.log.write(data)
        for _stream, data in process.read(0):
            self.log.write(data)
        status = process.exit_status
        self._last_end = f"signal {-status}" if status < 0 else f"exit status {status}"
        if not self._stopping.is_set():
            self._notice(f"{self.name} ended ({self._last_end}) and is started again; log: {self.log.path}")

    def _launch_again(self) -> None:
        try:
            self._launch()
        except (LabClosed, LabDied):
            raise
        except LabError as error:
            self._process = None
            self._last_end = error.what
            self._notice(f"{self.name} could not be started again: {error.what}")

    def fault(self, what: str) -> ClusterError:
        """Return the error that says `what`, with what is known of this component and the last lines of its log."""
        status, tail = self.status(), self.log.tail()
        advice = "read the log; a slow or full machine may need fewer nodes"
        if "too many open files" in tail:
            advice = ("a cluster of two nodes needs some 30 inotify instances of its user: stop other clusters, or let "
                      "an administrator raise the limit:\n  sudo sysctl fs.inotify.max_user_instances=1024")
        observed = f"{status.state}, {status.restarts} restarts, last end: {status.last_end or 'none'}"
        return ClusterError(what, where=f"{self.name}; log: {self.log.path}", observed=observed, log_tail=tail,
                            next_step=advice)


def check_components(components: Iterable[Component]) -> None:
    """Make sure that nobody waits for a component that cannot run.

    Raises:
        ClusterError: one has ended again and again.
    """
    for component in components:
        if component.failing:
            raise component.fault(f"{component.name} ends again and again")
