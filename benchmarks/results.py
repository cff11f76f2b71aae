"""What a benchmark found, and how it is shown."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        name: what was measured.
        median: the number, of several rounds; None where it could not be measured, and `note` says why.
        unit: of the number; "x" for a ratio.
        limit: what is promised; None where nothing is.
        ratio: the number divided by that of `ratio_to`, measured in turns with it.
        ratio_to: the line that it is compared with.
        at_least: whether the limit is the smallest good number, not the greatest.
        note: what a reader has to know, such as why it was skipped.
    """

    name: str
    median: float | None
    unit: str
    limit: float | None = None
    ratio: float | None = None
    ratio_to: str = ""
    at_least: bool = False
    note: str = ""

    @property
    def kept(self) -> bool:
        """Whether the limit is kept; one that could not be measured is not."""
        if self.limit is None:
            return True
        if self.median is None:
            return False
        return self.median >= self.limit if self.at_least else self.median <= self.limit

    def as_dict(self) -> dict[str, object]:
        return asdict(self) | {"kept": self.kept}


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def median_ms(times_s: Iterable[float]) -> float:
    return statistics.median(times_s) * 1000


def say(text: str) -> None:
    """Tell what is under way."""
    print(f"  measuring: {text} ...", file=sys.stderr, flush=True)


def table(results: list[Result]) -> str:
    lines = [f"{'':54}{'median':>11}       {'limit':>10}"]
    return "\n".join([*lines, *map(_line, results)])


def _line(result: Result) -> str:
    median = "-" if result.median is None else f"{result.median:.{3 if result.median < 10_000 else 0}f}"
    limit = "" if result.limit is None else f"{'>=' if result.at_least else '<='} {result.limit:g}"
    ratio = "" if result.ratio is None else f"{result.ratio:.2f} x {result.ratio_to}"
    verdict = "" if result.kept else "LIMIT NOT KEPT"
    words = "; ".join(filter(None, [ratio, verdict, result.note]))
    return f"{result.name:54}{median:>11} {result.unit:5} {limit:>10}  {words}".rstrip()
