"""What the cluster is made of: which Go packages, at which versions, become which programs."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path

from labsupport.errors import ClusterError

KUBERNETES = "1.36.3"
GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Python's name of an architecture, and Go's."""

_KUBE_COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


@dataclass(frozen=True)
class Unit:
    """What one `go build` makes and one folder of the cache holds.

    Args:
        name: how messages and the cache call it.
        version: the version of its programs, without a leading v.
        module: the folder in modules/ with the go.mod that pins every dependency.
        outputs: file name -> the Go package it is built from.
        links: further name -> the file it is a link to; such a program looks at the name it is called by.
        variables: Go variable -> the value that the linker gives it, so that programs tell their version.
        tags: Go build tags.
        uses_c: whether a C compiler is needed.
        together: on PATH, its programs must be in one folder and have one version.
        anywhere: whether its programs may be taken from PATH.
        note: what a reader of the list of programs should know.
        fallback: what is built where this unit cannot be.
    """

    name: str
    version: str
    module: str
    outputs: dict[str, str]
    links: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    uses_c: bool = False
    together: bool = False
    anywhere: bool = True
    note: str = ""
    fallback: Unit | None = None

    @property
    def programs(self) -> list[str]:
        """The names of the programs that the unit gives: what only links point to is none."""
        return [name for name in self.outputs if name not in self.links.values()] + list(self.links)


def modules_folder() -> Path:
    """Return the folder with a Go module per unit."""
    return Path(__file__).parent / "modules"


def go_architecture() -> str:
    """Return Go's name of this machine's architecture.

    Raises:
        ClusterError: nobody has tried the cluster on such a machine.
    """
    machine = platform.machine()
    if machine not in GO_ARCHITECTURES:
        raise ClusterError("the cluster does not run on this architecture", expected=" or ".join(GO_ARCHITECTURES),
                           observed=machine, next_step="use another machine")
    return GO_ARCHITECTURES[machine]


def build_flags(unit: Unit) -> list[str]:
    """Return the flags of `go build`: no debugging tables, no paths of the builder, no state of a git checkout."""
    values = [f"-X {name}={value}" for name, value in unit.variables.items()]
    tags = [f"-tags={','.join(unit.tags)}"] if unit.tags else []
    return ["-mod=readonly", "-trimpath", "-buildvcs=false", *tags, f"-ldflags={' '.join(['-s', '-w', *values])}"]


def _kubernetes_variables() -> dict[str, str]:
    major, minor, _ = KUBERNETES.split(".")
    values = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean",
              "gitCommit": ""}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{name}": value for package in packages for name, value in values.items()}


def _runc(*, seccomp: bool) -> Unit:
    return Unit(
        "runc", "1.4.3", "runc", {"runc": "github.com/opencontainers/runc"}, uses_c=True,
        tags=("seccomp",) if seccomp else (),
        note="" if seccomp else "built without libseccomp: a pod with a seccomp profile does not start",
        fallback=_runc(seccomp=False) if seccomp else None,
    )


# As in upstream's release builds: without the pages of golang.org/x/net/trace, the linker can tell which methods nobody
# calls. That makes the components 15 % smaller. (etcd, CoreDNS and MetalLB use these pages in other ways as well.)
_LEAN = ("grpcnotrace",)
_CONTAINERD = "github.com/containerd/containerd/v2"
_METALLB = "go.universe.tf/metallb"
_CNI = "github.com/containernetworking/plugins"
LAB = Unit("lab", "1", "lab", {name: f"labsupport/lab/{name}" for name in ("pause", "runc-in-a-lab")},
           anywhere=False)
# What is quick, or may fail for want of a C compiler, comes first.
UNITS = (
    LAB,
    _runc(seccomp=True),
    Unit("cni", "1.9.1", "cni",
         {"bridge": f"{_CNI}/plugins/main/bridge", "host-local": f"{_CNI}/plugins/ipam/host-local",
          "loopback": f"{_CNI}/plugins/main/loopback", "ptp": f"{_CNI}/plugins/main/ptp",
          "portmap": f"{_CNI}/plugins/meta/portmap"},
         variables={f"{_CNI}/pkg/utils/buildversion.BuildVersion": "v1.9.1"}, together=True),
    Unit("etcd", "3.6.13", "etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Unit("containerd", "2.2.9", "containerd",
         {name: f"{_CONTAINERD}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
         variables={f"{_CONTAINERD}/version.Version": "v2.2.9"}, tags=(*_LEAN, "urfave_cli_no_docs"), together=True),
    Unit("coredns", "1.15.0", "coredns", {"coredns": "labsupport/coredns"}),
    # "controller" and "speaker" say nothing among the other programs, so they have longer names here.
    Unit("metallb", "0.15.2", "metallb", {name: f"{_METALLB}/{name}" for name in ("controller", "speaker")},
         links={f"metallb-{name}": name for name in ("controller", "speaker")},
         anywhere=False),
    Unit("kubernetes", KUBERNETES, "kubernetes", {"kubernetes": "labsupport/kubernetes"},
         links=dict.fromkeys(_KUBE_COMPONENTS, "kubernetes"), variables=_kubernetes_variables(), tags=_LEAN),
    # Apart from them: a command starts faster, and long-running components have less in memory, without each other.
    Unit("kubectl", KUBERNETES, "kubernetes", {"kubectl": "k8s.io/kubernetes/cmd/kubectl"},
         variables=_kubernetes_variables(), tags=_LEAN),
    Unit("agnhost", "2.63.0", "kubernetes", {"agnhost": "k8s.io/kubernetes/test/images/agnhost"},
         variables={"main.Version": "2.63.0"}, tags=_LEAN, anywhere=False),
)
