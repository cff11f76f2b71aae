"""What the embedded cluster is compared with: the same programs with the same flags and files, started by one script.

Nothing of labsupport runs in it: no lab, no agent, no supervisor. `unshare` makes the namespaces, bash starts the
programs, curl and kubectl wait for them. Certificates, configuration files and the archive of images are made before,
and no time is counted for them; images go to the nodes by `ctr images import`, as a person does it.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

from benchmarks.processes import descendants
from labsupport.cluster import control_plane, numbers
from labsupport.cluster.addons.dns import NAMESPACE as DNS_NAMESPACE
from labsupport.cluster.addons.dns import dns_manifests
from labsupport.cluster.node import wire_script
from labsupport.cluster.node_files import NodePlan, containerd_environment, link_cni_programs, node_files
from labsupport.cluster.paths import ADMIN, CONTAINERD_SOCKET, KUBERNETES
from labsupport.cluster.supplies import Supplies
from labsupport.cluster.system import RACK_SCRIPT

SCRIPT = Path(__file__).with_name("bare.sh")
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork",
           "--kill-child", "--mount-proc")
DEADLINE_S = 120.0


class Bare:
    """A cluster made by bare.sh; it is up when this returns.

    Args:
        supplies: the programs.
        archive: the images, for `ctr images import`.
        nodes: how many.
        with_dns: whether CoreDNS is installed.

    Attributes:
        nodes_s: seconds from the start until all nodes were Ready.
        all_s: seconds until CoreDNS was available as well.
    """

    def __init__(self, supplies: Supplies, archive: Path, nodes: int, *, with_dns: bool) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="bare-cluster-"))
        self._path = supplies.programs["kubectl"].parent
        plans = [NodePlan(number, "iptables", controllers=(), programs=supplies.programs, seccomp=supplies.seccomp)
                 for number in range(1, nodes + 1)]
        _write_files(self._folder, supplies, plans, with_dns=with_dns)
        self._log = self._folder / "log"
        argv = [*UNSHARE, "bash", str(SCRIPT), str(self._folder), str(archive), *(plan.name for plan in plans)]
        begin = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        try:
            self._await("nodes")
            self.nodes_s = time.perf_counter() - begin
            self._await("everything")
            self.all_s = time.perf_counter() - begin
        except BaseException:
            self.stop()
            self.clean()
            raise

    def run(self, script: str, stdin: str) -> str:
        """Return what a script prints on the control plane's machine."""
        argv = ["nsenter", f"--target={self.pids()[1]}", "--user", "--preserve-credentials", "--mount", "--net",
                "--pid", "--uts", "--ipc", "--cgroup", "--", "env", f"KUBECONFIG={ADMIN}",
                "bash", "-c", f"PATH={self._path}:$PATH\n{script}"]
        return subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, text=True, check=True,
                              timeout=DEADLINE_S).stdout

    def pids(self) -> list[int]:
        """Return its processes."""
        return descendants(self._process.pid)

    def stop(self) -> None:
        """End its first process, and with it everything, as when the power is cut."""
        unshare_and_first = self.pids()[:2]
        os.kill(unshare_and_first[-1], signal.SIGKILL)  # unshare ends when the kernel has ended all the others
        self._process.wait(DEADLINE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def clean(self) -> None:
        """Remove its files."""
        shutil.rmtree(self._folder)

    def _await(self, what: str) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline().decode().strip() != what:
            raise RuntimeError(f"the bare binaries failed before {what}: {self._log.read_text()[-2000:]}")


def _write_files(folder: Path, supplies: Supplies, plans: Sequence[NodePlan], *, with_dns: bool) -> None:
    """Write all that bare.sh reads."""
    credentials = control_plane.make_credentials()
    files: dict[str, str | bytes] = {
        **credentials.files,
        f"{KUBERNETES}/admin.crt": credentials.admin.certificate, f"{KUBERNETES}/admin.key": credentials.admin.key,
        **{f"{plan.folder}/etc/{path}": content
           for plan in plans for path, content in node_files(plan, credentials.authority).items()}}
    with tarfile.open(folder / "files.tar", "w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    (folder / "node.sh").write_text(resources.files("labsupport.cluster").joinpath("node.sh").read_text())
    (folder / "commands").mkdir()
    for name, text in _commands(supplies.programs, plans, with_dns=with_dns):
        (folder / "commands" / name).write_text(text)


def _commands(programs: Mapping[str, Path], plans: Sequence[NodePlan], *, with_dns: bool) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each small script that bare.sh runs."""
    for name, command in {
            "etcd": control_plane.etcd_command, "kube-apiserver": control_plane.apiserver_command,
            "kube-controller-manager": control_plane.controller_manager_command,
            "kube-scheduler": control_plane.scheduler_command}.items():
        yield name, _exec(command(programs[name]))
    yield "ctr", f'exec {programs["ctr"]} --address={CONTAINERD_SOCKET} "$@"\n'
    for number, plan in enumerate(plans):
        cni = link_cni_programs(programs, f"{plan.folder}/lib/cni/bin")
        yield f"wire-{plan.name}", wire_script(plan, plans[:number]) + cni
        yield f"containerd@{plan.name}", _exec(["env", *containerd_environment(plan), str(programs["containerd"]),
                                                f"--config={KUBERNETES}/containerd.toml"])
        yield f"kubelet@{plan.name}", _exec([
            str(programs["kubelet"]), f"--config={KUBERNETES}/kubelet.json", f"--kubeconfig={KUBERNETES}/kubelet.conf",
            f"--hostname-override={plan.name}", f"--node-ip={plan.address}"])
        yield f"kube-proxy@{plan.name}", _exec([str(programs["kube-proxy"]), f"--config={KUBERNETES}/kube-proxy.json"])
    yield "rack", RACK_SCRIPT
    kubectl = [str(programs["kubectl"]), f"--kubeconfig={ADMIN}"]
    wait = [*kubectl, "wait", f"--timeout={DEADLINE_S:.0f}s"]
    yield "objects", "set -e\n" + "".join(_request("POST", *both) for both in _objects(plans))
    yield "await-nodes", _exec([*wait, "--for=condition=Ready", *(f"node/{plan.name}" for plan in plans)])
    if with_dns:
        yield "dns", "set -e\n" + "".join(
            _request("PATCH", f"{path}?fieldManager=bare&force=true", manifest)
            for path, manifest in dns_manifests("").items())
        yield "await-dns", _exec([*wait, "--for=jsonpath={.status.availableReplicas}=1", "--namespace", DNS_NAMESPACE,
                                  "deployment/coredns"])


def _objects(plans: Sequence[NodePlan]) -> Iterator[tuple[str, object]]:
    """Yield path and content of what a cluster has from the beginning, as System makes it."""
    rbac, name = "rbac.authorization.k8s.io", "kube-apiserver-to-kubelet"
    yield f"/apis/{rbac}/v1/clusterrolebindings", {
        "apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "system:kubelet-api-admin"},
        "subjects": [{"kind": "User", "name": control_plane.KUBELET_CLIENT}]}
    for plan in plans:
        cidr = numbers.pod_cidr(plan.number)
        yield "/api/v1/nodes", {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": plan.name, "labels": {"kubernetes.io/hostname": plan.name}},
            "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}


def _exec(argv: Sequence[str]) -> str:
    return f"exec {shlex.join(argv)}\n"


def _request(method: str, path: str, body: object) -> str:
    """Return the line that sends an object to the API server; bare.sh says where, and with whose certificate."""
    kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
    words = shlex.join(["--request", method, "--header", f"Content-Type: {kind}", "--data", json.dumps(body)])
    return f'$curl {words} "$api"{shlex.quote(path)}\n'
