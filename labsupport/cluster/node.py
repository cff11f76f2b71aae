"""A node: a machine of the cluster made of namespaces, with its kubelet, containerd and kube-proxy."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from labsupport.cluster import numbers
from labsupport.cluster.component import Component, check_components
from labsupport.cluster.images import ImageSet
from labsupport.cluster.joined import enter
from labsupport.cluster.logs import Log
from labsupport.cluster.node_files import NodePlan, containerd_environment
from labsupport.cluster.parcel import send
from labsupport.cluster.paths import CONTAINERD_ROOT, CONTAINERD_SOCKET, KUBERNETES
from labsupport.errors import ClusterError, LabClosed, LabDied
from labsupport.sandbox import Lab
from labsupport.sandbox.process import Process
from labsupport.waiting import wait_until

START_DEADLINE_S = 20.0
IMPORT_DEADLINE_S = 300.0
RESTART_PAUSE_S = 1.0
TIMED_OUT = 124
"""The exit status of timeout(1) if it ended the command."""
NODE_SCRIPT = "/var/lib/cluster/node.sh"
"""Where `System.boot` puts node.sh, once for all nodes."""


class Node:
    """One node, from its first start to its removal.

    A node has a network, mount, UTS and PID namespace of its own. When its first process ends, in whatever way,
    the kernel ends everything on it, containers included, as if its power were cut.

    Args:
        lab: the lab of the cluster; the node's files are in `plan.folder` there.
        plan: see NodePlan.
        images: what its containerd has from the beginning; `give` adds more.
        folder: where its logs go, on the host.
        notice: called with one line when something ended by itself.
    """

    def __init__(self, lab: Lab, plan: NodePlan, images: Sequence[ImageSet], folder: Path,
                 notice: Callable[[str], None]) -> None:
        self.plan = plan
        self.name = plan.name
        self.pid = 0
        self.restarts = 0
        self._lab = lab
        self._images = list(images)
        self._loaded = 0
        self._notice = notice
        self._logs = {name: Log(folder / f"{name}@{plan.name}.log")
                      for name in ("containerd", "kubelet", "kube-proxy")}
        self._init: Process | None = None
        self._components: list[Component] = []
        self._lock = threading.RLock()
        self._stopping = threading.Event()

    @property
    def running(self) -> bool:
        """Whether its first process runs."""
        return self._init is not None and self._init.exit_status is None

    @property
    def components(self) -> list[Component]:
        """Its supervised programs."""
        return list(self._components)

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` on this node; it ends when its own parent does."""
        return enter(self.pid, argv)

    def start(self, api_ready: Callable[[], None] | None = None) -> None:
        """Start the node and everything on it; returns when its components have been started.

        Args:
            api_ready: while the cluster boots: returns when kubelet and kube-proxy can reach the API server. Nobody has
                made a pod yet, so the kubelet need not wait for the rules for Services; see `await_services`.

        Raises:
            ClusterError: a step failed; its log is in the message.
        """
        with self._lock:
            if self.running:
                return
            self._stopping.clear()
            self._start_init()
            self._start_containerd()
            if api_ready is not None:
                api_ready()
            self._start_component("kube-proxy", [f"--config={KUBERNETES}/kube-proxy.json"])
            if api_ready is None:
                self.await_services()
            self._start_component("kubelet", [
                f"--config={KUBERNETES}/kubelet.json", f"--kubeconfig={KUBERNETES}/kubelet.conf",
                f"--hostname-override={self.name}", f"--node-ip={self.plan.address}"])

    def stop(self) -> None:
        """Cut its power: everything on it ends at once."""
        self._stopping.set()
        with self._lock:
            for component in self._components:
                component.forget()
            if self._init is not None:
                self._init.abandon()
            self.pid = 0

    def _start_init(self) -> None:
        argv = ["nsenter", f"--net=/run/netns/{self.name}",
                "unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--propagation=private",
                "sh", NODE_SCRIPT, self.name, self.plan.folder, *self.plan.controllers]
        process = self._lab.start(argv)
        first = self._first_line(process)
        if not first.isdecimal():
            process.abandon()
            raise ClusterError(f"{self.name} could not build its file system", where="its first process",
                               expected="its process id", observed=first or f"exit status {process.exit_status}",
                               next_step="run `labsupport doctor`")
        self._init, self.pid = process, int(first)
        threading.Thread(target=self._watch, args=(process,), name=self.name, daemon=True).start()

    def _first_line(self, process: Process) -> str:
        said, end = b"", time.monotonic() + START_DEADLINE_S
        while process.exit_status is None and b"\n" not in said and time.monotonic() < end:
            said += b"".join(data for _, data in process.read(end - time.monotonic()))
        return said.decode(errors="replace").strip()

    def _start_containerd(self) -> None:
        self._components = []
        command = ["env", *containerd_environment(self.plan), str(self.plan.programs["containerd"])]
        self._start_component("containerd", [f"--config={KUBERNETES}/containerd.toml"], command)
        log = self._logs["containerd"]
        wait_until(self._containerd_answers, deadline_s=START_DEADLINE_S,
                   interval_s=0.05, what=f"containerd of {self.name}; log: {log.path}")
        self._load_images()

    def _containerd_answers(self) -> bool:
        check_components(self._components)
        return self._ctr("version")

    def await_services(self) -> None:
        """Wait until kube-proxy has written the node's rules for Services, which must be there before the first pod is.

        A connection whose first packet found no rule never finds one: its packets belong to a flow that conntrack knows
        already. CoreDNS, like every program with client-go, waits half a minute before it opens another one.
        """
        log = self._logs["kube-proxy"]
        wait_until(self._has_services, deadline_s=START_DEADLINE_S, interval_s=0.05,
                   what=f"the rules of kube-proxy on {self.name}; log: {log.path}")

    def _has_services(self) -> bool:
        """Whether a connection to the Service kubernetes gets anywhere; without an API server it is refused."""
        check_components(self._components)
        connect = ["bash", "-c", f"exec 3<>/dev/tcp/{numbers.API_SERVICE_ADDRESS}/443"]
        tried = self._lab.run(self.inside(["timeout", "0.2", *connect]), echo=False)
        return tried.exit_status != TIMED_OUT

    def _ctr(self, *arguments: str) -> bool:
        argv = [str(self.plan.programs["ctr"]), f"--address={CONTAINERD_SOCKET}", *arguments]
        return self._lab.run(self.inside(argv), echo=False).exit_status == 0

    def give(self, images: ImageSet) -> None:
        """Let its containerd have more images: now, or from its next start on."""
        with self._lock:
            if images not in self._images:
                self._images.append(images)
            if self.running:
                self._load_images()

    def _load_images(self) -> None:
        """Load what its containerd does not have yet; what it has is still there when the node is started again."""
        while self._loaded < len(self._images):
            images, file = self._images[self._loaded], _archive(self._loaded)
            with tempfile.TemporaryDirectory() as folder:
                archive = Path(folder) / "images.tar"
                images.write_archive(archive, without=images.layers)
                send(self._lab, {f"{self.plan.folder}/etc/{file}": archive.read_bytes()})
            script = images.load_script(f"/etc/{file}", socket=CONTAINERD_SOCKET,
                                        content=f"{CONTAINERD_ROOT}/io.containerd.content.v1.content")
            self._lab.run(self.inside(["sh", "-c", script]), echo=False, timeout_s=IMPORT_DEADLINE_S).check()
            self._loaded += 1

    def unpack_images(self) -> None:
        """Unpack the images of every cluster, so that the first pod of each starts as fast as the second."""
        argv = ["nice", str(self.plan.programs["ctr"]), f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io",
                "images", "import", f"/etc/{_archive(0)}"]
        self._lab.run(self.inside(argv), echo=False, timeout_s=IMPORT_DEADLINE_S)

    def _start_component(self, name: str, options: Sequence[str], command: Sequence[str] = ()) -> None:
        argv = [*(command or [str(self.plan.programs[name])]), *options]
        component = Component(self._lab, f"{name}@{self.name}", self.inside(argv), self._logs[name], self._notice)
        component.start()
        self._components.append(component)

    def _watch(self, process: Process) -> None:
        """Start the node again when its first process ends by itself."""
        try:
            while process.exit_status is None:
                process.read()
        except (LabClosed, LabDied):
            return
        for component in self._components:
            component.forget()
        while not self._stopping.wait(RESTART_PAUSE_S):
            self.restarts += 1
            self._notice(f"{self.name} went down and is started again")
            try:
                self.start()
            except ClusterError as error:
                self._notice(error.what)
            except (LabClosed, LabDied):
                return
            else:
                return


def _archive(number: int) -> str:
    """Return where a node's /etc has the small files of one set of images."""
    return f"kubernetes/images-{number}.tar"


def wire_script(plan: NodePlan, others: Sequence[NodePlan]) -> str:
    """Return the shell lines that cable a node to the rack and tell all nodes where each other's pods are."""
    lines = [
        f"ip netns add {plan.name}",
        f"ip link add {plan.name} type veth peer name eth0 netns {plan.name}",
        f"ip link set {plan.name} master {numbers.RACK} up",
        f"ip -n {plan.name} link set lo up",
        f"ip -n {plan.name} addr add {plan.address}/{numbers.RACK_PREFIX_LENGTH} dev eth0",
        f"ip -n {plan.name} link set eth0 up",
        f"ip -n {plan.name} route add default via {numbers.CONTROL_PLANE_ADDRESS}",
        f"ip netns exec {plan.name} sysctl -qw net.ipv4.ip_forward=1",
        f"ip route replace {numbers.pod_cidr(plan.number)} via {plan.address}",
    ]
    for other in others:
        lines += [f"ip -n {plan.name} route replace {numbers.pod_cidr(other.number)} via {other.address}",
                  f"ip -n {other.name} route replace {numbers.pod_cidr(plan.number)} via {plan.address}"]
    return "set -e\n" + "\n".join(lines) + "\n"
