"""A notebook that works with a cluster, in a real kernel; the host's kubectl is the other observer."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shared_cluster
from kernel import Kernel

from labsupport import Lab
from labsupport.cluster import Cluster
from labsupport.cluster.binaries import find_programs
from labsupport.cluster.joined import enter_node
from labsupport.errors import ClusterError
from labsupport.lesson.opening import CLUSTER_VARIABLE
from labsupport.waiting import wait_until

NAMESPACE = "lesson-tests"
RUN_WEB = ("%%lab\nkubectl run web --image=lab.local/tools:1.0 -- sleep infinity\n"
           "kubectl wait --for=condition=Ready pod/web")
Ask = Callable[..., Any]


def opening(namespace: str) -> str:
    return f'from labsupport.lesson import open_cluster\ncluster = open_cluster("{namespace}")'


@pytest.fixture(scope="module")
def folders() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="k") as folder:  # a socket's path must be short
        yield Path(folder)


@pytest.fixture(scope="module")
def kernel(folders: Path) -> Iterator[Kernel]:
    shared_cluster.need_programs()
    (folders / "a").mkdir()
    with Kernel(folders / "a") as started:
        yield started


@pytest.fixture
def opened(kernel: Kernel) -> Kernel:
    assert kernel.run(opening(NAMESPACE)).error == ""
    return kernel


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Asks the API server with kubectl on the host."""
    kubectl = find_programs()["kubectl"].path

    def run(*words: str, namespace: str = NAMESPACE) -> Any:
        config = Cluster(os.environ[CLUSTER_VARIABLE]).kubeconfig
        done = subprocess.run([kubectl, f"--kubeconfig={config}", f"--cache-dir={tmp_path}", "-n", namespace, "get",
                               *words, "-o", "json"], capture_output=True, text=True, check=True, timeout=20)
        return json.loads(done.stdout)

    return run


def links(kernel: Kernel, magic: str) -> dict[str, str]:
    """Return the namespaces in which the commands of a cell run."""
    shown = kernel.run(f"{magic}\ncd /proc/self/ns && readlink net mnt uts pid").text.split()
    return dict(zip(("net", "mnt", "uts", "pid"), shown, strict=True))


def test_the_cluster_is_there_and_says_so_in_its_last_line(opened: Kernel) -> None:
    shown = opened.run(opening(NAMESPACE))
    assert shown.text.endswith("The cluster runs: node1, node2. kubectl in this notebook uses the namespace "
                               f"{NAMESPACE}, which is empty.\n")
    assert shown.plain == []
    assert opened.run("cluster").plain == [f"<cluster of node1, node2, client; namespace {NAMESPACE}>"]


def test_kubectl_in_a_cell_works_in_the_notebooks_namespace(opened: Kernel, ask: Ask) -> None:
    assert opened.run("%%lab\nkubectl create configmap mine").text == "configmap/mine created\n"
    assert ask("configmap", "mine")["metadata"]["namespace"] == NAMESPACE
    assert opened.run("%%ns client\nkubectl get configmap mine -o name").text == "configmap/mine\n"


def test_a_node_is_a_machine_and_the_client_is_a_network_only(opened: Kernel) -> None:
    lab, node, client = (links(opened, magic) for magic in ("%%lab", "%%ns node1", "%%ns client"))
    assert [kind for kind in lab if lab[kind] != node[kind]] == ["net", "mnt", "uts", "pid"]
    assert [kind for kind in ("net", "uts", "pid") if lab[kind] != client[kind]] == ["net"]
    assert opened.run("%%ns node2\nhostname").text == "node2\n"
    assert opened.run("cluster.run('hostname', on='node1')").text == "node1\n"


def test_a_named_pod_is_a_place(opened: Kernel, ask: Ask) -> None:
    opened.run(RUN_WEB)
    assert opened.run("cluster.name_pod('web')").plain == ["'web'"]
    address = ask("pod", "web")["status"]["podIP"]
    shown = json.loads(opened.run("%%ns web\nip -json -4 addr show eth0").text)
    assert [entry["local"] for entry in shown[0]["addr_info"]] == [address]
    opened.client.complete("%%ns ", 5)
    reply = opened.client.get_shell_msg(timeout=10)
    assert {"node1", "node2", "client", "web"} <= set(reply["content"]["matches"])


def test_opening_again_removes_what_the_first_run_left(opened: Kernel, ask: Ask) -> None:
    opened.run(RUN_WEB + "\nkubectl create deployment many --replicas=3 --image=lab.local/tools:1.0 -- sleep infinity\n"
                         "kubectl delete pod web --wait=false\npython3 -m http.server 8081 >/dev/null 2>&1 &")
    opened.run("%%ns node1\nsleep 98765 &")
    old = ask("namespace", NAMESPACE)["metadata"]["uid"]
    assert opened.run(opening(NAMESPACE)).error == ""
    assert ask("namespace", NAMESPACE)["metadata"]["uid"] != old
    assert ask("all")["items"] == []
    assert [item["metadata"]["name"] for item in ask("serviceaccounts")["items"]] == ["default"]
    assert opened.run("%%lab\npgrep -f '[h]ttp.server 8081|[s]leep 98765'").text == ""
    assert opened.run(RUN_WEB).plain == ["exit status 0"]


def test_names_of_pods_go_with_the_next_run(opened: Kernel) -> None:
    opened.run(RUN_WEB)
    opened.run("cluster.name_pod('web')")
    assert "web" in opened.run("%%lab\nip netns list").text
    opened.run(opening(NAMESPACE))
    assert "web" not in opened.run("%%lab\nip netns list").text


def test_objects_are_read_as_kubectl_reads_them(opened: Kernel, ask: Ask) -> None:
    opened.run("%%lab\nkubectl create deployment web --image=lab.local/tools:1.0 --replicas=0")
    opened.run("import json")
    for kind, name in (("deployments", "web"), ("deploy", "web"), ("deployment.apps", "web"), ("Deployment", "web"),
                       ("node", "node1")):
        read = json.loads(opened.run(f"print(json.dumps(cluster.get({kind!r}, {name!r})['metadata']))").text)
        assert read["uid"] == ask(kind, name)["metadata"]["uid"]
    names = opened.run("print([item['metadata']['name'] for item in cluster.get('deployments')])").text
    assert names == "['web']\n"
    assert opened.run("print(cluster.get('pods'), len(cluster.get('nodes')))").text == "[] 2\n"
    assert "kube-dns" in opened.run("print([s['metadata']['name'] for s in cluster.get('svc', namespace='*')])").text
    assert opened.run("print(cluster.get('svc', 'kube-dns', namespace='kube-system')['spec']['clusterIP'])").text == \
        "10.152.183.10\n"


@pytest.mark.parametrize(("cell", "error", "parts"), [
    ("%%ns node9\nls", "NamespaceNotFound", ["'node9'", " client, ", " node1, ", " node2", "name_pod"]),
    ("cluster.run('ls', on='nowhere')", "NamespaceNotFound", ["'nowhere'"]),
    ("cluster.get('pod', 'none')", "ClusterError", ["there is no pod none", f"namespace {NAMESPACE}"]),
    ("cluster.get('podz')", "ClusterError", ["'podz'", "kubectl api-resources"]),
    ("cluster.name_pod('none')", "ClusterError", ["there is no pod none"]),
    ("cluster.enable('cheese')", "ClusterError", ["no add-on 'cheese'", "metallb"]),
    ("open_cluster('kube-system')", "LessonError", ["'kube-system'"]),
    ("open_cluster('../x')", "LessonError", ["'../x'"]),
])
def test_what_goes_wrong_is_said_without_our_insides(opened: Kernel, cell: str, error: str, parts: list[str]) -> None:
    shown = opened.run(cell)
    assert shown.error.startswith(error)
    for part in parts:
        assert part in shown.traceback
    assert "File " not in shown.traceback
    assert opened.run("%%lab\necho alive").text == "alive\n"


def test_an_add_on_can_be_enabled_from_a_cell(opened: Kernel, ask: Ask) -> None:
    assert opened.run("cluster.enable('dns')").text == "The cluster has the add-on dns.\n"
    assert ask("deployment", "coredns", namespace="kube-system")["status"]["availableReplicas"] == 1


def test_two_notebooks_at_once_do_not_disturb_each_other(opened: Kernel, folders: Path, ask: Ask) -> None:
    opened.run("%%lab\nkubectl create configmap mine")
    (folders / "b").mkdir()
    with Kernel(folders / "b") as other:
        assert other.run(opening(NAMESPACE + "-2")).error == ""
        other.run("%%lab\nkubectl create configmap others")
        assert "mine" not in other.run("%%lab\nkubectl get configmaps -o name").text
        assert opened.run("%%lab\nkubectl get configmap mine -o name").text == "configmap/mine\n"
    # The other notebook has ended; the cluster, and what the notebook made in it, has not.
    assert ask("configmap", "others", namespace=NAMESPACE + "-2")
    assert opened.run("%%lab\nkubectl get configmap mine -o name").text == "configmap/mine\n"


@pytest.mark.timeout(180)
def test_a_cluster_of_its_own_is_fresh_each_time_and_ends_with_the_notebook(folders: Path) -> None:
    open_own = opening("own").replace('"own"', '"own", own=True')
    own = Cluster(f"{os.environ[CLUSTER_VARIABLE]}-own")

    def process() -> int:
        with own:
            pid: int = own.status()["pid"]
            return pid

    (folders / "c").mkdir()
    with Kernel(folders / "c") as notebook:
        notebook.run("from labsupport.lesson import opening\nopening.OWN_IDLE_S = 2")
        assert notebook.run(open_own).error == ""
        first = process()
        assert notebook.run("%%ns node1\ntouch /var/lib/mark && hostname").text == "node1\n"
        assert notebook.run(open_own).error == ""
        assert process() != first
        assert notebook.run("%%ns node1\nls /var/lib/mark").plain == ["exit status 2"]
        assert own.running
    wait_until(lambda: not own.folder.running(), what="the notebook's cluster to end", deadline_s=30)


def test_a_lab_after_a_cluster_is_the_notebooks_own(opened: Kernel) -> None:
    assert opened.run("from labsupport.lesson import open_lab\nlab = open_lab()").error == ""
    assert opened.run("%%lab\nip netns list").text == ""
    assert opened.run("cluster.lab.closed").plain == ["True"]
    opened.run("lab.close()")


def test_after_the_clusters_end_a_cell_says_what_to_do(opened: Kernel) -> None:
    opened.run("cluster.close()")
    shown = opened.run("%%lab\nls")
    assert shown.error.startswith("LessonError: this notebook's cluster has ended")
    assert f'cluster = open_cluster("{NAMESPACE}")' in shown.traceback


def test_a_node_without_its_first_process_is_stopped(lab: Lab) -> None:
    lab.run("ip netns add node7", echo=False).check()
    with pytest.raises(ClusterError, match="node7 is stopped"):
        enter_node(lab, "node7", ["ls"])
    with pytest.raises(ClusterError, match="the cluster has no node 'node8'") as caught:
        enter_node(lab, "node8", ["ls"])
    assert caught.value.expected == "one of node7, client"
