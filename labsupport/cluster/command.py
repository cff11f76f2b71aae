"""`labsupport cluster`: start, look at and stop the embedded cluster from a shell."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from labsupport.cluster.binaries.command import add_commands as add_binaries_commands
from labsupport.cluster.binaries.command import build as build_programs
from labsupport.cluster.cache import cache_folder
from labsupport.cluster.cluster import Cluster
from labsupport.cluster.folder import DEFAULT_NAME, running_clusters
from labsupport.cluster.numbers import CLIENT
from labsupport.cluster.reading_logs import print_log
from labsupport.cluster.settings import DEFAULT_ADDONS
from labsupport.errors import ClusterError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

Run = Callable[[argparse.Namespace], int]


def add_arguments(cluster: argparse.ArgumentParser) -> None:
    """Declare the subcommands of `labsupport cluster`."""
    commands = cluster.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, run, text in (("start", start, "start the cluster; nothing happens if it runs"),
                            ("restart", restart, "stop the cluster and start a fresh one")):
        starting = _add(commands, name, run, text)
        again = name == "restart"
        starting.add_argument("--nodes", type=int, metavar="N",
                              help=f"1 to 9; {'as before' if again else '2'} by default")
        starting.add_argument("--proxy-mode", metavar="MODE",
                              help="how kube-proxy makes Services: iptables or nftables; "
                                   f"{'as before' if again else 'iptables'} by default")
        starting.add_argument("--registry", type=int, action="append", default=[], metavar="PORT",
                              help="let nodes pull images localhost:PORT/... from this machine's port")
        starting.set_defaults(addons=DEFAULT_ADDONS)
    _add(commands, "stop", stop, "end the cluster and everything in it")
    status_of = _add(commands, "status", status, "show the cluster's nodes and components")
    status_of.add_argument("--json", action="store_true", help="print one JSON object")
    _add(commands, "list", list_clusters, "list the clusters of this user that run", named=False)
    _add(commands, "kubeconfig", kubeconfig, "print the admin's kubeconfig")
    _add(commands, "env", env, 'print what `eval "$(labsupport cluster env)"` needs, so that kubectl works')
    entering = _add(commands, "shell", shell, "open a shell on a node, on the client, or beside the control plane")
    entering.add_argument("machine", nargs="?", default="", metavar="NODE|client", help="where")
    logs = _add(commands, "logs", show_log, "print what a component has logged")
    logs.add_argument("component", metavar="COMPONENT", help="kube-apiserver, kubelet@node1, ...")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    node = _add(commands, "node", change_node, "add, remove, stop or start a node")
    node.add_argument("change", choices=("add", "remove", "stop", "start"))
    node.add_argument("node", nargs="?", default="", metavar="NODE", help="which; not for add")
    _add(commands, "enable", enable, "give the cluster an add-on").add_argument(
        "addon", metavar="ADDON", help="dns, or metallb:FIRST-LAST with a range of addresses for Services")
    _add(commands, "disable", disable, "take an add-on from the cluster").add_argument(
        "addon", metavar="ADDON", help="dns or metallb")
    add_binaries_commands(commands)
    commands.choices["build"].set_defaults(run=build)


def _add(commands: _SubParsersAction[argparse.ArgumentParser], name: str, run: Run, text: str, *,
         named: bool = True) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    if named:
        parser.add_argument("--name", default=DEFAULT_NAME, help="which cluster, where several run")
    parser.set_defaults(run=run)
    return parser


class _Steps:
    """Prints each step with the time at which it began."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, step: str) -> None:
        sys.stdout.write(f"{time.monotonic() - self._began:6.1f} s  {step}\n")
        sys.stdout.flush()


def start(arguments: argparse.Namespace) -> int:
    """Start the cluster, building its programs first if they are missing."""
    from labsupport.cluster.binaries import missing_programs, require_programs  # noqa: PLC0415

    cluster = Cluster(arguments.name)
    steps = _Steps()
    if not cluster.running and missing_programs():
        steps("the cluster's programs are missing and are built now, once; that takes some minutes")
        require_programs(steps)
    nodes = 2 if arguments.nodes is None else arguments.nodes
    if not cluster.start(nodes=nodes, proxy_mode=arguments.proxy_mode or "iptables",
                         addons=arguments.addons, registries=arguments.registry, report=steps):
        sys.stdout.write(f"The cluster {cluster.name} is running already.\n")
        return 0
    steps("ready")
    option = _name_option(arguments)
    sys.stdout.write(f'\nTo use kubectl in this shell:  eval "$(labsupport cluster env{option})"\n'
                     f"To end it:                     labsupport cluster stop{option}\n")
    return 0


def build(arguments: argparse.Namespace) -> int:
    """Build the programs that are missing, and make the images that are not current."""
    from labsupport.cluster.images import joined  # noqa: PLC0415  (no other command needs them)
    from labsupport.cluster.supplies import find_supplies  # noqa: PLC0415

    status = build_programs(arguments)
    with TemporaryDirectory() as spare:
        supplies = find_supplies(Path(spare), _Steps())
        images = joined([supplies.images, *supplies.addon_images.values()])
        sys.stdout.write(f"{images.size_bytes / 1e6:.1f} MB of images: {', '.join(images.names)}\n")
        for tool in images.missing_tools:
            sys.stdout.write(f"{tool.name} is not in them: this machine lacks it (Debian package {tool.package})\n")
    return status


def restart(arguments: argparse.Namespace) -> int:
    """Stop the cluster and start a fresh one."""
    cluster = Cluster(arguments.name)
    if cluster.running:
        before = cluster.status()
        if arguments.nodes is None:
            arguments.nodes = len(before["nodes"])
        arguments.proxy_mode = arguments.proxy_mode or before["proxy_mode"]
        arguments.registry = arguments.registry or before["registries"]
        arguments.addons = before["addons"]
        cluster.stop()
    return start(arguments)


def stop(arguments: argparse.Namespace) -> int:
    """End the cluster."""
    ended = Cluster(arguments.name).stop()
    sys.stdout.write(f"The cluster {arguments.name} {'has ended' if ended else 'was not running'}.\n")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Show what is known of the cluster; exit status 0 only if everything runs."""
    found = Cluster(arguments.name).status()
    well = all(part["state"] == "running" for part in found["components"]) and all(
        node["running"] for node in found["nodes"])
    sys.stdout.write((json.dumps(found, indent=2) if arguments.json else _as_text(found)) + "\n")
    return 0 if well else 1


def _as_text(found: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = [("NODE", "ADDRESS", "PODS", "STATE", "RESTARTS")]
    rows += [(node["name"], node["address"], node["pod_cidr"], "running" if node["running"] else "stopped",
              str(node["restarts"])) for node in found["nodes"]]
    parts: list[tuple[str, ...]] = [("COMPONENT", "STATE", "RESTARTS", "LAST END")]
    parts += [(part["name"], part["state"], str(part["restarts"]), part["last_end"] or "-")
              for part in found["components"]]
    uids = ("every uid" if found["uids"] >= 65536 else f"{found['uids']} uids") if found["uids"] > 1 else \
        "uid 0 only: containers that want another user do not start; `labsupport doctor` says how to get more"
    limits = f"of {', '.join(found['limits'])} are enforced" if found["limits"] else "of containers are not enforced"
    if found["limits_missing"]:
        limits += f": {found['limits_missing']}; `labsupport doctor` says what to do"
    lines = [f"cluster:     {found['name']}, up for {found['uptime_s']:.0f} s, process {found['pid']}",
             f"server:      {found['server']}", f"kubeconfig:  {found['kubeconfig']}",
             f"kube-proxy:  {found['proxy_mode']}", f"add-ons:     {', '.join(found['addons']) or 'none'}",
             f"users:       {uids}",
             f"limits:      {limits}", f"logs:        {found['logs']}", "",
             *_columns(rows), "", *_columns(parts)]
    if found["notices"]:
        lines += ["", "What happened by itself:", *("  " + line for line in found["notices"])]
    return "\n".join(lines)


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def list_clusters(_arguments: argparse.Namespace) -> int:
    """List the clusters that run."""
    for folder in running_clusters():
        sys.stdout.write(folder.name + "\n")
    return 0


def kubeconfig(arguments: argparse.Namespace) -> int:
    """Print the kubeconfig."""
    cluster = Cluster(arguments.name)
    cluster.status()  # says so if the cluster does not run
    sys.stdout.write(cluster.kubeconfig.read_text())
    return 0


def env(arguments: argparse.Namespace) -> int:
    """Print shell lines that make kubectl find the cluster."""
    from labsupport.cluster.binaries import find_programs  # noqa: PLC0415

    cluster = Cluster(arguments.name)
    cluster.status()
    found = find_programs().get("kubectl")
    if found is None:
        raise ClusterError("there is no kubectl", where=str(cache_folder()), next_step="set LABSUPPORT_CACHE as it was "
                           "when the cluster was started, or put a kubectl on PATH")
    kubectl = found.path
    sys.stdout.write(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}\n")
    if str(kubectl.parent) not in os.environ.get("PATH", "").split(":"):
        sys.stdout.write(f"export PATH={shlex.quote(str(kubectl.parent))}:\"$PATH\"\n")
    return 0


def shell(arguments: argparse.Namespace) -> int:
    """Open a shell somewhere in the cluster."""
    from labsupport.sandbox.terminal import run_in_terminal  # noqa: PLC0415

    machine: str = arguments.machine
    with Cluster(arguments.name) as cluster:
        bash = ["env", f"PS1={machine or 'control-plane'}:\\w# ", "bash", "--norc", "-i"]
        if machine in {"", CLIENT}:
            return run_in_terminal(cluster.lab, bash, namespace=machine)
        return run_in_terminal(cluster.lab, cluster.enter(machine, bash))


def show_log(arguments: argparse.Namespace) -> int:
    """Print a component's log."""
    folder = Cluster(arguments.name).folder
    path = folder.logs / f"{arguments.component}.log"
    known = sorted(file.stem for file in folder.logs.glob("*.log")) if folder.logs.is_dir() else []
    if arguments.component not in known:
        raise ClusterError(f"there is no log of {arguments.component!r}", where=str(folder.logs),
                           expected="one of " + ", ".join(known) if known else "a cluster that was started",
                           next_step=f"labsupport cluster status{_name_option(arguments)}")
    print_log(path, follow=arguments.follow)
    return 0


def change_node(arguments: argparse.Namespace) -> int:
    """Add, remove, stop or start a node."""
    with Cluster(arguments.name) as cluster:
        if arguments.change == "add":
            sys.stdout.write(f"{cluster.add_node()} is Ready.\n")
            return 0
        if not arguments.node:
            raise ClusterError(f"which node is to {arguments.change}?", expected="one of " + ", ".join(cluster.nodes()),
                               next_step=f"labsupport cluster node {arguments.change} NODE")
        {"remove": cluster.remove_node, "stop": cluster.stop_node, "start": cluster.start_node}[arguments.change](
            arguments.node)
        done = {"remove": "has been removed", "stop": "is stopped", "start": "is Ready"}[arguments.change]
        sys.stdout.write(f"{arguments.node} {done}.\n")
    return 0


def enable(arguments: argparse.Namespace) -> int:
    """Enable an add-on; one that is enabled gets the new argument."""
    with Cluster(arguments.name) as cluster:
        changed = cluster.enable(arguments.addon, _Steps())
    sys.stdout.write(f"{arguments.addon} is {'enabled' if changed else 'already enabled'}.\n")
    return 0


def disable(arguments: argparse.Namespace) -> int:
    """Disable an add-on."""
    with Cluster(arguments.name) as cluster:
        changed = cluster.disable(arguments.addon, _Steps())
    sys.stdout.write(f"{arguments.addon} is {'disabled' if changed else 'already disabled'}.\n")
    return 0


def _name_option(arguments: argparse.Namespace) -> str:
    return "" if arguments.name == DEFAULT_NAME else f" --name {arguments.name}"
