"""The program in the jail: starts a Jupyter kernel there and runs cells in it, one after the other.

It talks in lines of JSON: the first line it reads is the kernel's environment, each further one a request
`{"number": N, "do": "run" or "answer", "source": TEXT, "limit_s": S, "patience_s": S}`; each gets one reply line with
the same number.

Student code runs beside it with the same rights, so nothing that it says is trusted, and it has nothing worth stealing.
Outputs are not even collected: what a cell prints earns nothing.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from labsupport.grading.plain import MAX_ANSWER_CHARACTERS

LOOK_EVERY_S = 0.2
MAX_ERROR_CHARACTERS = 500
_ANSWER = ("__import__('labsupport.grading.plain', fromlist=['answer_as_json'])"
           ".answer_as_json(globals().get('answer', ...))")


class Kernel:
    """A Jupyter kernel, reached through sockets in the jail's own /tmp."""

    def __init__(self, environment: dict[str, str]) -> None:
        folder = tempfile.mkdtemp()
        connection_file, _ = write_connection_file(f"{folder}/kernel.json", transport="ipc", ip=f"{folder}/k")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ipykernel_launcher", "-f", connection_file, "--HistoryManager.enabled=False",
             "--IPKernelApp.outstream_class=None"],  # what is printed goes nowhere, instead of piling up for nobody
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=folder, env=os.environ | environment,
        )
        self.client = BlockingKernelClient(connection_file=connection_file)
        self.client.load_connection_file()
        self.client.start_channels(iopub=False, stdin=False, hb=False, control=False)

    def run(self, source: str, limit_s: float, patience_s: float, **options: Any) -> dict[str, Any]:
        """Run a cell; the reply's `status` is "ok", "error", "too long" or "dead".

        After `limit_s` it is interrupted; a kernel that then takes longer than `patience_s` is killed.
        """
        request = self.client.execute(source, allow_stdin=False, stop_on_error=False, **options)
        reply = self._reply(request, limit_s)
        if reply is None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            late = self._reply(request, patience_s)
            if late is None:
                self.process.kill()
                self.process.wait()
            return {"status": "too long", "dead": late is None}
        if reply is None:
            return {"status": "dead", "exit_status": self.process.poll()}
        return reply

    def _reply(self, request: str, limit_s: float) -> dict[str, Any] | None:
        """Wait for the kernel's reply; None when it has ended or `limit_s` has passed."""
        end = time.monotonic() + limit_s
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                message = self.client.get_shell_msg(timeout=min(left, LOOK_EVERY_S))
                if message["parent_header"].get("msg_id") == request:
                    content: dict[str, Any] = message["content"]
                    return content
            if self.process.poll() is not None:
                return None
        return None


def run_cell(kernel: Kernel, request: dict[str, Any]) -> dict[str, Any]:
    """Run one cell and say how it ended."""
    reply = kernel.run(request["source"], request["limit_s"], request["patience_s"])
    error = f"{reply.get('ename')}: {reply.get('evalue')}" if reply["status"] == "error" else ""
    return {"status": reply["status"], "error": error[:MAX_ERROR_CHARACTERS], "dead": reply.get("dead", False),
            "exit_status": reply.get("exit_status")}


def fetch_answer(kernel: Kernel, request: dict[str, Any]) -> dict[str, Any]:
    """Fetch `answer` as JSON text; "" if there is none that counts."""
    reply = kernel.run("", request["limit_s"], request["patience_s"], silent=True,
                       user_expressions={"answer": _ANSWER})
    try:
        text = ast.literal_eval(reply["user_expressions"]["answer"]["data"]["text/plain"])
    except (KeyError, TypeError, ValueError, SyntaxError, MemoryError, RecursionError):
        text = ""
    if not isinstance(text, str) or len(text) > MAX_ANSWER_CHARACTERS:
        text = ""
    return {"status": reply["status"], "answer": text, "dead": reply.get("dead", False),
            "exit_status": reply.get("exit_status")}


def main() -> None:
    """Serve requests until the input ends."""
    kernel = Kernel(json.loads(sys.stdin.readline()))
    todo = {"run": run_cell, "answer": fetch_answer}
    for line in sys.stdin:
        request = json.loads(line)
        reply = todo[request["do"]](kernel, request)
        sys.stdout.write(json.dumps({"number": request["number"], **reply}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
