"""A real Kubernetes, run from upstream binaries in a lab: without root, Docker or a VM."""

from labsupport.cluster.cluster import Cluster

__all__ = ["Cluster"]
