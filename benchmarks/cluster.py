"""How fast and how big the embedded cluster is, in turns with the same programs started by hand (`bare`).

Both have the same flags; `measure` compares the command lines of what runs. They never run at the same time, because
they would share memory and processors.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks import pods
from benchmarks.bare import Bare
from benchmarks.processes import command_lines, descendants, named, settled_memory_mb
from benchmarks.results import Result, say, seconds
from labsupport.cluster import Cluster
from labsupport.cluster.binaries import missing_programs
from labsupport.cluster.supplies import Supplies, find_supplies

ROUNDS = 3
OTHER_SIZES = (1, 3)
DEADLINE_S = 120.0
START_LIMIT_S, START_LIMIT, POD_LIMIT_S, PODS_LIMIT_S, MEMORY_LIMIT_MB = 12.0, 1.3, 0.8, 8.0, 550.0
BARE = "bare"


class Running(Protocol):
    """A cluster that is up, made in one way or the other."""

    nodes_s: float
    all_s: float

    def run(self, script: str, stdin: str, /) -> str: ...
    def pids(self) -> list[int]: ...
    def stop(self) -> None: ...
    def clean(self) -> None: ...


Start = Callable[[int, bool], Running]
FLAGS_OF = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
            "containerd")


class Embedded:
    """A cluster of labsupport; see Bare for the attributes."""

    def __init__(self, nodes: int, *, with_dns: bool) -> None:
        self._cluster = Cluster(f"bench-{os.getpid()}")
        steps: dict[str, float] = {}

        def note(step: str) -> None:
            steps[step] = time.perf_counter() - begin

        begin = time.perf_counter()
        self._cluster.start(nodes=nodes, addons=("dns",) if with_dns else (), report=note)
        self.all_s = time.perf_counter() - begin
        self.nodes_s = steps.get("CoreDNS", self.all_s)
        self._pid: int = self._cluster.status()["pid"]

    def run(self, script: str, stdin: str) -> str:
        """Return what a script prints on the control plane's machine."""
        return self._cluster.lab.run(script, stdin=stdin, echo=False, timeout_s=DEADLINE_S).check().stdout

    def pids(self) -> list[int]:
        return descendants(self._pid)

    def stop(self) -> None:
        self._cluster.stop()

    def clean(self) -> None:
        """Nothing is left."""


@dataclass
class Found:
    """What one way to make a cluster gave; times in seconds, one per round."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    traffic: dict[str, list[float]] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)

    def median(self, what: str) -> float:
        return statistics.median(self.times[what])


def measure_big(start: Start, found: Found, programs: set[str], *, last: bool) -> None:
    """Measure a cluster of two nodes with DNS; in the last round also what runs in it."""
    cluster = start(2, True)
    try:
        found.times["nodes 2"].append(cluster.nodes_s)
        found.times["dns"].append(cluster.all_s)
        if last:
            found.flags = command_lines(cluster.pids(), programs)
            found.times["idle"].append(settled_memory_mb(cluster.pids))
            found.times["first pod"].append(pods.first_pod_s(cluster.run))
            found.times["pod"] += pods.pod_times_s(cluster.run)
            found.traffic = pods.traffic(cluster.run)
            found.times["pods"] += pods.many_pods_times_s(cluster.run)
            pods.fill(cluster.run)
            found.times["busy"].append(settled_memory_mb(cluster.pids))
    finally:
        found.times["stop"].append(seconds(cluster.stop))
        cluster.clean()


def both(supplies: Supplies, archive: Path) -> tuple[Found, Found]:
    """Measure both in turns."""
    programs = {str(supplies.programs[name]) for name in FLAGS_OF}
    ours, theirs = Found(), Found()
    starts: list[tuple[str, Start, Found]] = [
        ("labsupport", lambda nodes, with_dns: Embedded(nodes, with_dns=with_dns), ours),
        ("bare binaries", lambda nodes, with_dns: Bare(supplies, archive, nodes, with_dns=with_dns), theirs)]
    for turn in range(ROUNDS):
        for name, start, found in starts:
            say(f"a cluster of 2 nodes with DNS, {name}, {turn + 1} of {ROUNDS}")
            measure_big(start, found, programs, last=turn == ROUNDS - 1)
    for nodes in OTHER_SIZES:
        for name, start, found in starts:
            say(f"a cluster of {nodes} node{'s'[:nodes > 1]}, {name}")
            cluster = start(nodes, False)
            found.times[f"nodes {nodes}"].append(cluster.nodes_s)
            cluster.stop()
            cluster.clean()
    if ours.flags != theirs.flags:
        raise AssertionError("the bare binaries have other flags: " + "; ".join({*ours.flags} ^ {*theirs.flags}))
    return ours, theirs


def pair(ours: Found, theirs: Found, what: str, name: str, unit: str = "s", limit: float | None = None,
         note: str = "") -> list[Result]:
    """Return a line for the bare binaries and one for labsupport."""
    our, their = ours.median(what), theirs.median(what)
    return [Result(f"{name}: bare binaries", their, unit), Result(name, our, unit, limit, our / their, BARE, note=note)]


def traffic_results(ours: Found, theirs: Found) -> list[Result]:
    """Return what is measured between pods: ClusterIP beside pod to pod, and that beside the bare cluster's."""
    results = []
    for number, (what, unit, factor) in enumerate((
            ("round trip", "us", 1e6), ("new connection, one round trip", "us", 1e6), ("throughput", "Gbit/s", 8e-9))):
        for place in pods.SERVERS:
            direct, service = f"direct, {place}", f"ClusterIP, {place}"
            our, through = ours.traffic[direct][number], ours.traffic[service][number]
            their = theirs.traffic[direct][number]
            their_ratio = theirs.traffic[service][number] / their
            results += [Result(f"{what}, pod to pod, {place}", our * factor, unit, None, our / their, BARE),
                        Result(f"{what}, ClusterIP, {place}", through * factor, unit, None, through / our, "pod to pod",
                               note=f"{their_ratio:.2f} in the bare cluster")]
    return results


def measure() -> list[Result]:
    """Run everything, saying what is under way."""
    missing = missing_programs()
    if missing:
        return [Result("embedded cluster", None, "s", note="skipped: run `labsupport cluster build` first")]
    others = len(named("kube-apiserver"))
    alone = f"{others} other clusters ran: not to be trusted" if others else ""
    with tempfile.TemporaryDirectory() as folder:
        supplies, archive = find_supplies(Path(folder)), Path(folder, "images.tar")
        supplies.images.write_archive(archive)
        ours, theirs = both(supplies, archive)
    ratio = ours.median("dns") / theirs.median("dns")
    results = []
    for nodes in sorted((2, *OTHER_SIZES)):
        results += pair(ours, theirs, f"nodes {nodes}", f"start to {nodes} Ready",
                        note=f"median of {ROUNDS}" if nodes == 2 else "one round")
    return [
        *results,
        *pair(ours, theirs, "dns", "start to 2 Ready and CoreDNS available", "s", START_LIMIT_S, alone),
        Result("start to 2 Ready and CoreDNS available / bare binaries", ratio, "x", START_LIMIT),
        *pair(ours, theirs, "first pod", "first pod of an image, apply to Ready", note="one round"),
        *pair(ours, theirs, "pod", "pod, apply to Ready", "s", POD_LIMIT_S),
        *pair(ours, theirs, "pods", f"{pods.MANY} pods at once, apply to Ready", "s", PODS_LIMIT_S),
        *traffic_results(ours, theirs),
        *pair(ours, theirs, "idle", "memory (PSS), 2 nodes and CoreDNS, idle", "MB", MEMORY_LIMIT_MB, alone),
        *pair(ours, theirs, "busy", f"memory (PSS), with {pods.FILL} more pods", "MB", None, alone),
        *pair(ours, theirs, "stop", "stop"),
    ]
