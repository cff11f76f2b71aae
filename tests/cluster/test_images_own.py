"""An image of a teacher's own: built from Python or from a folder, and all faults of a definition told at once."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from labsupport.cluster.images import AGNHOST, TOOLS, Image, ImageSet, joined, standard_images
from labsupport.errors import ClusterError

API = "lab.local/fancy-api:1.0"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABSUPPORT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def api(tmp_path: Path) -> Path:
    file = tmp_path / "api.py"
    file.write_text("print('hello')\n")
    return file


def described(images: ImageSet, file: Path) -> dict[str, dict[str, Any]]:
    """Return name -> configuration of each image in the archive that is written of them."""
    images.write_archive(file)
    with tarfile.open(file) as archive:
        def blob(digest: str) -> Any:
            return json.load(io.BytesIO(archive.extractfile(f"blobs/sha256/{digest[7:]}").read()))  # type: ignore[union-attr]

        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
        return {entry["annotations"]["io.containerd.image.name"]: blob(blob(entry["digest"])["config"]["digest"])
                for entry in index["manifests"]}


def content(images: ImageSet) -> dict[str, bytes]:
    """Return path -> content of the files in the topmost layer."""
    with tarfile.open(images.images[0].layers[-1].path) as layer:
        return {entry.name: layer.extractfile(entry).read() for entry in layer if entry.isreg()}  # type: ignore[union-attr]


def test_three_lines_of_python(api: Path, tmp_path: Path) -> None:
    image = Image("lab.local/fancy-api:1.0", base="lab.local/tools:1.0", files={"/app/api.py": api},
                  command=["python3", "/app/api.py"], env={"GREETING": "hello"}, port=8080)
    built = image.build()
    assert built.names == (API,)
    assert content(built) == {"app/api.py": b"print('hello')\n"}
    config = described(built, tmp_path / "api.tar")[API]["config"]
    assert config["Cmd"] == ["python3", "/app/api.py"]
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert {"GREETING=hello", "LANG=C.UTF-8"} <= set(config["Env"])


def test_it_shares_the_layer_of_the_tools(api: Path, tmp_path: Path) -> None:
    standard = standard_images({})
    built = Image(API, {"/app/api.py": api}).build()
    assert built.images[0].layers[0].digest == standard.layers[0].digest
    both = joined([standard, built])
    assert both.names == (TOOLS, API)
    assert len(both.layers) == 2
    built.write_archive(tmp_path / "small.tar", without=standard.layers)
    assert (tmp_path / "small.tar").stat().st_size < 50_000


def test_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "fancy-api"
    (folder / "app" / "pages").mkdir(parents=True)
    (folder / "app" / "api.py").write_text("api")
    (folder / "app" / "pages" / "index.html").write_text("page")
    (folder / "app" / "__pycache__").mkdir()
    (folder / "app" / "__pycache__" / "api.pyc").write_text("compiled")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "bin").mkdir()
    (folder / "bin" / "greet").write_text("#!/bin/sh\n")
    (folder / "image.toml").write_text('name = "lab.local/fancy-api:1.0"\ncommand = ["python3", "/app/api.py"]\n'
                                       'port = 80\n[env]\nGREETING = "hello"\n')
    built = Image.from_folder(folder).build()
    assert content(built) == {"app/api.py": b"api", "app/pages/index.html": b"page", "usr/bin/greet": b"#!/bin/sh\n"}
    assert described(built, tmp_path / "api.tar")[API]["config"]["Cmd"] == ["python3", "/app/api.py"]


def test_a_changed_file_gives_a_new_image(api: Path) -> None:
    image = Image(API, {"/app": api.parent})
    first = image.build().images[0]
    api.write_text("print('hello, world')\n")
    second = image.build().images[0]
    assert first.manifest != second.manifest
    assert first.layers[0] == second.layers[0]
    (api.parent / "more.py").write_text("")
    assert "app/more.py" in content(image.build())


def test_an_image_of_one_program(tmp_path: Path) -> None:
    program = tmp_path / "serve"
    program.write_bytes(b"\x7fELF")
    built = Image("lab.local/serve:2", {"/serve": program}, ["/serve"], base="").build()
    assert len(built.layers) == 1
    assert content(built) == {"serve": b"\x7fELF"}


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    image = Image("docker.io/nginx", base="debian:12", command="python3", env={"2nd": "x", "FINE": 3},  # type: ignore[dict-item]
                  files={"app.py": tmp_path / "file", "/a/../b": tmp_path / "file", "/proc/x": tmp_path / "file",
                         "/": tmp_path / "file", "/c": tmp_path / "none", "/d": Path("/dev/null")}, port=70000)
    with pytest.raises(ClusterError) as told:
        image.build()
    assert [line.split("observed:")[-1].strip() for line in str(told.value).splitlines()[1:]] == [
        "name: 'docker.io/nginx' is not lab.local/NAME:TAG. It needs a tag other than latest, or Kubernetes asks a "
        "registry at each start",
        "base: 'debian:12' is neither 'lab.local/tools:1.0' nor ''",
        "command: must be a list of strings, the program first",
        "port: 70000 is not a number from 1 to 65535",
        "env: '2nd' is not the name of a variable",
        "env: the value of FINE must be a string without a zero byte",
        "files: 'app.py' must be a path in the image that starts with / and has no ..",
        "files: '/a/../b' must be a path in the image that starts with / and has no ..",
        "files: /proc/x is where a container gets its proc file system",
        f"files: / must be a folder, and {tmp_path}/file is a file",
        f"files: there is no {tmp_path}/none (for /c)",
        "files: /dev/null (for /d) is neither a file nor a folder",
    ]


def test_a_folder_with_what_no_image_can_hold(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    (folder / "pages").mkdir(parents=True)
    (folder / "gone").symlink_to("nowhere")
    (folder / "again").symlink_to("pages")
    os.mkfifo(folder / "pipe")
    with pytest.raises(ClusterError) as told:
        Image(API, {"/site": folder}).build()
    for name in ("gone", "again", "pipe"):
        assert f"{folder}/{name} is neither a file nor a folder of its own" in str(told.value)


@pytest.mark.parametrize("name", [
    "lab.local/api", "lab.local/api:latest", "lab.local/Api:1", "api:1.0", "lab.local/api:1.0@sha256:0", "lab.local/:1",
    "lab.local/a//b:1", "lab.local/api:1\n",
])
def test_a_name_that_kubernetes_would_look_for_elsewhere(name: str) -> None:
    with pytest.raises(ClusterError, match=r"is not lab\.local/NAME:TAG"):
        Image(name).build()


@pytest.mark.parametrize(("definition", "fault"), [
    (None, "No such file"),
    ("name = lab.local", "Invalid value"),
    ("", "name: missing"),
    ('name = "lab.local/a:1"\nimage = "x"\nfiles = []', "image: there is no such setting"),
    ('name = "lab.local/a:1"\nenv = "x"', "env: must be names and values"),
    ("name = 3", "name: 3 is not"),
    ('name = "lab.local/a:1"\nport = "80"', "port: '80' is not a number"),
    ('name = "lab.local/a:1"\nbase = 3', "base: 3 is neither"),
])
def test_a_folder_that_describes_no_image(tmp_path: Path, definition: str | None, fault: str) -> None:
    if definition is not None:
        (tmp_path / "image.toml").write_text(definition)
    with pytest.raises(ClusterError, match=fault):
        Image.from_folder(tmp_path).build()


def test_more_names_for_an_image(tmp_path: Path) -> None:
    upstream = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"
    images = standard_images({"agnhost": Path("/usr/bin/true")})
    images.write_archive(tmp_path / "images.tar", also={AGNHOST: [upstream]}, without=images.layers)
    with tarfile.open(tmp_path / "images.tar") as archive:
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
    digests = {entry["annotations"]["io.containerd.image.name"]: entry["digest"] for entry in index["manifests"]}
    assert set(digests) == {TOOLS, AGNHOST, upstream}
    assert digests[upstream] == digests[AGNHOST]
    with pytest.raises(ClusterError, match=r"lab.local/none:1, which is not among the images"):
        images.write_archive(tmp_path / "images.tar", also={"lab.local/none:1": [upstream]})
