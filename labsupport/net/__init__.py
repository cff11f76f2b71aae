"""Layers 2 and 3 of a lab: planned and made as code, read from its kernel, captured from its cables."""

from labsupport.net.capture import Capture
from labsupport.net.changes import TableChange
from labsupport.net.frames import Frame
from labsupport.net.model import Address, Endpoint, FdbEntry, Link, Listener, NamespaceState, Neighbour, Network, Route
from labsupport.net.plan import Fault
from labsupport.net.read import fdb, links, listeners, neighbours, network, route_get, routes
from labsupport.net.topology import Topology
from labsupport.net.walk import Walk
from labsupport.net.walk_steps import WalkStep

__all__ = [
    "Address",
    "Capture",
    "Endpoint",
    "Fault",
    "FdbEntry",
    "Frame",
    "Link",
    "Listener",
    "NamespaceState",
    "Neighbour",
    "Network",
    "Route",
    "TableChange",
    "Topology",
    "Walk",
    "WalkStep",
    "fdb",
    "links",
    "listeners",
    "neighbours",
    "network",
    "route_get",
    "routes",
]
