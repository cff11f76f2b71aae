"""What lies on the host for a cluster: its folder, which must be nobody else's, its lock and its logs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kube import running

from labsupport.cluster import Cluster, logs
from labsupport.cluster.folder import ClusterFolder
from labsupport.cluster.logs import Log, tail
from labsupport.errors import ClusterError

HOSTILE_USER = 47111
MAKE = "from labsupport.cluster.folder import cluster_folder; cluster_folder('mine').make()"


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a_b", "a.b", "../a", "/tmp/a", "a" * 33, "a\n", "ä"])
def test_what_cannot_be_a_name_is_refused(name):
    with pytest.raises(ClusterError, match="cannot be the name of a cluster"):
        Cluster(name)


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 32])
def test_what_can_be_a_name_is_one_and_nothing_is_made(name):
    assert Cluster(name).folder.name == name
    assert not Cluster(name).folder.path.exists()


@pytest.mark.parametrize(("options", "message"), [({"nodes": 0}, "1 to 9 nodes"), ({"nodes": 10}, "1 to 9 nodes"),
                                                  ({"proxy_mode": "ipvs"}, "no mode 'ipvs'")])
def test_settings_that_cannot_be_are_refused_before_anything_is_made(options, message):
    cluster = Cluster("t-never")
    with pytest.raises(ClusterError, match=message):
        cluster.start(**options)
    assert not cluster.folder.path.exists()


@pytest.fixture
def foreign_folder():
    """The path that another user's clusters would have; removed in the end."""
    path = Path(f"/tmp/labsupport-{HOSTILE_USER}")
    assert not path.is_symlink()
    assert not path.exists()
    yield path
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        path.rmdir()


def make_as_other_user() -> str:
    """Make a cluster's folder as HOSTILE_USER, really or in a user namespace; return what went wrong."""
    become = (["setpriv", f"--reuid={HOSTILE_USER}", f"--regid={HOSTILE_USER}", "--clear-groups"] if os.geteuid() == 0
              else ["unshare", "--user", f"--map-user={HOSTILE_USER}"])
    return subprocess.run([*become, sys.executable, "-c", MAKE], capture_output=True, text=True, check=False, cwd="/",
                          timeout=30).stderr


@pytest.mark.parametrize("kind", ["open to all", "symbolic link", "file"])
def test_a_folder_that_somebody_has_prepared_is_refused(foreign_folder, tmp_path, kind):
    if kind == "open to all":
        foreign_folder.mkdir()
        foreign_folder.chmod(0o777)
    elif kind == "symbolic link":
        foreign_folder.symlink_to(tmp_path)
    else:
        foreign_folder.touch()
    try:
        said = make_as_other_user()
    finally:
        if kind == "file":
            foreign_folder.unlink()
    assert "ClusterError" in said
    assert "cannot be trusted" in said
    assert str(foreign_folder) in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root_only
def test_a_folder_of_another_owner_is_refused(foreign_folder):
    foreign_folder.mkdir(mode=0o700)
    os.chown(foreign_folder, 47112, 47112)
    assert "owned by uid 47112" in make_as_other_user()


def test_only_one_process_has_the_lock(tmp_path):
    folder = ClusterFolder(tmp_path / "one")
    folder.path.mkdir()
    assert not folder.running()
    code = ("import sys, pathlib; from labsupport.cluster.folder import ClusterFolder\n"
            f"fd = ClusterFolder(pathlib.Path({str(folder.path)!r})).lock()\nprint('has it', flush=True)\ninput()")
    with running([sys.executable, "-c", code]) as other:
        other.until("has it\n")
        assert folder.running()
        assert folder.lock() is None
    assert not folder.running()
    fd = folder.lock()
    assert fd is not None
    os.close(fd)


def test_a_log_is_cut_when_it_gets_long(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "LONGEST_BYTES", 100)
    log = Log(tmp_path / "part.log")
    for number in range(30):
        log.write(b"line %02d\n" % number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.log", "part.log.1"]
    older, newer = (tmp_path / "part.log.1").read_text(), log.path.read_text()
    assert len(older) <= 108
    assert (older + newer).endswith("".join(f"line {number:02}\n" for number in range(13, 30)))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    log.close()
    log.write(b"late\n")
    assert "late" not in log.path.read_text()


def test_a_log_on_a_full_disk_loses_lines_and_raises_nothing(tmp_path):
    (tmp_path / "part.log").symlink_to("/dev/full")
    log = Log(tmp_path / "part.log")
    log.write(b"lost\n")
    log.close()


def test_the_end_of_a_log_is_short_whatever_is_in_it(tmp_path):
    path = tmp_path / "part.log"
    assert tail(path) == ""
    path.write_bytes(b"first\n" + b"x" * 10_000 + b"\n\xff\xfe\nlast")
    shown = tail(path, 3).splitlines()
    assert len(shown) == 3
    assert max(map(len, shown)) <= 300
    assert shown[1:] == ["\\xff\\xfe", "last"]
    path.write_text("".join(f"{number}\n" for number in range(100)))
    assert tail(path, 2) == "98\n99"
