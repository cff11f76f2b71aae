"""The cluster as one notebook uses it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labsupport.cluster.images import AGNHOST, TOOLS
from labsupport.cluster.joined import enter_node, is_node, node_names
from labsupport.cluster.namespaces import make_fresh_namespace
from labsupport.cluster.numbers import CLIENT
from labsupport.cluster.parcel import send
from labsupport.cluster.paths import ADMIN
from labsupport.cluster.pods import name_pod_namespace
from labsupport.cluster.reading import Reader
from labsupport.errors import LessonError, NamespaceNotFound
from labsupport.lesson.session import NODES
from labsupport.lesson.steps import Steps
from labsupport.sandbox import Lab
from labsupport.sandbox.process import Completed

Give = Callable[[str, Callable[[str], None]], bool]
FOLDER = "/run/labsupport"
MARK = "LABSUPPORT_NOTEBOOK"
"""The environment of everything that a notebook's cells start, so that the next run can end what goes on."""

# Removes what an earlier run left in the lab: processes in the background, names of pods.
# Prints the admin's kubeconfig.
_PREPARE = f"""set -e
folder={FOLDER}/$1
for file in $(grep --files-with-matches --null-data --line-regexp --no-messages "{MARK}=$1" /proc/[0-9]*/environ); do
  pid=${{file#/proc/}}
  kill -KILL "${{pid%/environ}}" || true
done 2>/dev/null
for file in "$folder"/pods/*; do
  if [ -e "$file" ]; then ip netns del "${{file##*/}}" || true; fi
done 2>/dev/null
rm -rf "$folder"
install -d -m 700 "$folder/pods"
cat {ADMIN}
"""


class NotebookCluster:
    """A cluster, and the Kubernetes namespace in it that belongs to one notebook; `open_cluster` returns it.

    Several notebooks share a cluster. What one does stays in its namespace, as in a company where many teams use one
    cluster; the machines (`lab`, `run`) are everybody's.

    Args:
        lab: the lab that the cluster runs in.
        reader: reads the cluster's objects from outside of the lab.
        namespace: the notebook's Kubernetes namespace.
        let_go: called by `close`.
        give: enables an add-on; see `Cluster.enable`.

    Attributes:
        lab, namespace: as above. The lab's first network namespace is the control plane's machine.
        offered: see `offers`.
    """

    offered = frozenset({NODES})

    def __init__(self, lab: Lab, reader: Reader, namespace: str, let_go: Callable[[], None],
                 give: Give) -> None:
        self.lab = lab
        self.namespace = namespace
        self._reader = reader
        self._let_go = let_go
        self._give = give
        self._kubeconfig = f"{FOLDER}/{namespace}/kubeconfig"
        self._variables = [f"{MARK}={namespace}"]

    def make_fresh(self, report: Callable[[str], None]) -> None:
        """Start from nothing: an empty Kubernetes namespace, and nothing of an earlier run in the lab.

        Raises:
            ClusterError: see labsupport.cluster.namespaces.
        """
        prepared = self.lab.run(["bash", "-c", _PREPARE, "bash", self.namespace], echo=False).check()
        kubeconfig = json.loads(prepared.stdout)
        kubeconfig["contexts"][0]["context"]["namespace"] = self.namespace
        send(self.lab, {self._kubeconfig: json.dumps(kubeconfig)})
        self._empty_namespace(report)
        nodes = self._nodes_for_pods()
        names = {f"NODE{number}": node for number, node in enumerate((*nodes, *nodes)[:2], 1)}
        images = {name.upper(): image for name, image in self._images().items()}
        self._variables[1:] = [f"{name}={value}" for name, value in (images | names).items()]

    def _empty_namespace(self, report: Callable[[str], None]) -> None:
        make_fresh_namespace(self._reader, self.namespace, report)

    def _nodes_for_pods(self) -> Sequence[str]:
        return self.nodes()

    def _images(self) -> Mapping[str, str]:
        return {"agnhost": AGNHOST, "tools": TOOLS}

    def offers(self, what: str) -> bool:
        """Whether notebooks get that from this cluster; cells that need what it does not offer are skipped.

        Args:
            what: "nodes": commands on the nodes (`%%ns node1`, `run`), names of pods, captures, walks.

        Raises:
            LessonError: there is no such thing to offer.
        """
        if what not in NotebookCluster.offered:
            raise LessonError(f"no cluster offers {what!r}", expected=", ".join(NotebookCluster.offered),
                              where="cluster.offers", next_step="check the spelling")
        return what in self.offered

    def image(self, name: str) -> str:
        """Return the name of an image for pods in this cluster; `%%lab` cells have them as $AGNHOST and $TOOLS.

        Args:
            name: "agnhost", the Kubernetes project's test program, or "tools": a shell and network tools.

        Raises:
            LessonError: there is no such image.
        """
        images = self._images()
        if name not in images:
            raise LessonError(f"a cluster has no image {name!r} for notebooks", expected=", ".join(images),
                              where="cluster.image", next_step="check the spelling, or name it in full in the manifest")
        return images[name]

    def get(self, kind: str, name: str = "", *, namespace: str | None = None) -> Any:
        """Return an object as its JSON data, or the list of all of a kind, as `kubectl get -o json` shows them.

        It asks the API server from outside of the lab, over TLS, so it says the same whatever a cell has done to
        kubectl in the lab. Checks use it.

        Args:
            kind: as kubectl knows it: "pods", "pod", "po", "deployments.apps".
            name: the object's; "" for all, which is an empty list if there is none.
            namespace: another one than the notebook's; "*" for all.

        Raises:
            ClusterError: there is no such object or kind, or the API server does not answer.
        """
        return self._reader.get(kind, name, namespace=self.namespace if namespace is None else namespace)

    def nodes(self) -> list[str]:
        """Return the names of the nodes, also of those that are stopped."""
        return node_names(self.lab)

    def run(self, command: str | Sequence[str], *, on: str, **options: Any) -> Completed:
        """Run a command on a machine, as a `%%ns` cell does; the options are those of `Lab.run`.

        Args:
            command: a line for bash, or a program and its arguments.
            on: "node1", "client", or a pod that `name_pod` has named.

        Raises:
            ClusterError: the node is stopped.
            NamespaceNotFound: there is no machine of that name.
        """
        argv, place = self.command(["bash", "-c", command] if isinstance(command, str) else command, on)
        return self.lab.run(argv, namespace=place, **options)

    def name_pod(self, pod: str, *, namespace: str | None = None) -> str:
        """Give a pod's network namespace the pod's name in the lab, and return it.

        Then `%%ns NAME`, `ip netns exec`, labsupport.net and the pictures find it. A pod that is made anew gets a new
        namespace, and has to be named again.

        Raises:
            ClusterError: there is no such pod, it does not run yet, or it uses its node's network.
        """
        name = name_pod_namespace(self.lab, pod, self.namespace if namespace is None else namespace)
        self.lab.run(["touch", f"{FOLDER}/{self.namespace}/pods/{name}"], echo=False).check()
        return name

    def command(self, argv: Sequence[str], place: str) -> tuple[list[str], str]:
        """Return what `Lab.run` has to run, and in which network namespace, to run `argv` in a place of this cluster.

        Args:
            argv: a program and its arguments.
            place: "" for the control plane's machine, a node (all of its namespaces), or another name of
                `ip netns list` (that network namespace).

        Raises:
            ClusterError: the node is stopped.
            NamespaceNotFound: there is nothing of that name.
        """
        places = self.lab.namespaces() if place else [""]
        if place not in places:
            raise NamespaceNotFound(f"no machine and no named pod is called {place!r}", where="this cluster",
                                    expected="one of: " + ", ".join(places),
                                    next_step=f'if it is a pod, name it first: cluster.name_pod("{place}")')
        if is_node(place):
            return enter_node(self.lab, place, ["env", *self._variables, *argv]), ""
        return ["env", *self._variables, f"KUBECONFIG={self._kubeconfig}", *argv], place

    def enable(self, addon: str) -> None:
        """Give the cluster an add-on, and return when it does its work.

        It belongs to the whole cluster, so a notebook that enables one has a cluster of its own: `own=True`. With one
        that others made, the cell is skipped: it begins with `%%needs nodes`. A grader reads the call in a setup cell
        of the course's notebook, and has enabled it before.

        Args:
            addon: "metallb:10.0.0.200-10.0.0.220"; see `labsupport.cluster.Cluster.enable`.

        Raises:
            ClusterError: there is no such add-on, or it does not work.
            LessonError: labsupport did not make this cluster.
        """
        self._give(addon, Steps().say_if_late)
        sys.stdout.write(f"The cluster has the add-on {addon}.\n")

    def close(self) -> None:
        """Let go of the cluster, which goes on."""
        self._let_go()

    def __repr__(self) -> str:
        if self.lab.closed:
            return f"<cluster, namespace {self.namespace}: closed>"
        return f"<cluster of {', '.join([*self.nodes(), CLIENT])}; namespace {self.namespace}>"
