"""Images from registries: through the proxy of the cluster's process, and what it refuses."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest
from kube import Kubectl

from labsupport.cluster import Cluster
from labsupport.cluster.pull_proxy import PullProxy
from labsupport.waiting import wait_until


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def image(program: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return the manifest and the blobs of an image with one program, /hold."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        entry = tarfile.TarInfo("hold")
        entry.size, entry.mode = len(program), 0o755
        archive.addfile(entry, io.BytesIO(program))
    data = layer.getvalue()
    configuration = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/hold"]},
                                "rootfs": {"type": "layers", "diff_ids": [digest(data)]}}).encode()
    kind = "application/vnd.oci.image"
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json",
        "config": {"mediaType": f"{kind}.config.v1+json", "digest": digest(configuration), "size": len(configuration)},
        "layers": [{"mediaType": f"{kind}.layer.v1.tar", "digest": digest(data), "size": len(data)}]}).encode()
    return manifest, {digest(blob): blob for blob in (configuration, data, manifest)}


@pytest.fixture
def registry(programs) -> Iterator[http.server.ThreadingHTTPServer]:
    """A registry on the host's loopback address with one image, hold:1; `asked` lists what was asked for."""
    manifest, blobs = image(programs["pause"].read_bytes())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            server.asked.append(path)
            name = path.rpartition("/")[2]
            known = path.startswith("/v2/hold/")
            body = manifest if known and name == "1" else blobs.get(name) if known else None
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json"
                             if "/manifests/" in path else "application/octet-stream")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            return

    class Server(http.server.ThreadingHTTPServer):
        asked: ClassVar[list[str]] = []

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.timeout(150)  # it starts a cluster
def test_nodes_pull_from_a_named_registry_of_the_host_and_say_why_they_cannot_pull_the_rest(
        registry, new_cluster: Callable[[], Cluster], new_kubectl: Callable[[Cluster], Kubectl]) -> None:
    port = registry.server_address[1]
    cluster = new_cluster()
    cluster.start(nodes=1, addons=(), registries=[port])
    kubectl = new_kubectl(cluster)
    refused = {
        "unknown": ("lab.local/unknown:1", "images of lab.local are made on this machine"),
        "missing": (f"localhost:{port}/missing:1", "not found"),
        "other": (f"registry.host:{port + 1}/x:1", "HTTPS (port 443)"),
        "private": ("10.0.0.1/x/y:1", "is not on the Internet"),
    }
    for name, (reference, _reason) in refused.items():
        kubectl("run", name, f"--image={reference}", "--restart=Never")
    kubectl("run", "hold", f"--image=localhost:{port}/hold:1", "--restart=Never")
    kubectl.wait_ready("hold")
    assert any("/blobs/" in path for path in registry.asked)
    assert cluster.status()["registries"] == [port]  # `labsupport cluster restart` starts with the same

    def reasons() -> dict[str, str]:
        events = kubectl.get("events")["items"]
        return {event["involvedObject"]["name"]: event["message"] for event in events
                if event.get("message", "").startswith("Failed to pull")}

    wait_until(lambda: reasons().keys() >= refused.keys(), what="an event for each image", deadline_s=20)
    for name, (_reference, reason) in refused.items():
        assert reason in reasons()[name]
    waiting = kubectl.get("pod", "unknown")["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
    assert waiting in {"ErrImagePull", "ImagePullBackOff"}
    # A pod is no node: the way out is for image pulls only.
    kubectl("run", "tools", "--image=lab.local/tools:1.0", "--restart=Never")
    kubectl.wait_ready("tools")
    done = kubectl.run("exec", "tools", "--", "curl", "-s", "-m", "1", "-x", "http://10.0.0.1:3128", "https://x.example")
    assert done.returncode == 28, "a pod reached the proxy"  # curl's "timeout"


def ask(request: str, registries: tuple[int, ...] = ()) -> str:
    """Return the first line of the proxy's answer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(request.encode())
        PullProxy(registries)(theirs)
        theirs.close()
        return ours.makefile().readline().strip()


@pytest.mark.parametrize(("request_line", "reason"), [
    ("CONNECT 127.0.0.1:22", "not from port 22"),
    ("CONNECT 127.0.0.1:443", "is not on the Internet"),
    ("CONNECT localhost:443", "is not on the Internet"),
    ("CONNECT [::1]:443", "is not on the Internet"),
    ("CONNECT 169.254.169.254:443", "is not on the Internet"),
    ("CONNECT 192.168.1.1:443", "is not on the Internet"),
    ("CONNECT registry.host:5001", "not from port 5001"),
    ("GET http://127.0.0.1:5000/v2/", "plain HTTP is for registries"),
    ("GET http://registry.host:5001/v2/", "plain HTTP is for registries"),
    ("GET http://registry.host:99999/v2/", "plain HTTP is for registries"),
    ("GET http://[/v2/", "plain HTTP is for registries"),
    ("GET /v2/", "plain HTTP is for registries"),
    ("nonsense", "not HTTP"),
])
def test_the_proxy_reaches_nothing_of_the_host(request_line: str, reason: str) -> None:
    answer = ask(f"{request_line} HTTP/1.1\r\nHost: x\r\n\r\n", registries=(5000,))
    assert answer.startswith("HTTP/1.1 502 ")
    assert reason in answer


def test_a_request_without_end_is_refused() -> None:
    assert "does not end" in ask("GET " + "x" * 40000)
