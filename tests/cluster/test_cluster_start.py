"""A start in which something is slow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from kube import Kubectl, process_of

from labsupport.cluster import Cluster

pytestmark = pytest.mark.timeout(150)
SLEEP_S = 4
TICKS_PER_S = 100  # proc(5): USER_HZ


def started_s(cluster: Cluster, component: str) -> float:
    """Return when the process of a component started, in seconds since the machine did."""
    process = process_of(cluster, component)
    assert process is not None
    return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]) / TICKS_PER_S


def test_no_pod_starts_before_its_node_has_rules_for_services(replace_program: Callable[[str, str], None],
                                                              new_cluster: Callable[[], Cluster],
                                                              new_kubectl: Callable[[Cluster], Kubectl]) -> None:
    """Its first packet to a Service would go nowhere, and CoreDNS, for one, would wait 30 s before it tries again."""
    replace_program("kube-proxy", f'sleep {SLEEP_S}; exec -a kube-proxy "$0.real" "$@"')
    cluster = new_cluster()
    cluster.start(nodes=1)
    (pod,) = new_kubectl(cluster).get("pods", "--namespace=kube-system")["items"]
    (ready,) = [one["lastTransitionTime"] for one in pod["status"]["conditions"] if one["type"] == "Ready"]
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    assert (datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds() < 15
    # A node that comes later may get pods as soon as it has a kubelet.
    node = cluster.add_node()
    assert started_s(cluster, f"kubelet@{node}") - started_s(cluster, f"containerd@{node}") >= SLEEP_S
