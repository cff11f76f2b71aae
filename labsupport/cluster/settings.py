"""What a cluster is started with."""

from __future__ import annotations

from dataclasses import dataclass

IDLE_S = 4 * 3600.0
DEFAULT_ADDONS = ("dns",)


@dataclass(frozen=True)
class Settings:
    """What a cluster is started with.

    Attributes:
        nodes: how many.
        proxy_mode: "iptables" or "nftables".
        addons: which add-ons are enabled from the beginning, NAME or NAME:ARGUMENT.
        registries: ports of this machine's loopback address where nodes may pull images from.
        pulls: whether nodes may pull images at all.
        hidden: folders of the host that the cluster's lab must not see.
        idle_s: it stops when nobody has used it for so many seconds.
    """

    nodes: int = 2
    proxy_mode: str = "iptables"
    addons: tuple[str, ...] = DEFAULT_ADDONS
    registries: tuple[int, ...] = ()
    pulls: bool = True
    hidden: tuple[str, ...] = ()
    idle_s: float = IDLE_S
