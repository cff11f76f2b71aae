"""What `labsupport cluster binaries`, `build`, `pack` and `unpack` print, and the exit status they give."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from binaries_world import fill

from labsupport.cluster.binaries.command import add_commands
from labsupport.cluster.binaries.units import UNITS


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a PATH with nothing on it."""
    monkeypatch.setenv("LABSUPPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "cache"


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    arguments = parser.parse_args(words)
    status: int = arguments.run(arguments)
    return status


def test_the_list_of_a_full_cache(capsys: pytest.CaptureFixture[str]) -> None:
    fill()
    assert run("binaries") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "VERSION", "SOURCE", "SIZE"]
    rows = [line.split() for line in lines[1:lines.index("")]]
    assert [row[0] for row in rows] == sorted(name for each in UNITS for name in each.programs)
    assert ["etcd", "3.6.13", "built", "0.0", "MB"] in rows
    assert not any("missing" in line for line in lines)


def test_the_list_of_an_empty_cache(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("binaries") == 1
    output = capsys.readouterr().out
    assert ["etcd", "-", "missing", "-"] in [line.split() for line in output.splitlines()]
    assert "labsupport cluster build" in output


def test_the_list_as_json(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    fill(each for each in UNITS if each.name != "etcd")
    assert run("binaries", "--json") == 1
    data = json.loads(capsys.readouterr().out)
    assert data["missing"] == ["etcd"]
    kubelet = next(program for program in data["programs"] if program["name"] == "kubelet")
    assert Path(kubelet.pop("path")).is_file()
    assert kubelet.pop("size_bytes") > 0
    assert kubelet == {"name": "kubelet", "version": "1.36.3", "source": "built", "note": ""}


def test_damage_is_found_when_it_is_looked_for(capsys: pytest.CaptureFixture[str]) -> None:
    path = fill()["coredns"].folder / "coredns"
    assert run("binaries", "--verify") == 0
    path.write_bytes(path.read_bytes().replace(b"filling", b"fooling"))
    assert run("binaries") == 0
    capsys.readouterr()
    assert run("binaries", "--verify") == 1
    output = capsys.readouterr().out
    assert f"{path.parent} is damaged: coredns does not have its SHA-256 sum" in output
    assert "labsupport cluster build" in output


def test_build_with_a_full_cache_prints_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    fill()
    assert run("binaries") == 0
    expected = capsys.readouterr()
    assert run("build") == 0
    assert capsys.readouterr() == expected


def test_pack_and_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fill()
    assert run("pack", str(tmp_path / "class.tar.gz")) == 0
    monkeypatch.setenv("LABSUPPORT_CACHE", str(tmp_path / "student"))
    assert run("binaries") == 1
    assert run("unpack", str(tmp_path / "class.tar.gz")) == 0
    assert run("binaries", "--verify") == 0
    assert "unpacked etcd 3.6.13" in capsys.readouterr().err
