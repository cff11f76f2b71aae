"""Reading a cluster's objects from a server that may be anybody: who takes over a graded cluster answers anything."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from labsupport.cluster import api, namespaces
from labsupport.cluster.api import ApiClient, LateAnswer
from labsupport.cluster.kubeconfig import Credential, render_kubeconfig
from labsupport.cluster.namespaces import make_fresh_namespace, remove_namespace
from labsupport.cluster.pki import Authority
from labsupport.cluster.reading import Kind, Reader, connect_api
from labsupport.errors import ClusterError

TIMEOUT_S = 1.0
Server = Callable[[Callable[[ssl.SSLSocket], None]], ApiClient]


def tls(authority: Authority, folder: Path, credential: Credential) -> ssl.SSLContext:
    """Return what a server needs that shows a certificate and trusts the authority's clients."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.certificate.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    file = folder / "server.pem"
    file.write_bytes(credential.certificate + credential.key)
    context.load_cert_chain(file)
    return context


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ApiClient]]:
    """Starts a server that takes one connection; returns a client for it."""
    monkeypatch.setattr(api, "TIMEOUT_S", TIMEOUT_S)
    authority = Authority("kubernetes")
    with ExitStack() as stack:

        def start(answer: Callable[[ssl.SSLSocket], None], *, signer: Authority = authority) -> ApiClient:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            context = tls(authority, tmp_path, signer.issue_server("kube-apiserver", ["127.0.0.1"]))

            def run() -> None:
                with (contextlib.suppress(OSError), listener.accept()[0] as plain,
                      context.wrap_socket(plain, server_side=True) as stream):
                    stream.recv(65536)
                    answer(stream)

            thread = threading.Thread(target=run)
            thread.start()
            stack.callback(thread.join)
            host, port = listener.getsockname()
            text = render_kubeconfig(f"https://{host}:{port}", authority.certificate,
                                     authority.issue_client("admin", ["system:masters"]), user="admin")
            return connect_api(text)

        yield start


def head(length: int, kind: str = "application/json", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


def document(text: bytes, **options: str) -> Callable[[ssl.SSLSocket], None]:
    return lambda stream: stream.sendall(head(len(text), **options) + text)


def a_byte_now_and_then(stream: ssl.SSLSocket) -> None:
    stream.sendall(head(1000))
    waker = threading.Event()
    for _ in range(1000):
        stream.sendall(b" ")
        waker.wait(TIMEOUT_S / 10)


def a_header_that_never_ends(stream: ssl.SSLSocket) -> None:
    stream.sendall(b"HTTP/1.1 200 OK\r\n")
    waker = threading.Event()
    for _ in range(1000):
        stream.sendall(b"X: y\r\n")
        waker.wait(TIMEOUT_S / 20)


def test_an_object_is_what_the_server_says(serve: Server) -> None:
    assert serve(document(b'{"kind": "Pod"}')).get("/api/v1/namespaces/n/pods/p") == {"kind": "Pod"}


@pytest.mark.parametrize("answer", [
    a_byte_now_and_then, a_header_that_never_ends, lambda _stream: None, document(b"{"), document(b"[" * 100_000),
    document(b"9" * 10_000), document(b"[]"), document(b"{}", kind="text/html"),
    lambda stream: stream.sendall(b"SSH-2.0-x\r\n"), lambda stream: stream.sendall(head(1 << 40) + b" " * 100)])
def test_an_answer_that_is_none_is_an_error_in_time(serve: Server, answer: Callable[[ssl.SSLSocket], None]) -> None:
    client = serve(answer)
    started = time.monotonic()
    with pytest.raises(ClusterError, match=r"the API server (cannot be reached|gave no object)"):
        client.get("/api/v1/pods")
    assert time.monotonic() - started < 5 * TIMEOUT_S


@pytest.mark.parametrize("answer", [a_byte_now_and_then, a_header_that_never_ends,
                                    lambda stream: stream.recv(1)], ids=["bytes", "header", "nothing"])
def test_an_answer_that_comes_too_late_is_told_from_none(serve: Server,
                                                         answer: Callable[[ssl.SSLSocket], None]) -> None:
    with pytest.raises(LateAnswer) as caught:
        serve(answer).get("/api/v1/pods")
    assert caught.value.observed == f"no whole answer within {TIMEOUT_S:g} s"


def test_it_is_told_in_the_same_words_if_the_streams_own_patience_ends_first(serve: Server,
                                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(lambda stream: stream.recv(1))
    dial = client._dial

    def dial_impatiently() -> socket.socket:
        stream = dial()
        stream.settimeout(TIMEOUT_S / 10)
        return stream

    monkeypatch.setattr(client, "_dial", dial_impatiently)
    with pytest.raises(LateAnswer) as caught:
        client.get("/api/v1/pods")
    assert caught.value.observed == f"no whole answer within {TIMEOUT_S:g} s"


def test_an_answer_that_is_too_long_is_none(serve: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LONGEST_ANSWER_BYTES", 1000)
    assert serve(document(b" " * 998 + b"{}")).get("/x") == {}
    with pytest.raises(ClusterError, match="the API server cannot be reached") as caught:
        serve(document(b" " * 999 + b"{}")).get("/x")
    assert "an answer of more than" in caught.value.observed


def test_a_server_that_resets_connections_leaves_no_socket_open(tmp_path: Path) -> None:
    """pytest makes an error of a socket that nobody closed."""
    authority = Authority("kubernetes")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reset() -> None:
            with contextlib.suppress(OSError):  # until the listener is shut
                while True:
                    stream, _ = listener.accept()
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    stream.close()

        thread = threading.Thread(target=reset)
        thread.start()
        client = ApiClient(listener.getsockname(), authority.certificate, authority.issue_client("admin", []), tmp_path)
        try:
            for _ in range(100):
                with pytest.raises(ClusterError, match="the API server cannot be reached"):
                    client.get("/x")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_server_without_the_clusters_certificate_is_not_believed(serve: Callable[..., ApiClient]) -> None:
    client = serve(document(b'{"kind": "Pod"}'), signer=Authority("kubernetes"))
    with pytest.raises(ClusterError, match="the API server cannot be reached") as caught:
        client.get("/x")
    assert "certificate verify failed" in caught.value.observed


def test_a_refusal_is_told_and_an_absence_is_found(serve: Server) -> None:
    refusal = document(b'{"message": "no such thing"}', status="404 Not Found")
    with pytest.raises(ClusterError, match="refused GET /x") as caught:
        serve(refusal).get("/x")
    assert caught.value.observed == "404: no such thing"
    assert serve(refusal).find("/x") is None


class _StubbornApi:
    """An API server with one object that never goes away."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    def find(self, path: str) -> Any:
        return {"status": {"phase": "Terminating"}}

    def get(self, path: str, accept: str = "") -> Any:
        if path in {"/api", "/apis"}:
            return {"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [{
                "resource": "widgets", "scope": "Namespaced", "verbs": ["list", "deletecollection"]}]}]}
            ] if path == "/api" else []}
        return {"items": [{"metadata": {"name": "stuck"}}]}

    def delete(self, path: str) -> Any:
        self.deleted.append(path)


def test_a_namespace_that_cannot_be_emptied_names_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "EMPTY_DEADLINE_S", 0.5)
    monkeypatch.setattr(namespaces, "PATIENCE_S", 0.1)
    stubborn: Any = _StubbornApi()
    with pytest.raises(ClusterError, match="the Kubernetes namespace lab cannot be emptied") as caught:
        make_fresh_namespace(Reader(stubborn), "lab")
    assert caught.value.observed == "widgets/stuck"
    paths = [f"/api/v1/namespaces/lab/widgets?gracePeriodSeconds={grace}&propagationPolicy=Background"
             for grace in (1, 0)]
    assert list(dict.fromkeys(stubborn.deleted)) == paths


class _BusyApi(_StubbornApi):
    """One that needs three requests for all objects, and says nothing in time before the last."""

    def get(self, path: str, accept: str = "") -> Any:
        return super().get(path, accept) if len(self.deleted) < 3 or path in {"/api", "/apis"} else {"items": []}

    def find(self, path: str) -> Any:
        return super().find(path) if len(self.deleted) < 3 else None

    def delete(self, path: str) -> Any:
        super().delete(path)
        if len(self.deleted) < 3:
            raise LateAnswer("the API server cannot be reached")


def test_an_api_server_that_is_slow_to_empty_a_namespace_is_given_time() -> None:
    busy: Any = _BusyApi()
    remove_namespace(Reader(busy), "lab")
    assert len(busy.deleted) == 3


@pytest.mark.parametrize(("namespace", "name", "path"), [
    ("n", "", "/apis/apps/v1/namespaces/n/deployments"),
    ("n", "a/../b", "/apis/apps/v1/namespaces/n/deployments/a%2F..%2Fb"),
    ("*", "", "/apis/apps/v1/deployments"), ("a b", "x", "/apis/apps/v1/namespaces/a%20b/deployments/x"),
])
def test_paths_are_safe_whatever_the_names_are(namespace: str, name: str, path: str) -> None:
    kind = Kind("deployments", frozenset(), "/apis/apps/v1", True, frozenset())
    assert kind.path(namespace, name) == path
