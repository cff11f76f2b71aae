"""Images of a teacher's own: files on top of the tools, in three lines of Python or as a folder."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from labsupport.cluster.images.image_set import BuiltImage, ImageSet
from labsupport.cluster.images.rootfs import Rootfs, inside
from labsupport.cluster.images.standard import TOOLS, ensure_layer, environment_list, tools_layer
from labsupport.cluster.images.store import Say
from labsupport.cluster.images.tools import STAY, MissingTool
from labsupport.errors import ClusterError

DEFINITION = "image.toml"
_NAME = re.compile(r"lab\.local/[a-z0-9]+(?:(?:[._/]|__|-+)[a-z0-9]+)*:(?P<tag>\w[\w.-]{0,127})")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_FILES = ("dev", "proc", "sys")


@dataclass(frozen=True)
class Image:
    """An image to be built: files on top of a base.

    Args:
        name: "lab.local/NAME:TAG", as pods ask for it.
        files: absolute path in the image -> a file, or a folder with all that is in it, but for hidden files and
            compiled Python.
        command: what a container runs if its pod names neither command nor args.
        env: environment variables.
        port: the TCP port that it listens on, or None. Kubernetes only shows it.
        base: "lab.local/tools:1.0", or "" for an image that has nothing but `files`.

    Example:
        Image("lab.local/fancy-api:1.0", {"/app/api.py": Path("api.py")}, ["python3", "/app/api.py"]).build()
    """

    name: str
    files: Mapping[str, Path] = field(default_factory=dict)
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    base: str = TOOLS

    @classmethod
    def from_folder(cls, folder: Path) -> Image:
        """Return the image that a folder describes: image.toml says name, base, command, env and port.

        All else in the folder is in the image, at the same place: FOLDER/app/api.py is /app/api.py there.

        Raises:
            ClusterError: image.toml is not there, is not TOML, or says what no image has.
        """
        definition = folder / DEFINITION
        try:
            told = tomllib.loads(definition.read_text())
        except (OSError, ValueError) as error:
            raise ClusterError("the folder does not describe an image", where=str(definition),
                               observed=str(error)) from None
        known = {one.name for one in fields(cls)} - {"files"}
        faults = [f"{key}: there is no such setting" for key in told if key not in known]
        if faults or "name" not in told:
            missing = [] if "name" in told else ["name: missing"]
            raise ClusterError("the folder does not describe an image", where=str(definition),
                               expected=", ".join(sorted(known)), observed="\n".join(missing + faults))
        files = {f"/{path.name}": path for path in sorted(folder.iterdir())
                 if path.name != DEFINITION and not path.name.startswith(".")}
        return cls(files=files, **told)

    def build(self, folder: Path | None = None, progress: Say = lambda _: None) -> ImageSet:
        """Make the image, unless the cache has it; its base too.

        Args:
            folder: where it is made if the cache is another user's.
            progress: told what is being made.

        Raises:
            ClusterError: the definition has faults, all of which are told; or the disk is full.
        """
        faults = self._faults()
        if faults:
            raise ClusterError(f"the image {self.name} cannot be built", observed="\n".join(faults))
        layers = [tools_layer(folder, progress)] if self.base else []
        if self.files:
            plan = json.dumps([self.name, {path: str(source.absolute()) for path, source in self.files.items()}])
            key = hashlib.sha256(plan.encode()).hexdigest()[:12]
            layers.append(ensure_layer(f"image-{key}", self._fill, folder, progress))
        return ImageSet((BuiltImage(self.name, tuple(layers), self._config()),))

    def _config(self) -> dict[str, Any]:
        env = environment_list(self.env) if self.base else [f"{name}={value}" for name, value in self.env.items()]
        config: dict[str, Any] = {"Env": env, "Cmd": list(self.command or STAY)}
        if self.port is not None:
            config["ExposedPorts"] = {f"{self.port}/tcp": {}}
        return config

    def _fill(self, rootfs: Rootfs) -> list[MissingTool]:
        faults = []
        for path, source in self.files.items():
            if source.is_dir():
                faults += rootfs.copy_tree(inside(path), source)
            else:
                rootfs.copy(inside(path), source)
        if faults:
            raise ClusterError(f"the image {self.name} cannot be built", observed="\n".join(faults))
        return []

    def _faults(self) -> list[str]:
        faults = []
        match = _NAME.fullmatch(str(self.name))
        if match is None or match["tag"] == "latest":
            faults.append(f"name: {self.name!r} is not lab.local/NAME:TAG. It needs a tag other than latest, or "
                          "Kubernetes asks a registry at each start")
        if self.base not in (TOOLS, ""):
            faults.append(f"base: {self.base!r} is neither {TOOLS!r} nor ''")
        if not _are_texts(self.command):
            faults.append("command: must be a list of strings, the program first")
        elif not self.command and not self.base:
            faults.append("command: an image without a base needs one")
        if self.port is not None and not (type(self.port) is int and 0 < self.port < 65536):
            faults.append(f"port: {self.port!r} is not a number from 1 to 65535")
        faults += _faults_of_env(self.env)
        for path, source in self.files.items():
            faults += _faults_of_file(path, source)
        return faults


def _are_texts(values: object) -> bool:
    return (isinstance(values, Sequence) and not isinstance(values, str)
            and all(isinstance(value, str) and "\0" not in value for value in values))


def _faults_of_env(env: object) -> list[str]:
    if not isinstance(env, Mapping):
        return ["env: must be names and values"]
    faults = [f"env: {name!r} is not the name of a variable" for name in env if not _VARIABLE.fullmatch(str(name))]
    return faults + [f"env: the value of {name} must be a string without a zero byte" for name, value in env.items()
                     if not _are_texts([value])]


def _faults_of_file(path: str, source: Path) -> list[str]:
    faults = []
    if not path.startswith("/") or ".." in PurePosixPath(path).parts or "\0" in path:
        faults.append(f"files: {path!r} must be a path in the image that starts with / and has no ..")
    elif path.strip("/").split("/")[0] in _NOT_FILES:
        faults.append(f"files: {path} is where a container gets its {path.strip('/').split('/')[0]} file system")
    if not source.exists():
        faults.append(f"files: there is no {source} (for {path})")
    elif not source.is_dir() and not source.is_file():
        faults.append(f"files: {source} (for {path}) is neither a file nor a folder")
    elif path.strip("/") == "" and not source.is_dir():
        faults.append(f"files: / must be a folder, and {source} is a file")
    return faults
