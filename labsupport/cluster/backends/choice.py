"""Which backend a notebook uses, and why: the reason is always said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labsupport.errors import ClusterError

EMBEDDED, MICROK8S, KUBECONFIG = "embedded", "microk8s", "kubeconfig"
BACKENDS = (EMBEDDED, MICROK8S, KUBECONFIG)
VARIABLE = "LABSUPPORT_BACKEND"
CONTEXT_VARIABLE = "LABSUPPORT_CONTEXT"
"""The context of the kubeconfig that is used, if not its current one."""


@dataclass(frozen=True)
class Choice:
    """A backend and the reason for it.

    Attributes:
        backend: one of BACKENDS.
        reason: as it stands in brackets behind the backend's name.
    """

    backend: str
    reason: str


def choose(wanted: str, environment: Mapping[str, str]) -> Choice:
    """Choose a backend: the one that the notebook names, or else the environment, or else the embedded one.

    What else is on this machine does not matter: a notebook that runs for everybody the same way should not find itself
    in a company's cluster because somebody has a kubeconfig for it.

    Args:
        wanted: a backend, or "".
        environment: of the notebook's kernel.

    Raises:
        ClusterError: there is no such backend.
    """
    named = environment.get(VARIABLE, "")
    backend = wanted or named or EMBEDDED
    if backend not in BACKENDS:
        where = "the call of open_cluster" if wanted else f"the environment variable {VARIABLE}"
        raise ClusterError(f"there is no backend {backend!r}", where=where, expected=", ".join(BACKENDS),
                           next_step=f"choose one of these, or none: then it is {EMBEDDED}")
    if wanted:
        return Choice(backend, "the notebook names it")
    return Choice(backend, f"{VARIABLE} names it" if named else f"the default; {VARIABLE} chooses another")
