"""A small client for the API server, for the process that runs the cluster.

The kubernetes package costs 0.4 s to import and 60 MB; that process needs five kinds of requests. Everybody else uses
the package, or kubectl.

Source: Kubernetes documentation, "Kubernetes API concepts".
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from labsupport.cluster.pki import Credential
from labsupport.errors import ClusterError

FIELD_MANAGER = "labsupport"
TIMEOUT_S = 10.0
Object = dict[str, Any]


class ApiClient:
    """Talks to one API server as one user.

    Args:
        address: host and port.
        authority: PEM of the CA that signed the server's certificate.
        credential: the user's.
        folder: a private folder; the ssl module reads certificates from files only.
    """

    def __init__(self, address: tuple[str, int], authority: bytes, credential: Credential, folder: Path) -> None:
        self._address = address
        self._context = ssl.create_default_context(cadata=authority.decode())
        file = folder / "supervisor.pem"
        file.touch(0o600)
        try:
            file.write_bytes(credential.certificate + credential.key)
            self._context.load_cert_chain(file)
        finally:
            file.unlink()

    def ready(self) -> bool:
        """Whether the API server says that it is ready to be used."""
        try:
            return self._request("GET", "/readyz")[0] == 200
        except OSError:
            return False  # nobody listens yet, or it is about to end

    def get(self, path: str) -> Object:
        """Return an object or a list.

        Raises:
            ClusterError: there is none, or the API server did not answer.
        """
        return self._call("GET", path)

    def apply(self, path: str, manifest: Object) -> Object:
        """Make the object at `path` what `manifest` says (server-side apply)."""
        return self._call("PATCH", f"{path}?fieldManager={FIELD_MANAGER}&force=true", manifest,
                          "application/apply-patch+yaml")

    def create(self, path: str, manifest: Object) -> Object:
        """Add an object to the collection at `path`."""
        return self._call("POST", path, manifest, "application/json")

    def delete(self, path: str) -> Object:
        """Remove the object at `path`."""
        return self._call("DELETE", path)

    def _call(self, method: str, path: str, body: Object | None = None, kind: str = "") -> Object:
        try:
            status, answer = self._request(method, path, body, kind)
        except OSError as error:
            raise ClusterError("the API server cannot be reached", where=path, observed=str(error),
                               next_step="labsupport cluster status") from None
        if status >= 300:
            message = answer.get("message", "") if isinstance(answer, dict) else str(answer)
            raise ClusterError(f"the API server refused {method} {path}", observed=f"{status}: {message}",
                               next_step="labsupport cluster logs kube-apiserver")
        return answer if isinstance(answer, dict) else {}

    def _request(self, method: str, path: str, body: Object | None = None, kind: str = "") -> tuple[int, object]:
        connection = http.client.HTTPSConnection(*self._address, timeout=TIMEOUT_S, context=self._context)
        try:
            data = None if body is None else json.dumps(body).encode()
            headers = {"Accept": "application/json"} | ({"Content-Type": kind} if kind else {})
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error) or type(error).__name__) from None
        finally:
            connection.close()
        is_json = "json" in (answer.getheader("Content-Type") or "")
        return answer.status, json.loads(text) if is_json else text.decode(errors="replace")
