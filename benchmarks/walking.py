"""What a Walk costs the connections that are made meanwhile, and whether it misses any: through a router with NAT.

The same connections are made with and without a walk, in turns, and time themselves inside the lab. A connection is
missed if it is not among those that the walk could have followed.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.results import Result, say
from labsupport import Lab
from labsupport.net import Topology, Walk, listeners
from labsupport.waiting import wait_until

ROUNDS = {100: 7, 1000: 5}
SERVER, PORT = "203.0.113.80", 80
LONGEST_RATIO = 6.0
STEPS = 23
"""Of one connection: 11 of the request, 12 of the answer, whose translation conntrack undoes."""


class Round(NamedTuple):
    """What one turn gave.

    Attributes:
        plain_s, walked_s: how long the connections took.
        told_s: from the last of them to the steps.
        missed: how many connections the walk does not know, or steps of the one that it tells.
        lost: whether the walk itself says that something may be missing.
    """

    plain_s: float
    walked_s: float
    told_s: float
    missed: int
    lost: bool


def make_lab() -> Lab:
    lab = Lab()
    net = Topology()
    net.router("gw")
    for name, own, gateway in (("red", "10.0.0.1/24", "10.0.0.254/24"), ("server", f"{SERVER}/24", "203.0.113.1/24")):
        net.namespace(name)
        net.cable(f"{name}:eth0", f"gw:to-{name}")
        net.address(f"{name}:eth0", own)
        net.address(f"gw:to-{name}", gateway)
    net.route("red", "default", via="10.0.0.254")
    net.masquerade("gw:to-server", source="10.0.0.0/24")
    net.build(lab)
    lab.run("cat > connector.py", stdin=Path(__file__).with_name("connector.py").read_text(), echo=False).check()
    lab.start([sys.executable, "-I", "connector.py", "serve"], namespace="server")
    wait_until(lambda: PORT in [one.port for one in listeners(lab, "server")], what="the server to listen",
               deadline_s=10)
    return lab


def connect(lab: Lab, count: int) -> float:
    command = [sys.executable, "-I", "connector.py", "connect", SERVER, str(count)]
    return float(lab.run(command, namespace="red", echo=False, timeout_s=120).check().stdout)


def run(lab: Lab, count: int) -> Round:
    plain_s = connect(lab, count)
    with Walk(lab, "red", to=SERVER, port=PORT) as walk:
        walked_s = connect(lab, count)
        begin = time.perf_counter()
    told_s = time.perf_counter() - begin
    missed = count - len(set(walk.flows)) + max(0, STEPS - len(walk.steps))
    return Round(plain_s, walked_s, told_s, missed, walk.lost)


def measure() -> list[Result]:
    """Run everything, saying what is under way."""
    say("connections during a walk")
    results = []
    with make_lab() as lab:
        for count, rounds in ROUNDS.items():
            found = [run(lab, count) for _ in range(rounds)]
            plain = f"{count} TCP connections through NAT: time"
            plain_ms, walked_ms = (statistics.median(times) * 1000 for times in zip(
                *((one.plain_s, one.walked_s) for one in found), strict=True))
            ratio = statistics.median(one.walked_s / one.plain_s for one in found)
            told_ms = statistics.median(one.told_s for one in found) * 1000
            doubts = sum(one.lost for one in found)
            note = f"most in a round; the walk has doubts in {doubts} of {rounds}"
            results += [Result(plain, plain_ms, "ms"),
                        Result(f"the same {count} during a walk: ratio", ratio, "x", LONGEST_RATIO,
                               note=f"{walked_ms:.0f} ms"),
                        Result(f"{count} during a walk: not known to it", max(one.missed for one in found), "", 0,
                               note=note),
                        Result(f"{count} during a walk: steps worked out", told_ms, "ms")]
    return results
