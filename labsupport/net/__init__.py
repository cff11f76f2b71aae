"""Layers 2 and 3 of a lab, read from its kernel."""

from labsupport.net.frames import Frame
from labsupport.net.model import Address, Endpoint, FdbEntry, Link, Listener, NamespaceState, Neighbour, Network, Route
from labsupport.net.read import fdb, links, listeners, neighbours, network, route_get, routes

__all__ = [
    "Address",
    "Endpoint",
    "FdbEntry",
    "Frame",
    "Link",
    "Listener",
    "NamespaceState",
    "Neighbour",
    "Network",
    "Route",
    "fdb",
    "links",
    "listeners",
    "neighbours",
    "network",
    "route_get",
    "routes",
]
