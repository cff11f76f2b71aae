"""What a user sees of a running cluster: from the command line, and with kubectl on the host."""

from __future__ import annotations

import json
import subprocess
import urllib.request

import pytest
from kube import PROGRAM, in_terminal, labsupport, pod, processes_of, running, server

from labsupport.cluster import Cluster
from labsupport.errors import ClusterError, CommandNotFound
from labsupport.waiting import wait_until


@pytest.fixture(scope="module")
def pods(kubectl):
    kubectl.apply(pod("tools", node="node1"), server("server", "node2"))
    kubectl.wait_ready("tools", "server")
    yield
    kubectl.delete("pods", "tools", "server")


def test_two_nodes_are_ready_and_dns_is_available(kubectl):
    nodes = kubectl.get("nodes")["items"]
    assert [node["metadata"]["name"] for node in nodes] == ["node1", "node2"]
    for node in nodes:
        ready = {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}
        assert ready["Ready"] == "True"
    assert kubectl.get("deployment", "coredns", "-n", "kube-system")["status"]["availableReplicas"] == 1
    assert kubectl.get("service", "kube-dns", "-n", "kube-system")["spec"]["clusterIP"] == "10.152.183.10"


def test_status_says_what_the_api_server_says(cluster, kubectl):
    done = labsupport("status", "--json", "--name", cluster.name)
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    told = [(node["name"], node["address"], node["pod_cidr"], node["running"]) for node in status["nodes"]]
    assert told == [(node["metadata"]["name"],
                     next(entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"),
                     node["spec"]["podCIDR"], True) for node in kubectl.get("nodes")["items"]]
    assert status["server"] == json.loads(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    for part in status["components"]:
        program = part["name"].partition("@")[0]
        assert part["state"] == "running"
        assert processes_of(cluster, rf"/{program} --"), f"{part['name']} is said to run"
    assert {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd@node1", "kubelet@node2",
            "kube-proxy@node1"} <= {part["name"] for part in status["components"]}
    text = labsupport("status", "--name", cluster.name).stdout
    assert all(word in text for word in ("node2", "kube-scheduler", status["server"], str(cluster.kubeconfig)))


def test_starting_a_running_cluster_changes_nothing(cluster):
    before = cluster.status()
    assert Cluster(cluster.name).start(nodes=5, addons=()) is False
    done = labsupport("start", "--name", cluster.name)
    assert (done.returncode, done.stdout) == (0, f"The cluster {cluster.name} is running already.\n")
    after = cluster.status()
    assert [(part["name"], part["restarts"]) for part in after["components"]] == [
        (part["name"], part["restarts"]) for part in before["components"]]
    assert (after["pid"], after["nodes"]) == (before["pid"], before["nodes"])
    assert cluster.name in labsupport("list").stdout.split()


def test_env_makes_kubectl_work_in_any_shell(cluster):
    done = labsupport("env", "--name", cluster.name)
    assert done.returncode == 0, done.stderr
    script = done.stdout + "kubectl get nodes --output name; kubectl config view --minify --raw"
    shell = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=30, check=False)
    assert shell.stdout.startswith("node/node1\nnode/node2\n"), shell.stderr
    assert labsupport("kubeconfig", "--name", cluster.name).stdout == cluster.kubeconfig.read_text()


def test_env_says_so_where_it_finds_no_kubectl(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("LABSUPPORT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    done = labsupport("env", "--name", cluster.name)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no kubectl" in done.stderr
    assert "LABSUPPORT_CACHE" in done.stderr


def test_logs_are_followed(kubectl):
    script = "n=0; while sleep 0.3; do echo line $((n+=1)); done"
    kubectl.apply(pod("clock", node="node1", command=["sh", "-c", script]))
    kubectl.wait_ready("clock")
    with kubectl.start("logs", "-f", "clock") as reader:
        reader.until("line 1\nline 2\n")
        reader.until("line 4\n")
        assert reader.process.poll() is None
    assert kubectl("logs", "clock", "--tail=-1").startswith("line 1\nline 2\n")
    kubectl.delete("pod", "clock")


def test_exec_has_a_terminal(kubectl, pods):
    command = in_terminal(str(kubectl.program), "exec", "-it", "tools", "--", "bash", "--norc")
    with running(command, kubectl.environment) as shell:
        shell.type("stty size; tty; echo $((6*7)) at $(hostname)\n")
        shell.until(r"/dev/pts/\d+\r\n")
        shell.until("42 at tools")
        shell.type("exit 3\n")
        assert shell.process.wait(20) == 3


def test_exec_passes_input_output_and_exit_status(kubectl, pods):
    done = kubectl.run("exec", "-i", "tools", "--", "sh", "-c", "tr a-z A-Z; echo no >&2; exit 5", stdin="hello\n")
    assert (done.stdout, done.returncode) == ("HELLO\n", 5)
    assert done.stderr == "no\ncommand terminated with exit code 5\n"


def test_cp_copies_both_ways(kubectl, pods, tmp_path):
    data = bytes(range(256)) * 4096
    (tmp_path / "there").write_bytes(data)
    kubectl("cp", str(tmp_path / "there"), "tools:/tmp/there")
    kubectl("exec", "tools", "--", "cp", "/tmp/there", "/tmp/back")
    kubectl("cp", "tools:/tmp/back", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data


def test_port_forward_reaches_a_pod(kubectl, pods):
    with kubectl.start("port-forward", "pod/server", ":8080") as reader:
        port = reader.until(r"Forwarding from 127\.0\.0\.1:(\d+) -> 8080").group(1)
        for _ in range(2):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/hostname", timeout=10) as answer:
                assert answer.read() == b"server"


@pytest.mark.parametrize(("arguments", "message"), [
    (("get", "pod", "nothing"), 'Error from server (NotFound): pods "nothing" not found\n'),
    (("get", "nothing"), 'error: the server doesn\'t have a resource type "nothing"\n'),
    (("exec", "tools", "--", "nothing"), "executable file not found in $PATH"),
    (("create", "namespace", "Big_Name"), 'The Namespace "Big_Name" is invalid: metadata.name: Invalid value:'),
])
def test_errors_read_as_on_any_cluster(kubectl, pods, arguments, message):
    done = kubectl.run(*arguments)
    assert done.returncode != 0
    assert message in done.stderr


def test_an_image_that_cannot_be_had_says_why(kubectl):
    kubectl.apply(pod("unknown", node="node1", image="lab.local/nothing:1"))
    try:
        why = wait_until(lambda: [state["waiting"] for state in waiting_states(kubectl, "unknown")
                                  if state["waiting"]["reason"] == "ErrImagePull"],
                         what="ErrImagePull", deadline_s=20, interval_s=0.2)
        assert 'failed to resolve reference "lab.local/nothing:1"' in why[0]["message"]
        assert "lab.local" in why[0]["message"].rpartition(": ")[0]
    finally:
        kubectl.delete("pod", "unknown")


def waiting_states(kubectl, name: str) -> list[dict[str, dict[str, str]]]:
    found = kubectl.get("pod", name)["status"].get("containerStatuses", [])
    return [entry["state"] for entry in found if "waiting" in entry["state"]]


def test_a_shell_on_a_node_has_a_terminal_and_the_nodes_view(cluster):
    command = in_terminal(PROGRAM, "cluster", "shell", "--name", cluster.name, "node1")
    with running(command) as shell:
        shell.type("hostname; tty; ip -4 -o addr show eth0; pgrep -l kubelet; exit 7\n")
        shell.until(r"/dev/pts/\d+\r\n")
        shell.until(r"inet 10\.0\.0\.11/24")
        shell.until(r"\d+ kubelet\r\n")
        assert shell.process.wait(20) == 7


def test_a_shell_beside_the_control_plane_has_kubectl(cluster):
    with running(in_terminal(PROGRAM, "cluster", "shell", "--name", cluster.name)) as shell:
        shell.type("kubectl get nodes -o name\n")
        shell.until("node/node2\r\n")
        shell.type("exit\n")
        assert shell.process.wait(20) == 0


def test_commands_run_on_nodes_and_on_the_client(cluster):
    assert cluster.run("hostname", on="node2", echo=False).stdout == "node2\n"
    assert "10.0.0.100/24" in cluster.run("ip -o -4 addr show eth0", on="client", echo=False).stdout
    with pytest.raises(CommandNotFound, match="no-such-program"):
        cluster.run(["no-such-program"], on="client", echo=False)
    with pytest.raises(ClusterError, match="no node 'node7'") as caught:
        cluster.run("true", on="node7", echo=False)
    assert caught.value.expected == "one of node1, node2, client"


def test_logs_of_components_are_followed(cluster, kubectl):
    with running([PROGRAM, "cluster", "logs", "--name", cluster.name, "-f", "kube-apiserver"]) as reader:
        reader.until("Serving securely")
        kubectl("create", "service", "clusterip", "followed", "--tcp=80")
        reader.until("default/followed")
    kubectl.delete("service", "followed")
    assert "Starting kubelet" in labsupport("logs", "--name", cluster.name, "kubelet@node2").stdout
    done = labsupport("logs", "--name", cluster.name, "kubelet@node7")
    assert done.returncode != 0
    assert "kubelet@node1, kubelet@node2" in done.stderr


def test_what_does_not_run_is_said_not_to(programs):
    for arguments in (["status"], ["env"], ["kubeconfig"], ["shell", "node1"], ["node", "add"]):
        done = labsupport(arguments[0], "--name", "t-nobody", *arguments[1:])
        assert done.returncode == 1
        assert done.stderr == ("labsupport: the cluster t-nobody is not running\n"
                               "  next:        labsupport cluster start --name t-nobody\n")
    assert labsupport("stop", "--name", "t-nobody").stdout == "The cluster t-nobody was not running.\n"
