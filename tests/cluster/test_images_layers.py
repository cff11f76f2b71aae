"""A layer must be the same bytes for the same files, hold nothing that a node with one user id cannot unpack, and
follow the machine that it is made from."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labsupport.cluster.images import AGNHOST, COREDNS, PAUSE, TOOLS, machine, standard_images
from labsupport.cluster.images.store import Store
from labsupport.errors import ClusterError

MAKE = """
import sys
from pathlib import Path
from labsupport.cluster.images import standard_images
made = standard_images({}, Path(sys.argv[1]) if len(sys.argv) > 1 else None, print)
print(made.layers[0].digest, made.layers[0].path)
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small programs of the machine in place of those of the cluster."""
    folder = tmp_path_factory.mktemp("programs")
    stand_ins = {"pause": "sleep", "coredns": "env", "agnhost": "true"}
    return {name: Path(shutil.copy(f"/usr/bin/{like}", folder / name)) for name, like in stand_ins.items()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("LABSUPPORT_CACHE", str(folder))
    return folder / "images"


@pytest.fixture
def few_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose only programs are in this folder: layers of it are made quickly."""
    folder = tmp_path / "usr-bin"
    folder.mkdir()
    for tool in ("bash", "ls"):
        (folder / tool).symlink_to(Path(f"/usr/bin/{tool}").resolve())
    monkeypatch.setattr(machine, "SYSTEM_FOLDERS", (str(folder),))
    monkeypatch.setattr(machine, "private_prefix", lambda: None)
    return folder


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users may enter, whatever they may do with pytest's own."""
    with tempfile.TemporaryDirectory(prefix="images-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def layer_files() -> list[str]:
    return sorted(path.name for path in (Store().folder / "blobs" / "sha256").iterdir())


def make_elsewhere(cache: Path, *arguments: str, uid: int | None = None) -> subprocess.Popen[str]:
    """Make the tools' layer in another process, as another user if `uid` is given."""
    other = [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    environment = {**os.environ, "LABSUPPORT_CACHE": str(cache), "HOME": "/nonexistent"}
    return subprocess.Popen([*other, sys.executable, "-c", MAKE, *arguments], text=True, env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_two_builds_give_the_same_bytes(cache: Path, programs: dict[str, Path], tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    first = standard_images(programs)
    first.write_archive(tmp_path / "first.tar")
    monkeypatch.setenv("LABSUPPORT_CACHE", str(tmp_path / "second"))
    second = standard_images(programs)
    second.write_archive(tmp_path / "second.tar")
    assert second.layers[0].path != first.layers[0].path
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()


def test_the_tools_are_there_once(cache: Path, programs: dict[str, Path], tmp_path: Path) -> None:
    images = standard_images(programs)
    assert set(images.names) == {PAUSE, COREDNS, TOOLS, AGNHOST}
    by_name = {image.name: [layer.digest for layer in image.layers] for image in images.images}
    assert by_name[AGNHOST][0] == by_name[TOOLS][0]
    images.write_archive(tmp_path / "images.tar")
    with tarfile.open(tmp_path / "images.tar") as archive:
        names = archive.getnames()
    assert len(names) == len(set(names)) == 2 + len(images.layers) + 2 * len(images.images)
    assert images.size_bytes == sum(layer.path.stat().st_size for layer in images.layers)


@pytest.mark.root_only
def test_another_user_gets_the_same_layer(cache: Path, public: Path) -> None:
    os.chown(public, 65534, 65534)
    said, wrong = make_elsewhere(public / "cache", uid=65534).communicate(timeout=50)
    assert said.split()[-2:-1] == [standard_images({}).layers[0].digest], wrong


def test_every_file_can_be_unpacked_with_one_user_id(cache: Path, programs: dict[str, Path]) -> None:
    for layer in standard_images(programs).layers:
        with tarfile.open(layer.path) as archive:
            entries = archive.getmembers()
        assert [entry.name for entry in entries] == sorted({entry.name for entry in entries})
        for entry in entries:
            assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", 0), entry.name
            assert entry.isdir() or entry.isreg() or entry.issym() or entry.islnk(), entry.name
            assert not entry.mode & (stat.S_ISUID | stat.S_ISGID), entry.name
            assert not any("xattr" in key for key in entry.pax_headers), entry.name


def test_a_layer_in_the_cache_is_found_at_once(cache: Path, programs: dict[str, Path]) -> None:
    standard_images(programs)
    told: list[str] = []
    times = []
    for _ in range(5):
        start = time.perf_counter()
        standard_images(programs, progress=told.append)
        times.append(time.perf_counter() - start)
    assert told == []
    assert min(times) < 0.05


def test_a_changed_program_gives_a_new_layer_and_the_old_one_goes(cache: Path, programs: dict[str, Path]) -> None:
    held = standard_images({"pause": programs["pause"]})
    old = held.layers[1]
    os.utime(programs["pause"], ns=(0, 0))
    assert standard_images({"pause": programs["pause"]}).layers[1].digest == old.digest  # a new time, the same bytes
    shutil.copy("/usr/bin/yes", programs["pause"])
    fresh = standard_images({"pause": programs["pause"]})
    assert fresh.layers[1].digest != old.digest
    assert fresh.layers[0].digest == held.layers[0].digest
    assert old.path.exists()  # a cluster may be using it
    del held, old
    os.utime(programs["pause"], ns=(0, 0))
    fresh = standard_images({"pause": programs["pause"]})
    assert layer_files() == sorted(layer.digest.removeprefix("sha256:") for layer in fresh.layers)


def test_missing_tools_are_told_with_their_packages(cache: Path, few_tools: Path) -> None:
    lean = standard_images({})
    missing = {tool.name: tool for tool in lean.missing_tools}
    assert missing["dig"].package == missing["nslookup"].package == "bind9-dnsutils"
    assert missing["nc"].package == "netcat-openbsd"
    assert not {"bash", "ls", "python3"} & set(missing)
    (few_tools / "cat").symlink_to("/usr/bin/cat")
    richer = standard_images({})
    assert {tool.name for tool in lean.missing_tools} - {tool.name for tool in richer.missing_tools} == {"cat"}
    assert richer.layers[0].digest != lean.layers[0].digest


def test_a_program_whose_library_is_nowhere_is_left_out(cache: Path, few_tools: Path, tmp_path: Path) -> None:
    broken = Path("/usr/bin/cat").read_bytes().replace(b"libc.so.6\0", b"libx.so.6\0")
    (few_tools / "cat").write_bytes(broken)
    (few_tools / "cat").chmod(0o755)
    images = standard_images({})
    reasons = {tool.name: tool.reason for tool in images.missing_tools}
    assert "libx.so.6" in reasons["cat"]
    with tarfile.open(images.layers[0].path) as layer:
        assert not [name for name in layer.getnames() if name.endswith("/cat")]


def test_a_python_of_the_users_own_moves_to_usr_local(cache: Path, few_tools: Path, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "conda"
    shutil.copytree(Path(os.__file__).parent, home / "lib" / Path(os.__file__).parent.name, symlinks=True,
                    ignore=shutil.ignore_patterns("test", "site-packages", "dist-packages", "*.a", "__pycache__"))
    (home / "bin").mkdir()
    program = Path(os.path.realpath(sys.executable))
    shutil.copy(program, home / "bin" / f"python3.{sys.version_info.minor}")
    monkeypatch.setattr("labsupport.cluster.images.python.SYSTEM_PYTHON", tmp_path / "none")
    for module in ("machine", "python"):
        monkeypatch.setattr(f"labsupport.cluster.images.{module}.private_prefix", lambda: home)
    images = standard_images({})
    assert "python3" not in {tool.name for tool in images.missing_tools}
    with tarfile.open(images.layers[0].path) as layer:
        names = layer.getnames()
        assert layer.getmember("usr/bin/python3").linkname == "/usr/local/bin/python3"
    assert f"usr/local/lib/python3.{sys.version_info.minor}/ssl.py" in names
    assert not [name for name in names if str(tmp_path).strip("/") in name]


def test_builders_at_once_make_one_layer(cache: Path) -> None:
    builders = [make_elsewhere(cache) for _ in range(2)]
    said = [builder.communicate(timeout=50)[0] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert sum("making the image layer tools" in text for text in said) == 1
    assert len({text.splitlines()[-1] for text in said}) == 1


def test_a_killed_builder_leaves_a_sound_cache(cache: Path, few_tools: Path) -> None:
    store = Store()
    assert store.writable()
    (cache / "work-layer").write_bytes(b"half of a lay")
    whole = standard_images({}).layers[0]
    digest, path = whole.digest, whole.path
    assert not list(cache.glob("work-*"))
    path.write_bytes(b"the machine lost power before this reached the disk")
    assert standard_images({}).layers[0].digest == digest
    assert path.stat().st_size > 1_000_000
    (cache / "records" / "tools.json").write_text("{")
    assert standard_images({}).layers[0].digest == digest


def test_a_full_disk_is_told_and_leaves_nothing(cache: Path) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
    run = subprocess.run([sys.executable, "-c", limited + MAKE], capture_output=True, text=True, timeout=50,
                         check=False)
    assert "ClusterError: the image layer tools cannot be made" in run.stderr
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["lock"]


def test_anothers_cache_is_read_and_never_written(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABSUPPORT_CACHE", str(public / "cache"))
    cache = public / "cache" / "images"
    teachers = standard_images({}).layers[0].digest
    for path in (cache, *cache.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    student = 65534 if os.geteuid() == 0 else None
    own = public / "own"
    own.mkdir()
    os.chown(own, student or os.geteuid(), -1)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}

    said, wrong = make_elsewhere(cache.parent, str(own), uid=student).communicate(timeout=50)
    assert said.split() == [teachers, str(cache / "blobs" / "sha256" / teachers.removeprefix("sha256:"))], wrong

    record = cache / "records" / "tools.json"
    record.chmod(0o644)
    record.write_text(record.read_text().replace('"code": "', '"code": "older-'))
    before[record] = record.stat().st_mtime_ns
    said, wrong = make_elsewhere(cache.parent, str(own), uid=student).communicate(timeout=50)
    assert said.split()[-2:] == [teachers, str(own / "blobs" / "sha256" / teachers.removeprefix("sha256:"))], wrong
    _, wrong = make_elsewhere(cache.parent, uid=student).communicate(timeout=50)
    assert "ClusterError: this user cannot write to the cache of images" in wrong
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_programs_that_are_not_there_are_told_together(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as told:
        standard_images({"pause": tmp_path / "none", "etcd": Path("/usr/bin/true")})
    assert "pause: no file" in str(told.value)
    assert "etcd: images are made of pause, coredns, agnhost" in str(told.value)
