"""An archive of the cache gives the same cache elsewhere; one that is damaged or hostile leaves no trace."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from binaries_world import content, entries, fill, visible

from labsupport.cluster.binaries import find_programs, pack, unpack
from labsupport.cluster.binaries.units import UNITS
from labsupport.errors import ClusterError

LIST = "labsupport-cluster.json"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Chooses the cache of this process by name."""
    def choose(name: str) -> Path:
        monkeypatch.setenv("LABSUPPORT_CACHE", str(tmp_path / name))
        return tmp_path / name

    return choose


@pytest.fixture
def packed(tmp_path: Path, cache: Callable[[str], Path]) -> Path:
    """An archive of a full cache; another, empty cache is chosen."""
    cache("teacher")
    fill()
    pack(tmp_path / "class.tar", lambda _: None)
    cache("student")
    return tmp_path / "class.tar"


def refused(archive: Path, *, because: str) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        unpack(archive, lambda _: None)
    assert because in str(caught.value)
    assert str(archive) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", ["class.tar", "class.tar.gz", "class.tgz"])
def test_unpacked_is_what_was_packed(tmp_path: Path, cache: Callable[[str], Path], packed: Path, name: str) -> None:
    teacher = cache("teacher")
    pack(tmp_path / name, lambda _: None)
    said: list[str] = []
    student = cache("student")
    unpack(tmp_path / name, said.append)
    assert content(student) == content(teacher)
    assert len(find_programs()) == sum(len(each.programs) for each in UNITS)
    assert any("kubernetes" in line for line in said)
    is_gzip = (tmp_path / name).read_bytes()[:2] == b"\x1f\x8b"
    assert is_gzip == name.endswith("gz")


def test_everybody_may_run_what_was_unpacked(packed: Path) -> None:
    unpack(packed, lambda _: None)
    for entry in entries():
        assert entry.folder.stat().st_mode & 0o777 == 0o755
        assert {(entry.folder / name).stat().st_mode & 0o777 for name in entry.sums} == {0o755}
        assert (entry.folder / "contents.json").stat().st_mode & 0o777 == 0o644


def test_the_same_cache_gives_the_same_archive(packed: Path, tmp_path: Path, cache: Callable[[str], Path]) -> None:
    cache("teacher")
    pack(tmp_path / "again.tar", lambda _: None)
    assert (tmp_path / "again.tar").read_bytes() == packed.read_bytes()


def test_unpacking_repairs_a_damaged_entry(packed: Path) -> None:
    unpack(packed, lambda _: None)
    broken = next(entry for entry in entries() if entry.unit.name == "etcd")
    (broken.folder / "etcd").write_bytes(b"too short")
    assert "etcd" not in find_programs()
    unpack(packed, lambda _: None)
    assert "etcd" in find_programs()


def test_an_incomplete_cache_is_not_packed(tmp_path: Path, cache: Callable[[str], Path]) -> None:
    cache("teacher")
    fill(each for each in UNITS if each.name not in {"etcd", "coredns"})
    with pytest.raises(ClusterError, match="missing: etcd, coredns") as caught:
        pack(tmp_path / "class.tar", lambda _: None)
    assert "labsupport cluster build" in caught.value.next_step
    assert not (tmp_path / "class.tar").exists()


def test_a_cache_with_changed_bytes_is_not_packed(tmp_path: Path, cache: Callable[[str], Path]) -> None:
    cache("teacher")
    path = fill()["etcd"].folder / "etcd"
    path.write_bytes(path.read_bytes().replace(b"filling", b"fooling"))
    with pytest.raises(ClusterError, match="etcd does not have its SHA-256 sum"):
        pack(tmp_path / "class.tar", lambda _: None)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_name_that_says_no_format(tmp_path: Path, packed: Path) -> None:
    with pytest.raises(ClusterError, match=r"\.tar\.gz"):
        pack(tmp_path / "class.zip", lambda _: None)


def test_a_place_that_cannot_be_written(tmp_path: Path, packed: Path, cache: Callable[[str], Path]) -> None:
    cache("teacher")
    with pytest.raises(ClusterError, match="cannot be written"):
        pack(tmp_path / "nowhere" / "class.tar", lambda _: None)


@pytest.mark.parametrize("member", [0, 1, 2, 11, -2, -1])
@pytest.mark.parametrize("place", ["header", "content"])
def test_a_changed_byte_is_noticed(packed: Path, member: int, place: str) -> None:
    with tarfile.open(packed) as archive:
        info = archive.getmembers()[member]
    data = bytearray(packed.read_bytes())
    data[info.offset + 3 if place == "header" else info.offset_data + info.size // 2] ^= 0x40
    packed.write_bytes(data)
    refused(packed, because="the archive cannot be used")
    assert visible() == []


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("compress", [False, True])
def test_a_truncated_archive_is_noticed(packed: Path, part: float, compress: bool) -> None:
    data = packed.read_bytes()
    data = data[:data.rindex(b"filling")]  # tar fills the end with zeros
    data = gzip.compress(data, 1) if compress else data
    packed.write_bytes(data[:int(part * len(data))])
    refused(packed, because="the archive cannot be used")
    assert visible() == []


def test_no_archive_at_all(tmp_path: Path, cache: Callable[[str], Path]) -> None:
    cache("student")
    refused(tmp_path / "missing.tar", because="No such file")
    (tmp_path / "text.tar").write_text("hello\n" * 1000)
    refused(tmp_path / "text.tar", because="damaged")


def rewrite(archive: Path, change_list: Callable[[dict[str, Any]], None],
            change_member: Callable[[tarfile.TarInfo], tarfile.TarInfo] = lambda member: member,
            more: tuple[tarfile.TarInfo, ...] = ()) -> None:
    """Write the archive anew with another list and other members: what somebody hostile would do."""
    with tarfile.open(archive) as old:
        members = [(member, old.extractfile(member).read()) for member in old]  # type: ignore[union-attr]
    table = json.loads(members[0][1])
    change_list(table)
    members[0] = (members[0][0], json.dumps(table).encode())
    with tarfile.open(archive, "w") as new:
        for member, data in members:
            member.size = len(data)
            new.addfile(change_member(member), io.BytesIO(data))
        for member in more:
            new.addfile(member, io.BytesIO(bytes(member.size)))


def unchanged(table: dict[str, Any]) -> None:
    pass


def test_another_architecture(packed: Path) -> None:
    rewrite(packed, lambda table: table.update(architecture="s390x"))
    error = refused(packed, because="another architecture")
    assert error.observed == "s390x"


def test_another_format(packed: Path) -> None:
    rewrite(packed, lambda table: table.update(format=7))
    refused(packed, because="another version of labsupport")


def test_programs_of_another_labsupport(packed: Path) -> None:
    def rename(name: str) -> str:
        return name.replace("etcd-3.6.13-", "etcd-3.9.99-")

    def change(table: dict[str, Any]) -> None:
        table["files"] = {rename(name): described for name, described in table["files"].items()}

    def member(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.name = rename(info.name)
        return info

    rewrite(packed, change, member)
    refused(packed, because="not those of this labsupport")
    assert visible() == []


@pytest.mark.parametrize("name", [
    "/tmp/evil", "../evil", "evil", "{etcd}/../../evil", "{etcd}/./etcd", "{etcd}//etcd", "{etcd}/evil",
    "{etcd}/sub/etcd", "{etcd}\\..\\evil", "{etcd}", "{kubernetes}/kubelet", "", "lock", "work/evil",
])
def test_a_path_that_is_none_of_ours(packed: Path, tmp_path: Path, name: str) -> None:
    name = name.format(etcd=entry_of(packed, "etcd"), kubernetes=entry_of(packed, "kubernetes"))
    evil = tarfile.TarInfo(name)
    evil.size = 4
    sum_of_zeros = "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119"
    rewrite(packed, lambda table: table["files"].update({name: {"size_bytes": 4, "sha256": sum_of_zeros}}),
            more=(evil,))
    refused(packed, because="the archive cannot be used")
    assert visible() == []
    assert not Path("/tmp/evil").exists()
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_what_is_no_file(packed: Path, tmp_path: Path, kind: bytes) -> None:
    evil = tarfile.TarInfo("evil")
    evil.type, evil.linkname, evil.devmajor, evil.devminor = kind, "/etc/passwd", 1, 3
    rewrite(packed, lambda table: table["files"].update({"evil": {"size_bytes": 0, "sha256": "0" * 64}}),
            more=(evil,))
    refused(packed, because="must not be unpacked")
    assert visible() == []


def test_a_file_that_the_list_does_not_name(packed: Path) -> None:
    rewrite(packed, unchanged, more=(tarfile.TarInfo("evil"),))
    refused(packed, because="must not be unpacked")
    assert visible() == []


def test_a_file_twice(packed: Path) -> None:
    with tarfile.open(packed) as archive:
        again = archive.getmembers()[3]
    rewrite(packed, unchanged, more=(again,))
    refused(packed, because="must not be unpacked")
    assert visible() == []


def test_more_than_the_disk_has(packed: Path) -> None:
    rewrite(packed, lambda table: table["files"].update({"huge": {"size_bytes": 10**18, "sha256": "0" * 64}}))
    with pytest.raises(ClusterError, match="no room"):
        unpack(packed, lambda _: None)
    assert visible() == []


def test_a_file_that_is_longer_than_listed(packed: Path) -> None:
    name = f"{entry_of(packed, 'etcd')}/etcd"
    rewrite(packed, lambda table: table["files"][name].update(size_bytes=10))
    refused(packed, because="SHA-256")
    assert visible() == []


def entry_of(packed: Path, unit_name: str) -> str:
    with tarfile.open(packed) as archive:
        return next(name.split("/")[0] for name in archive.getnames() if name.startswith(f"{unit_name}-"))


def test_a_list_that_is_none(packed: Path) -> None:
    rewrite(packed, lambda table: table.update(files=["etcd"]))
    refused(packed, because="damaged")
    rewrite(packed, dict.clear)
    refused(packed, because="damaged")
