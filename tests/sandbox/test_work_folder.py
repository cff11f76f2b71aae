"""The work folder: the one place where a lab and its host meet."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from clients import PROBE_START, probe

from labsupport import Lab, LabError


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "my work, ünïcode"
    folder.mkdir()
    return folder


def test_files_land_as_the_callers(work):
    (work / "mine").write_text("from the host\n")
    (work / "mine").chmod(0o600)
    with Lab(work=work) as lab:
        line = "pwd; cat mine; echo from the lab >> mine; echo new > theirs; mkdir -p a/b; stat -c %u mine theirs"
        done = lab.run(line, echo=False).check()
    assert done.stdout.splitlines() == [str(work), "from the host", "0", "0"]
    assert (work / "mine").read_text() == "from the host\nfrom the lab\n"
    for path in (work / "mine", work / "theirs", work / "a" / "b"):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
    (work / "theirs").unlink()


def test_nothing_beside_the_work_folder_is_seen_or_written(work):
    (work.parent / "secret").write_text("secret")
    (work / "way-out").symlink_to(work.parent)
    with Lab(work=work) as lab:
        done = lab.run("ls -A ..; cat ../secret way-out/secret; echo x > ../new; echo x > way-out/new2", echo=False)
    assert done.stdout.split("\n")[:-1] == [work.name]
    assert done.stderr.count("No such file or directory") == 2
    assert sorted(path.name for path in work.parent.iterdir()) == [work.name, "secret"]


def test_a_lab_without_a_work_folder_writes_nowhere(work, lab):
    lab.run(f"mkdir -p '{work}' && echo x > '{work}/x'", echo=False)
    assert list(work.iterdir()) == []


def test_a_work_folder_behind_a_link_is_the_real_one(work, tmp_path):
    (tmp_path / "link").symlink_to(work)
    with Lab(work=tmp_path / "link") as lab:
        assert lab.run("pwd; echo x > x", echo=False).check().stdout.strip() == str(work)
    assert (work / "x").read_text() == "x\n"


@pytest.mark.parametrize("place", ["nothing", "file"])
def test_a_work_folder_that_is_none_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="the lab's work folder is not there"):
        Lab(work=tmp_path / place)


@pytest.mark.parametrize("place", ["/", "/usr", "/etc", "/proc", "/dev", "/run", "/sys", "/var"])
def test_a_folder_of_the_system_is_no_work_folder(place):
    with pytest.raises(LabError, match="work folder"):
        Lab(work=place).close()


LEAVE_PROGRAMS = """
import os, shutil, struct
shutil.copy("/usr/bin/id", "id")
os.chmod("id", 0o6755)
shutil.copy("/bin/grep", "grep")
CAP_NET_RAW, VERSION_2_EFFECTIVE = 1 << 13, 0x02000001
attempt("set capabilities", os.setxattr, "grep", "security.capability",
        struct.pack("<5I", VERSION_2_EFFECTIVE, CAP_NET_RAW, 0, 0, 0))
"""


@pytest.mark.root_only
def test_no_program_that_a_lab_left_makes_a_user_of_the_host_more():
    """Files land as the host's root: with a setuid bit or file capabilities they would be keys to the host."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with Lab(work=folder) as lab:
            lab.run(["python3", "-I", "-"], stdin=PROBE_START + LEAVE_PROGRAMS, echo=False)
        nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        printed = [subprocess.run([*nobody, *command], cwd=folder, capture_output=True, text=True, check=True).stdout
                   for command in (["./id", "-u"], ["./id", "-g"], ["./grep", "CapEff", "/proc/self/status"])]
    assert [line.split()[-1] for line in printed] == ["65534", "65534", "0" * 16]


@pytest.mark.root_only
def test_setuid_and_devices_have_no_effect_in_the_work_folder(work):
    os.mknod(work / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(work / "disk", stat.S_IFBLK | 0o666, Path(__file__).stat().st_dev)
    (work / "id").write_bytes(Path("/usr/bin/id").read_bytes())
    (work / "id").chmod(0o4755)
    work.chmod(0o755)
    with Lab(work=work) as lab:
        results = probe(lab, "for name in ('null', 'disk'): attempt(name, os.open, name, os.O_RDONLY)")
        assert results == {"null": "EACCES", "disk": "EACCES"}
        done = lab.run("setpriv --reuid 1000 --regid 1000 --clear-groups ./id -u", echo=False)
    assert done.stdout == "1000\n"
