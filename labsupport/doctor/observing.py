"""Runs the probe, and keeps what it said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labsupport.doctor.ids import IdMap

_PROBE = Path(__file__).with_name("probe.py")
PROBE_LIMIT_S = 20.0


@dataclass(frozen=True)
class Trial:
    """A program to run inside the probe's namespaces: its name, its arguments and what it reads."""

    name: str
    argv: Sequence[str]
    stdin: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a step of the probe went: errno 0 for success, else the kernel's error and its text."""

    errno: int
    text: str = ""


@dataclass(frozen=True)
class Ran:
    """How a trial went; `status` is None if the program could not run."""

    status: int | None
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Probed:
    """What the probe said.

    Attributes:
        steps: outcome by step; a step that was not reached is not there.
        trials: result by trial; empty if the namespaces could not be made.
        trouble: why the probe itself came to no end, or "".
    """

    steps: dict[str, Outcome] = field(default_factory=dict)
    trials: dict[str, Ran] = field(default_factory=dict)
    trouble: str = ""

    def failed(self, *steps: str) -> Outcome | None:
        """Return the first of these steps that the kernel refused, or None."""
        for name in steps:
            outcome = self.steps.get(name)
            if outcome is not None and outcome.errno:
                return outcome
        return None

    def reached(self, *steps: str) -> bool:
        """Whether all of these steps were tried."""
        return all(name in self.steps for name in steps)


def start_probe(ids: IdMap, trials: Sequence[Trial], path: str) -> subprocess.Popen[bytes]:
    """Start the probe in a process of its own, with the id map and the programs that labs would have.

    Args:
        ids: the id map that a lab would get.
        trials: programs to run inside.
        path: the PATH of a lab.
    """
    plan = {"kind": ids.kind, "uids": ids.uids, "gids": ids.gids,
            "trials": [(trial.name, list(trial.argv), trial.stdin) for trial in trials]}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_PROBE), json.dumps(plan)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"PATH": path, "LC_ALL": "C.UTF-8"}, cwd="/", start_new_session=True,
    )


def finish_probe(process: subprocess.Popen[bytes], limit_s: float = PROBE_LIMIT_S) -> Probed:
    """Wait for the probe and read what it said; one that takes too long is ended, and its namespaces with it."""
    trouble = ""
    try:
        out, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, errors = process.communicate()
        trouble = f"it did not end within {limit_s:g} s"
    last = errors.decode(errors="replace").strip().splitlines()[-1:]
    if process.returncode and not trouble:
        trouble = f"it ended with status {process.returncode}: {os.linesep.join(last)}"
    return parse_probe(out.decode(errors="replace"), trouble)


def parse_probe(text: str, trouble: str = "") -> Probed:
    """Return the lines of the probe as objects; a last line that was cut off is left out."""
    steps: dict[str, Outcome] = {}
    trials: dict[str, Ran] = {}
    for line in text.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            trouble = trouble or f"it printed what it should not: {line[:80]}"
            continue
        if "trial" in said:
            trials[said["trial"]] = Ran(said["status"], said["stdout"], said["stderr"])
        elif said["errno"] or said["step"] not in steps:
            steps[said["step"]] = Outcome(said["errno"], said["text"])
    return Probed(steps, trials, trouble)
