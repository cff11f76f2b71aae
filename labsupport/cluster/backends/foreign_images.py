"""Which images a notebook's pods use in a cluster that labsupport did not make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labsupport.cluster.api import Object
from labsupport.cluster.images.standard import AGNHOST, TOOLS

OWN = {"agnhost": AGNHOST, "tools": TOOLS}
"""What an embedded cluster has, and what `microk8s images import` brings."""
PUBLIC = {"agnhost": "registry.k8s.io/e2e-test-images/agnhost:2.63.0", "tools": "docker.io/nicolaka/netshoot:v0.13"}
VARIABLES = {"agnhost": "LABSUPPORT_AGNHOST_IMAGE", "tools": "LABSUPPORT_TOOLS_IMAGE"}
"""For clusters without the Internet: the names of copies in a registry that they reach."""


def choose_images(nodes: Sequence[Object], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the names of the images: those of the environment, or ours if every node has them, or public ones.

    Args:
        nodes: as the API shows them; a node tells up to 50 of its images.
        environment: of the notebook's kernel.
    """
    return {name: environment.get(VARIABLES[name]) or (own if on_all_nodes(nodes, own) else PUBLIC[name])
            for name, own in OWN.items()}


def on_all_nodes(nodes: Sequence[Object], image: str) -> bool:
    """Whether every node says that it has an image."""
    return bool(nodes) and all(
        any(image in found.get("names") or () for found in node["status"].get("images") or ()) for node in nodes)
