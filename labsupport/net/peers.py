"""Which two links are the ends of one veth cable.

A veth tells the index of its peer, and the peer's namespace as a number (netnsid) that means something only in the
namespace that was asked. Indexes repeat: two fresh namespaces both call their first veth number 2, so equal indexes
prove nothing. So where the indexes of two links in different namespaces name each other, the kernel is asked whether
the number is that namespace's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labsupport.net import rtnetlink
from labsupport.net.model import Endpoint
from labsupport.net.relay import FIRST_DESCRIPTOR, Orders
from labsupport.net.rtnetlink import RawLink
from labsupport.sandbox import Lab

RawLinks = Mapping[str, Sequence[RawLink]]
Peers = dict[Endpoint, Endpoint]
_Place = tuple[str, RawLink]

_MOST_DESCRIPTORS = 500


def find_peers(lab: Lab, raw: RawLinks) -> Peers:
    """Return the peer of every veth whose two ends are in namespaces of the lab, in both directions.

    Args:
        lab: where to look.
        raw: the links, by namespace name.

    Raises:
        CommandFailed: somebody ended the process that reads.
    """
    veths = [(name, link) for name, links in raw.items() for link in links if link.kind == "veth" and link.peer_index]
    by_indexes: dict[tuple[int, int], list[_Place]] = {}
    for place in veths:
        by_indexes.setdefault((place[1].index, place[1].peer_index), []).append(place)
    peers: Peers = {}
    unproved: list[tuple[_Place, list[_Place]]] = []
    for name, link in veths:
        facing = by_indexes.get((link.peer_index, link.index), [])
        if link.peer_netnsid is None:
            peers |= {Endpoint(name, link.name): Endpoint(there, other.name) for there, other in facing
                      if there == name and other.peer_netnsid is None}
        elif others := [(there, other) for there, other in facing
                        if there != name and other.peer_netnsid is not None]:
            unproved.append(((name, link), others))
    for start in range(0, len(unproved), _MOST_DESCRIPTORS // 2):
        peers |= _proved(lab, unproved[start : start + _MOST_DESCRIPTORS // 2])
    return peers


def _proved(lab: Lab, claims: list[tuple[_Place, list[_Place]]]) -> Peers:
    """Return those pairs of which the kernel says that the number is the other end's namespace."""
    orders = Orders()
    asked: list[tuple[_Place, _Place, int]] = []
    numbers: dict[str, int] = {}
    for _, others in claims:
        for there, _ in others:
            if there not in numbers and len(numbers) < _MOST_DESCRIPTORS:
                numbers[there] = FIRST_DESCRIPTOR + len(numbers)
                orders.enter(there)
                orders.keep(numbers[there])
    entered = ""
    for place, others in sorted(claims, key=lambda claim: claim[0][0]):
        if not asked or place[0] != entered:
            entered = place[0]
            orders.enter(entered)
        for other in others:
            if other[0] in numbers:
                asked.append((place, other, len(orders)))
                orders.netlink(rtnetlink.ask_for_nsid(numbers[other[0]]))
    answers = orders.run(lab)
    return {
        Endpoint(name, link.name): Endpoint(there, other.name) for (name, link), (there, other), at in asked
        if not answers[at].errno and rtnetlink.parse_nsid(answers[at].data) == link.peer_netnsid
    }
