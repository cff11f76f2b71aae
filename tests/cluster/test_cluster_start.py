"""A start in which something is slow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from kube import Kubectl

from labsupport.cluster import Cluster

pytestmark = pytest.mark.timeout(150)


def test_no_pod_starts_before_its_node_has_rules_for_services(replace_program: Callable[[str, str], None],
                                                              new_cluster: Callable[[], Cluster],
                                                              new_kubectl: Callable[[Cluster], Kubectl]) -> None:
    """Its first packet to a Service would go nowhere, and CoreDNS, for one, would wait 30 s before it tries again."""
    replace_program("kube-proxy", 'sleep 4; exec -a kube-proxy "$0.real" "$@"')
    cluster = new_cluster()
    cluster.start(nodes=1)
    (pod,) = new_kubectl(cluster).get("pods", "--namespace=kube-system")["items"]
    (ready,) = [one["lastTransitionTime"] for one in pod["status"]["conditions"] if one["type"] == "Ready"]
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    assert (datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds() < 15
