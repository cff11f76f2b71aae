"""labsupport's own two programs: what holds a pod's namespaces, and what makes containers start in a lab."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from binaries_world import script

from labsupport.cluster.binaries.build import require
from labsupport.cluster.binaries.find import Program, survey
from labsupport.cluster.binaries.units import LAB
from labsupport.waiting import wait_until

EXACT = 2**63 - 1
SPEC: dict[str, Any] = {
    "ociVersion": "1.2.0",
    "process": {"args": ["sh", "-c", "a && b > <c>"], "oomScoreAdj": -998, "rlimits": [{"hard": EXACT}]},
    "mounts": [
        {"destination": "/dev/pts", "type": "devpts", "options": ["nosuid", "gid=5", "mode=0620"]},
        {"destination": "/dev/other", "type": "tmpfs", "options": ["gid=5"]},
        {"destination": "/proc", "type": "proc"},
    ],
    "linux": {"cgroupsPath": "/kubepods/pod1/c1", "namespaces": [{"type": "pid"}],
              "resources": {"memory": {"limit": EXACT}, "devices": [{"allow": False, "access": "rwm"}]}},
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """The two programs: from this machine's cache, whose name has the hash of the sources, or else built now."""
    found = survey([LAB], only_cache=True)
    if found.missing:
        if not shutil.which("go"):
            pytest.skip("the programs are not built, and there is no Go toolchain on PATH")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LABSUPPORT_CACHE", str(tmp_path_factory.mktemp("cache")))
            found = require([LAB], lambda _: None)
    return found.programs


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SPEC))
    return folder


class Wrapper:
    """Runs the wrapper with a runc that tells its arguments and ends with status 3."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._runc = folder / "runc"
        script(self._runc)
        self._runc.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 3\n')

    def __call__(self, *arguments: str, before: tuple[str, ...] = (), cwd: Path | None = None) -> list[str]:
        done = subprocess.run([*before, self._program, *arguments], check=False, capture_output=True, text=True,
                              cwd=cwd, env={**os.environ, "LABSUPPORT_RUNC": str(self._runc)})
        assert (done.returncode, done.stderr) == (3, "")
        return done.stdout.splitlines()


@pytest.fixture
def wrapper(programs: dict[str, Program], tmp_path: Path) -> Wrapper:
    return Wrapper(programs["runc-in-a-lab"].path, tmp_path)


def config(bundle: Path) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads((bundle / "config.json").read_text())
    return spec


def test_a_new_container_loses_what_the_kernel_would_refuse(wrapper: Wrapper, bundle: Path) -> None:
    arguments = ["--root", "/run/x", "--log", "create", "create", "--bundle", str(bundle), "--no-new-keyring", "c1"]
    assert wrapper(*arguments, before=("unshare", "-Ur")) == arguments
    spec = config(bundle)
    assert spec["linux"] == {"namespaces": [{"type": "pid"}], "resources": {}}
    assert spec["process"] == {"args": ["sh", "-c", "a && b > <c>"], "rlimits": [{"hard": EXACT}]}
    assert spec["mounts"][0]["options"] == ["nosuid", "mode=0620"]
    assert spec["mounts"][1:] == SPEC["mounts"][1:]
    assert [path.name for path in bundle.iterdir()] == ["config.json"]


@pytest.mark.parametrize(("controllers", "kept"), [
    ("cpu memory pids", {"cpu": {"quota": 20000}, "memory": {"limit": EXACT}, "pids": {"limit": 7},
                         "unified": {"memory.oom.group": "1"}}),
    ("cpu", {"cpu": {"quota": 20000}, "unified": {}}),
    ("pids memory", {"memory": {"limit": EXACT}, "pids": {"limit": 7}, "unified": {"memory.oom.group": "1"}}),
])
def test_limits_stay_that_have_a_controller(wrapper: Wrapper, bundle: Path, monkeypatch: pytest.MonkeyPatch,
                                            controllers: str, kept: dict[str, object]) -> None:
    wanted = SPEC["linux"]["resources"] | {
        "cpu": {"quota": 20000, "cpus": "0-1", "mems": "0"}, "pids": {"limit": 7}, "hugepageLimits": [],
        "unified": {"memory.oom.group": "1", "hugetlb.2MB.max": "0"}}
    (bundle / "config.json").write_text(json.dumps({"linux": SPEC["linux"] | {"resources": wanted}}))
    monkeypatch.setenv("LABSUPPORT_RUNC_CGROUP", "/node1")
    monkeypatch.setenv("LABSUPPORT_RUNC_CONTROLLERS", controllers)
    wrapper("create", "--bundle", str(bundle), "c1")
    assert config(bundle)["linux"] == SPEC["linux"] | {"cgroupsPath": "/node1/kubepods/pod1/c1", "resources": kept}


def test_what_other_programs_find_in_the_file_stays_readable(wrapper: Wrapper, bundle: Path) -> None:
    (bundle / "config.json").chmod(0o640)
    wrapper("create", "-b", str(bundle), "c1")
    text = (bundle / "config.json").read_text()
    assert "a && b > <c>" in text
    assert str(EXACT) in text
    assert (bundle / "config.json").stat().st_mode & 0o777 == 0o640


def test_the_group_of_terminals_stays_where_it_is_mapped(wrapper: Wrapper, bundle: Path) -> None:
    mapped = any(int(first) <= 5 < int(first) + int(count) for first, _, count in
                 (line.split() for line in Path("/proc/self/gid_map").read_text().splitlines()))
    wrapper("create", "--bundle", str(bundle), "c1")
    assert ("gid=5" in config(bundle)["mounts"][0]["options"]) == mapped


@pytest.mark.parametrize(("wanted", "stays"), [(1000, True), (-1000, False)])
def test_a_process_may_become_easier_to_kill_but_not_harder(wrapper: Wrapper, bundle: Path, wanted: int,
                                                            stays: bool) -> None:
    spec = {**SPEC, "process": {"oomScoreAdj": wanted}}
    (bundle / "config.json").write_text(json.dumps(spec))
    wrapper("create", "--bundle", str(bundle), "c1")
    assert config(bundle)["process"] == ({"oomScoreAdj": wanted} if stays else {})


@pytest.mark.parametrize("arguments", [
    ["create", "--bundle={}", "c1"], ["run", "-b", "{}", "c1"], ["restore", "--bundle", "{}", "c1"],
    ["--rootless", "true", "--debug", "--log=x", "create", "-bundle", "{}", "c1"],
])
def test_every_way_to_say_it(wrapper: Wrapper, bundle: Path, arguments: list[str]) -> None:
    wrapper(*[word.format(bundle) for word in arguments])
    assert config(bundle)["linux"]["resources"] == {}


def test_the_bundle_is_the_current_folder_unless_it_is_named(wrapper: Wrapper, bundle: Path) -> None:
    wrapper("create", "c1", cwd=bundle)
    assert config(bundle)["linux"]["resources"] == {}


@pytest.mark.parametrize("arguments", [
    ["state", "c1"], ["delete", "--force", "create"], ["--root", "create", "kill", "c1", "9"], ["exec", "c1", "create"],
    ["--version"], [],
])
def test_other_commands_change_nothing(wrapper: Wrapper, bundle: Path, arguments: list[str]) -> None:
    assert wrapper(*arguments, cwd=bundle) == (arguments or [""])
    assert config(bundle) == SPEC


@pytest.mark.parametrize(("user", "word"), [({"uid": 1000, "gid": 0}, "uid 1000"), ({"uid": 0, "gid": 7}, "gid 7"),
                                            ({"uid": 0, "gid": 0, "additionalGids": [0, 99]}, "gid 99")])
def test_a_user_that_is_not_mapped_is_told_why_where_containerd_looks(programs: dict[str, Program], bundle: Path,
                                                                      tmp_path: Path, user: object, word: str) -> None:
    text = json.dumps({**SPEC, "process": {"user": user}})
    (bundle / "config.json").write_text(text)
    log = tmp_path / "log.json"
    argv = ["unshare", "-Ur", programs["runc-in-a-lab"].path, "--log", log, "create", "--bundle", bundle, "c1"]
    assert subprocess.run(argv, check=False, env={"LABSUPPORT_RUNC": "/bin/true", "PATH": os.environ["PATH"]},
                          stderr=subprocess.DEVNULL).returncode == 1
    entry = json.loads(log.read_text())
    assert entry["level"] == "error"
    assert word in entry["msg"]
    assert "labsupport doctor" in entry["msg"]
    assert (bundle / "config.json").read_text() == text


@pytest.mark.parametrize("without", [False, True])
def test_seccomp_goes_only_where_runc_cannot_do_it(programs: dict[str, Program], bundle: Path, without: bool) -> None:
    (bundle / "config.json").write_text(json.dumps({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}}))
    variables = {"LABSUPPORT_RUNC": "/bin/true"} | ({"LABSUPPORT_RUNC_WITHOUT_SECCOMP": "1"} if without else {})
    subprocess.run([programs["runc-in-a-lab"].path, "create", "--bundle", bundle, "c1"], check=True,
                   env=variables)
    assert ("seccomp" in config(bundle)["linux"]) == (not without)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_config_that_is_none_stops_it_before_runc(programs: dict[str, Program], bundle: Path, text: str) -> None:
    (bundle / "config.json").write_text(text)
    done = subprocess.run([programs["runc-in-a-lab"].path, "create", "--bundle", bundle, "c1"], check=False,
                          capture_output=True, text=True, env={"LABSUPPORT_RUNC": "/bin/false"})
    assert done.returncode == 1
    assert str(bundle / "config.json") in done.stderr
    assert (bundle / "config.json").read_text() == text


def test_no_runc(programs: dict[str, Program]) -> None:
    done = subprocess.run([programs["runc-in-a-lab"].path, "state", "c1"], check=False, capture_output=True,
                          text=True, env={"PATH": "/nowhere"})
    assert done.returncode == 1
    assert "LABSUPPORT_RUNC" in done.stderr


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_pause_waits_reaps_and_ends(programs: dict[str, Program], signal_number: int) -> None:
    # The shell leaves its children to the pause that it becomes: one has ended by then, two end together later.
    pause = subprocess.Popen(["sh", "-c", 'true & sleep 0.5 & sleep 0.5 & exec "$0"', programs["pause"].path])
    try:
        wait_until(lambda: Path(f"/proc/{pause.pid}/comm").read_text() == "pause\n", what="pause to run", deadline_s=5)
        children = Path(f"/proc/{pause.pid}/task/{pause.pid}/children")
        assert children.read_text().split(), "this test needs children that end"
        wait_until(lambda: not children.read_text(), what="pause to reap", deadline_s=5)
        assert pause.poll() is None
        pause.send_signal(signal_number)
        assert pause.wait(5) == 0
    finally:
        pause.kill()
        pause.wait()
