"""microk8s, driven by its command; whatever its scripts print is understood, since their exit status tells little.

Source: canonical/microk8s v1.36: microk8s-resources/wrappers, scripts/wrappers (status.py, enable.py, images.py).
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from labsupport.cluster.backends.microk8s_signals import LOCKS, NOT_INSTALLED, SIGNALS
from labsupport.cluster.backends.signals import explained, find_signal
from labsupport.doctor.cluster_needs import find_microk8s
from labsupport.errors import ClusterError

DATA = Path("/var/snap/microk8s/current")
STATUS_LIMIT_S = 180.0
CONFIG_LIMIT_S = 60.0
ENABLE_LIMIT_S = 600.0
IMPORT_LIMIT_S = 600.0
PATIENCE_S = 2.0
_ALREADY = re.compile(r"Addon \S+ is already enabled")
_PUSHED = re.compile(r"Pushing OCI images to (\S+)")
_NOT_PUSHED = re.compile(r"Failed to (?:import images on|reach) .*")


@dataclass(frozen=True)
class Output:
    """What a command printed, and how it ended."""

    command: str
    stdout: str
    stderr: str
    exit_status: int


@dataclass(frozen=True)
class Status:
    """What `microk8s status` says.

    Attributes:
        running: whether the node is Ready.
        addons: name -> whether it is enabled. microk8s looks for an object of the add-on, not for its health.
    """

    running: bool
    addons: Mapping[str, bool]


class Microk8s:
    """The command `microk8s` of this machine.

    Args:
        report: is told what is waited for, if it takes more than two seconds.
        data: where the snap keeps its state.

    Raises:
        ClusterError: there is no such command.
    """

    def __init__(self, report: Callable[[str], None], data: Path = DATA) -> None:
        program = find_microk8s()
        if program is None:
            raise ClusterError(NOT_INSTALLED.what, where="PATH and /snap/bin", next_step=NOT_INSTALLED.next_step)
        self._program, self._report, self._data = program, report, data

    def run(self, *arguments: str, timeout_s: float, stdin: IO[bytes] | None = None) -> Output:
        """Run a command of microk8s to its end, and understand what it says.

        It reads nothing, so that no `sudo` in it waits for a password.

        Raises:
            ClusterError: it said that something is wrong, whatever its exit status; or it took too long.
        """
        argv = [self._program, *arguments]
        command = shlex.join(["microk8s", *arguments])
        with subprocess.Popen(argv, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, errors="replace", start_new_session=True) as process:
            try:
                stdout, stderr = self._finish(process, command, timeout_s)
            except BaseException:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # a wrapper of shell and Python has children
                raise
        output = Output(command, stdout, stderr, process.returncode)
        if find_signal(stdout + stderr, SIGNALS):
            raise explained(stdout + stderr, SIGNALS, where=command, otherwise="")
        return output

    def _finish(self, process: subprocess.Popen[str], command: str, timeout_s: float) -> tuple[str, str]:
        try:
            return process.communicate(timeout=min(PATIENCE_S, timeout_s))
        except subprocess.TimeoutExpired:
            self._report(f"waiting for: {command}")
        try:
            return process.communicate(timeout=max(0.0, timeout_s - PATIENCE_S))
        except subprocess.TimeoutExpired:
            raise ClusterError("microk8s does not end", where=command, expected=f"an end within {timeout_s:g} s",
                               next_step="try it in a terminal; a ~/.kube that belongs to root makes it hang: "
                               "sudo chown -R $USER ~/.kube") from None

    def status(self) -> Status:
        """Return what microk8s says of itself.

        Raises:
            ClusterError: it does not run, or says that something else is wrong.
        """
        for lock, text in LOCKS.items():  # says it without the half minute that a status may take
            if os.path.exists(self._data / "var/lock" / lock):  # noqa: PTH110  (a folder may be closed to this user)
                raise explained(text, SIGNALS, where=str(self._data / "var/lock" / lock), otherwise=text)
        output = self.run("status", "--format", "yaml", timeout_s=STATUS_LIMIT_S)
        return parse_status(self._ended_well(output))

    def enable(self, addon: str, *arguments: str) -> bool:
        """Switch on an add-on; returns False if it was on.

        Args:
            addon: its name: "dns".
            arguments: for the add-on; not behind a colon, which breaks IPv6.

        Raises:
            ClusterError: there is no such add-on, it needs sudo, or arguments came too late.
        """
        output = self._ended_well(self.run("enable", addon, *arguments, timeout_s=ENABLE_LIMIT_S))
        already = _ALREADY.search(output.stdout)
        if already and arguments:
            raise ClusterError(f"the add-on {addon} was enabled already, so microk8s ignored {' '.join(arguments)}",
                               where=output.command, observed=already.group(),
                               next_step=f"microk8s disable {addon}, then again: {output.command}")
        return not already

    def import_images(self, archive: Path) -> list[str]:
        """Give all nodes the images of an OCI archive; returns where they went.

        Raises:
            ClusterError: a node did not get them; microk8s ends with 0 even then.
        """
        with archive.open("rb") as file:  # the snap may not be allowed to open it
            output = self._ended_well(self.run("images", "import", timeout_s=IMPORT_LIMIT_S, stdin=file))
        failed = _NOT_PUSHED.findall(output.stdout + output.stderr)
        pushed = _PUSHED.findall(output.stdout)
        if failed or not pushed:
            raise ClusterError("microk8s did not import the images", where=output.command,
                               observed="\n".join(failed) or output.stdout.strip() or "no node was named",
                               next_step="microk8s kubectl get nodes; is the disk full? df -h /var/snap")
        return pushed

    def kubeconfig(self) -> str:
        """Return the text of the administrator's kubeconfig, which names 127.0.0.1."""
        try:
            return (self._data / "credentials/client.config").read_text()
        except OSError:  # other users read it through the command, which their group allows
            return self._ended_well(self.run("config", "-l", timeout_s=CONFIG_LIMIT_S)).stdout

    def _ended_well(self, output: Output) -> Output:
        if output.exit_status:
            raise ClusterError("microk8s failed", command=output.command, exit_status=output.exit_status,
                               log_tail=(output.stdout + output.stderr)[-2000:],
                               next_step="run it in a terminal; sudo microk8s inspect looks for the cause")
        if not (output.stdout + output.stderr).strip():
            raise ClusterError("microk8s printed nothing, and says that all is well", where=output.command,
                               next_step="on macOS and Windows its virtual machine is missing: microk8s install")
        return output


def parse_status(output: Output) -> Status:
    """Read what `microk8s status` printed with --format yaml, or with the older --yaml.

    Raises:
        ClusterError: it is neither.
    """
    import yaml  # noqa: PLC0415  (only this backend needs it)

    try:
        document: Any = yaml.safe_load(output.stdout)
        running = document["microk8s"]["running"]
        addons = document.get("addons") or {}
        if isinstance(addons, list):
            addons = {addon["name"]: addon["status"] for addon in addons}
        return Status(bool(running), {name.rpartition("/")[2]: state == "enabled" for name, state in addons.items()})
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        raise _puzzling(output) from None


def _puzzling(output: Output) -> ClusterError:
    return ClusterError("microk8s says something that labsupport does not understand", where=output.command,
                        observed=(output.stdout + output.stderr).strip()[-600:],
                        next_step="use its kubeconfig with LABSUPPORT_BACKEND=kubeconfig: microk8s config > FILE")
