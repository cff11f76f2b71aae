"""What a running cluster can be given and what can be taken from it again, under the names that microk8s has."""

from __future__ import annotations

from labsupport.cluster.addons.addon import AddOn
from labsupport.cluster.addons.installer import AddOns
from labsupport.cluster.addons.known import check

__all__ = ["AddOn", "AddOns", "check"]
