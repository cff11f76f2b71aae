"""What a node's kubelet, containerd, kube-proxy and CNI plugins are told.

Source: KubeletConfiguration v1beta1 and KubeProxyConfiguration v1alpha1 in the Kubernetes documentation; containerd's
docs/cri/config.md; the CNI specification 1.1.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labsupport.cluster import numbers
from labsupport.cluster.control_plane import NODES_URL
from labsupport.cluster.images import PAUSE
from labsupport.cluster.kubeconfig import render_kubeconfig
from labsupport.cluster.paths import CONTAINERD_ROOT, CONTAINERD_SOCKET, KUBERNETES
from labsupport.cluster.pki import Authority
from labsupport.cluster.pull_proxy import PORT, REGISTRY_HOST

SHARED = "/var/lib/cluster/nodes"
"""In the lab's first mount namespace: one folder per node, which its own mount namespace has in other places."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
REGISTRIES = f"{KUBERNETES}/registries"
CNI_PROGRAMS = ("bridge", "host-local", "loopback", "portmap", "ptp")
CNI_FOLDER = "/var/lib/cni/bin"
"""Where every machine has its CNI plugins: links to upstream's, and a learner's own. (Elsewhere it is /opt/cni/bin, but
a lab cannot write to the host's /opt.)"""
UNUSED_CONTAINERD_PLUGINS = (
    "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
    "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs",
)


@dataclass(frozen=True)
class NodePlan:
    """A node before it exists.

    Attributes:
        number: from 1; name and addresses follow from it.
        proxy_mode: "iptables" or "nftables".
        controllers: the kinds of limits of containers that the lab can enforce: of "cpu", "memory", "pids".
        programs: name and path of each program.
        registries: ports of the host's loopback address; `localhost:PORT/NAME` is pulled from there.
        seccomp: whether runc can filter system calls.
    """

    number: int
    proxy_mode: str
    controllers: tuple[str, ...]
    programs: Mapping[str, Path]
    registries: tuple[int, ...] = ()
    seccomp: bool = True

    @property
    def name(self) -> str:
        """Its name, as `kubectl get nodes` shows it."""
        return numbers.node_name(self.number)

    @property
    def address(self) -> str:
        """Its address on the rack."""
        return numbers.node_address(self.number)

    @property
    def folder(self) -> str:
        """Where its files wait for it, in the lab's first mount namespace."""
        return f"{SHARED}/{self.name}"


def node_files(plan: NodePlan, authority: Authority) -> dict[str, str | bytes]:
    """Return the files of a node's /etc, by their path below `plan.folder`; all of them secret."""
    kubelet_user, proxy_user = f"system:node:{plan.name}", "system:kube-proxy"
    kubelet_client = authority.issue_client(kubelet_user, ["system:nodes"])
    kubelet_server = authority.issue_server(kubelet_user, [plan.name, plan.address], ["system:nodes"])
    proxy_client = authority.issue_client(proxy_user)
    return {
        **{f"kubernetes/registries/localhost:{port}/hosts.toml": _registry(port) for port in plan.registries},
        "kubernetes/ca.crt": authority.certificate,
        "kubernetes/kubelet.crt": kubelet_server.certificate,
        "kubernetes/kubelet.key": kubelet_server.key,
        "kubernetes/kubelet.conf": render_kubeconfig(NODES_URL, authority.certificate, kubelet_client,
                                                     user=kubelet_user),
        "kubernetes/kube-proxy.conf": render_kubeconfig(NODES_URL, authority.certificate, proxy_client,
                                                        user=proxy_user),
        "kubernetes/kubelet.json": json.dumps(kubelet_configuration(plan), indent=2),
        "kubernetes/kube-proxy.json": json.dumps(proxy_configuration(plan), indent=2),
        "kubernetes/containerd.toml": containerd_configuration(plan),
        "kubernetes/resolv.conf": f"nameserver {numbers.CONTROL_PLANE_ADDRESS}\n",
        "cni/10-ptp.conflist": json.dumps(cni_configuration(plan), indent=2),
        "hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{plan.address}\t{plan.name}\n",
        "hostname": f"{plan.name}\n",
    }


def _registry(port: int) -> str:
    server = f"http://{REGISTRY_HOST}:{port}"
    return f'server = "{server}"\n[host."{server}"]\n  capabilities = ["pull", "resolve"]\n'


def containerd_environment(plan: NodePlan) -> list[str]:
    """Return containerd's variables: its programs, its way out for pulls, and what our wrapper of runc has to know."""
    proxy = f"http://{numbers.CONTROL_PLANE_ADDRESS}:{PORT}"
    folders = [str(plan.programs[name].parent) for name in ("containerd", "runc")]
    variables = [f"PATH={':'.join([*folders, SYSTEM_PATH])}", f"HTTP_PROXY={proxy}", f"HTTPS_PROXY={proxy}",
                 f"LABSUPPORT_RUNC={plan.programs['runc']}"]
    if plan.controllers:
        variables += [f"LABSUPPORT_RUNC_CGROUP=/{plan.name}",
                      f"LABSUPPORT_RUNC_CONTROLLERS={' '.join(plan.controllers)}"]
    return variables if plan.seccomp else [*variables, "LABSUPPORT_RUNC_WITHOUT_SECCOMP=1"]


def kubelet_configuration(plan: NodePlan) -> dict[str, object]:
    """Return the kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": plan.address,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": f"{KUBERNETES}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{KUBERNETES}/kubelet.crt",
        "tlsPrivateKeyFile": f"{KUBERNETES}/kubelet.key",
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,  # it would need all controllers; containers are limited with those that there are
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDNS": [numbers.DNS_SERVICE_ADDRESS],
        "clusterDomain": numbers.CLUSTER_DOMAIN,
        "resolvConf": f"{KUBERNETES}/resolv.conf",
        "featureGates": {"KubeletInUserNamespace": True},
        "localStorageCapacityIsolation": False,
        # A lab's disk is memory, and it is shared: the kubelet must not evict pods for what the whole machine uses.
        "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
                         "memory.available": "1Mi"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeLeaseDurationSeconds": 8,
        "nodeStatusReportFrequency": "1m",
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
    }


def proxy_configuration(plan: NodePlan) -> dict[str, object]:
    """Return kube-proxy's configuration. Limits of the connection tracking are the host's, not a lab's to set."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": plan.proxy_mode,
        "hostnameOverride": plan.name,
        "clientConnection": {"kubeconfig": f"{KUBERNETES}/kube-proxy.conf"},
        "clusterCIDR": numbers.POD_CIDR,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "metricsBindAddress": "127.0.0.1:10249",
        # A lab has a few Services, and somebody who waits for them: by default rules are written once a second at most.
        plan.proxy_mode: {"minSyncPeriod": "100ms"},
    }


def cni_configuration(plan: NodePlan) -> dict[str, object]:
    """Return the network of a node's pods: a cable and a route per pod, no bridge between them.

    So packets between two pods of one node are routed, and pass the node's FORWARD hook, where policies act.
    """
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": False,
             "ipam": {"type": "host-local", "ranges": [[{"subnet": numbers.pod_cidr(plan.number)}]],
                      "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni-ipam"}},
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }


def link_cni_programs(programs: Mapping[str, Path], folder: str) -> str:
    """Return the shell line that puts upstream's CNI plugins into a machine's folder for them."""
    links = shlex.join(["ln", "-s", "-t", folder, *(str(programs[name]) for name in CNI_PROGRAMS)])
    return f"mkdir -p {folder} && {links}\n"


def containerd_configuration(plan: NodePlan) -> str:
    """Return containerd's configuration (TOML)."""
    plugins = ", ".join(f'"{name}"' for name in UNUSED_CONTAINERD_PLUGINS)
    return f"""\
version = 3
root = "{CONTAINERD_ROOT}"
state = "/run/containerd"
oom_score = 0
disabled_plugins = [{plugins}]

[plugins.'io.containerd.gc.v1.scheduler']
  startup_delay = "1m"  # not while the images are being loaded

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  max_concurrent_downloads = 8
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{PAUSE}"
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = "{REGISTRIES}"

[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      snapshotter = "overlayfs"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "{plan.programs['runc-in-a-lab']}"
        NoNewKeyring = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{CNI_FOLDER}"]
    conf_dir = "/etc/cni/net.d"
    max_conf_num = 1
"""
