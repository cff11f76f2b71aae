"""The images that every cluster has: pause, CoreDNS, the tools, and agnhost, the Kubernetes project's test program.

Their names have a tag. Without one, or with `latest`, Kubernetes would ask a registry before each start of a container
(imagePullPolicy Always), and there is none behind lab.local.

Source: test/images/agnhost/Dockerfile of Kubernetes for what stands beside agnhost; "Images" in its documentation for
pull policies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from labsupport.cluster.images.image_set import BuiltImage, ImageSet
from labsupport.cluster.images.machine import add_programs
from labsupport.cluster.images.rootfs import Rootfs
from labsupport.cluster.images.store import Fill, Layer, Say, Store
from labsupport.cluster.images.tools import ENVIRONMENT, GROUPS, STAY, USERS, MissingTool, add_tools
from labsupport.errors import ClusterError

PAUSE = "lab.local/pause:1.0"
COREDNS = "lab.local/coredns:1.0"
TOOLS = "lab.local/tools:1.0"
AGNHOST = "lab.local/agnhost:1.0"
METALLB_CONTROLLER, METALLB_SPEAKER = "lab.local/metallb-controller:1.0", "lab.local/metallb-speaker:1.0"
PROGRAMS = ("pause", "coredns", "agnhost")

# What `agnhost netexec` and `porter` show as their own. Everybody may know this key: it protects nothing.
_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIRALLP03iuylXPq4cP7DEy37QwCgYIKoZIzj0EAwIwEjEQ
MA4GA1UEChMHQWNtZSBDbzAgFw0wMDAxMDEwMDAwMDBaGA8yMTE0MDEyOTE2MDAw
MFowEjEQMA4GA1UEChMHQWNtZSBDbzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BPLjymTPvJ6396ELIZ/Wh/a4vC+u+q9BIdQvUQVs0s3GoNWLZWjse2vQIjxSHqFT
lC/6Fp8EntT+xI3JXzjWAwmjcDBuMA4GA1UdDwEB/wQEAwIHgDATBgNVHSUEDDAK
BggrBgEFBQcDATAMBgNVHRMBAf8EAjAAMDkGA1UdEQQyMDCCCWxvY2FsaG9zdIIL
ZXhhbXBsZS5jb22HBH8AAAGHEAAAAAAAAAAAAAAAAAAAAAEwCgYIKoZIzj0EAwID
RwAwRAIgGAV0rPuqrA9eJu6624/JT49yabzqgvuxk3xIaLpWknsCIFVN79QcVEnW
t9wYB3A1sz4rLX2hGNgzf3B1n3XT/4jW
-----END CERTIFICATE-----
"""
_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHN/d07BrDf322ZjM
NXPLbUvIpfq6Kv76RJ2Hcx3wX+uhRANCAATy48pkz7yet/ehCyGf1of2uLwvrvqv
QSHUL1EFbNLNxqDVi2Vo7Htr0CI8Uh6hU5Qv+hafBJ7U/sSNyV841gMJ
-----END PRIVATE KEY-----
"""
_USER = "user-defined-in-image"
_GROUP = "group-defined-in-image"


def standard_images(programs: Mapping[str, Path], folder: Path | None = None,
                    progress: Say = lambda _: None) -> ImageSet:
    """Return the images of a cluster; those that are not in the cache, or not as the machine is now, are made.

    Args:
        programs: "pause", "coredns", "agnhost" -> the program; an image is made for each that is given.
        folder: where images are made if the cache is another user's and its images are not this machine's.
        progress: told what is being made; nothing, if nothing is.

    Raises:
        ClusterError: there is no such program, the cache cannot be written to and no folder is given, the disk is full.

    Effects and privileges: reads this machine's programs and libraries, writes to the cache; needs no privilege.
    """
    faults = [f"{name}: images are made of {', '.join(PROGRAMS)}" for name in programs if name not in PROGRAMS]
    faults += [f"{name}: no file {path}" for name, path in programs.items() if not path.is_file()]
    if faults:
        raise ClusterError("the cluster's images cannot be made", observed="\n".join(faults))
    tools = tools_layer(folder, progress)
    layers = {name: _program_layer(name, path, folder, progress) for name, path in programs.items()}
    environment = {"Env": environment_list({})}
    images = [BuiltImage(TOOLS, (tools,), {**environment, "Cmd": list(STAY)})]
    images += [_plain_image(name, layers[name]) for name in ("pause", "coredns") if name in layers]
    if "agnhost" in layers:
        below = [layers[name] for name in ("coredns",) if name in layers]  # upstream's has it too, for tests of DNS
        images.append(BuiltImage(AGNHOST, (tools, *below, layers["agnhost"]),
                                 {**environment, "Entrypoint": ["/agnhost"], "Cmd": ["pause"]}))
    return ImageSet(tuple(images))


def plain_images(programs: Mapping[str, Path], folder: Path | None = None, progress: Say = lambda _: None) -> ImageSet:
    """Return an image lab.local/NAME:1.0 for each program, with nothing else in it; the rest is as for the others."""
    return ImageSet(tuple(_plain_image(name, _program_layer(name, path, folder, progress))
                          for name, path in programs.items()))


def _plain_image(name: str, layer: Layer) -> BuiltImage:
    return BuiltImage(f"lab.local/{name}:1.0", (layer,), {"Entrypoint": [f"/{name}"]})


def tools_layer(folder: Path | None, progress: Say) -> Layer:
    """Return the layer that most images share: a shell, network tools and Python."""
    return ensure_layer("tools", add_tools, folder, progress)


def ensure_layer(name: str, fill: Fill, folder: Path | None, progress: Say) -> Layer:
    """Return a layer of the cache; if it is not there and the cache is another user's, one made in `folder`."""
    cache = Store()
    found = cache.find(name)
    if found is not None:
        return found
    store = cache if folder is None or cache.writable() else Store(folder)
    return store.make(name, fill, progress)


def environment_list(more: Mapping[str, str]) -> list[str]:
    """Return the environment of containers with tools, as image configurations write it."""
    return [f"{name}={value}" for name, value in {**ENVIRONMENT, **more}.items()]


def _program_layer(name: str, path: Path, folder: Path | None, progress: Say) -> Layer:
    key = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    return ensure_layer(f"{name}-{key}", partial(_add_program, name, path), folder, progress)


def _add_program(name: str, path: Path, rootfs: Rootfs) -> list[MissingTool]:
    left_out = add_programs(rootfs, {name: path})
    if left_out:
        raise ClusterError(f"the image of {name} cannot be made", observed=left_out[name])
    if name == "agnhost":
        rootfs.link("agnhost-2", "agnhost")
        rootfs.link("usr/local/bin/agnhost", "/agnhost")
        rootfs.text("localhost.crt", _CERTIFICATE)
        rootfs.text("localhost.key", _KEY)
        rootfs.folder("uploads")
        rootfs.text("etc/passwd", f"{USERS}{_USER}:x:1000:1000::/home/{_USER}:/bin/sh\n")
        rootfs.text("etc/group", f"{GROUPS}{_USER}:x:1000:\n{_GROUP}:x:50000:{_USER}\n")
    return []
