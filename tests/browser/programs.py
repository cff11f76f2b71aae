"""A JupyterLab and a Chromium of their own, for tests that look at what a student sees.

Both keep their files to themselves, listen on loopback only, and are gone when their `with` block ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labsupport.waiting import wait_until

START_WITHIN_S = 30.0
END_WITHIN_S = 10.0
TOKEN = "only-for-this-test"  # noqa: S105
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
_CHROMIUM_OPTIONS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-breakpad", "--disable-crash-reporter", "--password-store=basic", "--use-mock-keychain",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0", "--window-size=1300,1500",
]
_LAB_OPTIONS = [
    "--no-browser", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--ServerApp.allow_root=True",
    "--ServerApp.terminals_enabled=False", "--LabApp.news_url=None", "--LabApp.extension_manager=readonly",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", f"--IdentityProvider.token={TOKEN}",
]


@contextlib.contextmanager
def jupyterlab(folder: Path, notebooks: Path) -> Iterator[str]:
    """Serve a folder of notebooks; yields the server's address, which ends with a slash."""
    home = folder / "jupyter"
    home.mkdir()
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "run",
              "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    environment |= {"HOME": str(home)} | {name: str(home / place) for name, place in places.items()}
    argv = [sys.executable, "-m", "jupyterlab", *_LAB_OPTIONS, f"--ServerApp.root_dir={notebooks}"]
    with _running(argv, home / "log", environment) as process:
        def address() -> str:
            assert process.poll() is None, (home / "log").read_text()
            for path in (home / "run").glob("jpserver-*.json"):
                with contextlib.suppress(json.JSONDecodeError):  # it is being written
                    return str(json.loads(path.read_text())["url"])
            return ""

        yield wait_until(address, what="JupyterLab's address", deadline_s=START_WITHIN_S)


@contextlib.contextmanager
def chromium() -> Iterator[str]:
    """Start a browser without a window; yields the address that its DevTools listen on."""
    # A folder of its own with a short name: a socket is in it, and its path may have 107 letters.
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        argv = [CHROMIUM, *_CHROMIUM_OPTIONS, f"--user-data-dir={home}", "about:blank"]
        with _running(argv, home / "log", os.environ | {"HOME": name, "TMPDIR": name}) as process:
            def address() -> str:
                assert process.poll() is None, (home / "log").read_text()
                path = home / "DevToolsActivePort"  # two lines: the port, and the path of the browser's own socket
                port, _, place = path.read_text().partition("\n") if path.exists() else ("", "", "")
                return f"127.0.0.1:{port}" if place else ""

            yield wait_until(address, what="Chromium's DevTools", deadline_s=START_WITHIN_S)


@contextlib.contextmanager
def _running(argv: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output, subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=log.parent,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()  # JupyterLab ends its kernels, and they their labs
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_WITHIN_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            with contextlib.suppress(ChildProcessError):  # orphans of its group came to this process: tests/conftest.py
                while True:
                    os.waitpid(-process.pid, 0)


def write_notebook(path: Path, cells: dict[str, str]) -> None:
    """Write a notebook of code cells by id."""
    def cell(name: str, source: str) -> dict[str, Any]:
        return {"cell_type": "code", "id": name, "metadata": {}, "source": source, "outputs": [],
                "execution_count": None}

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.write_text(json.dumps({"cells": [cell(*item) for item in cells.items()], "metadata": {"kernelspec": kernel},
                                "nbformat": 4, "nbformat_minor": 5}))
