"""What an add-on is: a name, an argument, and the objects that make it up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labsupport.cluster.api import ApiClient, Object, has_condition

Wait = Callable[[str, Callable[[], bool]], None]
"""Waits until something is so, with a deadline; the text says what, for the error."""
DEFINITION, NAMESPACE = "CustomResourceDefinition", "Namespace"
WORKERS = ("Deployment", "DaemonSet")


def _nothing_to_withdraw(_api: ApiClient, _wait: Wait) -> None:
    return


@dataclass(frozen=True)
class AddOn:
    """Objects that are applied together, and deleted together.

    Attributes:
        name: as microk8s has it.
        title: what it is, for messages.
        check: returns the argument as it is kept, or raises ClusterError with all of its faults.
        manifests: the argument -> the objects by their API path, in the order in which to apply them.
        withdraw: takes back what it has given to others' objects, before its own are deleted.
    """

    name: str
    title: str
    check: Callable[[str], str]
    manifests: Callable[[str], dict[str, Object]]
    withdraw: Callable[[ApiClient, Wait], None] = _nothing_to_withdraw

    def word(self, argument: str) -> str:
        """Return how it is asked for with this argument."""
        return f"{self.name}:{argument}" if argument else self.name


def does_its_work(found: Object, ready_nodes: int) -> bool:
    """Whether a definition, a Deployment or a DaemonSet does what it is there for.

    Args:
        found: the object, as the API server has it.
        ready_nodes: how many nodes are Ready: a stopped one has no pod of a DaemonSet that could be available.
    """
    status = found.get("status", {})
    if found["kind"] == DEFINITION:
        return has_condition(found, "Established")
    available, wanted = (("availableReplicas", found["spec"].get("replicas", 1)) if found["kind"] == "Deployment" else
                         ("numberAvailable", ready_nodes))
    known = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    return bool(known and status.get(available, 0) >= wanted)
