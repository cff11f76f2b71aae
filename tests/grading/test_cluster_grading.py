"""A notebook with a cluster: graded on one of its own, which the student may break and which is gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cluster_sample
import oracle
import pytest
import sample
import shared_cluster

from labsupport.cluster import Cluster
from labsupport.cluster.folder import running_clusters
from labsupport.errors import GradingError
from labsupport.grading.course import CourseNotebook, load_course_notebook
from labsupport.grading.grade import grade
from labsupport.grading.graded_cluster import IDLE_S, cluster_for_grading
from labsupport.grading.graft import graft
from labsupport.grading.jail import Jail
from labsupport.grading.reference import execute, load_rules
from labsupport.waiting import wait_until

pytestmark = pytest.mark.timeout(150)  # most start a cluster
RULES = load_rules(Path(__file__).parent.parent / "nbval-sanitize.cfg")
LOOK_AROUND = """
from labsupport.lesson import open_cluster
cluster = open_cluster("looking")
def see(command):
    return cluster.lab.run(command, echo=False).stdout.split()
"""
BREAK = cluster_sample.GOOD_POD + """
pkill -STOP -f '[k]ube-apiserver|[e]tcd'
ip link del rack
ip netns del node1
"""


@pytest.fixture
def notebook(tmp_path: Path) -> CourseNotebook:
    shared_cluster.need_programs()
    return load_course_notebook(sample.write(tmp_path / cluster_sample.NAME, cluster_sample.cells()))


@pytest.fixture(scope="module")
def graded(lasting_clusters: set[int]) -> Iterator[Cluster]:
    """A cluster for answers that break nothing, one after the other."""
    shared_cluster.need_programs()
    with cluster_for_grading(lambda _step: None) as cluster:
        pid = cluster.status()["pid"]
        lasting_clusters.add(pid)
        yield cluster
    lasting_clusters.remove(pid)


def of_this_process() -> list[str]:
    return [folder.name for folder in running_clusters() if folder.name.startswith(f"grade-{os.getpid()}-")]


def test_a_notebook_needs_a_cluster_if_its_setup_opens_one(notebook: CourseNotebook, course: CourseNotebook) -> None:
    assert (notebook.namespace, course.namespace) == (cluster_sample.NAMESPACE, "")
    assert notebook.addons == course.addons == ()


def with_setup(tmp_path: Path, *more: dict[str, object]) -> Path:
    opening = cluster_sample.SETUP.replace('")', '", own=True)')
    return sample.write(tmp_path / cluster_sample.NAME, [sample.code("setup", opening, role="setup"), *more])


def test_add_ons_that_its_setup_enables_are_known_before_it_runs(tmp_path: Path) -> None:
    enabling = 'cluster.enable("metallb:10.0.0.200-10.0.0.220")'
    notebook = load_course_notebook(with_setup(tmp_path, sample.code("pool", enabling, role="setup")))
    assert notebook.namespace == cluster_sample.NAMESPACE
    assert notebook.addons == ("metallb:10.0.0.200-10.0.0.220",)
    with pytest.raises(GradingError, match="pool: a cell that enables an add-on needs the role 'setup'"):
        load_course_notebook(with_setup(tmp_path, sample.code("pool", enabling)))


def test_one_that_wants_a_cluster_of_its_own_is_graded_like_others(tmp_path: Path) -> None:
    setup = cluster_sample.SETUP.replace('")', '", own=True)')
    cells = [cell | {"source": setup} if cell["id"] == "setup" else cell for cell in cluster_sample.cells()]
    read = load_course_notebook(sample.write(tmp_path / cluster_sample.NAME, cells))
    assert read.namespace == cluster_sample.NAMESPACE


@pytest.mark.parametrize(("cell", "source"), [
    ("setup", "from labsupport.lesson import open_cluster\nname = 'x'\ncluster = open_cluster(name)"),
    ("lesson", 'cluster = open_cluster("another")'),
])
def test_which_namespace_it_is_must_be_plain_to_see(tmp_path: Path, cell: str, source: str) -> None:
    cells = [entry | {"source": source if entry["id"] == cell else entry["source"]} for entry in cluster_sample.cells()]
    with pytest.raises(GradingError, match="the course's notebook cannot be graded") as caught:
        load_course_notebook(sample.write(tmp_path / "05-x.ipynb", cells))
    assert f"{cell}: the first code cell, and no other, opens the cluster" in caught.value.observed


def test_good_answers_earn_everything_on_a_cluster_that_is_gone_afterwards(notebook: CourseNotebook) -> None:
    before, said = of_this_process(), list[str]()
    report = grade(graft(notebook, cluster_sample.GOOD), say=said.append)
    assert (report.points, report.raised, report.ended) == (5, {}, "")
    assert "starting a cluster: etcd and kube-apiserver" in said
    assert of_this_process() == before


def test_as_shipped_it_earns_nothing(notebook: CourseNotebook, graded: Cluster) -> None:
    report = grade(notebook, cluster=graded)
    assert (report.points, report.raised, report.ended) == (0, {}, "")


@pytest.mark.parametrize("name", cluster_sample.WRONG)
def test_wrong_answers_on_one_cluster_do_not_see_each_other(notebook: CourseNotebook, graded: Cluster,
                                                            name: str) -> None:
    exercise, cells, points = cluster_sample.WRONG[name]
    report = grade(graft(notebook, cluster_sample.GOOD | cells), only=exercise, cluster=graded)
    assert (report.points, report.raised, report.ended) == (points, {}, "")


def test_student_code_sees_nothing_of_the_teacher_through_the_cluster(graded: Cluster, tmp_path: Path) -> None:
    secret = tmp_path / "answers.toml"
    secret.write_text("secret")
    tops = [f"/{part}" for part in {secret.parts[1], Path(__file__).parts[1], Path.home().parts[1]} - {"usr"}]
    with Jail(cluster=graded) as jail:

        def look(source: str) -> object:
            assert jail.run(source, 60.0).error == ""
            return jail.answer()

        look(LOOK_AROUND)
        assert look(f"answer = see('cat {secret} {__file__}')") == []
        assert set(look(f"answer = see('ls -A {Path.home()}')")) <= {".cache", ".kube"}  # programs; kubectl's own
        assert look(f"answer = see('find {' '.join(tops)} -name answers -o -name notebooks')") == []
        # Neither the administrator's kubeconfig of the host nor the socket that controls the cluster.
        private = list(map(str, (graded.kubeconfig, graded.folder.control_socket)))
        assert look(f"import os\nanswer = [os.path.exists(path) for path in {private}]") == [False, False]
        assert look(f"answer = see('ls -d {' '.join(private)}')") == []
        # No way out for images, and none through them.
        proxy = "curl --silent --max-time 5 --proxy http://10.0.0.1:3128 https://192.0.2.1; echo $?"
        assert look(f"answer = see({proxy!r})") in (["7"], ["28"])  # nobody there: refused, or no answer at all
        assert look("answer = [item['metadata']['name'] for item in cluster.get('nodes')]") == ["node1", "node2"]


@pytest.mark.parametrize("answer", [BREAK, "%%lab\nkill -STOP -1", "cluster.lab.end_processes()"])
def test_a_student_who_breaks_his_cluster_loses_points_and_nothing_else_happens(notebook: CourseNotebook,
                                                                                   answer: str) -> None:
    before, started = of_this_process(), time.monotonic()
    report = grade(graft(notebook, cluster_sample.GOOD | {"pod-answer": answer}), cell_limit_s=10.0)
    assert time.monotonic() - started < 120
    assert (report.points, report.ended) == (0, "")
    pod, address = report.exercises
    assert [item.text for item in pod.items] == ["the check had to stop: the API server cannot be reached"]
    assert not any(item.ok for item in address.items)
    assert of_this_process() == before


def test_the_cluster_ends_with_a_grader_that_was_killed(notebook: CourseNotebook, tmp_path: Path) -> None:
    student = sample.write(tmp_path / "05-me.ipynb", [
        cell | ({"source": "%%lab\nsleep 54321"} if cell["id"] == "pod-answer" else {})
        for cell in cluster_sample.cells()])
    command = [sys.executable, "-c", "import sys; from labsupport.cli import main; sys.exit(main())", "check", student,
               "--course", notebook.path.parent]
    grader = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    name = f"grade-{grader.pid}-1"
    try:
        wait_until(lambda: any(child.command_line.startswith("sleep\x0054321\x00")
                               for child in oracle.lab_processes_below(os.getpid())), what="the cell", deadline_s=60)
        assert Cluster(name).running
    finally:
        os.killpg(grader.pid, signal.SIGKILL)
        grader.wait()
        wait_until(lambda: not Cluster(name).folder.running(), what="the cluster to end", deadline_s=IDLE_S + 20)


def test_its_outputs_are_the_same_whether_the_cluster_runs_or_not(notebook: CourseNotebook) -> None:
    """Runs it twice in an ordinary kernel, the second time with what the first run left, as `make reference` does."""
    cells = tuple(cell for cell in graft(notebook, cluster_sample.GOOD).cells if cell.id not in {"lesson"})
    results = execute(CourseNotebook(notebook.path, cells), RULES)
    (setup,) = results["setup"][1]
    assert setup["text"] == ("Cluster: embedded (the default; LABSUPPORT_BACKEND chooses another).\n"
                             "The cluster runs: node1, node2. kubectl in this notebook uses the namespace "
                             f"{cluster_sample.NAMESPACE}, which is empty.\n")
    assert "done, 3 points" in results["pod-check"][1][0]["data"]["text/plain"]
