"""Which ids of the host can stand behind the ids of a lab.

Every lab runs in user namespaces of its own (user_namespaces(7)). What its root may be on the host depends on who
starts it; host uid 0 is never behind it, since that one owns block devices and global sysctls.
"""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

Range = tuple[int, int, int]
"""First id inside, first id outside, how many: one line of /proc/PID/uid_map."""

SHIFTED_BASE = 0x70000000
SHIFTED_COUNT = 65536


@dataclass(frozen=True)
class IdMap:
    """The uid_map and gid_map of a lab's outer user namespace.

    kind:
        "shifted": started by the host's root; the lab has ids 0 to 65535, backed by an unprivileged range.
        "subordinate": an ordinary user with a range in /etc/subuid and /etc/subgid, and newuidmap to map it.
        "single": an ordinary user; the lab has uid 0 only, backed by that user.
    """

    kind: str
    uids: tuple[Range, ...]
    gids: tuple[Range, ...]

    @property
    def count(self) -> int:
        """How many uids exist inside."""
        return sum(count for _, _, count in self.uids)


def _owns_host_ids() -> bool:
    """Whether this process is root over the range that labs of root are shifted to."""
    if os.geteuid() != 0:
        return False
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        inside, outside, count = map(int, line.split())
        if inside == outside and inside <= SHIFTED_BASE and inside + count >= SHIFTED_BASE + SHIFTED_COUNT:
            return True
    return False


def subordinate_range(table: Path, name: str, number: int) -> tuple[int, int] | None:
    """Return the first range of `table` (/etc/subuid or /etc/subgid) for a user: first id and how many; see subuid(5)."""
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        owner, _, numbers = line.strip().partition(":")
        first, _, count = numbers.partition(":")
        if owner in {name, str(number)} and first.isdecimal() and count.isdecimal() and int(count) > 0:
            return int(first), int(count)
    return None


def plan_id_map() -> IdMap:
    """Choose the id map of a lab that this process starts. Reads only; needs no privileges."""
    uid, gid = os.geteuid(), os.getegid()
    if _owns_host_ids():
        shifted = ((0, SHIFTED_BASE, SHIFTED_COUNT),)
        return IdMap("shifted", shifted, shifted)
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    if shutil.which("newuidmap") and shutil.which("newgidmap"):
        uids = subordinate_range(Path("/etc/subuid"), name, uid)
        gids = subordinate_range(Path("/etc/subgid"), name, uid)
        if uids and gids:
            return IdMap("subordinate", ((0, uid, 1), (1, *uids)), ((0, gid, 1), (1, *gids)))
    return IdMap("single", ((0, uid, 1),), ((0, gid, 1),))
