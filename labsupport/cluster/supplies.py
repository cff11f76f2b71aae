"""Everything that must be there before a cluster can start: programs and images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from labsupport.cluster.binaries.find import survey
from labsupport.cluster.binaries.units import UNITS
from labsupport.cluster.images import ImageSet, joined, plain_images, standard_images
from labsupport.errors import ClusterError

IMAGE_PROGRAMS = ("pause", "coredns", "agnhost")
ADDON_PROGRAMS = {"metallb": ("metallb-controller", "metallb-speaker")}
"""Name of an add-on -> the programs of its images, which nodes get when it is enabled."""


@dataclass(frozen=True)
class Supplies:
    """What a cluster is made of, as it lies on the host.

    Attributes:
        programs: name and path.
        images: for every node.
        addon_images: name of an add-on -> for every node when it is enabled.
        folders: where all of that lies; the lab must see them.
        seccomp: whether runc can filter system calls.
    """

    programs: Mapping[str, Path]
    images: ImageSet
    addon_images: Mapping[str, ImageSet]
    folders: tuple[Path, ...]
    seccomp: bool


def find_supplies(spare: Path, progress: Callable[[str], None] = lambda _line: None) -> Supplies:
    """Return what a cluster needs; images that are not current are made now, programs are not.

    Args:
        spare: where images are made if the cache is somebody else's and not current.
        progress: called with a line for each image that is made.

    Raises:
        ClusterError: a program is missing.
    """
    surveyed = survey(UNITS)
    found, missing = surveyed.programs, surveyed.missing_names()
    if missing:
        raise ClusterError("programs of the cluster are missing", observed=", ".join(missing),
                           expected="all of them built, or on PATH",
                           next_step="build them once: labsupport cluster build")
    # Folders are seen in the lab where they really are. The file's own name stays: it tells what to do (multicall).
    programs = {name: program.path.parent.resolve() / program.path.name for name, program in found.items()}
    spare.mkdir(mode=0o700, exist_ok=True)
    images = standard_images({name: programs[name] for name in IMAGE_PROGRAMS}, folder=spare, progress=progress)
    addon_images = {name: plain_images({each: programs[each] for each in needed}, folder=spare, progress=progress)
                    for name, needed in ADDON_PROGRAMS.items()}
    layers = joined([images, *addon_images.values()]).layers
    folders = {path.parent for path in (*programs.values(), *(layer.path for layer in layers))}
    return Supplies(programs, images, addon_images, tuple(sorted(folders)),
                    seccomp="without libseccomp" not in found["runc"].note)
