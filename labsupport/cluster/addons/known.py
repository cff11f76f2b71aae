"""The add-ons that there are."""

from __future__ import annotations

from labsupport.cluster.addons.addon import AddOn
from labsupport.cluster.addons.dns import DNS
from labsupport.cluster.addons.metallb import METALLB
from labsupport.errors import ClusterError

ADDONS = {addon.name: addon for addon in (DNS, METALLB)}


def find(name: str) -> AddOn:
    """Return the add-on of this name.

    Raises:
        ClusterError: there is none.
    """
    if name not in ADDONS:
        raise ClusterError(f"there is no add-on {name!r}", expected="one of " + ", ".join(ADDONS),
                           next_step="write its name as it is here")
    return ADDONS[name]


def parse(word: str) -> tuple[AddOn, str]:
    """Return the add-on and the argument of NAME or NAME:ARGUMENT; the argument is not checked yet."""
    name, _, argument = word.strip().partition(":")
    return find(name), argument.strip()


def check(word: str) -> None:
    """Say what is wrong with NAME or NAME:ARGUMENT.

    Raises:
        ClusterError: there is no such add-on, or its argument has faults.
    """
    addon, argument = parse(word)
    addon.check(argument)
