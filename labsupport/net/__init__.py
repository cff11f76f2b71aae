"""Layers 2 and 3 of a lab, read from its kernel."""

from labsupport.net.model import Address, Endpoint, Link, Listener, NamespaceState, Neighbour, Network, Route
from labsupport.net.read import links, listeners, neighbours, network, routes

__all__ = [
    "Address",
    "Endpoint",
    "Link",
    "Listener",
    "NamespaceState",
    "Neighbour",
    "Network",
    "Route",
    "links",
    "listeners",
    "neighbours",
    "network",
    "routes",
]
