"""Answers the requests of `labsupport.cluster.control` in the cluster's process."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from labsupport.cluster.control import LONGEST_LINE_BYTES, error_fields
from labsupport.errors import ClusterError, LabError

if TYPE_CHECKING:
    from labsupport.cluster.supervisor import Supervisor


class _Handler(socketserver.StreamRequestHandler):
    """One client, from its first request until it hangs up."""

    server: RequestServer

    def handle(self) -> None:
        self.server.count(1)
        try:
            while line := self.rfile.readline(LONGEST_LINE_BYTES):
                self._answer(line)
        except ConnectionError:
            return  # it hung up
        finally:
            self.server.count(-1)

    def _answer(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            result = self.server.perform(request.pop("do"), request, self._report)
        except LabError as error:
            self._send({"error": error_fields(error)})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._send({"error": {"what": "the cluster's process did not understand the request",
                                  "observed": f"{type(error).__name__}: {error}"}})
        else:
            self._send({"result": result})

    def _report(self, line: str) -> None:
        with contextlib.suppress(ConnectionError):  # it hung up; what it has asked for is done nevertheless
            self._send({"report": line})

    def _send(self, message: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(message).encode() + b"\n")


class RequestServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens on the cluster's control socket until it is closed.

    Attributes:
        clients: how many are connected.
    """

    daemon_threads = True

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._counting = threading.Lock()
        self.clients = 0
        super().__init__(str(supervisor.folder.control_socket), _Handler)  # in a folder that only its owner may enter
        self._thread = threading.Thread(target=self.serve_forever, args=(0.2,), name="requests", daemon=True)
        self._thread.start()

    def count(self, change: int) -> None:
        """Count a client in or out."""
        with self._counting:
            self.clients += change
            self._supervisor.used()

    def perform(self, do: str, arguments: dict[str, Any], report: Callable[[str], None]) -> Any:
        """Do what a client asks for and return the result; tell what is being done, where it takes long."""
        supervisor = self._supervisor
        system = supervisor.system
        actions: dict[str, Callable[..., Any]] = {
            "status": supervisor.status,
            "attach": self._attach,
            "stop": supervisor.stop_event.set,
            "add-node": system.add_node,
            "remove-node": system.remove_node,
            "stop-node": system.stop_node,
            "start-node": system.start_node,
            "enable": partial(system.addons.enable, report=report),
            "disable": partial(system.addons.disable, report=report),
        }
        if do not in actions:
            raise ClusterError(f"the cluster's process knows no request {do!r}", expected=", ".join(sorted(actions)),
                               next_step="the cluster may be of another version: labsupport cluster restart")
        return actions[do](**arguments)

    def _attach(self) -> dict[str, Any]:
        found = self._supervisor.lab.announcement
        if found is None:
            raise ClusterError("the cluster's lab cannot be joined")
        return {"address": found.address, "token": found.token}

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()
        self._supervisor.folder.control_socket.unlink(missing_ok=True)
