"""A second client of a lab: who may join, how it finds the lab, and what its leaving does."""

from __future__ import annotations

import os
import subprocess
import sys

import oracle
import pytest
from clients import client

from labsupport import Lab, sandbox
from labsupport.errors import LabClosed, LabDied, ProtocolError
from labsupport.sandbox import find_running_labs
from labsupport.waiting import wait_until

MEMFD = "labsupport-lab"


def own_labs() -> list[str]:
    return [lab.name for lab in find_running_labs() if lab.client_pid == os.getpid()]


def join(lab: Lab) -> Lab:
    found = lab.announcement
    return Lab.join(found.address, found.token, found.name)


def test_a_second_client_sees_the_same_lab(lab):
    lab.run("ip netns add red", echo=False).check()
    with join(lab) as second:
        assert second.namespaces() == ["red"]
        assert second.run("ip netns add blue; cat", stdin="hello", echo=False).stdout == "hello"
        assert lab.namespaces() == ["blue", "red"]
        ids = [handle.run("readlink /proc/self/ns/*", echo=False).stdout for handle in (lab, second)]
        assert ids[0] == ids[1]


def test_leaving_ends_what_the_second_client_started_and_nothing_else(lab):
    first = lab.start(["sleep", "1001"])
    second = join(lab)
    second.start(["sleep", "1002"])
    assert lab.run("pgrep -c sleep", echo=False).stdout == "2\n"
    second.close()
    with pytest.raises(LabClosed):
        second.ping()
    wait_until(lambda: lab.run("pgrep -c sleep", echo=False).stdout == "1\n", what="its command to end", deadline_s=2)
    assert first.exit_status is None
    lab.ping()


def test_the_lab_ends_with_its_owner_not_with_the_second_client(namespace_ids):
    lab = Lab()
    namespace_ids(lab)
    second = join(lab)
    lab.close()
    with pytest.raises(LabDied):
        second.run("true", echo=False)
    assert second.closed
    second.close()


@pytest.mark.parametrize("token", ["", "0" * 32, "é", "x" * 100000])
def test_a_wrong_token_is_refused(lab, token):
    with pytest.raises(ProtocolError, match="the token is not this lab's"):
        Lab.join(lab.announcement.address, token)
    lab.ping()


def test_a_lab_that_is_not_there_is_said_to_be(tmp_path):
    for address in ("@labsupport-0-nothing", str(tmp_path / "nothing")):
        with pytest.raises(LabClosed, match="cannot be reached"):
            Lab.join(address, "token")


def test_a_lab_may_listen_on_a_path(tmp_path):
    path = tmp_path / "lab.sock"
    with Lab(socket_path=path) as lab:
        assert lab.announcement.address == str(path)
        with join(lab) as second:
            assert second.run("echo alive", echo=False).stdout == "alive\n"


def test_a_start_that_is_interrupted_leaves_nothing_at_its_path(tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sandbox.lab, "launch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Lab(socket_path=tmp_path / "lab.sock")
    assert list(tmp_path.iterdir()) == []


def test_running_labs_are_listed_oldest_first_while_they_run(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/03-namespaces.ipynb")
    assert own_labs() == []
    with Lab(name="one") as one, Lab(name="two"):
        assert own_labs() == ["one", "two"]
        (listed,) = [found for found in find_running_labs() if found.address == one.announcement.address]
        assert listed == one.announcement
        assert (listed.notebook, listed.client_pid) == ("/home/me/03-namespaces.ipynb", os.getpid())
        with join(one):
            assert own_labs() == ["one", "two"], "a second handle is no second lab"
    assert own_labs() == []


def test_a_lab_of_another_process_can_be_found_and_joined_until_that_one_ends():
    with client("from labsupport import Lab\nlab = Lab(name='theirs')\nprint('ready')\ninput()") as running:
        running.read_line()
        (theirs,) = [lab for lab in find_running_labs() if lab.client_pid == running.pid]
        with Lab.join(theirs.address, theirs.token, theirs.name) as lab:
            assert lab.run("hostname", echo=False).stdout == "lab\n"
            running.kill()
            wait_until(lambda: not oracle.lab_processes_below(os.getpid()), what="the lab to be gone", deadline_s=1)
            with pytest.raises(LabDied):
                lab.run("true", echo=False)
        assert not [lab for lab in find_running_labs() if lab.client_pid == running.pid]


@pytest.mark.root_only
def test_another_user_neither_finds_nor_joins_a_lab(lab):
    found = lab.announcement
    code = f"""
from labsupport import Lab
from labsupport.sandbox import find_running_labs
print([lab.name for lab in find_running_labs() if lab.client_pid == {found.client_pid}])
try:
    Lab.join({found.address!r}, "guessed")
except Exception as error:
    print(type(error).__name__)
"""
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable, "-c", code]
    done = subprocess.run(nobody, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.split() == ["[]", "ProtocolError"]


WRONG = [b"", b"{", b"[]", b"5", b"{}", b"\xff\xfe", b"[" * 60000, b'{"name": 1}',
         b'{"name": "x", "address": "@x", "token": "", "client_pid": PID, "notebook": "", "started_unix_s": "now"}',
         b'{"name": "x", "address": ["@x"], "token": "", "client_pid": PID, "notebook": "", "started_unix_s": 1.0}']
FORGER = f"""
import os
for text in {WRONG!r}:
    fd = os.memfd_create({MEMFD!r})
    os.write(fd, text.replace(b"PID", b"%d" % os.getpid()))
for name in ({MEMFD!r}, "memfd:" + {MEMFD!r}):
    os.mkfifo(name)
    os.open(name, os.O_RDWR)
    os.unlink(name)
    os.mkfifo(name + "x")
    os.open(name + "x", os.O_RDWR)
print("ready")
input()
"""


def test_forged_announcements_disturb_nobody(tmp_path):
    """Root's `labsupport shell` reads those of every user: none may make it fail or wait."""
    with client(FORGER, cwd=tmp_path) as running, Lab(name="mine"):
        running.read_line()
        look = ("from labsupport.sandbox import find_running_labs\n"
                f"print([lab.name for lab in find_running_labs() if lab.client_pid == {os.getpid()}])")
        with client(look) as looking:
            assert looking.end(10) == (0, "['mine']\n", "")
