"""The cluster inside its lab: network, control plane, nodes and add-ons, brought up step by step."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from labsupport.cluster import control_plane, numbers
from labsupport.cluster.addons import AddOns
from labsupport.cluster.api import ApiClient, has_condition
from labsupport.cluster.commands import offer_commands
from labsupport.cluster.component import Component, check_components
from labsupport.cluster.images import ImageSet
from labsupport.cluster.logs import Log
from labsupport.cluster.node import NODE_SCRIPT, Node, wire_script
from labsupport.cluster.node_files import CNI_FOLDER, NodePlan, link_cni_programs, node_files
from labsupport.cluster.one_user import one_user_manifests
from labsupport.cluster.parcel import send
from labsupport.cluster.paths import KUBERNETES
from labsupport.cluster.pull_proxy import PORT as PROXY_PORT
from labsupport.cluster.pull_proxy import PullProxy
from labsupport.errors import ClusterError, LabError, WaitTimeout
from labsupport.sandbox import Lab
from labsupport.waiting import wait_until

READY_DEADLINE_S = 90.0
LOOK_EVERY_S = 0.1
RACK_SCRIPT = f"""set -e
mkdir -p /var/lib/cluster
mount -t tmpfs -o nosuid,mode=755 tmpfs /var/lib/cluster
mkdir -p /var/lib/cluster/commands /var/lib/cluster/work {KUBERNETES} {control_plane.ETCD_DATA}
chmod 700 {KUBERNETES} {control_plane.ETCD_DATA}
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1
ip link add {numbers.RACK} type bridge mcast_snooping 0
ip addr add {numbers.CONTROL_PLANE_ADDRESS}/{numbers.RACK_PREFIX_LENGTH} dev {numbers.RACK}
ip link set {numbers.RACK} up
ip netns add {numbers.CLIENT}
ip link add {numbers.CLIENT} type veth peer name eth0 netns {numbers.CLIENT}
ip link set {numbers.CLIENT} master {numbers.RACK} up
ip -n {numbers.CLIENT} link set lo up
ip -n {numbers.CLIENT} addr add {numbers.CLIENT_ADDRESS}/{numbers.RACK_PREFIX_LENGTH} dev eth0
ip -n {numbers.CLIENT} link set eth0 up
nft add table inet rack
nft 'add chain inet rack input {{ type filter hook input priority filter; }}'
nft add rule inet rack input tcp dport {PROXY_PORT} ip saddr != {numbers.NODE_ADDRESSES} counter drop
"""
Report = Callable[[str], None]


@dataclass(frozen=True)
class SystemPlan:
    """What a cluster is made of.

    Attributes:
        nodes: how many nodes it starts with.
        proxy_mode: "iptables" or "nftables".
        programs: name and path of each program.
        images: for every node.
        addon_images: name of an add-on -> for every node when it is enabled.
        logs: a folder of the host.
        registries: ports of the host's loopback address where nodes may pull images from.
        seccomp: whether runc can filter system calls.
        pulls: whether nodes may pull images at all.
        one_user: whether the lab knows no user but root.
        controllers: the kinds of limits that nodes can enforce; see labsupport.cluster.limits.
    """

    nodes: int
    proxy_mode: str
    programs: Mapping[str, Path]
    images: ImageSet
    addon_images: Mapping[str, ImageSet]
    logs: Path
    registries: tuple[int, ...] = ()
    seccomp: bool = True
    pulls: bool = True
    one_user: bool = False
    controllers: tuple[str, ...] = ()


class System:
    """Everything that runs in the lab of a cluster.

    Args:
        lab: a fresh one.
        plan: see SystemPlan.
        credentials: see labsupport.cluster.control_plane.
        api: reaches the API server once it is up.
        notice: called with one line when something ended by itself.
    """

    def __init__(self, lab: Lab, plan: SystemPlan, credentials: control_plane.Credentials, api: ApiClient,
                 notice: Report) -> None:
        self.lab = lab
        self.plan = plan
        self.api = api
        self._credentials = credentials
        self._notice = notice
        self.components: list[Component] = []
        self.nodes: dict[str, Node] = {}
        self.addons = AddOns(api, self._await, self._give_images)
        self._images = [plan.images]
        self._lock = threading.RLock()

    def boot(self, report: Report) -> None:
        """Bring everything up; returns when all nodes are Ready.

        Args:
            report: called at the beginning of each step.

        Raises:
            ClusterError: a step failed; the message says which, with the last lines of the log.
        """
        report("network and credentials")
        self.lab.run(RACK_SCRIPT + link_cni_programs(self.plan.programs, CNI_FOLDER), echo=False).check()
        send(self.lab, self._credentials.files)
        send(self.lab, {NODE_SCRIPT: resources.files("labsupport.cluster").joinpath("node.sh").read_text()},
             secret=False)
        offer_commands(self.lab, {name: self.plan.programs[name] for name in ("kubectl", "ctr")})
        if self.plan.pulls:
            self.lab.serve(PullProxy(self.plan.registries), numbers.CONTROL_PLANE_ADDRESS, PROXY_PORT)
        report("etcd and kube-apiserver")
        programs = self.plan.programs
        self._start("etcd", control_plane.etcd_command(programs["etcd"]))
        self._await("etcd", self._etcd_listens, "etcd")  # kube-apiserver would try again only a second later
        self._start("kube-apiserver", control_plane.apiserver_command(programs["kube-apiserver"]))
        for number in range(1, self.plan.nodes + 1):
            self._make_node(number)
        api_ready = threading.Event()
        pool = ThreadPoolExecutor()
        try:
            starts = [pool.submit(node.start, lambda: self._wait_for(api_ready)) for node in self.nodes.values()]
            self._await("the API server", self.api.ready, "kube-apiserver", "etcd")
            report("kube-controller-manager and kube-scheduler")
            self._start_controllers()
            api_ready.set()
            report("containerd, kubelet and kube-proxy on " + ", ".join(self.nodes))
            for start in starts:
                start.result()
        finally:
            api_ready.set()  # after a failure nobody waits for it: the lab is closed, and the threads come to their end
            pool.shutdown(wait=False)
        report("nodes")
        for node in self.nodes.values():
            node.await_services()
            self._await_node(node)

    def _etcd_listens(self) -> bool:
        return self.lab.run(f"exec 3<>/dev/tcp/127.0.0.1/{control_plane.ETCD_PORT}", echo=False).exit_status == 0

    def _start_controllers(self) -> None:
        programs = self.plan.programs
        self._start("kube-controller-manager",
                    control_plane.controller_manager_command(programs["kube-controller-manager"]))
        self._start("kube-scheduler", control_plane.scheduler_command(programs["kube-scheduler"]))
        self._grant()
        if self.plan.one_user:
            for path, manifest in one_user_manifests().items():
                self.api.apply(path, manifest)
        for node in self.nodes.values():
            self._register(node)

    def unpack_images(self) -> None:
        """Unpack the images on all nodes, in the background: it only makes later pods start faster."""
        for node in list(self.nodes.values()):
            with contextlib.suppress(LabError):  # the node or the cluster was stopped meanwhile
                node.unpack_images()

    def _give_images(self, addon: str) -> None:
        """Let all nodes, also those to come, have the images of an add-on."""
        images = self.plan.addon_images.get(addon)
        if images is None:
            return
        with self._lock:
            if images not in self._images:
                self._images.append(images)
            nodes = list(self.nodes.values())
        for node in nodes:
            node.give(images)

    def add_node(self) -> str:
        """Add a node and return its name when it is Ready."""
        with self._lock:
            free = [number for number in range(1, numbers.MOST_NODES + 1)
                    if numbers.node_name(number) not in self.nodes]
            if not free:
                raise ClusterError(f"a cluster has at most {numbers.MOST_NODES} nodes", where="this cluster",
                                   next_step="remove a node first")
            node = self._make_node(free[0])
            self._register(node)
        node.start()
        self._await_node(node)
        return node.name

    def remove_node(self, name: str) -> None:
        """Stop a node and take it out of the cluster: its Node object, its cable and its routes."""
        with self._lock:
            node = self._node(name)
            node.stop()
            path = f"/api/v1/nodes/{name}"
            if self.api.find(path):  # somebody may have used `kubectl delete node`
                self.api.delete(path)
            del self.nodes[name]
            lines = [f"ip netns del {name}; ip link del {name}; rm -rf {node.plan.folder}"]
            lines += [f"ip {where} route del {numbers.pod_cidr(node.plan.number)}"
                      for where in ("", *(f"-n {other}" for other in self.nodes))]
            self.lab.run("\n".join(lines), echo=False)

    def stop_node(self, name: str) -> None:
        """Cut a node's power; the cluster finds out by itself."""
        self._node(name).stop()

    def start_node(self, name: str) -> None:
        """Start a stopped node again; returns when it is Ready."""
        node = self._node(name)
        node.start()
        self._await_node(node)

    def all_components(self) -> list[Component]:
        """Return the control plane's components and those of all nodes."""
        return self.components + [part for node in self.nodes.values() for part in node.components]

    def _node(self, name: str) -> Node:
        node = self.nodes.get(name)
        if node is None:
            raise ClusterError(f"the cluster has no node {name!r}", expected="one of " + ", ".join(self.nodes),
                               next_step="labsupport cluster status")
        return node

    def _start(self, name: str, argv: Sequence[str]) -> None:
        component = Component(self.lab, name, argv, Log(self.plan.logs / f"{name}.log"), self._notice)
        component.start()
        self.components.append(component)

    def _make_node(self, number: int) -> Node:
        plan = NodePlan(number, self.plan.proxy_mode, controllers=self.plan.controllers, programs=self.plan.programs,
                        registries=self.plan.registries, seccomp=self.plan.seccomp)
        others = [node.plan for node in self.nodes.values()]
        cni = link_cni_programs(self.plan.programs, f"{plan.folder}/lib/cni/bin")
        self.lab.run(wire_script(plan, others) + cni, echo=False).check()
        files = node_files(plan, self._credentials.authority)
        send(self.lab, {f"{plan.folder}/etc/{path}": content for path, content in files.items()})
        self.lab.run(f"mkdir {plan.folder}/log && cd {plan.folder}/etc && "
                     "chmod 700 kubernetes && chmod 644 hosts hostname kubernetes/resolv.conf", echo=False).check()
        node = Node(self.lab, plan, self._images, self.plan.logs, self._notice)
        self.nodes[node.name] = node
        return node

    def _register(self, node: Node) -> None:
        """Make the Node object before the kubelet does, so that its range of pod addresses is known from the name.

        With its address kube-proxy need not wait for the kubelet either.
        """
        cidr = numbers.pod_cidr(node.plan.number)
        self.api.create("/api/v1/nodes", {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name}},
            "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
            "status": {"addresses": [{"type": "InternalIP", "address": node.plan.address}]}})

    def _grant(self) -> None:
        """Let the API server, and nobody else, use the kubelets' API (logs, exec, port-forward)."""
        name = "labsupport:kube-apiserver-to-kubelet"
        self.api.apply(f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}", {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                        "name": "system:kubelet-api-admin"},
            "subjects": [{"kind": "User", "name": control_plane.KUBELET_CLIENT}]})

    def _await_node(self, node: Node) -> None:
        path = f"/api/v1/nodes/{node.name}"
        self._await(f"{node.name} to be Ready", lambda: has_condition(self.api.get(path), "Ready"),
                    *(component.name for component in node.components))

    def _wait_for(self, event: threading.Event) -> None:
        if not event.wait(READY_DEADLINE_S):
            raise ClusterError("the API server did not get ready", where="kube-apiserver")

    def _await(self, what: str, observe: Callable[[], bool], *components: str) -> None:
        """Wait; when it takes too long, or a component ends again and again, say so with the last lines of its log."""
        def look() -> bool:
            check_components(self.all_components())
            return observe()

        try:
            wait_until(look, what=what, deadline_s=READY_DEADLINE_S, interval_s=LOOK_EVERY_S)
        except WaitTimeout as error:
            for component in self.all_components():
                if component.name in components:
                    raise component.fault(error.what) from None
            raise
