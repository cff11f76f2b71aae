"""Kubeconfigs that lead nowhere, and what is said of them; kubectl reads them, and there is no cluster."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from labsupport.cluster import api
from labsupport.cluster.backends import open_kubeconfig, proxy
from labsupport.cluster.backends.proxy import KubectlProxy
from labsupport.cluster.pki import Authority
from labsupport.errors import ClusterError
from labsupport.waiting import wait_until

Serve = Callable[..., str]


def config(server: str, user: dict[str, Any] | None = None) -> dict[str, Any]:
    user = {"token": "something"} if user is None else user
    return {"apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}},
                         {"name": "lost", "context": {"cluster": "gone", "user": "u"}}]}


@pytest.fixture(autouse=True)
def file(programs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kubeconfig that the environment names; the test writes it."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("LABSUPPORT_CONTEXT", raising=False)
    return tmp_path / "config"


def fault() -> ClusterError:
    """Open the cluster, which cannot work; nothing may be left of kubectl."""
    with pytest.raises(ClusterError) as caught:
        open_kubeconfig("lab05", os.environ, lambda _step: None)
    assert proxies_below(os.getpid()) == []
    return caught.value


def proxies_below(ancestor: int) -> list[str]:
    found = subprocess.run(["pgrep", "--parent", str(ancestor), "--list-full"], capture_output=True, text=True,
                           check=False).stdout
    return [line for line in found.splitlines() if " proxy --unix-socket=" in line]


def test_everything_that_is_missing_is_told_at_once(file, monkeypatch):
    monkeypatch.setattr(proxy, "find_kubectl", lambda: None)
    error = fault()
    assert "for 2 reasons" in error.what
    assert f"1. there is no kubeconfig: {file}\n2. there is no kubectl" in error.observed
    assert "export KUBECONFIG=FILE" in error.next_step
    assert "labsupport cluster build" in error.next_step


@pytest.mark.parametrize(("text", "context", "what", "expected"), [
    ("{", "", "cannot be read", ""),
    ("", "", "no current context", "none is there"),
    (json.dumps(config("https://127.0.0.1:1")), "elsewhere", "no context 'elsewhere'", "here, lost"),
    (json.dumps(config("https://127.0.0.1:1")), "lost", "does not say where the cluster of the context lost is", "URL"),
    (json.dumps(config("")), "", "does not say where", "URL"),
])
def test_a_kubeconfig_that_says_too_little(file, monkeypatch, text, context, what, expected):
    file.write_text(text)
    monkeypatch.setenv("LABSUPPORT_CONTEXT", context)
    error = fault()
    assert what in error.what
    assert expected in error.expected
    assert error.where == str(file)


def test_a_certificate_that_is_not_there(file):
    files = {"client-certificate": "no.crt", "client-key": "no.key"}
    file.write_text(json.dumps(config("https://127.0.0.1:1", files)))
    error = fault()
    assert "no.crt" in error.observed
    assert "cannot use the kubeconfig" in error.what


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server that answers every request with one status and text; returns its URL."""
    with ExitStack() as stack:

        def start(status: int, text: str, signer: Authority | None = None, name: str = "127.0.0.1") -> str:
            class Handler(BaseHTTPRequestHandler):
                def answer(self) -> None:
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json" if text.startswith("{") else "text/plain")
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text.encode())

                do_GET = do_POST = answer  # noqa: N815

                def log_message(self, *_: object) -> None:
                    return

            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            if signer is not None:
                credential = signer.issue_server("kube-apiserver", [name])
                (tmp_path / "server.pem").write_bytes(credential.certificate + credential.key)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(tmp_path / "server.pem")
                server.socket = context.wrap_socket(server.socket, server_side=True)
                server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that turn away
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http{'s' if signer else ''}://127.0.0.1:{server.server_port}"

        yield start


def with_authority(server: str, authority: Authority, folder: Path) -> dict[str, Any]:
    (folder / "ca.crt").write_bytes(authority.certificate)
    made = config(server)
    made["clusters"][0]["cluster"]["certificate-authority"] = "ca.crt"
    return made


def test_nobody_listens(file):
    with socket.socket() as reserved:  # bound and not listening: connections are refused
        reserved.bind(("127.0.0.1", 0))
        file.write_text(json.dumps(config(f"https://127.0.0.1:{reserved.getsockname()[1]}")))
        error = fault()
    assert "nobody listens" in error.what
    assert error.where == "kubeconfig, context here"
    assert "connection refused" in error.observed


def test_nobody_answers(file, monkeypatch):
    monkeypatch.setattr(api, "TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        file.write_text(json.dumps(config(f"http://127.0.0.1:{listener.getsockname()[1]}")))
        assert "does not answer" in fault().what


def test_a_cluster_that_was_made_anew_has_another_authority(file, serve):
    url = serve(200, "{}", Authority("kubernetes"))
    file.write_text(json.dumps(with_authority(url, Authority("kubernetes"), file.parent)))
    assert "of an authority that the kubeconfig does not know" in fault().what


@pytest.mark.parametrize("name", ["192.0.2.1", "elsewhere.example"])
def test_a_certificate_for_another_address(file, serve, name):
    authority = Authority("kubernetes")
    url = serve(200, "{}", authority, name)
    file.write_text(json.dumps(with_authority(url, authority, file.parent)))
    assert "for another name or address" in fault().what


def test_credentials_that_are_no_longer_accepted(file, serve):
    url = serve(401, json.dumps({"kind": "Status", "message": "Unauthorized", "code": 401}))
    file.write_text(json.dumps(config(url)))
    error = fault()
    assert "does not accept the kubeconfig's credentials" in error.what
    assert "401: Unauthorized" in error.observed


def test_no_credentials_at_all(file, serve):
    authority = Authority("kubernetes")
    url = serve(200, "{}", authority)
    file.write_text(json.dumps(with_authority(url, authority, file.parent) | {"users": [{"name": "u", "user": {}}]}))
    assert "has no credentials" in fault().what


def test_a_program_for_credentials_that_is_missing(file, serve):
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-login", "interactiveMode": "Never"}
    file.write_text(json.dumps(config(serve(200, "{}", Authority("kubernetes")), {"exec": plugin})))
    error = fault()
    assert "the program that the kubeconfig names for credentials" in error.what
    assert "no-such-login" in error.observed


def test_an_answer_that_no_api_server_gives(file, serve):
    file.write_text(json.dumps(config(serve(404, "page not found"))))
    error = fault()
    assert "404" in error.observed
    assert "-v=6" in error.next_step


def test_all_that_is_not_allowed_is_told_at_once(file, serve):
    url = serve(201, json.dumps({"kind": "SelfSubjectAccessReview", "status": {"allowed": False}}))
    file.write_text(json.dumps(config(url)))
    error = fault()
    assert "does not allow what a notebook does" in error.what
    for part in ("create namespaces", "list nodes", "create pods/exec in lab05", "create deployments.apps in lab05"):
        assert part in error.observed


_OPEN_AND_WAIT = """
import sys
from pathlib import Path
from labsupport.cluster.backends.proxy import KubectlProxy
proxy = KubectlProxy(Path(sys.argv[1]))
print(proxy._folder, flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_of_a_process_that_was_killed(file, programs):
    file.write_text(json.dumps(config("http://127.0.0.1:1")))
    with subprocess.Popen([sys.executable, "-c", _OPEN_AND_WAIT, programs["kubectl"]], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "socket").is_socket()
        assert proxies_below(process.pid)
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not folder.exists(), what="the folder to be gone", deadline_s=10)
    listed = subprocess.run(["pgrep", "--full", str(folder)], capture_output=True, text=True, check=False)
    assert listed.stdout == ""


def test_a_proxy_that_is_closed_leaves_nothing(file, programs):
    file.write_text(json.dumps(config("http://127.0.0.1:1")))
    opened = KubectlProxy(programs["kubectl"])
    folder = opened._folder
    assert folder.exists()
    opened.close()
    opened.close()
    assert not folder.exists()
    assert proxies_below(os.getpid()) == []
    with pytest.raises(ClusterError, match="cannot be reached") as caught:
        opened.api.get("/version")
    assert "first code cell" in caught.value.next_step
