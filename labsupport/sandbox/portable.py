"""Code of this package that runs inside a lab: taken along as bytecode, since a lab need not see the package's files.

The agent is such code, and so is what other rooms of the house run in a copy of PID 1 (`Lab.fork`). Inside, it finds
the standard library and the modules that came with it, in the order in which they came.
"""

from __future__ import annotations

import importlib.util
import marshal
from functools import cache, lru_cache

from labsupport.errors import LabUnavailable

Modules = tuple[str, ...]


@cache
def load(names: Modules) -> list[tuple[str, object]]:
    """Return each module's name and code, and in front of them the empty packages around them (code None).

    Args:
        names: full names of modules, each after those that it imports.

    Raises:
        LabUnavailable: one is not installed.
    """
    packages: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        packages |= dict.fromkeys(".".join(parts[:end]) for end in range(1, len(parts)))
    return [*((package, None) for package in packages), *((name, _code(name)) for name in names)]


def _code(name: str) -> object:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None or not hasattr(spec.loader, "get_code"):
        raise LabUnavailable(
            f"the module {name} of labsupport is not there",
            next_step="install labsupport again: make install",
        )
    return spec.loader.get_code(name)


@lru_cache(maxsize=4)  # orders to captures differ, and each holds the whole code
def pack(names: Modules, arguments: tuple[bytes, ...]) -> bytes:
    """Return what a copy of PID 1 needs to run `main(*arguments)` of the last module."""
    return marshal.dumps((load(names), arguments))
