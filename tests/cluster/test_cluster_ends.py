"""Starts that fail or are interrupted, and ends of every kind: nothing is left, and the next start works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import oracle
import pytest
from kube import Reader, running

from labsupport.cluster import Cluster
from labsupport.errors import ClusterError
from labsupport.waiting import wait_until

GONE_WITHIN_S = 2.0
SLOW = pytest.mark.timeout(180)  # several starts
START = "import sys; from labsupport.cluster import Cluster; Cluster(sys.argv[1]).start(nodes=1, report=print)"
PROGRAM = str(Path(sys.executable).with_name("labsupport"))


@pytest.fixture
def await_end():
    """Waits until no process of a lab or a cluster is below this one, but for the shared cluster's."""
    def wait(deadline_s: float = GONE_WITHIN_S) -> None:
        wait_until(lambda: not oracle.lab_processes_below(os.getpid()), what="all to be gone", deadline_s=deadline_s,
                   interval_s=0.02)

    return wait


def processes_below(pid: int) -> list[int]:
    return [process.pid for process in oracle.descendants(pid)]


def starting(name: str) -> object:
    """Start a cluster in another program that prints each step."""
    return running([sys.executable, "-u", "-c", START, name], dict(os.environ))


def supervisor_of(reader: Reader) -> int:
    (only,) = [process.pid for process in oracle.descendants(reader.process.pid) if process.is_supervisor]
    return only


@SLOW
def test_a_cluster_whose_process_is_killed_is_gone_and_starts_again(new_cluster, new_kubectl, await_end):
    cluster = new_cluster()
    cluster.start(nodes=1, addons=())
    new_kubectl(cluster)("create", "namespace", "lost")
    pid = cluster.status()["pid"]
    os.kill(pid, signal.SIGKILL)
    await_end()
    assert not cluster.running
    with pytest.raises(ClusterError, match=r"has ended|not running"):
        cluster.status()
    with Cluster(cluster.name) as fresh:
        with pytest.raises(ClusterError, match=f"the cluster {cluster.name} is not running"):
            fresh.status()
        assert fresh.stop() is False
        assert fresh.start(nodes=1, addons=()) is True
        assert "lost" not in new_kubectl(fresh)("get", "namespaces")
        pid = fresh.status()["pid"]
        for victim in [pid, *processes_below(pid)]:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:  # its end came with another's
                continue
        await_end()
        assert not fresh.running


@pytest.mark.parametrize("step", ["programs and images", "network and credentials", "etcd and kube-apiserver",
                                  "containerd, kubelet and kube-proxy on node1"])
def test_ctrl_c_while_it_starts_undoes_everything(new_cluster, await_end, step):
    cluster = new_cluster()
    with starting(cluster.name) as reader:
        reader.until(f"{step}\n")
        reader.process.send_signal(signal.SIGINT)
        assert reader.process.wait(20) != 0
        assert "KeyboardInterrupt" in reader.until("KeyboardInterrupt").string
    await_end()
    assert not cluster.running
    assert not cluster.kubeconfig.exists()
    assert not cluster.folder.lab_socket.exists()
    assert cluster.folder.supervisor_log.read_text().endswith("stopped while it was starting; everything is undone\n")


@pytest.mark.parametrize(("victim", "number"), [("supervisor", signal.SIGTERM), ("supervisor", signal.SIGKILL),
                                                ("starter", signal.SIGKILL)])
def test_an_end_while_it_starts_undoes_everything(new_cluster, await_end, victim, number):
    cluster = new_cluster()
    with starting(cluster.name) as reader:
        reader.until("etcd and kube-apiserver\n")
        supervisor = supervisor_of(reader)
        os.kill(supervisor if victim == "supervisor" else reader.process.pid, number)
        assert reader.process.wait(20) != 0
        if victim == "supervisor":
            reader.until(f"ClusterError: the process of the cluster {cluster.name} ended while it was starting")
    await_end()
    assert not cluster.folder.running()


def test_a_component_that_cannot_start_is_told_with_its_log(replace_program, new_cluster):
    replace_program("etcd", "echo the data has mould on it >&2; exit 4")
    cluster, steps = new_cluster(), []
    with pytest.raises(ClusterError) as caught:
        cluster.start(nodes=1, addons=(), report=steps.append)
    assert steps[-1] == "etcd and kube-apiserver"
    assert caught.value.what == "etcd ends again and again"
    assert str(cluster.folder.logs / "etcd.log") in caught.value.where
    assert "exit status 4" in caught.value.observed
    assert caught.value.log_tail.splitlines()[-1] == "the data has mould on it"
    assert (cluster.folder.logs / "etcd.log").exists()
    assert not cluster.running


def test_missing_programs_are_named(programs, new_cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("LABSUPPORT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(ClusterError, match="programs of the cluster are missing") as caught:
        new_cluster().start()
    assert "kube-apiserver" in caught.value.observed
    assert "labsupport cluster build" in caught.value.next_step


def test_a_full_disk_is_told(new_cluster):
    """In a mount namespace of its own, where /tmp is a disk without a free block."""
    name = new_cluster().name
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    script = ("mount -t tmpfs -o size=8k tmpfs /tmp && head -c 8192 /dev/zero >/tmp/filler && "
              f"exec {PROGRAM} cluster start --name {name} --nodes 1")
    done = subprocess.run(["unshare", *user, "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=40,
                          check=False, cwd="/")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "free space there" in done.stderr


@SLOW
def test_three_clusters_run_at_once_and_end_in_three_ways(new_cluster, new_kubectl, await_end):
    before = oracle.Snapshot()
    clusters = stopped, ended, idle = [new_cluster() for _ in range(3)]
    steps: list[str] = []

    def start(cluster: Cluster) -> int:
        assert cluster.start(nodes=1, addons=(), report=steps.append if cluster is stopped else len,
                             idle_s=2 if cluster is idle else 600)
        return cluster.status()["pid"]  # this handle uses it from now on

    with ThreadPoolExecutor() as pool:
        pids = list(pool.map(start, clusters))
    assert steps == ["programs and images", "network and credentials", "etcd and kube-apiserver",
                     "kube-controller-manager and kube-scheduler", "containerd, kubelet and kube-proxy on node1",
                     "nodes"]
    for cluster in clusters:
        new_kubectl(cluster)("create", "namespace", f"only-in-{cluster.name}")
    for cluster in clusters:
        names = new_kubectl(cluster)("get", "namespaces", "-o", "name")
        assert [f"only-in-{other.name}" in names for other in clusters] == [other is cluster for other in clusters]
    server = json.loads(ended.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    stranger = new_kubectl(stopped).run("--server", server, "get", "nodes")
    assert "certificate signed by unknown authority" in stranger.stderr
    idle.close()
    assert stopped.stop() is True
    assert stopped.stop() is False
    os.kill(pids[1], signal.SIGTERM)
    for cluster in clusters:
        wait_until(lambda cluster=cluster: not cluster.folder.path.exists(), what=f"{cluster.name} to end",
                   deadline_s=20, interval_s=0.05)
    await_end()
    after = oracle.Snapshot()
    assert (after.links, after.mounts, after.rules) == (before.links, before.mounts, before.rules)
