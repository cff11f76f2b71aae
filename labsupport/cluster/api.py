"""A small client for the API server, for the process that runs the cluster, and for notebooks.

The kubernetes package costs 0.4 s to import and 60 MB; these need a few kinds of requests. A foreign cluster, with
whatever its kubeconfig says, is reached through `kubectl proxy`: see labsupport.cluster.backends.proxy.

Source: Kubernetes documentation, "Kubernetes API concepts".
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labsupport.cluster.kubeconfig import Credential
from labsupport.errors import ClusterError

FIELD_MANAGER = "labsupport"
TIMEOUT_S = 10.0
LONGEST_ANSWER_BYTES = 32 << 20
JSON = "application/json"
Object = dict[str, Any]


class LateAnswer(ClusterError):
    """The API server has not answered in TIMEOUT_S seconds; it may be at work all the same."""


class Api:
    """Requests to one API server as one user; how it is reached is the subclass's matter.

    The server may have been replaced by somebody in the lab: an answer that comes too slowly, or is too long, or is no
    JSON is none.

    Args:
        host: the server's, as the requests name it.

    Attributes:
        if_lost, if_refused: what the reader of an error does next.
    """

    if_lost = "labsupport cluster status"
    if_refused = "labsupport cluster logs kube-apiserver"

    def __init__(self, host: str) -> None:
        self._host = host

    def _dial(self) -> socket.socket:
        """Return the stream to speak HTTP on: connected, in TIMEOUT_S seconds, and to whom it should be."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether the API server says that it is ready to be used."""
        try:
            return self._request("GET", "/readyz")[0] == 200
        except OSError:
            return False  # nobody listens yet, or it is about to end

    def get(self, path: str, accept: str = JSON) -> Object:
        """Return an object or a list, in the form `accept`.

        Raises:
            ClusterError: there is none, or the API server did not answer.
        """
        return self._call("GET", path, accept=accept)

    def find(self, path: str) -> Object | None:
        """Return the object at `path`, or None if there is none."""
        status, answer = self._reach("GET", path)
        return None if status == 404 else self._result("GET", path, status, answer)

    def apply(self, path: str, manifest: Object) -> Object:
        """Make the object at `path` what `manifest` says (server-side apply)."""
        return self._call("PATCH", f"{path}?fieldManager={FIELD_MANAGER}&force=true", manifest,
                          "application/apply-patch+yaml")

    def create(self, path: str, manifest: Object) -> Object:
        """Add an object to the collection at `path`."""
        return self._call("POST", path, manifest, JSON)

    def replace(self, path: str, manifest: Object) -> Object:
        """Put `manifest` in the place of the object at `path`."""
        return self._call("PUT", path, manifest, JSON)

    def delete(self, path: str) -> Object:
        """Remove the object at `path`."""
        return self._call("DELETE", path)

    def _call(self, method: str, path: str, body: Object | None = None, kind: str = "", accept: str = JSON) -> Object:
        return self._result(method, path, *self._reach(method, path, body, kind, accept))

    def _reach(self, method: str, path: str, body: Object | None = None, kind: str = "",
               accept: str = JSON) -> tuple[int, object]:
        try:
            return self._request(method, path, body, kind, accept)
        except OSError as error:
            fault = LateAnswer if isinstance(error, TimeoutError) else ClusterError
            raise fault("the API server cannot be reached", where=path, observed=str(error),
                        next_step=self.if_lost) from None

    def _request(self, method: str, path: str, body: Object | None = None, kind: str = "",
                 accept: str = JSON) -> tuple[int, object]:
        connection = http.client.HTTPConnection(self._host)
        try:
            with self._dial() as stream, _hung_up_in_time(stream):
                connection.sock = stream
                headers = {"Accept": accept} | ({"Content-Type": kind} if kind else {})
                connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
                with contextlib.closing(connection.getresponse()) as answer:
                    text = answer.read(LONGEST_ANSWER_BYTES + 1)
            if len(text) > LONGEST_ANSWER_BYTES:
                raise ConnectionError(f"an answer of more than {LONGEST_ANSWER_BYTES >> 20} MiB")
            is_json = "json" in (answer.getheader("Content-Type") or "")
            return answer.status, json.loads(text) if is_json else text.decode(errors="replace")
        except (http.client.HTTPException, ValueError, RecursionError) as error:
            raise ConnectionError(str(error) or type(error).__name__) from None
        finally:
            connection.close()

    def _result(self, method: str, path: str, status: int, answer: object) -> Object:
        if status >= 300:
            message = answer.get("message", "") if isinstance(answer, dict) else str(answer).strip()
            raise ClusterError(f"the API server refused {method} {path}", observed=f"{status}: {message}",
                               next_step=self.if_refused)
        if not isinstance(answer, dict):
            raise ClusterError("the API server gave no object", where=path, observed=str(answer)[:200],
                               next_step=self.if_lost)
        return answer


class ApiClient(Api):
    """Talks to an API server over TLS, with a certificate.

    Args:
        address: host and port.
        authority: PEM of the CA that signed the server's certificate.
        credential: the user's.
        folder: a private folder; the ssl module reads certificates from files only.
    """

    def __init__(self, address: tuple[str, int], authority: bytes, credential: Credential, folder: Path) -> None:
        super().__init__(address[0])
        self._address = address
        self._context = ssl.create_default_context(cadata=authority.decode())
        file = folder / "supervisor.pem"
        file.touch(0o600)
        try:
            file.write_bytes(credential.certificate + credential.key)
            self._context.load_cert_chain(file)
        finally:
            file.unlink()

    def _dial(self) -> socket.socket:
        # Wrapped before it is connected: `wrap_socket` forgets to close one whose server has reset it by then.
        stream = self._context.wrap_socket(socket.socket(), server_hostname=self._host)
        return connected(stream, self._address, TIMEOUT_S)


def connected(stream: socket.socket, address: tuple[str, int] | str, timeout_s: float | None) -> socket.socket:
    """Connect a fresh socket and return it; one that cannot be connected is closed."""
    try:
        stream.settimeout(timeout_s)
        stream.connect(address)
    except OSError:
        stream.close()
        raise
    return stream


def has_condition(found: Object, name: str) -> bool:
    """Whether a condition of an object is true, such as Ready of a node."""
    conditions = found.get("status", {}).get("conditions") or []
    return any(condition["type"] == name and condition["status"] == "True" for condition in conditions)


@contextlib.contextmanager
def _hung_up_in_time(stream: socket.socket) -> Iterator[None]:
    """Hang up after TIMEOUT_S, even if a byte comes every now and then.

    Raises:
        TimeoutError: that was necessary.
    """
    late = threading.Event()

    def hang_up() -> None:
        late.set()
        with contextlib.suppress(OSError):  # the other side was faster
            same.shutdown(socket.SHUT_RDWR)

    with socket.fromfd(stream.fileno(), stream.family, stream.type) as same:  # an SSLSocket has no dup()
        timer = threading.Timer(TIMEOUT_S, hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except TimeoutError:  # the stream's own patience is as long, and may end first
            late.set()
        except (OSError, http.client.HTTPException, ValueError):
            if not late.is_set():
                raise
        finally:
            timer.cancel()
            timer.join()
    if late.is_set():
        raise TimeoutError(f"no whole answer within {TIMEOUT_S:g} s")
