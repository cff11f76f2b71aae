"""kubectl on the host, as a user runs it, and the manifests that tests apply."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oracle

from labsupport.cluster import Cluster

TOOLS, AGNHOST = "lab.local/tools:1.0", "lab.local/agnhost:1.0"
PROGRAM = str(Path(sys.executable).with_name("labsupport"))
DEADLINE_S = 50.0
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """The kubectl that the project has built, with one kubeconfig.

    Attributes:
        program: the binary.
        kubeconfig: what `labsupport cluster env` would export.
        home: where it keeps its cache.
    """

    program: Path
    kubeconfig: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home), "PATH": os.environ["PATH"], "TERM": "dumb"}

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run it to its end, however it ends."""
        return subprocess.run([str(self.program), *arguments], env=self.environment, input=stdin, capture_output=True,
                              text=True, timeout=DEADLINE_S, check=False)

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run it and return what it printed; it has to succeed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """Return `kubectl get ... -o json`."""
        return json.loads(self("get", *arguments, "-o", "json"))

    def apply(self, *manifests: Manifest) -> None:
        """Apply objects."""
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def wait_ready(self, *pods: str) -> None:
        """Wait until pods are Ready."""
        self("wait", "--for=condition=Ready", "--timeout=40s", *(f"pod/{name}" for name in pods))

    def delete(self, *arguments: str) -> None:
        """Delete objects at once."""
        self("delete", "--now", "--wait=false", "--ignore-not-found", *arguments)

    @contextmanager
    def start(self, *arguments: str) -> Iterator[Reader]:
        """Run it in the background; it is gone in the end."""
        with running([str(self.program), *arguments], self.environment) as reader:
            yield reader


class Reader:
    """Reads what a program prints, as it comes, and never waits longer than the deadline."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.seen = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until the output so far matches, and return the match."""
        assert self.process.stdout is not None
        end = time.monotonic() + DEADLINE_S
        while not (found := re.search(pattern, self.seen)):
            left = end - time.monotonic()
            assert left > 0, f"{pattern!r} was not printed within {DEADLINE_S:g} s, but {self.seen[-1000:]!r}"
            if select.select([self.process.stdout], [], [], left)[0]:
                data = os.read(self.process.stdout.fileno(), 65536)
                assert data, f"it ended without printing {pattern!r}: {self.seen[-1000:]!r}"
                self.seen += data.decode(errors="replace")
        return found

    def type(self, text: str) -> None:
        """Write to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()


@contextmanager
def running(argv: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[Reader]:
    """Start a program with pipes; it is gone in the end."""
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        try:
            yield Reader(process)
        finally:
            process.kill()


def in_terminal(*argv: str) -> list[str]:
    """Return the command that runs another one on a terminal of its own; script(1) copies its pipes to and fro."""
    return ["script", "--quiet", "--return", "--command", subprocess.list2cmdline(argv), "/dev/null"]


def pod(name: str, *, node: str = "", image: str = TOOLS, command: Sequence[str] = ("sleep", "infinity"),
        labels: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """Return a pod of one container that does not care for SIGTERM."""
    container: Manifest = {"name": "main", "image": image}
    container["args" if image == AGNHOST else "command"] = list(command)
    if image == AGNHOST:
        container["readinessProbe"] = {"httpGet": {"path": "/hostname", "port": 8080}, "periodSeconds": 1}
    placed = {"nodeName": node} if node else {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0} | placed | spec}


def server(name: str, node: str, **labels: str) -> Manifest:
    """Return a pod that answers /hostname and /clientip on port 8080."""
    return pod(name, node=node, image=AGNHOST, command=["netexec"], labels=labels)


def service(name: str, **spec: Any) -> Manifest:
    """Return a Service on port 80 for the servers labelled app=NAME."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]} | spec}


def labsupport(*arguments: str, timeout_s: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
    """Run `labsupport cluster` to its end, however it ends."""
    return subprocess.run([PROGRAM, "cluster", *arguments], capture_output=True, text=True, timeout=timeout_s,
                          check=False)


def processes_of(cluster: Cluster, pattern: str) -> list[oracle.Process]:
    """Return a cluster's processes whose command line (words joined by spaces) matches."""
    return [process for process in oracle.descendants(cluster.status()["pid"])
            if re.search(pattern, process.command_line.replace("\0", " "))]


def process_of(cluster: Cluster, name: str) -> oracle.Process | None:
    """Return the process of a component, if it runs; those of a node are told by the node's network."""
    program, _, node = name.partition("@")
    found = processes_of(cluster, rf"^\S*/{program} ")
    if node:
        (first,) = processes_of(cluster, f"^sh /var/lib/cluster/node.sh {node} ")
        network = oracle.namespaces_of(first.pid)["net"]
        found = [process for process in found if oracle.namespaces_of(process.pid).get("net") == network]
    assert len(found) <= 1, found
    return found[0] if found else None
