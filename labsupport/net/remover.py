"""Takes a planned network away again."""

from __future__ import annotations

from labsupport.net import netlink, rtnetlink
from labsupport.net.plan import Plan
from labsupport.net.relay import Orders
from labsupport.sandbox import Lab


def remove(plan: Plan, lab: Lab) -> None:
    """Delete the links in namespaces that the plan did not make, then the namespaces that it did; see Topology.remove.

    What is not there is no error: it may have been deleted by hand, or never been made.
    """
    new = {namespace.name for namespace in plan.namespaces}
    orders = Orders()
    for end, _ in plan.made_ends:
        if end.namespace not in new:
            orders.enter(end.namespace)
            orders.netlink(netlink.message(rtnetlink.DELLINK, netlink.ACK, bytes(16), [netlink.text(3, end.link)]))
    for name in new:
        orders.delete(name)
    there = {"", *lab.namespaces()} - new
    for name in plan.translating:
        if name in there:
            lab.run(["nft", "delete", "table", "ip", "nat"], namespace=name, echo=False)
    orders.run(lab)
