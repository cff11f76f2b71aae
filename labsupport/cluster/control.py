"""Requests to a cluster's process: one JSON object per line, over a Unix socket in a private folder.

The client sends {"do": NAME, ...arguments}; the answer is {"result": ...} or {"error": {...}}, and before it there may
be {"report": LINE} again and again. The connection stays open as long as the client wants: that is how the cluster
knows that it is used.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labsupport.errors import ClusterError, LabError

LONGEST_LINE_BYTES = 1 << 20
ERROR_FIELDS = ("what", "where", "expected", "observed", "next_step", "command", "log_tail")


def error_fields(error: LabError) -> dict[str, str]:
    """Return what makes up an error, to be raised again on the other side."""
    return {name: getattr(error, name) for name in ERROR_FIELDS}


def rebuild_error(fields: dict[str, str]) -> ClusterError:
    """Return the error that `error_fields` described."""
    known: dict[str, Any] = {name: fields.get(name, "") for name in ERROR_FIELDS}
    return ClusterError(known.pop("what"), **known)


class ControlConnection:
    """A client's connection to a cluster's process.

    Args:
        path: the socket.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")

    def call(self, do: str, report: Callable[[str], None] = lambda _line: None, **arguments: object) -> Any:
        """Make a request and return its result.

        Args:
            do: what to do.
            report: called with each line that says what is being done.
            arguments: of the request.

        Raises:
            ClusterError: what the cluster's process answered, or that it ended.
        """
        try:
            self._socket.sendall(json.dumps({"do": do} | arguments).encode() + b"\n")
            while "report" in (answer := self._read()):
                report(answer["report"])
        except OSError as error:
            raise _gone(str(error)) from None
        if "error" in answer:
            raise rebuild_error(answer["error"])
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline(LONGEST_LINE_BYTES)
        if not line:
            raise _gone("the connection was closed")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()


def _gone(observed: str) -> ClusterError:
    return ClusterError("the cluster's process has ended", observed=observed,
                        next_step="labsupport cluster status; labsupport cluster start")
