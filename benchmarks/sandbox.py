"""How fast and how big labs are.

The ratio compares with `unshare -Urnm true` (util-linux), which makes a user, a network and a mount namespace and ends:
what any rootless sandbox has to pay. Both are measured in turns within one run, so a slow or busy machine moves both.
"""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.results import Result, median_ms, say, seconds
from labsupport import Lab

AT_ONCE = 20
ROUND_TRIPS = 1000


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
    return median_ms(labs), median_ms(shells)


def close_ms(rounds: int) -> float:
    return median_ms(seconds(Lab().close) for _ in range(rounds))


def round_trip_ms(lab: Lab, rounds: int) -> float:
    def many() -> None:
        for _ in range(ROUND_TRIPS):
            lab.ping()

    return median_ms(seconds(many) for _ in range(rounds)) / ROUND_TRIPS


def command_ms(lab: Lab, rounds: int) -> float:
    return median_ms(seconds(lambda: lab.run(["true"], echo=False)) for _ in range(rounds * 5))


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
    say("start to first command")
    first, bare = start_and_first_command_ms(rounds)

    def result(name: str, median: float, limit: float | None = None) -> Result:
        return Result(name, median, "ms", limit, median / bare, "unshare")

    results = [Result("unshare -Urnm true", bare, "ms"), result("Lab() to the end of its first command", first, 40)]
    say("close")
    results.append(result("close()", close_ms(rounds)))
    say("round trips")
    with Lab() as lab:
        results.append(result("round trip of one request", round_trip_ms(lab, max(3, rounds // 5)), 0.1))
        results.append(result("/bin/true in a running lab", command_ms(lab, rounds)))
    say("memory")
    memory = memory_mib()
    results.append(Result("memory of an idle lab (PSS)", memory, "MiB", 10 if memory is not None else None,
                          note="" if memory is not None else "skipped: this kernel shows it to root only"))
    say(f"{AT_ONCE} labs at once")
    results.append(result(f"{AT_ONCE} labs at once, all ready", median_ms(at_once_s() for _ in range(3))))
    return results
