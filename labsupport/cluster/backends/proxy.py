"""The way to a foreign cluster's API server: a `kubectl proxy` of the host.

kubectl understands every kubeconfig: certificates, tokens, plugins that fetch them, proxies. It keeps what it knows:
the notebook's lab and its checks speak plain HTTP to a Unix socket in a folder that only this user may enter, and
credentials are never copied. The kubernetes package would do the same for Python, but not for kubectl in a lab.

Source: kubectl's reference, "kubectl proxy".
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from labsupport.cluster.api import TIMEOUT_S, Api, connected
from labsupport.cluster.backends.signals import API_SIGNALS, explained
from labsupport.cluster.binaries.find import survey
from labsupport.cluster.binaries.units import UNITS
from labsupport.cluster.logs import tail
from labsupport.cluster.pull_proxy import carry
from labsupport.errors import ClusterError
from labsupport.waiting import wait_until

# Leaves nothing behind, whatever happens to the process that started it; $0 is the folder.
_SCRIPT = """trap 'kill $!; rm -rf "$0"; exit' TERM
"$@" &
wait $!"""
START_DEADLINE_S = 15.0
END_DEADLINE_S = 5.0
SNAP_KUBECTL = Path("/snap/microk8s/current/kubectl")


def find_kubectl() -> Path | None:
    """Return kubectl: the one of the embedded cluster, or any on PATH, or the one in microk8s."""
    program = survey(unit for unit in UNITS if unit.name == "kubectl").programs.get("kubectl")
    if program is not None:
        return program.path
    # A snap's command is a link to `snap`, which works in no lab.
    on_path = (Path(folder) / "kubectl" for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)
    candidates = (path for path in (*on_path, SNAP_KUBECTL) if path.resolve().name != "snap")
    return next((path for path in candidates if shutil.which(path)), None)


class ProxiedApi(Api):
    """Talks to an API server through the Unix socket of a `kubectl proxy`, which adds the credentials."""

    if_lost = "open the cluster again: run the notebook's first code cell"
    if_refused = "kubectl auth can-i --list tells what you may do there; ask the cluster's administrator"

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")  # kubectl proxy takes hardly any other Host
        self._path = path

    def _dial(self) -> socket.socket:
        return dial(self._path, TIMEOUT_S)


def dial(path: Path, timeout_s: float | None = None) -> socket.socket:
    """Connect to a Unix socket."""
    return connected(socket.socket(socket.AF_UNIX), str(path), timeout_s)


class KubectlProxy:
    """A running `kubectl proxy`; it ends with `close`, or with the process that started it.

    Args:
        kubectl: the program.
        kubeconfig: the text of a kubeconfig; "" for the files that kubectl finds by itself.
        context: the context in it; "" for the current one.

    Raises:
        ClusterError: it does not start; the message says why.
    """

    def __init__(self, kubectl: Path, *, kubeconfig: str = "", context: str = "") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="labsupport-api-", dir="/tmp"))  # a socket's path must be short
        self._socket, self._log = self._folder / "socket", self._folder / "log"
        # All paths are let through: by default it keeps exec and attach away, since browsers could reach it.
        argv = ["setpriv", "--pdeathsig=TERM", "bash", "-c", _SCRIPT, str(self._folder), "setpriv", "--pdeathsig=KILL",
                str(kubectl), "proxy", f"--unix-socket={self._socket}", "--reject-paths=^$", "--append-server-path",
                f"--context={context}"]
        try:
            if kubeconfig:
                file = self._folder / "kubeconfig"
                file.touch(0o600)
                file.write_text(kubeconfig)
                argv.append(f"--kubeconfig={file}")
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                 start_new_session=True)
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        try:
            wait_until(self._started, what="kubectl proxy to listen", deadline_s=START_DEADLINE_S)
        except BaseException:
            self.close()
            raise
        self.api = ProxiedApi(self._socket)

    def _started(self) -> bool:
        if self._process.poll() is not None:
            raise explained(tail(self._log), API_SIGNALS, where="kubectl proxy",
                            otherwise="kubectl cannot use the kubeconfig")
        try:
            dial(self._socket).close()
        except OSError:
            return False
        return True

    def serve(self, client: socket.socket) -> None:
        """Carry one connection of a lab: what `Lab.serve` calls."""
        with suppress(OSError), dial(self._socket, TIMEOUT_S) as server:  # it has ended: the client sees that
            carry(client, server)

    def close(self) -> None:
        """End it; closing twice is no error."""
        self._process.terminate()
        self._process.wait(END_DEADLINE_S)
        shutil.rmtree(self._folder, ignore_errors=True)


def need_kubectl() -> Path:
    """Return kubectl.

    Raises:
        ClusterError: there is none.
    """
    found = find_kubectl()
    if found is None:
        raise ClusterError("there is no kubectl", where="PATH",
                           next_step="install it (kubernetes.io/docs/tasks/tools); "
                           "or build it, with all the other programs of the embedded cluster: labsupport cluster build")
    return found
