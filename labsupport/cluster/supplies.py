"""Everything that must be there before a cluster can start: programs and images."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from labsupport.cluster.binaries import find_programs, missing_programs
from labsupport.cluster.images import ImageSet, standard_images
from labsupport.errors import ClusterError

IMAGE_PROGRAMS = ("pause", "coredns", "agnhost")


@dataclass(frozen=True)
class Supplies:
    """What a cluster is made of, as it lies on the host.

    Attributes:
        programs: name and path.
        images: for every node.
        folders: where all of that lies; the lab must see them.
    """

    programs: Mapping[str, Path]
    images: ImageSet
    folders: tuple[Path, ...]


def find_supplies(undo: ExitStack, progress: Callable[[str], None] = lambda _line: None) -> Supplies:
    """Return what a cluster needs; images that are not current are made now, programs are not.

    Args:
        undo: gets what has to be removed in the end.
        progress: called with a line for each image that is made.

    Raises:
        ClusterError: a program is missing.
    """
    found = find_programs()
    missing = missing_programs()
    if missing:
        raise ClusterError("programs of the cluster are missing", observed=", ".join(missing),
                           expected="all of them built, or on PATH",
                           next_step="build them once: labsupport cluster build")
    programs = {name: program.path for name, program in found.items()}
    spare = Path(tempfile.mkdtemp(prefix="labsupport-images-"))
    undo.callback(shutil.rmtree, spare)
    images = standard_images({name: programs[name] for name in IMAGE_PROGRAMS}, folder=spare, progress=progress)
    folders = {path.parent.resolve() for path in (*programs.values(), *(layer.path for layer in images.layers))}
    return Supplies(programs, images, tuple(sorted(folders)))
