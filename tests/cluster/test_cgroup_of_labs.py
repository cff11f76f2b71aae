"""The cgroup of a cluster, with whichever controller this machine's cgroup v2 has, in labs without a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import oracle
import pytest

from labsupport import Lab
from labsupport.cluster.limits import Limits
from labsupport.doctor.cgroups import Place
from labsupport.doctor.ids import plan_id_map
from labsupport.errors import LabUnavailable
from labsupport.waiting import wait_until

pytestmark = pytest.mark.root_only  # the host's cgroups are root's; what an ordinary user has of them, systemd decides
NAME = f"t-{os.getpid()}"
IN_THE_LAB = """
set -e
mount -t cgroup2 cgroup2 /mnt && cd /mnt
grep -qx 0::/lab /proc/self/cgroup
mkdir -p node1/container && echo "+$1" >node1/cgroup.subtree_control
echo $$ >node1/container/cgroup.procs && cat node1/container/cgroup.controllers
! echo 1 >cgroup.max.descendants
"""


@pytest.fixture
def place() -> Iterator[Place]:
    """A cgroup that gives one controller to those made in it, below the top one; both are as before in the end."""
    own = oracle.cgroup(os.getpid())
    top = next(folder for folder in [own, *own.parents] if not (folder / "cgroup.events").exists())
    there = (top / "cgroup.controllers").read_text().split()
    if not there:
        pytest.skip("cgroup v2 has no controller here")
    enabled = (top / "cgroup.subtree_control").read_text().split()
    (top / "cgroup.subtree_control").write_text(f"+{there[-1]}")
    parent = top / f"tests-{os.getpid()}"
    parent.mkdir()
    (parent / "cgroup.subtree_control").write_text(f"+{there[-1]}")
    try:
        yield Place(own, parent, (there[-1],))
    finally:
        left = [Path(folder) for folder, _, _ in os.walk(parent, topdown=False)]
        for folder in left:
            folder.rmdir()
        if there[-1] not in enabled:
            (top / "cgroup.subtree_control").write_text(f"-{there[-1]}")
    assert left == [parent]


@pytest.fixture
def limits(place: Place) -> Limits:
    return Limits(NAME, place, plan_id_map().uids[0][1])


def agent() -> oracle.Process:
    """Return the first process of this test's lab; a cluster that other tests share is further down."""
    (found,) = [process for process in oracle.descendants(os.getpid())
                if process.is_agent and process.parent == os.getpid()]
    return found


def test_the_lab_is_in_the_cgroup_and_may_divide_it(place: Place, limits: Limits) -> None:
    with limits.root_of_labs():
        lab = Lab()
    top = place.parent / f"labsupport-{os.geteuid()}-{NAME}"
    with lab:
        assert oracle.cgroup(agent().pid) == top / "lab"
        assert oracle.cgroup(os.getpid()) == place.own
        assert (top / "cgroup.procs").read_text() == ""
        assert (top / "cgroup.subtree_control").read_text().split() == list(place.controllers)
        done = lab.run(["bash", "-c", IN_THE_LAB, "bash", *place.controllers], echo=False)
        assert done.stdout.split() == list(place.controllers), done.stderr
        assert (limits.controllers, limits.missing) == (place.controllers, "")
    limits.end()
    assert not top.exists()
    limits.end()


def test_a_lab_that_does_not_start_leaves_this_process_where_it_was(place: Place, limits: Limits) -> None:
    with pytest.raises(LabUnavailable), limits.root_of_labs():
        raise LabUnavailable("of no use")
    assert oracle.cgroup(os.getpid()) == place.own
    limits.end()


def test_without_a_place_the_lab_lives_where_this_process_does() -> None:
    limits = Limits(NAME, Place(Path("/nowhere"), None, (), "for a reason"), 0)
    with limits.root_of_labs(), Lab():
        assert oracle.cgroup(agent().pid) == oracle.cgroup(os.getpid())
    limits.end()
    assert (limits.controllers, limits.missing) == ((), "for a reason")


def test_what_the_kernel_refuses_is_told_and_the_lab_starts(place: Place) -> None:
    limits = Limits(NAME, Place(place.own, place.parent, ("imaginary",)), plan_id_map().uids[0][1])
    with limits.root_of_labs():
        lab = Lab()
    with lab:
        assert lab.run("true", echo=False).exit_status == 0
    assert limits.controllers == ()
    assert "the kernel refuses a cgroup" in limits.missing
    limits.end()


def test_the_next_start_removes_what_a_killed_process_has_left(place: Place, limits: Limits) -> None:
    script = ("import sys, os, signal; from pathlib import Path; from labsupport import Lab; "
              "from labsupport.cluster.limits import Limits; from labsupport.doctor.cgroups import Place\n"
              f"limits = Limits('t-gone', Place(Path({str(place.own)!r}), Path({str(place.parent)!r}), "
              f"{place.controllers!r}), {plan_id_map().uids[0][1]})\n"
              "with limits.root_of_labs(): lab = Lab()\n"
              "lab.run('mount -t cgroup2 c /mnt && mkdir -p /mnt/node1/c1', echo=False).check()\n"
              "os.kill(os.getpid(), signal.SIGKILL)")
    subprocess.run([sys.executable, "-c", script], check=False, timeout=30)
    left = place.parent / f"labsupport-{os.geteuid()}-t-gone"
    assert (left / "node1" / "c1").is_dir()
    wait_until(lambda: "populated 0" in (left / "cgroup.events").read_text(), what="the lab to end", deadline_s=10)
    with limits.root_of_labs():
        pass
    assert not left.exists()
    limits.end()
