"""Which two links are the ends of one veth cable.

A veth tells the index of its peer, and the peer's namespace as a number (netnsid) that means something only in the
namespace that was asked. Indexes repeat: two fresh namespaces both call their first veth number 2, so equal indexes
prove nothing. `ip netns list-id`, asked in the same namespace, turns the number into a name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from labsupport.net.model import Endpoint
from labsupport.sandbox import Lab

RawLinks = Mapping[str, Sequence[dict[str, Any]]]
Peers = dict[Endpoint, Endpoint]

_LIST_IDS = """
for name; do
    if [ "$name" ]; then ids=$(ip -json -n "$name" netns list-id); else ids=$(ip -json netns list-id); fi || exit
    printf '%s\\n' "${ids:-[]}"
done
"""


def find_peers(lab: Lab, raw: RawLinks) -> Peers:
    """Return the peer of every veth whose two ends are in namespaces of the lab, in both directions.

    The names of the netnsids come from the lab's own `ip`, because only the lab has /run/netns. So a claim counts only
    if the kernel says the same of both ends to `lab.observe`: each is a veth and names the other's index.

    Args:
        lab: where to look.
        raw: what `ip -d -json address` printed, by namespace name.

    Raises:
        CommandFailed: the lab's `ip` does not work.
    """
    names = [name for name, links in raw.items() if any("link_netnsid" in link for link in links)]
    namespace_of_id = _namespaces_by_id(lab, names) if names else {}
    by_index = {(name, link["ifindex"]): link for name, links in raw.items() for link in links}
    peers: Peers = {}
    for (name, index), link in by_index.items():
        place = _claimed_peer(name, link, raw[name], namespace_of_id)
        other = by_index.get(place) if place else None
        if place is None or other is None or not _points_to(other, index, link["ifname"]):
            continue
        here, there = Endpoint(name, link["ifname"]), Endpoint(place[0], other["ifname"])
        peers[here] = there
        # A netnsid of the first namespace has no name, but the cable's other end knows the way back.
        peers.setdefault(there, here)
    return peers


def _namespaces_by_id(lab: Lab, names: list[str]) -> dict[tuple[str, int], str]:
    listing = lab.run(["bash", "-c", _LIST_IDS, "bash", *names], echo=False).check().stdout
    return {
        (name, entry["nsid"]): entry["name"]
        for name, line in zip(names, listing.splitlines(), strict=True)
        for entry in json.loads(line)
        if "name" in entry
    }


def _claimed_peer(name: str, link: dict[str, Any], neighbours: Sequence[dict[str, Any]],
                  namespace_of_id: Mapping[tuple[str, int], str]) -> tuple[str, int] | None:
    """Return the namespace and the index of a veth's peer, as far as the veth's own namespace knows them."""
    if kind_of(link) != "veth":
        return None
    if "link_netnsid" in link:
        there = namespace_of_id.get((name, link["link_netnsid"]))
        return None if there is None else (there, link["link_index"])
    # `ip` prints a peer in the same namespace by its name.
    return next(((name, other["ifindex"]) for other in neighbours if other["ifname"] == link.get("link")), None)


def _points_to(link: dict[str, Any], index: int, name: str) -> bool:
    return kind_of(link) == "veth" and (link.get("link_index") == index or link.get("link") == name)


def kind_of(link: dict[str, Any]) -> str:
    """Return the kind of a link that `ip -d -json` printed."""
    return str(link.get("linkinfo", {}).get("info_kind") or link["link_type"])
