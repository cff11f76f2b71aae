"""Limits of containers: as the host's cgroup files show them where a cluster can have cgroups, told where it cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import oracle
import pytest
from kube import pod, processes_of

from labsupport.waiting import wait_until

PROGRAM = str(Path(sys.executable).with_name("labsupport"))
SLOW = pytest.mark.timeout(180)
LIMITS = {"cpu": "200m", "memory": "64Mi"}
FILES = {"cpu": ("cpu.max", "20000 100000"), "memory": ("memory.max", str(64 << 20)), "pids": ("pids.max", "max")}
NODE_PIDS = 2048
HOG = "data = [bytearray(b'x' * (1 << 20)) for _ in range(500)]"
BOMB = """
import os, signal
count = 0
try:
    while pid := os.fork():
        count += 1
    signal.pause()
except BlockingIOError as error:
    print(count, error, flush=True)
"""


def limited(name: str, *command: str, node: str = "node1"):
    """A pod with a limit of everything that a pod can have limits of."""
    manifest = pod(name, node=node, command=command, restartPolicy="Never")
    manifest["spec"]["containers"][0]["resources"] = {"limits": LIMITS}
    return manifest


def cgroup_of_container(cluster, mark: str) -> Path:
    """Return the cgroup of the container that sleeps for `mark` seconds, as the host sees it."""
    # A pod is Ready as soon as runc lets its container go, and that becomes its program then.
    (process,) = wait_until(lambda: processes_of(cluster, f"^sleep {mark} *$"), what="the program", deadline_s=5)
    return oracle.cgroup(process.pid)


def cluster_cgroup(cluster) -> Path:
    """Return the cgroup of a cluster, which has the lab's processes in one below it."""
    (agent,) = [process for process in oracle.descendants(cluster.status()["pid"]) if process.is_agent]
    return oracle.cgroup(agent.pid).parent


@pytest.fixture
def needs(cluster):
    """Skips the test where the cluster has not all of these controllers, and says why."""
    def check(*controllers: str) -> None:
        status = cluster.status()
        if not set(controllers) <= set(status["limits"]):
            pytest.skip(f"limits of {', '.join(controllers)}: {status['limits_missing']}")

    return check


def test_limits_are_in_the_kernel_exactly_where_status_says_so(cluster, kubectl):
    status = cluster.status()
    assert bool(status["limits_missing"]) == (len(status["limits"]) < len(FILES))
    kubectl.apply(limited("limited", "sleep", "77001"))
    try:
        kubectl.wait_ready("limited")
        cgroup = cgroup_of_container(cluster, "77001")
        for controller, (file, expected) in FILES.items():
            if controller in status["limits"]:
                assert (cgroup / file).read_text().strip() == expected
            elif status["limits"]:
                assert not (cgroup / file).exists()
        if not status["limits"]:
            assert cgroup == oracle.cgroup(status["pid"])
    finally:
        kubectl.delete("pod", "limited")


def test_status_tells_people(cluster):
    status = cluster.status()
    text = subprocess.run([PROGRAM, "cluster", "status", "--name", cluster.name], capture_output=True,
                          text=True, check=True, timeout=30).stdout
    (line,) = [line for line in text.splitlines() if line.startswith("limits: ")]
    assert (", ".join(status["limits"]) or "not enforced") in line
    assert status["limits_missing"] in line
    assert ("labsupport doctor" in line) == bool(status["limits_missing"])


def test_a_container_that_wants_more_time_is_held_back(cluster, kubectl, needs):
    needs("cpu")
    kubectl.apply(limited("busy", "sh", "-c", "sleep 77002 & while :; do :; done"))
    try:
        kubectl.wait_ready("busy")
        statistics = cgroup_of_container(cluster, "77002") / "cpu.stat"
        wait_until(lambda: int(dict(line.split() for line in statistics.read_text().splitlines())["nr_throttled"]) > 5,
                   what="the container to be throttled", deadline_s=20, interval_s=0.1)
    finally:
        kubectl.delete("pod", "busy")


def test_a_container_that_takes_more_memory_is_ended_and_said_to_be(cluster, kubectl, needs):
    needs("memory")
    kubectl.apply(limited("hog", "python3", "-c", HOG))
    try:
        kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "--timeout=25s", "pod/hog")
        (container,) = kubectl.get("pod", "hog")["status"]["containerStatuses"]
        assert container["state"]["terminated"]["reason"] == "OOMKilled"
        assert container["state"]["terminated"]["exitCode"] == 128 + signal.SIGKILL
    finally:
        kubectl.delete("pod", "hog")


def test_a_fork_bomb_takes_its_node_s_share_and_no_more(cluster, kubectl, needs):
    needs("pids")
    manifest = pod("bomb", node="node2", command=["python3", "-c", BOMB], restartPolicy="Never")
    kubectl.apply(manifest)
    try:
        kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=25s", "pod/bomb")
        count, _, said = kubectl("logs", "bomb").partition(" ")
        assert "Resource temporarily unavailable" in said
        assert NODE_PIDS / 2 < int(count) < NODE_PIDS
        assert (cluster_cgroup(cluster) / "node2" / "pids.max").read_text().strip() == str(NODE_PIDS)
        assert kubectl.run("get", "nodes").returncode == 0
    finally:
        kubectl.delete("pod", "bomb")


def test_the_lab_sees_its_own_cgroups_only(cluster, needs):
    needs("pids")
    seen = cluster.run("cat /proc/self/cgroup; ls -d /sys/fs/cgroup/*/", on="node1", echo=False).check().stdout
    assert "0::/lab" in seen
    assert {"lab", "node1", "node2"} == {Path(line).name for line in seen.splitlines() if "/sys/fs/cgroup/" in line}
    top = cluster_cgroup(cluster)
    assert (top / "cgroup.procs").read_text() == ""
    if os.geteuid() == 0:
        assert top.stat().st_uid != 0
        assert (top / "cgroup.max.descendants").stat().st_uid == 0  # how many it may make is not the lab's to change


@SLOW
def test_no_cgroup_is_left_after_a_stop_nor_after_a_kill_and_the_next_start(new_cluster, new_kubectl):
    cluster, other = new_cluster(), new_cluster()
    cluster.start(nodes=1, addons=())
    if not cluster.status()["limits"]:
        pytest.skip(cluster.status()["limits_missing"])
    kubectl = new_kubectl(cluster)
    kubectl.apply(limited("limited", "sleep", "77003"))
    kubectl.wait_ready("limited")
    assert cgroup_of_container(cluster, "77003").is_relative_to(cluster_cgroup(cluster) / "node1")
    top, pid = cluster_cgroup(cluster), cluster.status()["pid"]
    assert cluster.name in top.name
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not cluster.folder.running() and (not top.exists() or "populated 0" in (
        top / "cgroup.events").read_text()), what="the cluster to end", deadline_s=5)
    other.start(nodes=1, addons=())
    last = cluster_cgroup(other)
    assert not top.exists()
    other.stop()
    assert not last.exists()
