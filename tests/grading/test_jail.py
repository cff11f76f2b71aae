"""What student code can see and do: nothing of the teacher's."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import labsupport
from labsupport.grading.jail import Jail

REPOSITORY = Path(labsupport.__file__).parent.parent
LIMIT_S = 20.0
ERRORS = """
import os, pathlib
def error(do, *arguments):
    try:
        do(*arguments)
        return "no error"
    except Exception as problem:
        return type(problem).__name__
"""


@pytest.fixture
def look():
    """Runs code in a jail and returns its `answer`."""
    with Jail() as jail:

        def run(source):
            assert jail.run(ERRORS + source, LIMIT_S).error == ""
            return jail.answer()

        run.jail = jail
        yield run


def test_it_sees_no_file_of_the_teacher(look, tmp_path):
    secret = tmp_path / "answers.toml"
    secret.write_text("secret")
    secret.chmod(0o644)
    paths = [secret, *(REPOSITORY / name for name in ("notebooks", "tests", ".git", "README.md", "pyproject.toml"))]
    assert any(path.exists() for path in paths[1:])
    assert look(f"answer = [path for path in {list(map(str, paths))} if os.path.exists(path)]") == []
    home = str(Path.home())
    assert set(look(f"answer = os.listdir({home!r}) if os.path.exists({home!r}) else []")) <= {".ipython"}
    kept = set(look(f"answer = os.listdir({str(REPOSITORY)!r})"))
    assert kept - {"labsupport", ".venv"} == set()


def test_it_sees_the_system_and_this_package(look):
    assert look("import labsupport\nanswer = labsupport.__file__") == labsupport.__file__
    tops = look("answer = [entry.name for entry in os.scandir('/') if entry.is_dir() and os.listdir(entry)]")
    allowed = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "dev", "proc", "sys", "run", "tmp",
               "var", "nix", "gnu", "root", Path(labsupport.__file__).parts[1], Path(os.sys.prefix).parts[1]}
    assert set(tops) <= allowed


def test_it_writes_no_file_of_the_host(look, tmp_path):
    door = Path(look.jail.graded.announcement.address).parent
    before = sorted(door.iterdir())
    targets = [Path(labsupport.__file__).parent / "x", Path(os.sys.prefix) / "x", door / "x", "/usr/x"]
    errors = look(f"answer = [error(pathlib.Path(path).touch) for path in {list(map(str, targets))}]")
    assert set(errors) <= {"OSError", "PermissionError"}
    assert look(f"answer = error(os.remove, {str(door / 'lab.sock')!r})") in {"OSError", "PermissionError"}
    assert look(f"answer = error(lambda: pathlib.Path({str(tmp_path)!r}).joinpath('x').touch())") == "FileNotFoundError"
    assert sorted(door.iterdir()) == before
    assert list(tmp_path.iterdir()) == []


def test_it_has_no_network_and_reaches_no_process(look, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        name = f"\0grader-{os.getpid()}"
        abstract.bind(name)
        abstract.listen()
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()
        assert look(f"import socket\nanswer = error(socket.create_connection, ('127.0.0.1', {port}))") == \
            "ConnectionRefusedError"
        assert look(f"answer = error(socket.socket(socket.AF_UNIX).connect, {name!r})") == "ConnectionRefusedError"
    assert look("answer = [name for _, name in socket.if_nameindex()]") == ["lo"]
    commands = look("answer = [pathlib.Path(f'/proc/{p}/cmdline').read_text() for p in os.listdir('/proc') "
                    "if p.isdecimal()]")
    assert len(commands) > 2
    assert not any("pytest" in command for command in commands)
    assert look("from labsupport.sandbox import find_running_labs\nanswer = len(find_running_labs())") == 0


def test_it_knows_nothing_of_the_graders_environment(monkeypatch):
    monkeypatch.setenv("TEACHERS_TOKEN", "secret")
    with Jail() as jail:
        jail.run("import os\nanswer = sorted(os.environ)", LIMIT_S)
        names = jail.answer()
    assert "PATH" in names
    assert "TEACHERS_TOKEN" not in names


def test_it_is_root_of_the_graded_lab_and_of_nothing_else(look):
    look("from labsupport.lesson import open_lab\nlab = open_lab()\nlab.run('ip netns add red', echo=False).check()")
    assert look.jail.graded.namespaces() == ["red"]
    assert look("answer = lab.announcement is None") is True
    look("lab.end_processes()\nlab.close()")
    assert look.jail.graded.namespaces() == ["red"]


def test_nothing_is_left_of_it():
    with Jail() as jail:
        folder = Path(jail.graded.announcement.address).parent.parent
        assert folder.stat().st_mode & 0o077 == 0
    assert jail.graded.closed
    assert not folder.exists()
