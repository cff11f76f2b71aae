"""`labsupport cluster build`, `binaries`, `pack` and `unpack`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from labsupport.cluster.binaries.find import Survey, survey
from labsupport.cluster.binaries.store import binaries_folder, verify
from labsupport.cluster.binaries.units import UNITS
from labsupport.errors import ClusterError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Commands = _SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: Commands) -> None:
    """Declare the subcommands of `labsupport cluster` that are about programs."""
    _add(commands, "build", build, "build the cluster's programs that this machine does not have",
         "Builds from pinned Go modules what is neither in the cache nor on PATH. It takes some minutes, and 10 GB of "
         "disk space while it runs. Ctrl-C stops it; the next start goes on from there.")
    listing = _add(commands, "binaries", binaries, "list the cluster's programs",
                   "Lists name, version, source and size. Exit status 0 only if all programs are there and sound.")
    listing.add_argument("--json", action="store_true", help="print one JSON object: programs, missing, remarks")
    listing.add_argument("--verify", action="store_true", help="compare each built program with its SHA-256 sum")
    packing = _add(commands, "pack", pack, "write the built programs into one file, for other machines",
                   "Packs all built programs. Machines with the same architecture and the same version of "
                   "labsupport can unpack the file.")
    packing.add_argument("file", type=Path, metavar="FILE", help="a name that ends in .tar.gz or .tar")
    unpacking = _add(commands, "unpack", unpack, "fill the cache from a file that `pack` wrote",
                     "Checks every file's SHA-256 sum first. That tells damage, not malice: unpack only what comes "
                     "from somebody you trust.")
    unpacking.add_argument("file", type=Path, metavar="FILE", help="a file that `labsupport cluster pack` wrote")


def _add(commands: Commands, name: str, run: Callable[[argparse.Namespace], int], summary: str,
         description: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=description, allow_abbrev=False)
    parser.set_defaults(run=run)
    return parser


def build(_arguments: argparse.Namespace) -> int:
    """Build what is missing or damaged, then print the list."""
    from labsupport.cluster.binaries.build import require  # noqa: PLC0415 - the list needs none of it
    from labsupport.cluster.binaries.process import to_stderr  # noqa: PLC0415

    sys.stdout.write(_table(require(UNITS, to_stderr, thorough=True)) + "\n")
    return 0


def binaries(arguments: argparse.Namespace) -> int:
    """Print the list of programs. Returns 0 only if all are there and sound."""
    found = survey(UNITS)
    damaged = _verify(found) if arguments.verify else []
    if arguments.json:
        data = {
            "programs": [{"name": program.name, "path": str(program.path), "version": program.version,
                          "source": program.source, "size_bytes": program.size_bytes, "note": program.note}
                         for program in found.programs.values()],
            "missing": found.missing_names(),
            "remarks": [*found.remarks, *damaged],
        }
        sys.stdout.write(json.dumps(data, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join([_table(found), *damaged]) + "\n")
        if found.missing or damaged:
            sys.stdout.write("\nTo build what is missing or damaged: labsupport cluster build\n")
    return 1 if found.missing or damaged else 0


def _verify(found: Survey) -> list[str]:
    damaged = []
    for entry in found.entries:
        try:
            verify(entry)
        except ClusterError as error:
            damaged.append(f"{error.where} is damaged: {error.observed}")
    return damaged


def _table(found: Survey) -> str:
    rows = [("NAME", "VERSION", "SOURCE", "SIZE")]
    for program in sorted(found.programs.values(), key=lambda program: program.name):
        source = program.source if program.source == "built" else f"{program.source}: {program.path.parent}"
        rows.append((program.name, program.version, source, f"{program.size_bytes / 1e6:.1f} MB"))
    rows += [(name, "-", "missing", "-") for name in found.missing_names()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*(word.ljust(width) for word, width in zip(row, widths, strict=False)), row[3].rjust(8)])
             for row in rows]
    files = {program.path.resolve(): program.size_bytes for program in found.programs.values()}
    notes = {f"{program.name}: {program.note}" for program in found.programs.values() if program.note}
    return "\n".join([*lines, f"\n{sum(files.values()) / 1e6:.1f} MB in all; built ones are in {binaries_folder()}",
                      *sorted(notes), *found.remarks])


def pack(arguments: argparse.Namespace) -> int:
    """Write the built programs into one file."""
    from labsupport.cluster.binaries import archive  # noqa: PLC0415 - the list needs none of it

    archive.pack(arguments.file)
    return 0


def unpack(arguments: argparse.Namespace) -> int:
    """Fill the cache from one file."""
    from labsupport.cluster.binaries import archive  # noqa: PLC0415 - the list needs none of it

    archive.unpack(arguments.file)
    return 0
