"""Measures the sandbox, each number beside its limit and as a ratio to the kernel's own price.

    python -m benchmarks [--json FILE] [--rounds N]

The ratio compares with `unshare -Urnm true` (util-linux), which makes a user, a network and a mount namespace and ends:
what any rootless sandbox has to pay. Both are measured in turns within one run, so a slow or busy machine moves both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from labsupport import Lab

AT_ONCE = 20
ROUND_TRIPS = 1000


@dataclass(frozen=True)
class Result:
    """One line of the table; `limit` is None where none is promised."""

    name: str
    median: float
    unit: str
    limit: float | None
    ratio_to_unshare: float | None

    @property
    def kept(self) -> bool:
        return self.limit is None or self.median <= self.limit


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def unshare() -> None:
    subprocess.run(["unshare", "-Urnm", "true"], check=True)


def start_and_first_command_ms(rounds: int) -> tuple[float, float]:
    """Return the medians of `Lab()` to the first command's end, and of unshare, measured in turns."""
    labs, shells = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        with Lab() as lab:
            lab.run(["true"], echo=False)
            labs.append(time.perf_counter() - begin)
        shells.append(seconds(unshare))
    return statistics.median(labs) * 1000, statistics.median(shells) * 1000


def close_ms(rounds: int) -> float:
    return statistics.median(seconds(Lab().close) for _ in range(rounds)) * 1000


def round_trip_ms(lab: Lab, rounds: int) -> float:
    def many() -> None:
        for _ in range(ROUND_TRIPS):
            lab.ping()

    return statistics.median(seconds(many) for _ in range(rounds)) * 1000 / ROUND_TRIPS


def command_ms(lab: Lab, rounds: int) -> float:
    return statistics.median(seconds(lambda: lab.run(["true"], echo=False)) for _ in range(rounds * 5)) * 1000


def children() -> set[int]:
    """Return the children of this process: two for each of its labs, PID 1 and the observer."""
    return set(map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()))


def memory_mib() -> float | None:
    """Return the proportional set size of one idle lab, or None where the kernel shows it to root only."""
    before = children()
    with Lab():
        try:
            texts = [Path(f"/proc/{child}/smaps_rollup").read_text() for child in children() - before]
        except PermissionError:
            return None
    lines = [line for text in texts for line in text.splitlines() if line.startswith("Pss:")]
    return sum(int(line.split()[1]) for line in lines) / 1024


def at_once_s() -> float:
    """Return how long it takes until so many labs, started together, have each run a command."""
    def one(stack: ExitStack) -> None:
        stack.enter_context(Lab()).run(["true"], echo=False)

    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        return seconds(lambda: list(pool.map(one, [stack] * AT_ONCE)))


def measure(rounds: int) -> list[Result]:
    """Run everything, saying what is under way."""
    def say(text: str) -> None:
        print(f"  measuring: {text} ...", file=sys.stderr, flush=True)

    say("start to first command")
    first, bare = start_and_first_command_ms(rounds)
    results = [Result("unshare -Urnm true", bare, "ms", None, 1.0),
               Result("Lab() to the end of its first command", first, "ms", 40, first / bare)]
    say("close")
    ending = close_ms(rounds)
    results.append(Result("close()", ending, "ms", None, ending / bare))
    say("round trips")
    with Lab() as lab:
        trip = round_trip_ms(lab, max(3, rounds // 5))
        command = command_ms(lab, rounds)
    results.append(Result("round trip of one request", trip, "ms", 0.1, trip / bare))
    results.append(Result("/bin/true in a running lab", command, "ms", None, command / bare))
    say("memory")
    memory = memory_mib()
    if memory is not None:
        results.append(Result("memory of an idle lab (PSS)", memory, "MiB", 10, None))
    say(f"{AT_ONCE} labs at once")
    together = statistics.median(at_once_s() for _ in range(3)) * 1000
    results.append(Result(f"{AT_ONCE} labs at once, all ready", together, "ms", None, together / bare))
    return results


def table(results: list[Result]) -> str:
    lines = [f"{'':42}{'median':>10}      {'limit':>8}  {'x unshare':>9}"]
    for result in results:
        limit = "" if result.limit is None else f"{result.limit:g}"
        ratio = "" if result.ratio_to_unshare is None else f"{result.ratio_to_unshare:.2f}"
        verdict = "" if result.kept else "  OVER THE LIMIT"
        lines.append(f"{result.name:42}{result.median:10.3f} {result.unit:4} {limit:>8}  {ratio:>9}{verdict}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="how often each start is measured (default: 30)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    options = parser.parse_args()
    results = measure(options.rounds)
    print(table(results))
    if options.json:
        machine = {"kernel": platform.release(), "python": platform.python_version(), "cpus": os.cpu_count(),
                   "started_by": "root" if os.geteuid() == 0 else "an ordinary user"}
        document = {"machine": machine, "results": [asdict(result) | {"kept": result.kept} for result in results]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
