"""Programs that the shells of a lab find by their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from labsupport.cluster.parcel import send
from labsupport.cluster.paths import ADMIN
from labsupport.sandbox import Lab

_FOLDER = "/var/lib/cluster"
_OFFER = f"""cd {_FOLDER} && mkdir -p work && chmod 755 commands/* && mount -t overlay overlay \
  -o lowerdir=/usr/local/bin,upperdir=commands,workdir=work,userxattr /usr/local/bin"""


def offer_commands(lab: Lab, programs: Mapping[str, Path]) -> None:
    """Put programs on the PATH of a lab's shells; kubectl finds the admin's credential there.

    Args:
        lab: a fresh one.
        programs: name and path, as the lab sees it.

    Raises:
        CommandFailed: the lab's kernel does not allow it.
    """
    settings = {"kubectl": f"export KUBECONFIG=${{KUBECONFIG:-{ADMIN}}}\n"}
    send(lab, {f"{_FOLDER}/commands/{name}": f'#!/bin/sh\n{settings.get(name, "")}exec {path} "$@"\n'
               for name, path in programs.items()})
    lab.run(_OFFER, echo=False).check()
