"""The programs that a cluster is made of: found, built, kept, packed.

A cluster here is upstream's own programs. Where the machine does not bring them, they are built once from pinned
Go modules into a cache that many checkouts and users can share.
"""

from __future__ import annotations

from labsupport.cluster.binaries.archive import pack, unpack
from labsupport.cluster.binaries.build import require_programs
from labsupport.cluster.binaries.find import Program, find_programs, missing_programs

__all__ = ["Program", "find_programs", "missing_programs", "pack", "require_programs", "unpack"]
