"""The tools must really run from the image, for the one user id that a pod may have, with all that they need.

The root of the image becomes the root of a process in new user, mount, PID and network namespaces, as in a pod.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from labsupport.cluster.images import ImageSet, standard_images
from labsupport.cluster.images.machine import SYSTEM_FOLDERS
from labsupport.cluster.images.standard import environment_list
from labsupport.cluster.images.tools import PACKAGES

ENTER = """
mount -t proc proc "$0/proc"
: > "$0/dev/null"
mount --bind /dev/null "$0/dev/null"
ip link set lo up
root=$0 command=$1
shift
exec env -i "$@" chroot "$root" sh -c "$command"
"""
SAYS = {
    "sh -c 'echo $0'": "sh",
    "bash --version": "GNU bash",
    "ip -V": "iproute2",
    "ss -V": "iproute2",
    "ping -V": "iputils",
    "ping -c 1 -W 2 127.0.0.1": "1 received",
    "curl --version": "https",
    "dig -v": "DiG",
    "nslookup -version": "nslookup",
    "nc -h": "OpenBSD netcat",
    "tcpdump --version": "libpcap",
    "iperf -v || true": "pthreads",
    "openssl version": "OpenSSL",
    "python3 -c 'import ctypes, http.server, json, socket, ssl; print(ssl.create_default_context().get_ca_certs()[0])'":
        "issuer",
    "ps -e -o comm": "ps",
    "top -b -n 1": "PID",
    "getent passwd 0": "root:x:0:0",
    "hostname": "",
    "seq 3 | sed s/2/two/ | grep two": "two",
    "echo a b | awk '{print $2}'": "b",
    "cd /tmp && echo hello >f && tar cf - f | tar tvf -": "f",
    "mount": "proc on /proc",
    "python3 -c 'print(\"gr\\u00fc\\u00dfe\")' | wc -m": "6",
    "which sh": "/sh",
}
NAMES = """
import http.server, socketserver, struct, threading

class Names(socketserver.BaseRequestHandler):  # says that every name is 127.0.0.1
    def handle(self):
        data, socket = self.request
        end = data.index(b"\\0", 12) + 5
        address = data[end - 4:end - 2] == b"\\0\\1"
        answer = data[:2] + b"\\x81\\x80" + struct.pack("!4H", 1, address, 0, 0) + data[12:end]
        socket.sendto(answer + address * (b"\\xc0\\x0c" + struct.pack("!2HIH4B", 1, 1, 60, 4, 127, 0, 0, 1)),
                      self.client_address)

names = socketserver.UDPServer(("127.0.0.1", 53), Names)
threading.Thread(target=names.serve_forever, daemon=True).start()
pages = http.server.HTTPServer(("127.0.0.1", 8080), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=pages.serve_forever, daemon=True).start()
import subprocess
for command in ("getent hosts web.test", "dig +short web.test", "nslookup web.test", "curl -sS http://web.test:8080/"):
    run = subprocess.run(command.split(), capture_output=True, text=True)
    print(command, run.returncode, run.stdout, run.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABSUPPORT_CACHE", str(tmp_path_factory.mktemp("cache")))
        return standard_images({"agnhost": Path("/usr/bin/true")})


@pytest.fixture(scope="module")
def root(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of agnhost's image, all of its layers unpacked; they include the tools."""
    folder = tmp_path_factory.mktemp("root")
    for layer in images.images[-1].layers:
        subprocess.run(["tar", "--extract", "--no-same-owner", "--file", layer.path, "--directory", folder], check=True)
    return folder


def inside(root: Path, command: str) -> str:
    """Run a command in the image and return what it printed."""
    run = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--net", "--kill-child",
                          "sh", "-ec", ENTER, root, command, *environment_list({})], capture_output=True, text=True,
                         timeout=50, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def test_the_missing_tools_are_those_that_the_machine_lacks(images: ImageSet) -> None:
    tools = {tool for tools in PACKAGES.values() for tool in tools.split()}
    lacking = {tool for tool in tools if not shutil.which(tool, path=":".join(SYSTEM_FOLDERS))}
    assert {tool.name for tool in images.missing_tools} == lacking


def test_every_tool_runs(images: ImageSet, root: Path) -> None:
    lacking = {tool.name for tool in images.missing_tools}
    commands = [command for command in SAYS if command.split()[0] not in lacking]
    script = "".join(f"echo '== {number}'\n{{ {command} ; }} 2>&1 || echo 'FAILED'\n"
                     for number, command in enumerate(commands))
    printed = inside(root, script)
    for number, command in enumerate(commands):
        said = printed.split(f"== {number}\n")[1].split("\n== ")[0]
        assert SAYS[command] in said, (command, said)
        assert "FAILED" not in said, (command, said)


def test_every_library_is_there(root: Path) -> None:
    loader = next(path for pattern in ("usr/lib64/ld-linux-*", "usr/lib/ld-linux-*") for path in root.glob(pattern))
    elf = [path for path in root.rglob("*")
           if path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF"]
    assert len(elf) > 200
    names = " ".join(f"/{path.relative_to(root)}" for path in elf)
    found = inside(root, f"for file in {names}; do /{loader.relative_to(root)} --list $file 2>&1 || :; done")
    assert "not found" not in found
    assert "cannot open shared object" not in found
    assert found.count("libc.so.6 => /") > 200


def test_names_are_resolved_by_the_c_library_and_by_every_tool(images: ImageSet, root: Path) -> None:
    (root / "etc" / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:2\n")
    (root / "names.py").write_text(NAMES)
    said = inside(root, "cd /uploads; python3 /names.py")
    assert re.search(r"getent hosts web.test 0 127.0.0.1 +web.test", said)
    assert "Directory listing for /" in said
    if not {"dig", "nslookup"} & {tool.name for tool in images.missing_tools}:
        assert "dig +short web.test 0 127.0.0.1" in said
        assert "nslookup web.test 0" in said
        assert "Address: 127.0.0.1\n" in said


def test_tcpdump_sees_a_packet_where_there_is_only_one_user(images: ImageSet, root: Path) -> None:
    if "tcpdump" in {tool.name for tool in images.missing_tools}:
        pytest.skip("this machine has no tcpdump")
    said = inside(root, "cat /proc/self/setgroups; ping -i 0.2 -w 20 127.0.0.1 >/dev/null & "
                        "timeout 20 tcpdump -n -i lo -c 1 icmp")
    assert "deny" in said
    assert "127.0.0.1 > 127.0.0.1: ICMP echo request" in said


def test_agnhost_has_what_upstreams_image_has(images: ImageSet, root: Path) -> None:
    said = inside(root, "agnhost && /agnhost-2 && ls -d /uploads; id user-defined-in-image; "
                        "openssl x509 -in /localhost.crt -noout -checkip 127.0.0.1 -pubkey; "
                        "openssl pkey -in /localhost.key -pubout")
    assert "/uploads" in said
    assert "uid=1000(user-defined-in-image)" in said
    assert "50000(group-defined-in-image)" in said
    assert "does match certificate" in said
    keys = said.split("-----BEGIN PUBLIC KEY-----")[1:]
    assert len(keys) == 2
    assert keys[0].split("-----END")[0] == keys[1].split("-----END")[0]


def test_the_layer_is_small(images: ImageSet) -> None:
    with tarfile.open(images.layers[0].path) as layer:
        sizes = {entry.name: entry.size for entry in layer}
    assert not [name for name in sizes if "__pycache__" in name or "/test/" in name]
    unusual = [name for name, size in sizes.items() if size > 8_000_000 and "python" not in name]
    assert unusual == []
