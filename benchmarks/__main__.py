"""Measures labs, their networks and the embedded cluster, each number beside its limit.

    python -m benchmarks [--json FILE] [--rounds N]

What a number is compared with is measured in turns with it within one run, so a slow or busy machine moves both. A
number is the median of several rounds, where nothing else is said.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

from benchmarks import capturing, cluster, network, sandbox, walking
from benchmarks.results import table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="how often each start is measured (default: 30)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    options = parser.parse_args()
    results = [*sandbox.measure(options.rounds), *network.measure(), *capturing.measure(), *walking.measure(),
               *cluster.measure()]
    print(table(results))
    if options.json:
        machine = {"kernel": platform.release(), "python": platform.python_version(), "cpus": os.cpu_count(),
                   "started_by": "root" if os.geteuid() == 0 else "an ordinary user",
                   "load": os.getloadavg()}
        document = {"machine": machine, "results": [result.as_dict() for result in results]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
