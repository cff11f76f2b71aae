"""A helper in the lab that is not ours, and says what it likes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labsupport import Lab
from labsupport.errors import LabError, ProtocolError
from labsupport.sandbox.agent.wire import encode as frame
from labsupport.sandbox.forward import Tunnel
from labsupport.sandbox.portable import load, pack
from labsupport.waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
HELPER = """
import os, select
def main(side, namespace, address, port):
    BEFORE
    os.write(1, READY)
    select.select([0], [], [], 0.2)
    os.write(1, BYTES)
    while os.read(0, 65536):
        pass
"""
READY = frame(b"ready", b"7")
FORWARDS: dict[str, Callable[[Lab], Tunnel]] = {
    "forward": lambda lab: lab.forward("127.0.0.1", 7), "serve": lambda lab: lab.serve(print, "127.0.0.1", 7),
}


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put another helper in the place of ours: it says these bytes."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)

    def make(data: bytes, *, ready: bytes = READY, before: str = "pass") -> None:
        code = HELPER.replace("READY", repr(ready)).replace("BYTES", repr(data)).replace("BEFORE", before)
        (tmp_path / "forward_hostile.py").write_text(code)
        monkeypatch.setattr("labsupport.sandbox.forward._MODULES", ("forward_hostile",))
        load.cache_clear()
        pack.cache_clear()

    yield make
    load.cache_clear()
    pack.cache_clear()


@pytest.mark.parametrize("kind", FORWARDS)
@pytest.mark.parametrize("data", [frame(b"nonsense"), frame(b"data", b"x"), frame(b""), b"\xff" * 100],
                         ids=["unknown", "fields", "empty", "no frame"])
def test_a_hostile_helper_ends_its_forward_and_nothing_else(lab, helper, kind, data):
    helper(data)
    with FORWARDS[kind](lab) as tunnel:
        wait_until(lambda: tunnel.ended, what="the forward to end", deadline_s=5)
        assert isinstance(tunnel.ended, ProtocolError)
        assert "does not understand" in str(tunnel.ended)
        if kind == "forward":
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(tunnel.address)
    lab.ping()


@pytest.mark.parametrize("kind", FORWARDS)
@pytest.mark.parametrize("ready", [b"\xff" * 100, frame(b"ready"), frame(b"ready", b"x"), frame(b"failed")])
def test_a_hostile_beginning(lab, helper, kind, ready):
    helper(b"", ready=ready)
    with pytest.raises(ProtocolError, match="does not understand"):
        FORWARDS[kind](lab)
    lab.ping()


@pytest.mark.parametrize("kind", FORWARDS)
def test_what_a_helper_says_last_is_told(lab, helper, kind):
    helper(b"", before="raise ValueError('no luck')")
    with pytest.raises(LabError, match="ValueError: no luck"):
        FORWARDS[kind](lab)
    lab.ping()
