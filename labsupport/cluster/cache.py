"""Where what is expensive to make is kept: built programs and images."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labsupport.errors import ClusterError

CACHE_VARIABLE = "LABSUPPORT_CACHE"


def cache_folder() -> Path:
    """Return the folder of built programs and images, without symbolic links, as labs see it; it need not exist.

    One folder may serve a class: whoever fills it makes it readable for the others, who never write to it.
    $LABSUPPORT_CACHE names it, else it is in the user's cache folder (XDG base directory specification).
    """
    named = os.environ.get(CACHE_VARIABLE, "")
    if named:
        return Path(named).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return ((Path(base) if base.startswith("/") else Path.home() / ".cache") / "labsupport").resolve()


@contextmanager
def exclusive(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Let nobody else change a folder of the cache meanwhile.

    Args:
        folder: it is there already.
        say: told once if somebody else is at it, since a build may take minutes.
    """
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is filling {folder}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def not_writable(folder: Path, content: str, observed: str = "") -> ClusterError:
    """Return the error for one who wants to add to another user's cache of `content`."""
    return ClusterError(
        f"this user cannot write to the cache of {content}", where=str(folder), observed=observed,
        next_step=f"let its owner run `labsupport cluster build`, or set {CACHE_VARIABLE} to a folder of your own")
