"""Where a student's code runs: a kernel in a lab of its own (the jail), beside the lab that is graded.

Two labs, since they must not trust each other. The *graded lab*, which may be a cluster's, belongs to the grader: the
student's kernel joins it through a socket, as its root, and may do anything in it, as in class; the grader's own
connection is another one, which nobody can take over. The *jail* keeps the student's Python away from the teacher: no
file of the host can be written, no home, course, answer or other student's folder can be seen, there is no network, and
all of it ends with the grader.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import labsupport
from labsupport.cluster import Cluster
from labsupport.errors import GradingError
from labsupport.grading.graded_cluster import folders_to_hide
from labsupport.grading.plain import DIFFERENT, parse_answer
from labsupport.lesson.session import JOIN_VARIABLE
from labsupport.sandbox import Lab

PROCESS_LIMIT = 256
MEMORY_LIMIT_KIB = 4 << 20
START_LIMIT_S = 60.0
ANSWER_LIMIT_S = 10.0
PATIENCE_S = 5.0
MAX_REPLY_BYTES = 1 << 20
MAX_SENT_BYTES = 160 << 10  # all requests of a run; less than a stopped program's standard input holds, so none blocks
KEPT_STDERR_BYTES = 2000
# The kernel of the machine should rather end the jail's processes than the grader when memory runs out.
_START = f'echo 1000 > /proc/self/oom_score_adj; ulimit -v {MEMORY_LIMIT_KIB}; exec "$0" "$@"'


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        error: what it raised, or that it took too long; "" if it ran to its end. The student's words.
    """

    error: str = ""


class Jail:
    """A student's kernel and the lab it acts on; a context manager.

    Attributes:
        graded: the grader's own handle on the lab that is graded.

    Args:
        patience_s: how long a kernel may take to obey an interrupt, and as long again the driver to say so.
        cluster: the running cluster whose lab is graded, if the notebook needs one.

    Raises:
        GradingError: the kernel did not start.
        LabUnavailable: this machine cannot run labs.
    """

    def __init__(self, patience_s: float = PATIENCE_S, cluster: Cluster | None = None) -> None:
        self._patience_s = patience_s
        self._number = 0
        self._sent_bytes = 0
        self._buffer = bytearray()
        self._stderr = b""
        with contextlib.ExitStack() as stack:
            # Only its owner gets through the outer folder, so that no other user of the host can knock at the lab.
            outer = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="grading-", dir="/tmp")))
            door = outer / "door"
            door.mkdir()
            socket_path = door / "lab.sock"
            if cluster is None:
                self.graded = stack.enter_context(Lab("graded", socket_path=socket_path, hidden=folders_to_hide()))
                token = self.graded.announcement.token if self.graded.announcement else ""
            else:
                self.graded = cluster.lab
                address, token = cluster.invitation()
                socket_path.hardlink_to(address)  # its own folder has the administrator's credentials in it
            socket_path.chmod(0o666)  # inside, the kernel may be another user than the one who made the socket
            door.chmod(0o755)
            package = Path(labsupport.__file__).parent
            jail = stack.enter_context(Lab("jail", visible=[package, door], hidden=folders_to_hide(),
                                           process_limit=PROCESS_LIMIT))
            environment = [] if package.is_relative_to(sys.prefix) else ["env", f"PYTHONPATH={package.parent}"]
            self._process = jail.start(["bash", "-c", _START, *environment, sys.executable, "-m",
                                        "labsupport.grading.driver"])
            self._write({JOIN_VARIABLE: f"{socket_path} {token}"})
            self._ask("run", START_LIMIT_S, source="")
            self._stack = stack.pop_all()

    def run(self, source: str, limit_s: float) -> Outcome:
        """Run a cell.

        Raises:
            GradingError: the kernel ended, or cannot be reached any more.
        """
        reply = self._ask("run", limit_s, source=source)
        if reply.get("status") == "too long":
            return Outcome(f"it ran longer than {limit_s:g} s and was interrupted")
        if reply.get("status") == "ok":
            return Outcome()
        return Outcome(str(reply.get("error") or "it did not run to its end"))

    def answer(self) -> object:
        """Fetch the value of `answer` as plain data: `...` if there is none, DIFFERENT if it is something else.

        Raises:
            GradingError: the kernel ended, or cannot be reached any more.
        """
        text = self._ask("answer", ANSWER_LIMIT_S).get("answer")
        return parse_answer(text) if isinstance(text, str) else DIFFERENT

    def close(self) -> None:
        """End both labs and everything in them."""
        self._stack.close()

    def __enter__(self) -> Jail:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, message: object) -> None:
        line = json.dumps(message).encode() + b"\n"
        self._sent_bytes += len(line)
        if self._sent_bytes > MAX_SENT_BYTES:
            self._lost(f"cells of more than {MAX_SENT_BYTES:,} bytes together")
        self._process.write(line)

    def _ask(self, what: str, limit_s: float, **fields: object) -> dict[str, Any]:
        self._number += 1
        self._write({"number": self._number, "do": what, "limit_s": limit_s,
                     "patience_s": self._patience_s, **fields})
        longest_s = limit_s + 2 * self._patience_s
        end = time.monotonic() + longest_s
        while True:
            reply = self._reply(end, f"no answer within {longest_s:g} s")
            if reply.get("dead"):
                self._lost(f"it ran longer than {limit_s:g} s, and an interrupt did not stop it")
            if reply.get("status") == "dead":
                self._lost("it ended")
            if reply.get("number") == self._number:
                return reply

    def _reply(self, end: float, too_late: str) -> dict[str, Any]:
        """Return the next line of the driver, whatever it says."""
        budget = MAX_REPLY_BYTES
        while b"\n" not in self._buffer:
            for stream, data in self._process.read(max(0.0, end - time.monotonic())):
                budget -= len(data)
                if stream == "stdout":
                    self._buffer += data
                else:
                    self._stderr = (self._stderr + data)[-KEPT_STDERR_BYTES:]
            if b"\n" in self._buffer:
                break
            if self._process.exit_status is not None:
                self._lost(f"the program that runs it ended with status {self._process.exit_status}")
            if budget < 0:
                self._lost(f"more than {MAX_REPLY_BYTES:,} bytes instead of an answer")
            if time.monotonic() >= end:
                self._lost(too_late)
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict):
            self._lost("a line that is no answer")
        return reply

    def _lost(self, observed: str) -> NoReturn:
        raise GradingError(
            "the notebook's kernel stopped working", where="the jail that runs the student's code",
            expected="it answers after each cell", observed=observed, log_tail=self._stderr.decode(errors="replace"),
            next_step="run the notebook in JupyterLab from the top; look for what ends or stops Python",
        )
