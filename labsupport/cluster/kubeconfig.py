"""kubeconfig files: where the API server is, whom to trust, and who one is."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credential:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def render_kubeconfig(server: str, authority: bytes, credential: Credential, *, user: str,
                      cluster: str = "labsupport") -> str:
    """Return the text of a kubeconfig with everything in it; JSON, which is YAML as well.

    Args:
        server: the API server's URL.
        authority: PEM of the CA that signed the API server's certificate.
        credential: the user's certificate and key.
        user: how the entry is called; the API server goes by the certificate alone.
        cluster: the name of the cluster and of the context.
    """
    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {
            "server": server, "certificate-authority-data": encoded(authority)}}],
        "users": [{"name": user, "user": {
            "client-certificate-data": encoded(credential.certificate), "client-key-data": encoded(credential.key)}}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }
    return json.dumps(document, indent=2) + "\n"
