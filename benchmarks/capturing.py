"""How many frames a second a Capture takes in without loss, listening at both ends of a cable.

What was sent is what the interfaces themselves have counted, at one end as sent and at the other as received. What of
that is not among the captured frames is lost, whatever the Capture says.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.results import Result, say
from labsupport import Lab
from labsupport.net import Capture, Topology

PROMISED, PACED = 20_000, 22_000  # a little more, for a sender that is late sometimes
FASTER = (100_000, 200_000)
SECONDS, ROUNDS = 1.0, 3
RED, BLUE, BLUE_MAC = "red:red0", "blue:blue0", "02:00:00:00:00:02"


class Rate(NamedTuple):
    """What one run gave."""

    sent_per_s: float
    passed: int
    captured: int
    told_lost: int

    @property
    def lost(self) -> int:
        return self.passed - self.captured

    def __str__(self) -> str:
        return f"lost {self.lost} of {self.passed}" + (
            "" if self.lost == self.told_lost else f", but the capture says {self.told_lost}")


def make_lab() -> Lab:
    lab = Lab()
    net = Topology()
    for name in ("red", "blue"):
        net.namespace(name)
    net.cable(RED, BLUE)
    net.mac(BLUE, BLUE_MAC)
    net.build(lab)
    lab.run("cat > sender.py", stdin=Path(__file__).with_name("sender.py").read_text(), echo=False).check()
    return lab


def counted(lab: Lab, end: str, direction: str) -> int:
    """Return how many packets an interface has sent ("tx") or received ("rx")."""
    namespace, _, link = end.partition(":")
    answer = lab.observe(["ip", "-json", "-s", "link", "show", link], namespace=namespace).check().stdout
    return int(json.loads(answer)[0]["stats64"][direction]["packets"])


def run(lab: Lab, frames_per_s: int) -> Rate:
    """Send, capture and count; 0 frames per second is as fast as possible."""
    def both() -> tuple[int, int]:
        return counted(lab, RED, "tx"), counted(lab, BLUE, "rx")

    before = both()
    with Capture(lab, RED, BLUE, limit_bytes=1 << 30) as capture:
        command = [sys.executable, "-I", "sender.py", RED.split(":")[1], BLUE_MAC, str(frames_per_s), str(SECONDS)]
        took_s = float(lab.run(command, namespace="red", echo=False).check().stdout)
    sent, received = (now - then for now, then in zip(both(), before, strict=True))
    return Rate(sent / took_s, sent + received, len(capture.frames), capture.lost)


def measure() -> list[Result]:
    """Run everything, saying what is under way."""
    say("frames captured")
    what = "Capture at both ends, "
    with make_lab() as lab:
        paced = [run(lab, PACED) for _ in range(ROUNDS)]
        rate = statistics.median(one.sent_per_s for one in paced)
        fast = [one for one in paced if one.sent_per_s >= PROMISED]
        reached = f"{len(fast)} of {ROUNDS} rounds were as fast as that"
        worst = max((one.lost for one in fast), default=None)
        results = [Result(f"{what}paced: frames sent per s", rate, "1/s", PROMISED, at_least=True),
                   Result(f"{what}paced: frames lost", worst, "", 0, note=f"most in a round; {reached}")]
        for wish in (*FASTER, 0):
            found = sorted((run(lab, wish) for _ in range(ROUNDS)), key=lambda one: one.sent_per_s)
            words = f"{wish:,}/s wanted" if wish else "no pause"
            results.append(Result(f"{what}{words}: sent per s", found[ROUNDS // 2].sent_per_s, "1/s",
                                  note=", ".join(map(str, found))))
    return results
