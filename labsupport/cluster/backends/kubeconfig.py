"""The backend `kubeconfig`: any cluster that kubectl reaches from this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from labsupport.cluster.backends.choice import CONTEXT_VARIABLE, KUBECONFIG
from labsupport.cluster.backends.faults import raise_all
from labsupport.cluster.backends.foreign import Foreign, examine
from labsupport.cluster.backends.proxy import KubectlProxy, need_kubectl
from labsupport.doctor.cluster_needs import kubeconfig_files
from labsupport.errors import ClusterError

READ_LIMIT_S = 20.0


def open_kubeconfig(namespace: str, environment: Mapping[str, str], report: Callable[[str], None]) -> Foreign:
    """Reach the cluster of a kubeconfig: of KUBECONFIG, or of ~/.kube/config.

    Args:
        namespace: the notebook's.
        environment: of the notebook's kernel.
        report: is told of each step.

    Raises:
        ClusterError: it cannot be reached, or not be used; all faults at once.

    Effects and privileges: starts `kubectl proxy`, which ends with this process. Nothing is changed in the cluster.
    """
    kubectl, context = find_context(environment)
    report(f"asking the cluster of the context {context} what is allowed there")
    proxy = KubectlProxy(kubectl, context=context)
    try:
        return examine(KUBECONFIG, context, kubectl, proxy, namespace, environment)
    except BaseException:
        proxy.close()
        raise


def find_context(environment: Mapping[str, str]) -> tuple[Path, str]:
    """Return kubectl, and the context that the environment names, or else the kubeconfig.

    Raises:
        ClusterError: there is no kubectl, no kubeconfig, or no such context; all faults at once.
    """
    faults: list[ClusterError] = []
    wanted, files = kubeconfig_files(environment)
    if not files:
        faults.append(ClusterError("there is no kubeconfig", expected=" or ".join(map(str, wanted)),
                                   next_step="get one from the cluster's administrator, and name it: "
                                   "export KUBECONFIG=FILE, before Jupyter is started"))
    try:
        kubectl = need_kubectl()
    except ClusterError as error:
        faults.append(error)
    raise_all(faults, "the environment of this notebook's kernel")
    return kubectl, _context(kubectl, environment.get(CONTEXT_VARIABLE, ""), files)


def _context(kubectl: Path, wanted: str, files: list[Path]) -> str:
    where = ", ".join(map(str, files))
    try:
        done = subprocess.run([kubectl, "config", "view", "--output=json"], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=READ_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ClusterError("kubectl does not end", where=str(kubectl), command="kubectl config view",
                           next_step="try it in a terminal") from None
    if done.returncode:
        raise ClusterError("the kubeconfig cannot be read", where=where, observed=done.stderr.strip(),
                           next_step="get the file anew, or correct it: kubectl config view")
    document = json.loads(done.stdout)
    context = wanted or document.get("current-context") or ""
    known = {each["name"]: each["context"] for each in document.get("contexts") or ()}
    clusters = {each["name"]: each["cluster"] for each in document.get("clusters") or ()}
    if context not in known:
        raise ClusterError(f"the kubeconfig has no context {context!r}" if context else
                           "the kubeconfig has no current context", where=where,
                           expected="one of: " + (", ".join(known) or "none is there"),
                           next_step=f"export {CONTEXT_VARIABLE}=NAME, or kubectl config use-context NAME")
    if not clusters.get(known[context].get("cluster", ""), {}).get("server"):
        raise ClusterError(f"the kubeconfig does not say where the cluster of the context {context} is", where=where,
                           expected="a cluster with a server's URL", next_step="get the file anew: kubectl config view")
    return str(context)
