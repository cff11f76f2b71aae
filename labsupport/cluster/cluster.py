"""`Cluster`: a handle on an embedded cluster, for notebooks, tests and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from labsupport.cluster.control import ControlConnection, rebuild_error
from labsupport.cluster.folder import DEFAULT_NAME, ClusterFolder, cluster_folder
from labsupport.cluster.joined import enter_node
from labsupport.cluster.logs import tail
from labsupport.cluster.numbers import CLIENT, MOST_NODES
from labsupport.cluster.pods import name_pod_namespace
from labsupport.cluster.settings import DEFAULT_ADDONS, IDLE_S, Settings
from labsupport.errors import ClusterError
from labsupport.sandbox import Lab
from labsupport.sandbox.process import Completed
from labsupport.waiting import wait_until

STOP_DEADLINE_S = 20.0
OTHERS_DEADLINE_S = 300.0
Report = Callable[[str], None]


def _say_nothing(_line: str) -> None:
    return


class Cluster:
    """A real Kubernetes of upstream's programs, in a lab of its own on this machine.

    It belongs to no notebook: it runs until it is stopped, or until nobody has used it for some hours, and all
    notebooks of a user can share it. Its nodes are namespaces with a kubelet, a containerd and a kube-proxy each; a
    `client` stands outside.

    Args:
        name: several may run at once, under different names.

    Raises:
        ClusterError: that cannot be a name.

    Effects and privileges: none before `start`, which needs no privileges.
    """

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        self.folder: ClusterFolder = cluster_folder(name)
        self.name = name
        self._connection: ControlConnection | None = None
        self._lab: Lab | None = None

    @property
    def running(self) -> bool:
        """Whether the cluster is up."""
        return self.folder.running() and self.folder.control_socket.exists()

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig; it works anywhere on this machine."""
        return self.folder.kubeconfig

    def start(self, *, nodes: int = 2, proxy_mode: str = "iptables",
              addons: Sequence[str] = DEFAULT_ADDONS, registries: Sequence[int] = (), pulls: bool = True,
              hidden: Sequence[Path] = (), idle_s: float = IDLE_S, report: Report = _say_nothing) -> bool:
        """Start the cluster and return when all nodes are Ready and its add-ons work.

        Args:
            nodes: 1 to 9.
            proxy_mode: how kube-proxy makes Services: "iptables" or "nftables".
            addons: what `enable` could be asked for; "dns" alone by default.
            registries: ports of this machine's loopback address with a registry: nodes pull `localhost:PORT/NAME`.
            pulls: whether nodes may pull images; if not, they have those that a cluster brings, and no way out.
            hidden: more folders of the host that its lab must not see.
            idle_s: it stops by itself when nobody has used it for so many seconds.
            report: called with a line at the beginning of each step.

        Returns:
            False if it was running already, or another program has started it meanwhile; then nothing is changed.

        Raises:
            ClusterError: a step failed; everything is undone, and the logs stay.
            KeyboardInterrupt: Ctrl-C; everything is undone.
        """
        if not 1 <= nodes <= MOST_NODES:
            raise ClusterError("a cluster has 1 to 9 nodes", observed=str(nodes), next_step="--nodes 2")
        if proxy_mode not in {"iptables", "nftables"}:
            raise ClusterError(f"kube-proxy has no mode {proxy_mode!r} here", expected="iptables or nftables",
                               next_step="--proxy-mode nftables")
        settings = Settings(nodes, proxy_mode, tuple(addons), tuple(registries), pulls, tuple(map(str, hidden)), idle_s)
        while not self.running:
            if self.folder.running():
                self._wait_for_another(report)
            elif self._launch(settings, report):
                return True
        return False

    def stop(self) -> bool:
        """End the cluster and everything in it; returns False if it was not running."""
        self.close()
        if not self.folder.running():
            return False
        try:
            connection = ControlConnection(self.folder.control_socket)
        except OSError:
            raise ClusterError(f"the cluster {self.name} is starting or ending in another program",
                               where=str(self.folder.path), next_step="wait for it, or press Ctrl-C there") from None
        connection.call("stop")
        connection.close()
        wait_until(lambda: not self.folder.running(), what=f"the cluster {self.name} to end",
                   deadline_s=STOP_DEADLINE_S)
        return True

    def status(self) -> dict[str, Any]:
        """Return what is known of it: server, nodes, components, what ended by itself.

        Raises:
            ClusterError: it does not run.
        """
        status: dict[str, Any] = self._control().call("status")
        return status

    @property
    def lab(self) -> Lab:
        """The lab that the cluster runs in. Its first network namespace is the control plane's machine."""
        if self._lab is None or self._lab.closed:
            self._lab = Lab.join(*self.invitation(), f"cluster {self.name}")
        return self._lab

    def invitation(self) -> tuple[str, str]:
        """Return address and token for `Lab.join`; the address is the path of a Unix socket."""
        found = self._control().call("attach")
        return found["address"], found["token"]

    def nodes(self) -> list[str]:
        """Return the names of the nodes, also of those that are stopped."""
        return [node["name"] for node in self.status()["nodes"]]

    def enter(self, node: str, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` on a node, for `self.lab`.

        Raises:
            ClusterError: there is no such node, or it is stopped.
        """
        return enter_node(self.lab, node, argv)

    def run(self, command: str | Sequence[str], *, on: str, **options: Any) -> Completed:
        """Run a command on a node or on the client; the options are those of `Lab.run`."""
        argv = ["bash", "-c", command] if isinstance(command, str) else command
        if on == CLIENT:
            return self.lab.run(argv, namespace=CLIENT, **options)
        return self.lab.run(self.enter(on, argv), **options)

    def name_pod(self, pod: str, namespace: str = "default") -> str:
        """Give a pod's network namespace the pod's name in the lab, and return it; see labsupport.cluster.pods."""
        return name_pod_namespace(self.lab, pod, namespace)

    def add_node(self) -> str:
        """Add a node; returns its name when it is Ready."""
        name: str = self._control().call("add-node")
        return name

    def remove_node(self, name: str) -> None:
        """Take a node out of the cluster for good."""
        self._control().call("remove-node", name=name)

    def stop_node(self, name: str) -> None:
        """Cut a node's power; what the cluster makes of it shows after some seconds."""
        self._control().call("stop-node", name=name)

    def start_node(self, name: str) -> None:
        """Start a stopped node; returns when it is Ready."""
        self._control().call("start-node", name=name)

    def enable(self, addon: str, report: Report = _say_nothing) -> bool:
        """Give the cluster an add-on, and return when it does its work.

        Args:
            addon: "dns", which a cluster has by default; or "metallb:FIRST-LAST", which gives Services of type
                LoadBalancer an address of that range of the rack's network, 10.0.0.0/24. Another range than before
                takes its place, and Services whose address is not in it get a new one.
            report: called with a line at the beginning of each step.

        Returns:
            False if it was enabled already, with this range.

        Raises:
            ClusterError: there is no such add-on, the range has faults, all of which are told, or it does not work.

        Source: MetalLB documentation, "Concepts: layer 2 mode".
        """
        changed: bool = self._control().call("enable", report, word=addon)
        return changed

    def disable(self, addon: str, report: Report = _say_nothing) -> bool:
        """Take an add-on from the cluster, with all of its objects; returns False if it was not enabled.

        Without "metallb", Services of type LoadBalancer wait for an address again.
        """
        changed: bool = self._control().call("disable", report, name=addon)
        return changed

    def close(self) -> None:
        """Let go of a running cluster; it goes on."""
        if self._lab is not None:
            self._lab.close()
        if self._connection is not None:
            self._connection.close()
        self._lab = self._connection = None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _control(self) -> ControlConnection:
        if self._connection is None:
            try:
                self._connection = ControlConnection(self.folder.control_socket)
            except OSError:
                raise self._not_running() from None
        return self._connection

    def _not_running(self) -> ClusterError:
        option = "" if self.name == DEFAULT_NAME else f" --name {self.name}"
        return ClusterError(f"the cluster {self.name} is not running", next_step=f"labsupport cluster start{option}")

    def _wait_for_another(self, report: Report) -> None:
        """Wait while another program starts or stops the cluster."""
        report("waiting for another program that starts or stops this cluster")
        wait_until(lambda: self.running or not self.folder.running(), what=f"the cluster {self.name} to run, or to end",
                   deadline_s=OTHERS_DEADLINE_S, interval_s=0.1)

    def _launch(self, settings: Settings, report: Report) -> bool:
        """Start the cluster's process; False if another one was faster."""
        self.close()
        self.folder.make()
        argv = [sys.executable, "-m", "labsupport.cluster.supervisor", self.name, json.dumps(asdict(settings))]
        with self.folder.supervisor_log.open("ab") as log:  # who gets the lock makes it empty
            self.folder.supervisor_log.chmod(0o600)
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd="/",
                                       start_new_session=True)
        try:
            started = process.stdout is not None and self._follow(process.stdout, report)
        except BaseException:
            process.terminate()
            process.wait(STOP_DEADLINE_S)
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()
        if not started:
            process.wait(STOP_DEADLINE_S)
        process.returncode = 0  # it goes on by itself; without this, Popen would warn that nobody waits for it
        return started

    def _follow(self, messages: IO[bytes], report: Report) -> bool:
        for line in messages:
            message = json.loads(line)
            if "error" in message:
                raise rebuild_error(message["error"])
            if "busy" in message:
                return False
            if "result" in message:
                return True
            report(message["report"])
        raise ClusterError(f"the process of the cluster {self.name} ended while it was starting",
                           where=str(self.folder.supervisor_log), log_tail=tail(self.folder.supervisor_log),
                           next_step="read its log")
