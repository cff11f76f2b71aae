"""What the sandbox's tests share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import oracle
import pytest
from forwarding import open_files, start_server

from labsupport import Lab
from labsupport.sandbox.forward import Forward

FILES = ("/etc/hosts", "/etc/passwd", "/etc/hostname", "/etc/resolv.conf", "/proc/sys/kernel/hostname",
         "/proc/sys/vm/swappiness", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/random/boot_id", "/proc/modules",
         "/proc/swaps")
FOLDERS = ("/", "/etc", "/usr/bin")


def _host_values() -> dict[str, object]:
    found: dict[str, object] = {name: Path(name).read_bytes() for name in FILES if Path(name).exists()}
    return found | {folder: sorted(Path(folder).iterdir()) for folder in FOLDERS}


@pytest.fixture
def unchanged_host() -> Iterator[None]:
    """The host's links, mounts, rules and some of its files and settings are after the test as they were before."""
    snapshot, values = oracle.Snapshot(), _host_values()
    yield
    assert oracle.Snapshot().changes(snapshot) == []
    assert _host_values() == values


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """After the test and its lab there are no more threads and descriptors in this process than before."""
    threads, files = set(threading.enumerate()), open_files()
    yield
    assert set(threading.enumerate()) <= threads
    assert open_files() == files


@pytest.fixture
def forward(lab: Lab) -> Iterator[Forward]:
    """A forward to the server that the tests of forwards use."""
    start_server(lab)
    with lab.forward("127.0.0.1", 7) as made:
        yield made
