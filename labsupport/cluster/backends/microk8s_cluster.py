"""The backend `microk8s`: its cluster on this machine, with our images in it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from labsupport.cluster.backends.choice import MICROK8S
from labsupport.cluster.backends.foreign import Foreign, examine
from labsupport.cluster.backends.foreign_images import OWN, PUBLIC
from labsupport.cluster.backends.microk8s import Microk8s
from labsupport.cluster.backends.microk8s_signals import API_DOWN, PROXY_SIGNALS
from labsupport.cluster.backends.proxy import KubectlProxy, need_kubectl
from labsupport.cluster.binaries import find_programs
from labsupport.cluster.images import ImageSet, standard_images
from labsupport.errors import ClusterError, WaitTimeout
from labsupport.waiting import wait_until

CONTEXT = "microk8s"
API_DEADLINE_S = 60.0
LOOK_EVERY_S = 0.5


def open_microk8s(namespace: str, environment: Mapping[str, str], report: Callable[[str], None]) -> Foreign:
    """Reach the microk8s of this machine.

    Args:
        namespace: the notebook's.
        environment: of the notebook's kernel.
        report: is told of each step.

    Raises:
        ClusterError: it does not run, cannot be reached, or not be used; the message says what to do.

    Effects and privileges: the user is in the group microk8s. Starts `kubectl proxy`, which ends with this process.
    Enables the add-on dns if it is off. Imports labsupport's images into microk8s, once, if their programs are on this
    machine.
    """
    kubectl, microk8s = need_kubectl(), Microk8s(report)
    if not microk8s.status().addons.get("dns", False):
        report("switching on the add-on dns of microk8s")
        microk8s.enable("dns")
    proxy = KubectlProxy(kubectl, kubeconfig=microk8s.kubeconfig(), context=CONTEXT)
    try:
        _wait_for_api(proxy, report)
        foreign = examine(MICROK8S, CONTEXT, kubectl, proxy, namespace, environment, PROXY_SIGNALS)
        return _with_images(foreign, microk8s, report)
    except BaseException:
        proxy.close()
        raise


def _wait_for_api(proxy: KubectlProxy, report: Callable[[str], None]) -> None:
    """Wait while the API server restarts, which `microk8s enable` makes it do."""
    def ready() -> bool:
        report("asking the API server of microk8s")
        return proxy.api.ready()

    try:
        wait_until(ready, what="the API server of microk8s", deadline_s=API_DEADLINE_S, interval_s=LOOK_EVERY_S)
    except WaitTimeout:
        raise ClusterError(API_DOWN.what, where="127.0.0.1 port 16443", expected=f"an answer within {API_DEADLINE_S:g} "
                           "s", next_step=API_DOWN.next_step) from None


def _with_images(foreign: Foreign, microk8s: Microk8s, report: Callable[[str], None]) -> Foreign:
    """Import the images that microk8s lacks, if this machine can make them; otherwise the public ones stay."""
    lacking = [name for name, image in foreign.images.items() if image == PUBLIC[name]]
    program = find_programs().get("agnhost")
    if not lacking or program is None:
        return foreign
    with tempfile.TemporaryDirectory(prefix="labsupport-images-") as folder:
        made = standard_images({"agnhost": program.path}, folder=Path(folder), progress=report)
        wanted = ImageSet(tuple(image for image in made.images if image.name in {OWN[name] for name in lacking}))
        report("importing images into microk8s")
        archive = Path(folder) / "images.tar"
        wanted.write_archive(archive)
        microk8s.import_images(archive)
    return replace(foreign, images={**foreign.images, **{name: OWN[name] for name in lacking}})
