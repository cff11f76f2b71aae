"""Which ids of the host can stand behind the ids of a lab.

Every lab runs in user namespaces of its own (user_namespaces(7)). What its root may be on the host depends on who
starts it; host uid 0 is never behind it, since that one owns block devices and global sysctls.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Range = tuple[int, int, int]
"""First id inside, first id outside, how many: one line of /proc/PID/uid_map."""

SUBUID, SUBGID = Path("/etc/subuid"), Path("/etc/subgid")
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
    """Return a user's first range in `table` (/etc/subuid or /etc/subgid): its first id and count; see subuid(5)."""
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


def user_name() -> str:
    """Return the name of the calling user, or the number of one who has no name."""
    import pwd  # noqa: PLC0415  (Windows has no such module, and the doctor answers there as well)

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def first_free_subordinate_id(tables: Sequence[Path] = (SUBUID, SUBGID)) -> int:
    """Return the first id, from 100000 on, from which no range of /etc/subuid and /etc/subgid is in use."""
    ends = [100000]
    for table in tables:
        try:
            lines = table.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            _, _, numbers = line.strip().partition(":")
            first, _, count = numbers.partition(":")
            if first.isdecimal() and count.isdecimal():
                ends.append(int(first) + int(count))
    return max(ends)


def plan_id_map() -> IdMap:
    """Choose the id map of a lab that this process starts. Reads only; needs no privileges."""
    uid, gid = os.geteuid(), os.getegid()
    if _owns_host_ids():
        shifted = ((0, SHIFTED_BASE, SHIFTED_COUNT),)
        return IdMap("shifted", shifted, shifted)
    name = user_name()
    if shutil.which("newuidmap") and shutil.which("newgidmap"):
        uids = subordinate_range(SUBUID, name, uid)
        gids = subordinate_range(SUBGID, name, uid)
        if uids and gids:
            return IdMap("subordinate", ((0, uid, 1), (1, *uids)), ((0, gid, 1), (1, *gids)))
    return IdMap("single", ((0, uid, 1),), ((0, gid, 1),))
