"""Where what is expensive to make is kept: built programs and images."""

from __future__ import annotations

import os
from pathlib import Path

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
