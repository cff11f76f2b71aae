"""Programs of this machine, and the shared libraries that they need, on their way into an image.

Source: ldd(1), ld.so(8).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labsupport.cluster.images.icu import empty_tables
from labsupport.cluster.images.rootfs import Rootfs, Text, inside

SYSTEM_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
_LIBRARY = re.compile(r"^\s+(?:(\S+) => )?(/\S+|not found)(?: \(0x[0-9a-f]+\))?$")
_LDD_LIMIT_S = 60.0


@dataclass
class Libraries:
    """The shared libraries of a program: name -> where it is, and the names of those that are nowhere."""

    found: dict[str, Path] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


def private_prefix() -> Path | None:
    """Return the folder of the running Python (conda, pyenv), or None where it is the system's."""
    prefix = Path(sys.base_prefix).resolve()
    return None if str(prefix) in {"/", "/usr", "/usr/local"} else prefix


def find_tool(name: str, rootfs: Rootfs) -> Path | None:
    """Return where this machine has a program.

    The system's programs come first, whatever PATH says: so all users of a machine get the same image.
    """
    prefix = private_prefix()
    folders = [*map(Path, SYSTEM_FOLDERS), *([prefix / "bin"] if prefix else [])]
    for folder in folders:
        path = folder / name
        if os.access(path, os.R_OK | os.X_OK):
            rootfs.look(path)
            return path
    for folder in folders:  # the image is made anew as soon as one of them has it
        rootfs.look(folder / name)
    return None


def place(path: Path) -> str:
    """Return where in an image a file of this machine goes: a private Python and what is around it to /usr/local."""
    prefix = private_prefix()
    if prefix and path.is_relative_to(prefix):
        return f"usr/local/{path.relative_to(prefix)}"
    return inside(str(path))


def shared_libraries(files: Iterable[Path]) -> dict[Path, Libraries]:
    """Return what each program or library needs, as the machine's own loader resolves it."""
    wanted = list(files)
    if not wanted:
        return {}
    # With one file ldd leaves out the line that names it.
    run = subprocess.run(["ldd", *map(str, wanted), "/bin/sh"], capture_output=True, text=True, check=False,
                         timeout=_LDD_LIMIT_S, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
    needs = {path: Libraries() for path in wanted}
    current = Libraries()
    for line in run.stdout.splitlines():
        if line.startswith("/") and line.endswith(":"):
            current = needs.get(Path(line[:-1]), Libraries())
        elif match := _LIBRARY.match(line):
            name, where = match.group(1), match.group(2)
            if where == "not found":
                current.absent.append(name)
            else:
                current.found[Path(name or where).name] = Path(where)
    return needs


def is_elf(path: Path) -> bool:
    """Whether a file is a program or library in machine code."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def add_programs(rootfs: Rootfs, wanted: Mapping[str, Path]) -> dict[str, str]:
    """Add files and the libraries that they need.

    Args:
        rootfs: gets them.
        wanted: path in the image -> file of this machine.

    Returns:
        path in the image -> why it is not there.
    """
    left_out: dict[str, str] = {}
    readable: dict[str, Path] = {}
    for path, source in wanted.items():
        try:
            is_elf(source)
        except OSError as error:
            rootfs.look(source)
            left_out[path] = f"{source} cannot be read: {error.strerror}"
        else:
            readable[path] = source
    elf = {source.resolve() for source in readable.values() if is_elf(source)}
    needs = shared_libraries(sorted(elf))
    libraries: dict[str, Path] = {}
    for path, source in readable.items():
        need = needs.get(source.resolve(), Libraries())
        rootfs.look(source)
        if need.absent:
            left_out[path] = f"{source} needs {', '.join(need.absent)}, which this machine lacks"
            continue
        libraries.update(need.found)
        rootfs.copy(path, source)
    _add_libraries(rootfs, libraries)
    return left_out


def _add_libraries(rootfs: Rootfs, libraries: Mapping[str, Path]) -> None:
    """Add shared libraries, those from unusual folders with a link in the loader's own folder.

    The image has no ld.so.cache, so without RUNPATH the loader looks only into its built-in folders.
    """
    for top in ("bin", "sbin", "lib", "lib64") if libraries else ():
        rootfs.link(top, f"usr/{top}")
    for name, source in libraries.items():
        empty = empty_tables(name)
        if empty is None:
            rootfs.copy(place(source), source)
        else:
            rootfs.look(source)
            rootfs.entries[place(source)] = Text(empty)
    if "libc.so.6" not in libraries:
        return
    own = str(Path(place(libraries["libc.so.6"])).parent)
    for name, source in libraries.items():
        at = place(source)
        if str(Path(at).parent) not in {own, "usr/lib", "usr/lib64"} and f"{own}/{name}" not in rootfs.entries:
            rootfs.link(f"{own}/{name}", f"/{at}")
