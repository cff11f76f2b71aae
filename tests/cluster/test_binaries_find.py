"""Programs are found in the cache first, then in the environment and on PATH, and only at versions that work."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from binaries_world import content, fill, script, unit

from labsupport.cluster.binaries import find as find_module
from labsupport.cluster.binaries import find_programs, missing_programs, require_programs
from labsupport.cluster.binaries.find import cached, survey
from labsupport.cluster.binaries.units import UNITS, Unit
from labsupport.cluster.binaries.versions import ask
from labsupport.cluster.cache import cache_folder

REAL_CACHE = cache_folder()  # the one that this machine's clusters run from
PLUGINS = "errors file forward cache health hosts kubernetes loadbalance log loop ready reload rewrite template"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an empty cache, and none of the programs in its environment or on its PATH."""
    monkeypatch.setenv("LABSUPPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setattr(find_module, "_CNI_FOLDERS", (tmp_path / "cni",))


def test_nothing_is_there() -> None:
    assert find_programs() == {}
    names = missing_programs()
    assert names == [name for each in UNITS for name in each.programs]
    assert {"kube-apiserver", "kubectl", "etcd", "ctr", "host-local", "coredns", "agnhost", "pause"} <= set(names)
    assert "kubernetes" not in names, "the file that holds the components is no program to call"


def test_a_full_cache_is_used_without_starting_a_process(tmp_path: Path) -> None:
    trap = script(tmp_path / "path" / "etcd", "etcd Version: 3.6.0", also=f"touch {tmp_path}/started")
    fill()
    programs = find_programs()
    assert missing_programs() == []
    assert set(programs) == {name for each in UNITS for name in each.programs}
    assert {program.source for program in programs.values()} == {"built"}
    assert programs["etcd"].path != trap
    assert not (tmp_path / "started").exists()
    assert programs["kubelet"].path.resolve() == programs["kube-proxy"].path.resolve()
    assert programs["kubelet"].path.name == "kubelet", "the name it is called by says what it does"
    assert programs["kubelet"].version == "1.36.3"
    assert programs["etcd"].size_bytes == programs["etcd"].path.stat().st_size


def test_a_full_cache_is_enough_where_there_is_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    before = content(tmp_path / "cache")
    monkeypatch.setenv("GOPROXY", "off")
    assert require_programs(lambda line: pytest.fail(f"it did something: {line}")) == find_programs()
    assert content(tmp_path / "cache") == before


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users can read; pytest's are private."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_somebody_elses_cache_is_only_read(public_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABSUPPORT_CACHE", str(public_folder))
    fill()
    for path in [public_folder, *public_folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    reader = ("from labsupport.cluster.binaries import require_programs\n"
              "print(len(require_programs(print)))")
    done = subprocess.run([sys.executable, "-c", reader], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, user=_somebody_else())
    for path in [public_folder, *public_folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{len(find_programs())}\n", "")


def _somebody_else() -> int | None:
    return 65534 if os.geteuid() == 0 else None


def test_a_program_on_path_with_a_good_version(tmp_path: Path) -> None:
    path = script(tmp_path / "path" / "etcd", "etcd Version: 3.5.21\nGit SHA: a17edfd")
    found = survey([unit("etcd")])
    program = found.programs["etcd"]
    assert (program.path, program.version, program.source) == (path, "3.5.21", "PATH")
    assert (found.missing, found.remarks) == ([], [])


def test_the_python_environment_comes_before_path(tmp_path: Path) -> None:
    script(tmp_path / "path" / "runc", "runc version 1.2.5")
    script(tmp_path / "environment" / "bin" / "runc", "runc version 1.3.0\nspec: 1.2.1")
    program = survey([unit("runc")]).programs["runc"]
    assert (program.version, program.source) == ("1.3.0", "environment")


@pytest.mark.parametrize(("name", "prints", "reason"), [
    ("etcd", "etcd Version: 3.4.30", "version 3.4.30; 3.5 to 3.6 is needed"),
    ("etcd", "etcd Version: 3.7.0", "version 3.7.0; 3.5 to 3.6 is needed"),
    ("etcd", "Segmentation fault", "tells no version"),
    ("runc", "runc version 1.0.3", "version 1.0.3; 1.1 or newer is needed"),
    ("kubelet", "Kubernetes v1.35.9", "version 1.35.9; 1.36 to 1.36 is needed"),
    ("kubectl", "Client Version: v1.34.0", "version 1.34.0; 1.35 to 1.37 is needed"),
    ("coredns", "CoreDNS-1.10.1", "version 1.10.1; 1.11 or newer is needed"),
    ("coredns", "CoreDNS-1.12.0\n  dns.errors", "lacks the plugins cache, file, forward"),
])
def test_what_the_cluster_cannot_use_is_ignored_and_said(tmp_path: Path, name: str, prints: str, reason: str) -> None:
    path = script(tmp_path / "path" / name, prints)
    owner = next(each for each in UNITS if name in each.programs)
    found = survey([owner])
    assert name not in found.programs
    assert owner in found.missing
    assert len(found.remarks) == 1
    assert str(path) in found.remarks[0]
    assert reason in found.remarks[0]


def test_a_program_that_does_not_work_is_ignored_and_the_next_one_is_taken(tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "path" / "etcd"
    broken.parent.mkdir()
    broken.write_bytes(b"\x7fELF, and then nothing")
    broken.chmod(0o755)
    good = script(tmp_path / "second" / "etcd", "etcd Version: 3.6.1")
    monkeypatch.setenv("PATH", f"{broken.parent}:{good.parent}")
    found = survey([unit("etcd")])
    assert found.programs["etcd"].path == good
    assert "tells no version" in found.remarks[0]


def test_folders_on_path_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, loop = tmp_path / "closed", tmp_path / "loop"
    closed.mkdir(mode=0o000)
    loop.symlink_to(loop)
    good = script(tmp_path / "path" / "etcd", "etcd Version: 3.6.1")
    monkeypatch.setenv("PATH", f"{closed}:{loop}:{tmp_path}/missing::relative:{good.parent}")
    found = survey([unit("etcd")])
    assert (found.programs["etcd"].path, found.remarks) == (good, [])


def test_the_same_folder_twice_on_path_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = script(tmp_path / "path" / "etcd", "etcd Version: 3.4.1")
    (tmp_path / "link").symlink_to(old.parent)
    monkeypatch.setenv("PATH", f"{old.parent}:{tmp_path}/link")
    assert len(survey([unit("etcd")]).remarks) == 1


def test_coredns_with_all_plugins(tmp_path: Path) -> None:
    plugins = "\n".join(f"  dns.{name}" for name in PLUGINS.split())
    script(tmp_path / "path" / "coredns", f"CoreDNS-1.12.0\nOther plugins:\n{plugins}")
    assert survey([unit("coredns")]).programs["coredns"].version == "1.12.0"


def _containerd(folder: Path, *, ctr: str) -> None:
    script(folder / "containerd", "containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7")
    script(folder / "containerd-shim-runc-v2", "containerd-shim-runc-v2:\n  Version:  v2.1.4\n  Revision: 75cb2b7")
    script(folder / "ctr", f"ctr github.com/containerd/containerd/v2 {ctr}")


def test_containerd_its_shim_and_ctr_must_be_of_one_version(tmp_path: Path) -> None:
    _containerd(tmp_path / "path", ctr="v2.1.3")
    found = survey([unit("containerd")])
    assert found.programs == {}
    assert "ctr 2.1.3" in found.remarks[0]
    _containerd(tmp_path / "path", ctr="v2.1.4")
    assert {program.version for program in survey([unit("containerd")]).programs.values()} == {"2.1.4"}


def test_containerd_its_shim_and_ctr_must_be_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _containerd(tmp_path / "path", ctr="v2.1.4")
    (tmp_path / "second").mkdir()
    (tmp_path / "path" / "ctr").rename(tmp_path / "second" / "ctr")
    monkeypatch.setenv("PATH", f"{tmp_path}/path:{tmp_path}/second")
    assert survey([unit("containerd")]).programs == {}


def test_cni_plugins_are_also_looked_for_where_distributions_put_them(tmp_path: Path) -> None:
    # iproute2 has a program called bridge, too: alone it is no sign of CNI, and it is not even asked.
    script(tmp_path / "path" / "bridge", "Usage: bridge", also=f"touch {tmp_path}/started")
    assert survey([unit("cni")]).programs == {}
    assert not (tmp_path / "started").exists()
    for name in unit("cni").programs:
        script(tmp_path / "cni" / name, f"CNI {name} plugin v1.6.2\nCNI protocol versions supported: 0.1.0")
    found = survey([unit("cni")]).programs
    assert {program.path.parent for program in found.values()} == {tmp_path / "cni"}
    assert found["host-local"].version == "1.6.2"


def test_a_part_on_path_is_not_all(tmp_path: Path) -> None:
    script(tmp_path / "path" / "kubectl", "Client Version: v1.36.0")
    assert find_programs()["kubectl"].version == "1.36.0"
    assert "kubectl" not in missing_programs()
    assert "kubelet" in missing_programs()


@pytest.mark.parametrize("each", [each for each in UNITS if each.anywhere], ids=lambda each: each.name)
def test_what_was_built_tells_its_true_version(each: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABSUPPORT_CACHE", str(REAL_CACHE))
    entry = cached(each, [])
    if not entry:
        pytest.skip(f"{each.name} is not built in {REAL_CACHE}: labsupport cluster build")
    told = {name: ask(name, entry.folder / name) for name in each.programs}
    assert told == dict.fromkeys(each.programs, each.version)
