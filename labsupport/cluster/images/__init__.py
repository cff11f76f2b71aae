"""Container images made from what this machine has: no registry, no download, the same bytes for the same inputs."""

from __future__ import annotations

from labsupport.cluster.images.image import Image
from labsupport.cluster.images.image_set import BuiltImage, ImageSet, joined
from labsupport.cluster.images.standard import (
    AGNHOST,
    COREDNS,
    METALLB_CONTROLLER,
    METALLB_SPEAKER,
    PAUSE,
    TOOLS,
    plain_images,
    standard_images,
)
from labsupport.cluster.images.store import Layer
from labsupport.cluster.images.tools import MissingTool

__all__ = [
    "AGNHOST",
    "COREDNS",
    "METALLB_CONTROLLER",
    "METALLB_SPEAKER",
    "PAUSE",
    "TOOLS",
    "BuiltImage",
    "Image",
    "ImageSet",
    "Layer",
    "MissingTool",
    "joined",
    "plain_images",
    "standard_images",
]
