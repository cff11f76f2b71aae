"""The way out for image pulls: an HTTP proxy that the nodes' containerd uses, run by the cluster's process.

A lab has no route to the Internet. Registries are reached through this proxy, from the host and with the host's
rights, so it is narrow: HTTPS to public addresses, and the registries that whoever started the cluster has named.
What it refuses, it refuses with a reason phrase, since that is the part that `kubectl describe pod` shows.

Source: RFC 9110, section 9.3.6 (CONNECT); RFC 9112, section 3.2.2 (absolute-form).
"""

from __future__ import annotations

import ipaddress
import os
import re
import selectors
import socket
from urllib.parse import urlsplit

PORT = 3128
REGISTRY_HOST = "registry.host"
"""The name under which nodes reach a registry of the host's loopback."""
CONNECT_TIMEOUT_S = 10.0
IDLE_S = 120.0
LONGEST_HEAD_BYTES = 32 << 10
PIECE_BYTES = 1 << 17
_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")


class _Refused(Exception):
    """The proxy does not fetch that; the text becomes the reason phrase."""


class PullProxy:
    """Serves one connection per call.

    Args:
        registries: ports of the host's loopback address that nodes may reach as `registry.host:PORT`.
    """

    def __init__(self, registries: tuple[int, ...] = ()) -> None:
        self._registries = registries

    def __call__(self, client: socket.socket) -> None:
        """Take a request, connect, and carry bytes both ways until one side ends."""
        try:
            client.settimeout(CONNECT_TIMEOUT_S)
            head = _read_head(client)
            server, first = self._connect(head)
        except _Refused as refusal:
            client.sendall(f"HTTP/1.1 502 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        except OSError:
            return  # the node hung up
        with server:
            if first:
                server.sendall(first)
            else:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            carry(client, server)

    def _connect(self, head: bytes) -> tuple[socket.socket, bytes]:
        """Return the connection that a request asks for, and what is to be sent on it first."""
        match = _REQUEST.match(head)
        if match is None:
            raise _Refused("the request is not HTTP")
        method, target = match[1].decode(), match[2].decode(errors="replace")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            return self._tunnel(host.strip("[]"), int(port) if port.isdecimal() else 0)
        port = next((port for port in self._registries if target.startswith(f"http://{REGISTRY_HOST}:{port}/")), None)
        if port is None:
            raise _Refused(f"plain HTTP is for registries named at the start of the cluster, not for {target[:100]}")
        path = target.removeprefix(f"http://{REGISTRY_HOST}:{port}")
        line = f"{method} {path} HTTP/1.1\r\nConnection: close\r\n".encode()
        rest = re.sub(rb"(?im)^(proxy-)?connection:[^\n]*\n", b"", head[match.end():])
        return _open("127.0.0.1", port), line + rest

    def _tunnel(self, host: str, port: int) -> tuple[socket.socket, bytes]:
        if host == REGISTRY_HOST and port in self._registries:
            return _open("127.0.0.1", port), b""
        if host.endswith("lab.local"):
            raise _Refused("images of lab.local are made on this machine, and none has this name")
        if port != 443:
            raise _Refused(f"images are pulled by HTTPS (port 443), not from port {port}")
        outer = urlsplit(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or "")
        if outer.hostname:
            server = _open(outer.hostname, outer.port or 80)
            return server, f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        return _open(_public_address(host, port), port), b""


def _read_head(client: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(4096)
        if not data or len(head) > LONGEST_HEAD_BYTES:
            raise _Refused("the request does not end")
        head += data
    return head


def _public_address(host: str, port: int) -> str:
    """Return a public address of `host`; the host's own networks are not for what runs in a lab."""
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError:
        raise _Refused(f"this machine cannot resolve {host}: it may have no Internet access") from None
    for address in found:
        if ipaddress.ip_address(address).is_global:
            return address
    raise _Refused(f"{host} is not on the Internet, and no registry of that name was given at the start of the cluster")


def _open(host: str, port: int) -> socket.socket:
    try:
        return socket.create_connection((host, port), CONNECT_TIMEOUT_S)
    except OSError as error:
        raise _Refused(f"this machine cannot reach {host} port {port}: {error.strerror or error}") from None


def carry(one: socket.socket, other: socket.socket) -> None:
    """Copy bytes both ways until both sides have ended, or nothing has moved for two minutes."""
    ways = {one.fileno(): (one, other), other.fileno(): (other, one)}
    with selectors.DefaultSelector() as selector:
        for number, (source, _sink) in ways.items():
            source.settimeout(IDLE_S)
            selector.register(number, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(IDLE_S)
            if not ready:
                return
            for key, _events in ready:
                source, sink = ways[key.fd]
                try:
                    data = source.recv(PIECE_BYTES)
                    if data:
                        sink.sendall(data)
                        continue
                    selector.unregister(key.fd)
                    sink.shutdown(socket.SHUT_WR)
                except OSError:
                    return  # one side is gone; the caller closes both
