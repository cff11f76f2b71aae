"""What the sandbox's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import oracle
import pytest

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
