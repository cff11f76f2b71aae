"""The range of addresses that MetalLB may give to Services."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv4Network

from labsupport.cluster import numbers
from labsupport.errors import ClusterError

EXAMPLE = "10.0.0.200-10.0.0.220"
_RACK = IPv4Network(numbers.RACK_CIDR)
_TAKEN = {"the control plane": (numbers.CONTROL_PLANE_ADDRESS,) * 2, "the client": (numbers.CLIENT_ADDRESS,) * 2,
          "the nodes": tuple(numbers.NODE_ADDRESSES.split("-")),
          "the rack itself": (str(_RACK.network_address),) * 2, "broadcasts": (str(_RACK.broadcast_address),) * 2}


def check_range(text: str) -> str:
    """Return a range of addresses for Services, FIRST-LAST, as it is kept.

    MetalLB answers ARP requests for them (layer 2), so they must be of the rack's network, and nobody else's.

    Raises:
        ClusterError: it cannot be used; all of its faults are told.
    """
    if not text:
        raise ClusterError("metallb needs a range of addresses for Services", expected=f"metallb:{EXAMPLE}",
                           next_step=f"labsupport cluster enable metallb:{EXAMPLE}")
    ends = [end.strip() for end in text.split("-")]
    faults = _faults(ends)
    if faults:
        raise ClusterError(f"{text} is not a valid IP range for metallb", observed="\n".join(faults),
                           expected=f"FIRST-LAST, free addresses of {_RACK}",
                           next_step=f"labsupport cluster enable metallb:{EXAMPLE}")
    return "-".join(ends)


def _faults(ends: list[str]) -> list[str]:
    if len(ends) != 2:
        return ["a range is two addresses with a - between them"]
    addresses, faults = [], []
    for end in ends:
        try:
            addresses.append(IPv4Address(end))
        except AddressValueError:
            faults.append(f"{end!r} is no IPv4 address")
    faults += [f"{address} is not in the network of the nodes, {_RACK}"
               for address in dict.fromkeys(addresses) if address not in _RACK]
    if len(addresses) < 2:
        return faults
    low, high = sorted(addresses)
    if [low, high] != addresses:
        faults.append(f"{addresses[0]} comes after {addresses[1]}")
    for owner, (first, last) in _TAKEN.items():
        if low <= IPv4Address(last) and IPv4Address(first) <= high:
            faults.append(f"{first if first == last else f'{first}-{last}'} is for {owner}")
    return faults
