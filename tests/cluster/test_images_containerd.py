"""A real containerd, of the one user id that an ordinary user's lab has, must take the images and unpack them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labsupport.cluster.binaries import find_programs
from labsupport.cluster.images import AGNHOST, PAUSE, TOOLS, Image, ImageSet, joined, standard_images

UPSTREAM = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"
CONFIGURATION = """\
version = 3
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/containerd.sock"
[ttrpc]
  address = "{folder}/ttrpc.sock"
[plugins.'io.containerd.gc.v1.scheduler']
  startup_delay = "1m"
"""
ENTER = """
export PATH="$1:$PATH"
cd "$2"
containerd --config containerd.toml >containerd.log 2>&1 &
tries=0
until ctr -a "$2/containerd.sock" version >/dev/null 2>&1; do
  tries=$((tries + 1)); [ $tries -lt 200 ] || { cat containerd.log; exit 1; }; sleep 0.05
done
alias ctr='ctr -a "$2/containerd.sock" -n k8s.io'
eval "$3"
"""


@pytest.fixture(scope="module")
def images(programs: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageSet]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABSUPPORT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield standard_images({"pause": Path("/usr/bin/true"), "agnhost": Path("/usr/bin/true")})


@pytest.fixture(scope="module")
def programs() -> str:
    """The folder of containerd and ctr."""
    found = find_programs()
    lacking = [name for name in ("containerd", "ctr") if name not in found]
    if lacking:
        pytest.skip(f"needs {' and '.join(lacking)}; `labsupport cluster build` makes them")
    return f"{found['containerd'].path.parent}:{found['ctr'].path.parent}"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "containerd.toml").write_text(CONFIGURATION.format(folder=tmp_path))
    return tmp_path


def on_node(node: Path, programs: str, script: str) -> str:
    """Run a script beside a containerd that keeps everything in this folder; both are gone afterwards."""
    run = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc",
                          "--kill-child", "sh", "-euc", ENTER, "sh", programs, node, script],
                         capture_output=True, text=True, timeout=50, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def rows(printed: str) -> dict[str, str]:
    """Return the lines of ctr's table: first column -> line."""
    return {line.split()[0]: line for line in printed.splitlines() if line.startswith(("lab.local/", "registry."))}


def test_a_node_uses_the_layers_where_they_are(images: ImageSet, node: Path, programs: str) -> None:
    images.write_archive(node / "names.tar", also={AGNHOST: [UPSTREAM]}, without=images.layers)
    content = node / "root" / "io.containerd.content.v1.content"
    (node / "load.sh").write_text(images.load_script(str(node / "names.tar"), content=str(content),
                                                     socket=str(node / "containerd.sock")))
    found = rows(on_node(node, programs, "sh load.sh >&2; sh load.sh >&2; ctr images check"))
    assert set(found) == {TOOLS, PAUSE, AGNHOST, UPSTREAM}
    assert all(" complete " in row for row in found.values())
    own = sum(path.stat().st_size for path in content.rglob("*") if path.is_file() and not path.is_symlink())
    assert own < 100_000

    # After a start of the node's containerd they are still there, can be unpacked, and are not removed with the images.
    found = rows(on_node(node, programs, "ctr images import --local --snapshotter native names.tar >&2\n"
                                         "ctr images check --snapshotter native"))
    assert all(row.split()[-1] == "true" for row in found.values())
    on_node(node, programs, f"ctr images rm --sync {' '.join(found)}; ctr content prune references")
    assert not list((content / "blobs" / "sha256").iterdir())
    assert all(layer.path.stat().st_size == layer.size_bytes for layer in images.layers)


def test_a_cluster_elsewhere_imports_one_file(images: ImageSet, node: Path, programs: str) -> None:
    images.write_archive(node / "images.tar")
    found = rows(on_node(node, programs, "ctr images import --local --snapshotter native images.tar >&2\n"
                                         "ctr images check --snapshotter native"))
    assert set(found) == set(images.names)
    assert all(" complete " in row and row.split()[-1] == "true" for row in found.values())


def test_an_image_of_a_teachers_own_joins_a_running_node(images: ImageSet, node: Path, programs: str) -> None:
    (node / "api.py").write_text("print('hello')\n")
    own = Image("lab.local/api:1", {"/app/api.py": node / "api.py"}).build()
    images.write_archive(node / "images.tar")
    own.write_archive(node / "own.tar", without=images.layers)
    assert (node / "own.tar").stat().st_size < 50_000
    found = rows(on_node(node, programs, "ctr images import --no-unpack images.tar >&2\n"
                                         "ctr images import --local --snapshotter native own.tar >&2\n"
                                         "ctr images check --snapshotter native"))
    assert set(found) == set(joined([images, own]).names)
    assert found["lab.local/api:1"].split()[-1] == "true"
