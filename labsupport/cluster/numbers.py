"""The addresses of a cluster, the same as in microk8s, so that what a lesson says holds for both."""

from __future__ import annotations

POD_CIDR = "10.1.0.0/16"
SERVICE_CIDR = "10.152.183.0/24"
API_SERVICE_ADDRESS = "10.152.183.1"
DNS_SERVICE_ADDRESS = "10.152.183.10"
CLUSTER_DOMAIN = "cluster.local"
API_PORT = 16443

RACK = "rack"
"""The bridge that the machines of a cluster are cabled to: the data centre's switch."""
RACK_PREFIX_LENGTH = 24
RACK_CIDR = f"10.0.0.0/{RACK_PREFIX_LENGTH}"
CONTROL_PLANE_ADDRESS = "10.0.0.1"
CLIENT = "client"
CLIENT_ADDRESS = "10.0.0.100"
MOST_NODES = 9
NODE_ADDRESSES = f"10.0.0.11-10.0.0.{10 + MOST_NODES}"


def node_name(number: int) -> str:
    """Return the name of node `number`, counted from 1."""
    return f"node{number}"


def node_address(number: int) -> str:
    """Return the address of node `number` on the rack."""
    return f"10.0.0.{10 + number}"


def pod_cidr(number: int) -> str:
    """Return the range from which node `number` gives its pods addresses (Node.spec.podCIDR)."""
    return f"10.1.{number}.0/24"
