"""Everything that is wrong with a cluster, told at once."""

from __future__ import annotations

from collections.abc import Sequence

from labsupport.errors import ClusterError


def raise_all(faults: Sequence[ClusterError], where: str) -> None:
    """Raise what is wrong; nothing if nothing is.

    Args:
        faults: as they were found.
        where: the cluster.

    Raises:
        ClusterError: there are faults; each with what to do about it.
    """
    if len(faults) == 1:
        raise faults[0]
    if faults:
        found = [": ".join(part for part in (f"{number}. {fault.what}", fault.observed or fault.expected) if part)
                 for number, fault in enumerate(faults, 1)]
        todo = [f"{number}. {fault.next_step}" for number, fault in enumerate(faults, 1)]
        raise ClusterError(f"this cluster cannot be used for notebooks, for {len(faults)} reasons", where=where,
                           observed="\n".join(found), next_step="\n".join(todo))
