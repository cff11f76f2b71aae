"""Clusters to grade the course's own answers on, one run after the other: each takes seconds to start.

A student gets a fresh one for himself.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

import shared_cluster

from labsupport.cluster import Cluster
from labsupport.grading.course import CourseNotebook
from labsupport.grading.graded_cluster import cluster_for_grading

COUNT = 2


class GradingClusters:
    """Starts them when the first notebook needs them, and again if the next one needs other add-ons.

    Args:
        lasting: the fixture `lasting_clusters`.
    """

    def __init__(self, lasting: set[int]) -> None:
        self._lasting = lasting
        self._stack = ExitStack()
        self._running: list[Cluster] = []
        self._addons: tuple[str, ...] = ()

    def free_for(self, notebook: CourseNotebook) -> SimpleQueue[Cluster]:
        """Return those that a notebook may be graded on, in a queue to take them from and to put them back."""
        shared_cluster.need_programs()
        if not self._running or self._addons != notebook.addons:
            self.close()
            self._addons = notebook.addons
            with ThreadPoolExecutor(COUNT) as pool:
                self._running = list(pool.map(lambda _: self._start(), range(COUNT)))
        free: SimpleQueue[Cluster] = SimpleQueue()
        for cluster in self._running:
            free.put(cluster)
        return free

    def close(self) -> None:
        """Stop them."""
        self._running = []
        self._stack.close()

    def _start(self) -> Cluster:
        cluster = self._stack.enter_context(cluster_for_grading(lambda _step: None, self._addons))
        pid = cluster.status()["pid"]
        self._lasting.add(pid)
        self._stack.callback(self._lasting.discard, pid)
        return cluster
