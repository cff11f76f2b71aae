"""Runs upstream's Conformance specs against embedded clusters of its own: `make conformance`.

    run.py ROUND...   these rounds; some are no part of the others, since their specs are no Conformance specs

See README.md beside it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from programs import require_programs

from labsupport.cluster import Cluster
from labsupport.cluster.images import AGNHOST, PAUSE, TOOLS, Image, joined
from labsupport.cluster.paths import CONTAINERD_SOCKET
from labsupport.cluster.supplies import find_supplies
from labsupport.errors import LabError

NAME = "conformance"
NODES = 2
FOLDER = "/var/lib/cluster/conformance"
"""In the lab: where e2e.test lies and leaves its report."""
LIMIT_S = 2 * 3600.0
MOST_OUTPUT_BYTES = 1 << 30
PROCESSES = 2 * (os.cpu_count() or 1)
"""Specs that run at once: they mostly wait."""
NETWORK, CONFORMANCE = "[sig-network]", "[Conformance]"

_E2E = "registry.k8s.io/e2e-test-images"
BUSYBOX, NAUTILUS = "lab.local/busybox:1.0", "lab.local/nautilus:1.0"
UPSTREAM_NAMES = {
    # agnhost 2.55 is "an older one", for specs of updates; of nginx, specs want no more than that it runs.
    AGNHOST: [f"{_E2E}/{name}" for name in ("agnhost:2.63.0", "agnhost:2.55", "nginx:1.15-4", "nginx:1.27-0")],
    BUSYBOX: [f"{_E2E}/busybox:1.37.0-1"],
    NAUTILUS: [f"{_E2E}/nautilus:1.8"],
    PAUSE: ["registry.k8s.io/pause:3.10.2"],
    TOOLS: [f"{_E2E}/glibc-dns-testing:2.0.0"],
}
"""Our images, and the names that test/utils/image/manifest.go of Kubernetes 1.36.3 has for what they stand for."""
IMAGES = Path(__file__).with_name("images")
IMPORT = f"ctr --address={CONTAINERD_SOCKET} --namespace=k8s.io images import --no-unpack -"


@dataclass(frozen=True)
class Round:
    """One cluster and the specs that run against it.

    Args:
        name: what it is called in the results and on the command line.
        proxy_mode: kube-proxy's.
        words: a spec's name has all the words of one of these.
        addons: the cluster's.
    """

    name: str
    proxy_mode: str
    words: tuple[tuple[str, ...], ...]
    addons: tuple[str, ...] = ("dns",)

    @property
    def focus(self) -> str:
        """What ginkgo selects specs by."""
        return "|".join(".*".join(map(re.escape, words)) for words in self.words)

    def has(self, name: str) -> bool:
        """Whether the spec of this name belongs to it."""
        return any(all(word in name for word in words) for words in self.words)


CONFORMANCE_ROUNDS = (
    Round("iptables", "iptables", ((CONFORMANCE,),)),
    Round("nftables", "nftables", ((NETWORK, CONFORMANCE),)),
)
ROUNDS = (
    *CONFORMANCE_ROUNDS,
    Round("metallb", "iptables", ((NETWORK, "LoadBalancer"), (NETWORK, "session affinity")),
          ("dns", "metallb:10.0.0.200-10.0.0.250")),
)


@dataclass(frozen=True)
class Skip:
    """Specs that cannot pass here.

    Args:
        cause: why.
        needs: what they need that not every lab has: "ids", several user ids, or "limits", control groups to write
            to; "" where they cannot pass in any.
        specs: full names.
    """

    cause: str
    needs: str
    specs: tuple[str, ...]


def say(line: str) -> None:
    """Print a line of progress."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read_skips() -> list[Skip]:
    """Return what skips.toml says."""
    entries = tomllib.loads(Path(__file__).with_name("skips.toml").read_text())["skip"]
    return [Skip(entry["cause"], entry.get("needs", ""), tuple(entry["specs"])) for entry in entries]


class Progress:
    """Keeps ginkgo's output in a file, and prints one line for each spec that has ended."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("w")
        self._rest = ""
        self._outcome = ""
        self._count = 0

    def take(self, _stream: str, text: str) -> None:
        """Take what ginkgo prints."""
        self._log.write(text)
        self._log.flush()
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            # A bullet with outcome and time, then the spec's name with its labels.
            if line.startswith("• "):
                self._outcome = line.removeprefix("• ").replace(" seconds]", " s]")
            elif self._outcome:
                self._count += 1
                say(f"{self._count:4} {self._outcome} {line.rpartition(' [')[0]}")
                self._outcome = ""

    def close(self) -> None:
        """Close the file."""
        self._log.close()


def bring_images(cluster: Cluster, folder: Path) -> None:
    """Give the nodes the images under upstream's names, in this cluster only."""
    standard = find_supplies(folder).images
    more = [Image.from_folder(IMAGES / name).build(folder) for name in ("busybox", "nautilus")]
    archive = folder / "images.tar"
    joined([standard, *more]).write_archive(archive, also=UPSTREAM_NAMES, without=standard.layers)
    for node in cluster.nodes():
        cluster.run(IMPORT, on=node, stdin=archive.read_bytes(), echo=False).check()


def bring_programs(cluster: Cluster, programs: dict[str, Path]) -> None:
    """Put the programs into the cluster's lab: the specs reach nodes and pods by their addresses."""
    for name, path in programs.items():
        cluster.lab.run(f"mkdir -p {FOLDER} && cat >{FOLDER}/{name} && chmod 755 {FOLDER}/{name}",
                        stdin=path.read_bytes(), echo=False).check()


def run_specs(cluster: Cluster, part: Round, skipped: Sequence[str], log: Path) -> list[dict[str, Any]]:
    """Run the specs on the control plane's machine; returns ginkgo's report of each spec of e2e.test."""
    argv = [f"{FOLDER}/ginkgo", "run", "-v", "--no-color", f"--procs={PROCESSES}", f"--timeout={LIMIT_S:.0f}s",
            f"--focus={part.focus}", *(f"--skip= {re.escape(name)}$" for name in skipped),
            f"--output-dir={FOLDER}", "--json-report=report.json", f"{FOLDER}/e2e.test", "--",
            "-kubeconfig=/etc/kubernetes/admin.conf", "-provider=skeleton", f"-num-nodes={NODES}",
            f"-e2e-output-dir={FOLDER}"]
    progress = Progress(log)
    try:
        # Its exit status says no more than the report does.
        cluster.lab.run(argv, echo=progress.take, merge=True, timeout_s=LIMIT_S + 60,
                        max_output_bytes=MOST_OUTPUT_BYTES)
    finally:
        progress.close()
    report = cluster.lab.run(["cat", f"{FOLDER}/report.json"], echo=False, max_output_bytes=MOST_OUTPUT_BYTES).check()
    log.with_suffix(".json").write_bytes(report.stdout_bytes)
    return [spec for suite in json.loads(report.stdout_bytes) for spec in suite["SpecReports"]
            if spec["LeafNodeType"] == "It"]


def spec_name(spec: dict[str, Any]) -> str:
    """Return a spec's full name, as ginkgo's --focus and --skip see it."""
    return " ".join([*(spec["ContainerHierarchyTexts"] or []), spec["LeafNodeText"]])


def judge(specs: Sequence[dict[str, Any]], part: Round, skipped: Sequence[str]) -> tuple[int, int, list[str]]:
    """Return how many specs passed, how many were left out as skips.toml says, and what is wrong.

    A spec that decided by itself not to run has not passed. A skip whose spec is not there any more is wrong, too.
    """
    states = {spec_name(spec): spec["State"] for spec in specs}
    chosen = {name: state for name, state in states.items() if part.has(name)}
    wrong = [f"{name}: {state}" for name, state in chosen.items() if name not in skipped and state != "passed"]
    wrong += [f"{name}: in skips.toml, but e2e.test has no such spec" for name in skipped if name not in states]
    if not chosen:
        wrong.append(f"e2e.test has no spec that matches {part.focus}")
    return (sum(state == "passed" for state in chosen.values()), len(chosen.keys() & set(skipped)), sorted(wrong))


def run_round(part: Round, programs: dict[str, Path], skips: Sequence[Skip], results: Path) -> list[str]:
    """Start a cluster, run the round's specs, stop it; returns what is wrong."""
    started, cluster = time.monotonic(), Cluster(NAME)
    cluster.stop()
    say(f"\n{part.name}: {part.focus}, kube-proxy in {part.proxy_mode} mode")
    cluster.start(nodes=NODES, proxy_mode=part.proxy_mode, addons=part.addons)
    try:
        status = cluster.status()
        there = {"ids": status["uids"] > 1, "limits": {"cpu", "memory"} <= set(status["limits"]), "": False}
        skipped = [name for skip in skips if not there[skip.needs] for name in skip.specs]
        bring_images(cluster, results)
        bring_programs(cluster, programs)
        specs = run_specs(cluster, part, skipped, results / f"{part.name}.log")
        shutil.copytree(cluster.folder.logs, results / f"{part.name}-logs")
    except LabError as error:
        say(str(error))  # stopping a cluster that has ended fails as well, and would hide this
        raise
    finally:
        cluster.stop()
    passed, left_out, wrong = judge(specs, part, skipped)
    for line in wrong:
        say(f"  {line}")
    say(f"{part.name}: {passed} passed, {len(wrong)} failed, {left_out} skipped in "
        f"{time.monotonic() - started:.0f} s")
    return wrong


def main(names: Sequence[str]) -> int:
    """Run the rounds of these names, or all for conformance; returns the exit status."""
    unknown = set(names) - {part.name for part in ROUNDS}
    if unknown:
        say(f"no such round: {', '.join(unknown)}; there are {', '.join(part.name for part in ROUNDS)}")
        return 2
    results = Path(tempfile.mkdtemp(prefix="labsupport-conformance-"))
    say(f"what the specs said, and the clusters' logs: {results}")
    wrong = []
    try:
        programs, skips = require_programs(say), read_skips()
        for part in [part for part in ROUNDS if part.name in names] if names else CONFORMANCE_ROUNDS:
            wrong += run_round(part, programs, skips, results)
    except LabError as error:
        say(str(error))
        return 1
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
