"""Where things lie in the lab of a cluster: on the control plane's machine, and on each node."""

from __future__ import annotations

KUBERNETES = "/etc/kubernetes"
"""Credentials and configuration, of the control plane or of a node: each machine has its own folder there."""
ADMIN = f"{KUBERNETES}/admin.conf"
CONTAINERD_ROOT = "/var/lib/containerd"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
