"""A machine whose /etc has mounts in it, as in every container: /etc/hosts, /etc/resolv.conf."""

from __future__ import annotations

import subprocess
import sys

import pytest

USE_ETC = """
from pathlib import Path
from labsupport import Lab
with Lab() as lab:
    print(lab.run("cat /etc/hosts", echo=False).stdout.count("localhost"))
    print(lab.run("echo new > /etc/new && mkdir -p /etc/netns/red && echo x >> /etc/passwd && tail -n 1 /etc/passwd",
                  echo=False).check().stdout)
    names = lab.run(["find", "/etc", "-mindepth", "1", "-maxdepth", "1"], echo=False).check().stdout.split()
    readable = {str(path) for path in Path("/etc").iterdir() if path.lstat().st_mode & 0o004}
    print(sorted(readable - set(names)))
    print(lab.run("readlink /etc/os-release; cat /etc/ssl/openssl.cnf | wc -l", echo=False).stdout)
"""


@pytest.mark.root_only
@pytest.mark.parametrize("user", [(), ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")],
                         ids=["root", "ordinary"])
def test_the_lab_has_an_etc_of_its_own_all_the_same(user):
    script = 'mount --make-rprivate / && mount --bind /etc/hosts /etc/hosts && exec "$@"'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *user, "env", "HOME=/", sys.executable, "-c",
                           USE_ETC], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == ["3", "x", "", "[]", "../usr/lib/os-release", done.stdout.split("\n")[5], "", ""]
    assert int(done.stdout.split("\n")[5]) > 100
