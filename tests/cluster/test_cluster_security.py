"""Who may do what: without a credential, with a component's credential, and as another user of the machine."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import oracle
import pytest
from kube import pod

from labsupport.cluster.control import ControlConnection
from labsupport.waiting import wait_until

STRANGER = 65534
CODE = "--output /dev/null --write-out %{http_code} --silent --insecure --max-time 5"
KUBELET, PROXY = "/etc/kubernetes/kubelet.conf", "/etc/kubernetes/kube-proxy.conf"


def http_code(cluster, url: str, *, on: str = "client", options: str = "") -> str:
    return cluster.run(f"curl {CODE} {options} {url}", on=on, echo=False).stdout


def refused(cluster, node: str, kubeconfig: str, command: str) -> bool:
    """Whether the API server forbids it; whatever else happens is a fault."""
    done = cluster.run(f"kubectl --kubeconfig {kubeconfig} {command}", on=node, echo=False)
    assert done.exit_status == 0 or "forbidden" in done.stderr.lower(), done.stderr
    return done.exit_status != 0


def as_stranger(*argv: str) -> subprocess.CompletedProcess[str]:
    prefix = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    return subprocess.run([*prefix, *argv], capture_output=True, text=True, timeout=20, check=False, cwd="/")


@pytest.mark.parametrize("path", ["/", "/version", "/healthz", "/livez", "/api/v1/namespaces", "/metrics"])
def test_the_api_server_answers_nobody_without_a_credential(cluster, path):
    assert http_code(cluster, f"https://10.0.0.1:16443{path}") == "401"
    url = cluster.status()["server"] + path
    done = subprocess.run(["curl", *CODE.split(), url], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "401"


@pytest.mark.parametrize("path", ["/pods", "/healthz", "/metrics", "/runningpods/", "/logs/"])
@pytest.mark.parametrize("node", ["10.0.0.11", "10.0.0.12"])
def test_kubelets_answer_nobody_without_a_credential(cluster, node, path):
    assert http_code(cluster, f"https://{node}:10250{path}") == "401"
    assert http_code(cluster, f"http://{node}:10255{path}") == "000"


def test_a_kubelet_lets_no_other_kubelet_in(cluster):
    certificate = "--cert /etc/kubernetes/kubelet.crt --key /etc/kubernetes/kubelet.key"
    assert http_code(cluster, "https://10.0.0.12:10250/pods", on="node1", options=certificate) == "401"


def test_etcd_wants_a_certificate_of_its_own_authority(cluster):
    def answer(options: str, port: int = 2379, scheme: str = "https") -> str:
        return cluster.lab.run(f"curl {CODE} {options} {scheme}://127.0.0.1:{port}/version", echo=False).stdout

    pki = "/etc/kubernetes/pki"
    client = f"--cert {pki}/apiserver-etcd-client.crt --key {pki}/apiserver-etcd-client.key"
    assert answer(client) == "200"
    assert answer("") == "000"
    assert answer(f"--cert {pki}/apiserver.crt --key {pki}/apiserver.key") == "000"
    assert http_code(cluster, "https://10.0.0.1:2379/version", on="node1") == "000"
    # A peer's certificate would have to name the address that it comes from, and there is no other peer.
    assert "2380" in cluster.lab.run("ss --listening --tcp --numeric --no-header", echo=False).stdout
    assert (answer(client, 2380), answer("", 2380), answer("", 2380, "http")) == ("000", "000", "000")


@pytest.mark.parametrize("port", [10257, 10259])
def test_controllers_show_nothing_but_their_health(cluster, port):
    def answer(path: str) -> str:
        return cluster.lab.run(f"curl {CODE} https://127.0.0.1:{port}{path}", echo=False).stdout

    assert (answer("/healthz"), answer("/metrics")) == ("200", "403")
    assert http_code(cluster, f"https://10.0.0.1:{port}/healthz") == "000"


@pytest.mark.parametrize("command", [
    "get secrets --all-namespaces", "get configmaps -n kube-public", "label node node2 seen=1",
    "delete node node2", "get pods -o name --as=system:kube-scheduler", "create namespace mine",
    "label node node1 node-restriction.kubernetes.io/seen=1", "create token coredns -n kube-system",
])
def test_a_kubelet_may_do_nothing_beyond_its_own_node(cluster, command):
    assert refused(cluster, "node1", KUBELET, command)


def test_a_kubelet_may_do_what_its_own_node_needs(cluster):
    assert not refused(cluster, "node1", KUBELET, "label --overwrite node node1 seen=1")
    assert not refused(cluster, "node1", KUBELET, "label node node1 seen-")


def test_a_kubelet_sees_the_secrets_of_its_own_pods_only(cluster, kubectl):
    kubectl("create", "secret", "generic", "plan", "--from-literal=word=hush")
    uses = {"name": "plan", "secret": {"secretName": "plan"}}
    kubectl.apply(pod("spy", node="node2", volumes=[uses]))
    try:
        wait_until(lambda: not refused(cluster, "node2", KUBELET, "get secret plan"), what="node2 to see it",
                   deadline_s=10, interval_s=0.2)
        assert refused(cluster, "node1", KUBELET, "get secret plan")
    finally:
        kubectl.delete("pod", "spy")
        kubectl.delete("secret", "plan")


@pytest.mark.parametrize("command", ["get secrets -A", "get pods -A", "delete service kubernetes",
                                     "label node node1 seen=1"])
def test_kube_proxy_may_only_look_at_services_and_nodes(cluster, command):
    assert not refused(cluster, "node1", PROXY, "get services,nodes -A")
    assert refused(cluster, "node1", PROXY, command)


@pytest.mark.parametrize("name", ["scheduler", "controller-manager"])
def test_the_control_plane_does_not_use_the_admins_credential(cluster, name):
    done = cluster.lab.run(f"kubectl --kubeconfig /etc/kubernetes/{name}.conf create clusterrolebinding mine "
                           "--clusterrole=cluster-admin --user=me", echo=False)
    assert f'User "system:kube-{name}" cannot create resource "clusterrolebindings"' in done.stderr


def test_nothing_skips_the_verification_of_certificates(cluster):
    look = "grep --recursive --ignore-case --files-with-matches insecure /etc/kubernetes || true"
    assert cluster.lab.run(look, echo=False).check().stdout == ""
    for node in ("node1", "node2"):
        assert cluster.run(look, on=node, echo=False).check().stdout == ""
    assert "insecure" not in cluster.kubeconfig.read_text()
    lines = [process.command_line for process in oracle.descendants(cluster.status()["pid"])]
    assert any("kube-apiserver" in line for line in lines)
    assert not [line for line in lines if "insecure" in line or "anonymous-auth=true" in line]


def test_secrets_in_the_lab_are_readable_for_root_only(cluster):
    look = "find /etc/kubernetes -type f -perm /077; find /etc/kubernetes -maxdepth 0 -perm /077"
    assert cluster.lab.run(look, echo=False).check().stdout == ""
    for node in ("node1", "node2"):
        assert cluster.run(look, on=node, echo=False).check().stdout in {"", "/etc/kubernetes/resolv.conf\n"}
    assert cluster.lab.run("find /var/lib/etcd -maxdepth 0 -perm /077", echo=False).check().stdout == ""


def test_files_on_the_host_are_private(cluster):
    folder = cluster.folder.path
    for path in (folder.parent, folder, *folder.rglob("*")):
        found = path.lstat()
        if path.is_relative_to(cluster.folder.images):
            continue  # what is in images is no secret; the folder above keeps others out
        wanted = {stat.S_IFDIR: 0o700, stat.S_IFREG: 0o600}.get(stat.S_IFMT(found.st_mode))
        assert found.st_uid == os.geteuid()
        assert wanted is None or stat.S_IMODE(found.st_mode) == wanted, path


def test_no_key_and_no_token_is_on_a_command_line(cluster):
    connection = ControlConnection(cluster.folder.control_socket)
    token = connection.call("attach")["token"]
    connection.close()
    assert len(token) >= 16
    for process in oracle.descendants(cluster.status()["pid"]):
        assert token not in process.command_line
        assert "PRIVATE KEY" not in process.command_line


def test_a_cluster_offers_no_socket_that_others_may_use(cluster):
    pids = {cluster.status()["pid"]} | {process.pid for process in oracle.descendants(cluster.status()["pid"])}
    assert not [name for name in oracle.lab_sockets() if int(name.split("-")[1]) in pids]
    listening = subprocess.run(["ss", "-Hlntp"], capture_output=True, text=True, timeout=20, check=True).stdout
    own = [line for line in listening.splitlines() if any(f"pid={pid}," in line for pid in pids)]
    port = cluster.status()["server"].rpartition(":")[2]
    assert [line.split()[3] for line in own] == [f"127.0.0.1:{port}"]


@pytest.mark.root_only
def test_another_user_reads_nothing_and_controls_nothing(cluster):
    folder, own = cluster.folder, cluster.lab
    for path in (folder.kubeconfig, folder.logs / "kube-apiserver.log", folder.path, folder.path.parent):
        done = as_stranger("ls" if path.is_dir() else "cat", str(path))
        assert "Permission denied" in done.stderr, path
    for path in (folder.control_socket, folder.lab_socket):
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
        assert "PermissionError" in as_stranger(sys.executable, "-c", code).stderr
    supervisor = cluster.status()["pid"]
    for command in (f"kill -TERM {supervisor}", f"cat /proc/{supervisor}/environ", f"ls /proc/{supervisor}/fd/",
                    f"nsenter --target {supervisor} --net true"):
        assert as_stranger("sh", "-c", command).returncode != 0, command
    own.ping()
    assert as_stranger("curl", *CODE.split(), cluster.status()["server"] + "/api").stdout == "401"


@pytest.mark.root_only
def test_another_users_cluster_commands_do_not_find_it(cluster, tmp_path):
    program = str(Path(sys.executable).with_name("labsupport"))
    listed = as_stranger("env", f"HOME={tmp_path}", program, "cluster", "list")
    assert (listed.returncode, cluster.name in listed.stdout) == (0, False), listed.stderr
    status = as_stranger("env", f"HOME={tmp_path}", program, "cluster", "status", "--name", cluster.name)
    assert status.stderr.startswith(f"labsupport: the cluster {cluster.name} is not running")
