"""Layers 2 and 3 of a lab, read from its kernel."""

from labsupport.net.capture import Capture
from labsupport.net.changes import TableChange
from labsupport.net.frames import Frame
from labsupport.net.model import Address, Endpoint, FdbEntry, Link, Listener, NamespaceState, Neighbour, Network, Route
from labsupport.net.read import fdb, links, listeners, neighbours, network, route_get, routes

__all__ = [
    "Address",
    "Capture",
    "Endpoint",
    "FdbEntry",
    "Frame",
    "Link",
    "Listener",
    "NamespaceState",
    "Neighbour",
    "Network",
    "Route",
    "TableChange",
    "fdb",
    "links",
    "listeners",
    "neighbours",
    "network",
    "route_get",
    "routes",
]
