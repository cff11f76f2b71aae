"""Images that are ready for a node: their layers in the cache, and the small files that say what they are.

Source: the OCI image specification, manifest.md, config.md and image-layout.md; containerd's `ctr images import` takes
an image's name from the annotation io.containerd.image.name.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shlex
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labsupport.cluster.images.store import Layer
from labsupport.cluster.images.tools import MissingTool
from labsupport.errors import ClusterError

_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class BuiltImage:
    """An image whose layers are there.

    Attributes:
        name: with a tag, "lab.local/tools:1.0".
        layers: from the bottom up.
        config: what containers of it run, as the OCI image configuration names it (Cmd, Entrypoint, Env...).
    """

    name: str
    layers: tuple[Layer, ...]
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def configuration(self) -> bytes:
        """The image's configuration (JSON)."""
        machine = platform.machine()
        return _json({
            "architecture": _ARCHITECTURES.get(machine, machine), "os": "linux", "config": dict(self.config),
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in self.layers]},
        })

    @property
    def manifest(self) -> bytes:
        """The image's manifest (JSON): its SHA-256 is the digest of the image."""
        return _json({
            "schemaVersion": 2, "mediaType": _MANIFEST, "config": _descriptor(_CONFIG, self.configuration),
            "layers": [{"mediaType": _LAYER, "digest": layer.digest, "size": layer.size_bytes}
                       for layer in self.layers],
        })


@dataclass(frozen=True)
class ImageSet:
    """Images for the nodes of a cluster. Their layers stay in the cache as long as this object lives.

    A node gets them in one of two ways. `load_script` lets its containerd use the layers where they are, which takes
    0.1 s. `write_archive` writes one file for `ctr -n k8s.io images import`, for clusters elsewhere.
    """

    images: tuple[BuiltImage, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The images' names."""
        return tuple(image.name for image in self.images)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, each once."""
        return tuple({layer.digest: layer for image in self.images for layer in image.layers}.values())

    @property
    def size_bytes(self) -> int:
        """What all layers take on disk."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def missing_tools(self) -> tuple[MissingTool, ...]:
        """The programs that this machine could not give, with the Debian packages that bring them."""
        return tuple(dict.fromkeys(tool for layer in self.layers for tool in layer.missing_tools))

    def write_archive(self, file: Path, *, also: Mapping[str, Sequence[str]] | None = None,
                      without: Collection[Layer] = ()) -> None:
        """Write the images as one OCI archive, the same bytes for the same images.

        Args:
            file: where to; replaced if it is there.
            also: name of an image here -> more names for it, "registry.k8s.io/e2e-test-images/agnhost:2.63.0".
            without: layers that the node has already; left out, they need not be copied.

        Raises:
            ClusterError: `also` names an image that is not here, or the file cannot be written.
        """
        unknown = sorted(set(also or {}) - set(self.names))
        if unknown:
            raise ClusterError(f"more names for {', '.join(unknown)}, which is not among the images",
                               expected=", ".join(self.names))
        index = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": list(self._entries(also or {}))})
        small = [data for image in self.images for data in (image.configuration, image.manifest)]
        blobs: dict[str, bytes | Path] = {hashlib.sha256(data).hexdigest(): data for data in small}
        left_out = {layer.digest for layer in without}
        blobs |= {layer.digest.removeprefix("sha256:"): layer.path for layer in self.layers
                  if layer.digest not in left_out}
        contents = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index,
                    **{f"blobs/sha256/{digest}": blobs[digest] for digest in sorted(blobs)}}
        try:
            with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
                for name, content in contents.items():
                    _add(archive, name, content)
        except OSError as error:
            raise ClusterError("the archive of images cannot be written", where=str(file),
                               observed=error.strerror or str(error)) from error

    def load_script(self, archive: str, *, content: str, socket: str = "/run/containerd/containerd.sock") -> str:
        """Return a shell script that gives a node's containerd all images, without copying a layer.

        containerd finds a layer by its name in `content`, and a link is enough: so the layers are neither read nor
        written, and all nodes share one copy. The script may run again on a node that has them. containerd collects
        garbage 0.1 s after its start; give it a later `startup_delay`, or it may drop a link that is not in use yet.

        Args:
            archive: as the node sees it, what `write_archive(file, without=self.layers)` wrote.
            content: containerd's folder ROOT/io.containerd.content.v1.content.
            socket: where the node's containerd listens.
        """
        ctr = f"ctr --address {shlex.quote(socket)} --namespace k8s.io"
        blobs = f"{content}/blobs/sha256"
        def give(layer: Layer) -> str:
            source, name = shlex.quote(str(layer.path)), layer.digest.removeprefix("sha256:")
            return (f"ln -sfn {source} {shlex.quote(blobs)}/{name}\n"
                    f"{ctr} content ingest --expected-digest {layer.digest} --expected-size {layer.size_bytes} "
                    f"layer-{name} <{source}")

        # The images come before their layers: containerd's garbage collector drops content that no image needs. When
        # it comes between the two commands for a layer, it drops the link, and the second one copies the layer.
        return "\n".join((
            "set -eu",
            f"mkdir -p {shlex.quote(blobs)}",
            f"{ctr} images import --no-unpack {shlex.quote(archive)} >/dev/null",
            *map(give, self.layers),
        )) + "\n"

    def _entries(self, also: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
        for image in self.images:
            for name in (image.name, *also.get(image.name, ())):
                yield {**_descriptor(_MANIFEST, image.manifest), "annotations": {
                    "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}}


def joined(sets: Iterable[ImageSet]) -> ImageSet:
    """Return the images of several sets as one."""
    return ImageSet(tuple(image for one in sets for image in one.images))


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    header = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        header.size = len(content)
        archive.addfile(header, io.BytesIO(content))
    else:
        with content.open("rb") as file:
            header.size = content.stat().st_size
            archive.addfile(header, file)
