"""Notebooks with a cluster that gives its API and nothing else: a real one, reached by its kubeconfig."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import oracle
import pytest
import shared_cluster
from kernel import Kernel

from labsupport.cluster import Cluster
from labsupport.cluster.folder import running_clusters
from labsupport.grading.course import load_course_notebook
from labsupport.grading.reference import run_notebook
from labsupport.lesson.opening import CLUSTER_VARIABLE
from labsupport.waiting import wait_until

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"
OPENING = 'from labsupport.lesson import check, open_cluster\ncluster = open_cluster("foreign-lesson")'
OPENING_OWN = OPENING.replace('")', '", own=True)')
SKIPPED = re.compile(r"Skipped: this cell needs the nodes of the cluster, and this one \(kubeconfig, context \S+\) ")


@pytest.fixture(scope="module")
def embedded() -> Iterator[Cluster]:
    """The cluster that notebooks share while tests run."""
    shared_cluster.need_programs()
    with Cluster(os.environ[CLUSTER_VARIABLE]) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
def foreign(embedded: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user exports before Jupyter is started."""
    monkeypatch.setenv("LABSUPPORT_BACKEND", "kubeconfig")
    monkeypatch.setenv("KUBECONFIG", str(embedded.kubeconfig))


@pytest.fixture(scope="module")
def kernel(embedded: Cluster, lasting_clusters: set[int]) -> Iterator[Kernel]:
    with tempfile.TemporaryDirectory(prefix="k") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABSUPPORT_BACKEND", "kubeconfig")
        patch.setenv("KUBECONFIG", str(embedded.kubeconfig))
        with Kernel(Path(folder)) as started:
            lasting_clusters.add(started.pid)
            assert started.run(OPENING).error == ""
            yield started
            lasting_clusters.remove(started.pid)


@pytest.mark.parametrize("opening", [OPENING_OWN, OPENING])
def test_the_choice_and_what_it_means_are_said(kernel: Kernel, opening: str) -> None:
    said = kernel.run(opening).text.splitlines()
    assert said[0] == "Cluster: kubeconfig (LABSUPPORT_BACKEND names it)."
    assert re.match(r"The context labsupport-\S+ gives no access to the kernels of its nodes: .* are skipped\. "
                    r"Pods use the images lab\.local/agnhost:1\.0 and lab\.local/tools:1\.0\.", said[1])
    assert said[-1].startswith("The cluster runs: node1, node2. ")
    assert re.match(r"<cluster of kubeconfig, context \S+; namespace foreign-lesson>", kernel.run("cluster").plain[0])
    assert not [folder for folder in running_clusters() if folder.name.endswith("-foreign-lesson")]


def test_kubectl_works_in_a_lab_that_has_no_credentials(kernel: Kernel) -> None:
    shown = kernel.run("%%lab\nkubectl run web --image=$AGNHOST --overrides='{\"spec\": {\"nodeName\": \"'$NODE2'\"}}' "
                       "-- netexec --http-port=80\nkubectl wait --for=condition=Ready pod/web")
    assert shown.plain == ["exit status 0"]
    assert kernel.run("cluster.get('pod', 'web')['spec']['nodeName']").plain == ["'node2'"]
    assert kernel.run("%%lab\necho in | kubectl exec -i web -- sh -c 'cat; hostname; exit 3'").text == (
        "in\nweb\ncommand terminated with exit code 3\n")
    assert "Started HTTP server" in kernel.run("%%lab\nkubectl logs web").text
    files = kernel.run("%%lab\ncat $KUBECONFIG /etc/kubernetes/admin.conf; env").text
    assert not re.search("certificate|token|PRIVATE|client-key", files)
    assert kernel.run("%%lab\nkubectl auth whoami -o name --v=0 >/dev/null").plain == ["exit status 0"]
    assert kernel.run("print(*cluster.nodes(), cluster.image('agnhost'), cluster.offers('nodes'))").text == (
        "node1 node2 lab.local/agnhost:1.0 False\n")


@pytest.mark.parametrize("cell", ["%%ns node1\nhostname", "%%ns client\nls", "%%needs nodes\n1 / 0",
                                  "%%needs nodes\n%%lab\nip -n node1 route", "%%needs  nodes \n"])
def test_cells_that_need_the_nodes_are_skipped_and_say_so(kernel: Kernel, cell: str) -> None:
    shown = kernel.run(cell)
    assert (shown.status, shown.error, shown.plain) == ("ok", "", [])
    assert SKIPPED.match(shown.text)
    assert len(shown.text.splitlines()) == 1


@pytest.mark.parametrize(("cell", "error", "part"), [
    ("cluster.run('ls', on='node1')", "LessonError: node1 is out of reach", "%%needs nodes"),
    ("cluster.name_pod('web')", "LessonError: the network namespace of the pod web", "%%needs nodes"),
    ("%%needs node\n1", "LessonError: there is no such line as %%needs node", "%%needs nodes"),
    ("cluster.offers('kernels')", "LessonError: no cluster offers 'kernels'", "nodes"),
    ("cluster.enable('dns')", "LessonError: the add-on dns is out of reach", "%%needs nodes"),
    ("cluster.image('nginx')", "LessonError: a cluster has no image 'nginx'", "agnhost, tools"),
    ("open_cluster('foreign-lesson', backend='kind')", "ClusterError: there is no backend 'kind'", "microk8s"),
])
def test_what_is_not_marked_says_how_it_could_be(kernel: Kernel, cell: str, error: str, part: str) -> None:
    shown = kernel.run(cell)
    assert shown.error.startswith(error)
    assert part in shown.traceback
    assert "File " not in shown.traceback


def test_a_check_that_needs_the_nodes_carries_no_points(kernel: Kernel) -> None:
    cell = ("with check('seen', cluster, needs='nodes') as c:\n"
            "    assert not c.needs('first', ok=False)\n    c.holds('second', True, points=3)\n"
            "    cluster.name_pod('web')")
    shown = kernel.run(cell)
    assert shown.error == ""
    assert re.fullmatch(r"seen: skipped, 0 of 0 points: it needs the nodes, to which this cluster \(kubeconfig, "
                        r"context \S+\) gives no access", shown.plain[0])
    assert kernel.run("print(c.possible, c.earned, c.passed)").text == "0 0 False\n"
    shown = kernel.run("with check('said', cluster) as c:\n    c.holds('there', bool(cluster.get('pods')), points=2)")
    assert shown.plain == ["said: done, 2 points\n  [x] there (2 points)"]


def test_nothing_is_left_when_the_kernel_is_killed(foreign: None, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="k") as folder, Kernel(Path(folder)) as kernel:
        assert kernel.run(OPENING.replace("foreign-lesson", "foreign-killed")).error == ""
        below = oracle.descendants(kernel.pid)
        assert any(" proxy --unix-socket=" in process.command_line.replace("\0", " ") for process in below)
    left = {process.pid for process in below}
    wait_until(lambda: not [each for each in oracle.processes().values() if each.pid in left and each.state != "Z"],
               what="all of it to be gone", deadline_s=10)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", shared_cluster.notebooks())
def test_a_notebook_runs_to_its_end_and_says_what_it_skips(foreign: None, name: str) -> None:
    notebook = load_course_notebook(NOTEBOOKS / f"{name}.ipynb")
    shown = {cell.id: "".join(str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
                              for output in outputs)
             for cell, (_, outputs) in zip(notebook.cells, run_notebook(notebook), strict=True)}
    assert shown[notebook.cells[0].id].startswith("Cluster: kubeconfig ")
    for cell in notebook.cells:
        if cell.source.startswith(("%%needs nodes", "%%ns ")):
            assert SKIPPED.match(shown[cell.id]), cell.id
        elif cell.role == "check":
            expected = "skipped, 0 of 0 points" if 'needs="nodes"' in cell.source else "not yet, 0 points so far"
            assert shown[cell.id].startswith(f"{cell.exercise}: {expected}"), cell.id
