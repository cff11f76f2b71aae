"""Where a cluster may make its cgroup: in trees of files as the kernel shows them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labsupport.doctor import cgroups
from labsupport.doctor.cgroups import Place, check_limits, search

ALL = "cpuset cpu io memory pids"
SOMEBODY = 47111


class Tree:
    """A made-up cgroup file system. Root may write everywhere, so who may not is an ordinary user."""

    def __init__(self, root: Path, controllers: str) -> None:
        self.root = root
        self.closed: list[Path] = []
        self.add("/", enabled=controllers)
        (root / "cgroup.controllers").write_text(controllers + "\n")

    def add(self, path: str, *, enabled: str = "", writable: bool = True) -> Path:
        cgroup = self.root / path.strip("/")
        cgroup.mkdir(exist_ok=True)
        (cgroup / "cgroup.subtree_control").write_text(enabled + "\n")
        (cgroup / "cgroup.procs").touch()
        for file, mode in ((cgroup, 0o777), (cgroup / "cgroup.procs", 0o666)):
            file.chmod(mode)
        if not writable:
            self.closed.append(cgroup)
        return cgroup

    def search(self, own: str) -> Place:
        """Search as an ordinary user, when everything is there and what is not for him is closed."""
        for cgroup in self.closed:
            (cgroup / "cgroup.procs").chmod(0o444)
            cgroup.chmod(0o555)
        with ordinary_user():
            return search(self.root, own)


@pytest.fixture
def tree() -> Iterator[Tree]:
    folder = Path(tempfile.mkdtemp(prefix="cgroups-"))  # others cannot reach tmp_path
    folder.chmod(0o755)
    yield Tree(folder / "cgroup", ALL)
    for path in [folder / "cgroup", *(folder / "cgroup").rglob("*/")]:
        path.chmod(0o700)
    shutil.rmtree(folder)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Whoever runs the tests, but not root."""
    before = os.getresuid()
    if os.geteuid() == 0:
        os.setresuid(SOMEBODY, SOMEBODY, 0)
    try:
        yield
    finally:
        os.setresuid(*before)


def test_an_ordinary_user_s_place_is_where_systemd_delegates(tree: Tree) -> None:
    tree.closed.append(tree.root)
    tree.add("/user.slice", enabled=ALL, writable=False)
    tree.add("/user.slice/user@1000.service", enabled=ALL)
    apps = tree.add("/user.slice/user@1000.service/app.slice", enabled="memory cpu pids")
    own = tree.add("/user.slice/user@1000.service/app.slice/app.scope")
    assert tree.search("/user.slice/user@1000.service/app.slice/app.scope") == Place(
        own, apps, ("cpu", "memory", "pids"))


def test_more_controllers_are_better_than_a_near_cgroup(tree: Tree) -> None:
    top = tree.add("/top", enabled=ALL)
    tree.add("/top/near", enabled="memory pids")
    tree.add("/top/near/own")
    assert search(tree.root, "/top/near/own").parent == top


def test_a_login_session_is_of_no_use_since_it_is_root_s(tree: Tree) -> None:
    tree.closed.append(tree.root)
    tree.add("/user.slice", enabled=ALL, writable=False)
    own = tree.add("/user.slice/session-2.scope", writable=False)
    place = tree.search("/user.slice/session-2.scope")
    assert (place.own, place.parent, place.controllers) == (own, None, ())
    assert place.missing == "this user may not make a cgroup with cpu, memory, pids"


def test_who_could_not_come_back_does_not_go(tree: Tree) -> None:
    tree.add("/own", writable=False)
    assert tree.search("/own").parent is None
    assert tree.search("/").parent == tree.root


def test_a_part_of_the_controllers_is_taken_and_the_rest_told(tree: Tree) -> None:
    (tree.root / "cgroup.subtree_control").write_text("memory pids\n")
    tree.add("/own")
    assert search(tree.root, "/own") == Place(
        tree.root / "own", tree.root, ("memory", "pids"), "this user may not make a cgroup with cpu")


def test_controllers_of_cgroup_v1_are_told(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "unified", "hugetlb")
    place = search(tree.root, "/")
    assert place.parent is None
    assert place.missing == f"cgroup v2 does not have cpu, memory, pids at {tree.root}"


@pytest.mark.parametrize("own", ["/../elsewhere", "/gone", "/.."])
def test_a_cgroup_that_cannot_be_seen_is_none(tree: Tree, own: str) -> None:
    place = search(tree.root, own)
    assert place.parent is None
    assert own in place.missing


def test_this_machine_s_place_is_the_one_that_its_processes_are_in() -> None:
    place = cgroups.find_place()
    if place.own != Path():
        assert str(os.getpid()) in (place.own / "cgroup.procs").read_text().split()
    assert (place.parent is None) == (not place.controllers)
    assert bool(place.missing) == (len(place.controllers) < 3)


def test_the_doctor_asks_without_going_anywhere() -> None:
    before = cgroups.find_place()
    place = cgroups.ask_place()
    assert len(place.controllers) >= len(before.controllers)
    assert cgroups.find_place() == before


@pytest.mark.parametrize(("place", "systemd", "state", "words"), [
    (Place(Path(), None, ("cpu", "memory", "pids")), True, "ok", ""),
    (Place(Path(), None, ("memory", "pids"), "no cpu"), True, "note", "Delegate=cpu memory pids"),
    (Place(Path(), None, (), "nothing"), False, "note", "a container needs cgroup v2"),
])
def test_the_doctor_says_what_can_be_enforced(place: Place, systemd: bool, state: str, words: str) -> None:
    check = check_limits(place, systemd=systemd)
    assert check.state == state
    assert (", ".join(place.controllers) or "none") in check.observed
    assert place.missing in check.observed
    assert words in check.next_step
