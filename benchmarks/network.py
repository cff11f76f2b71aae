"""How fast networks of many namespaces are made, read, drawn and taken away. `rivals` says what they are compared with.

Topology and loop are measured in turns, each in a new lab, when the kernel has removed what the last one left. "Built"
is from the first Python call that plans the network to the end of build(), with the check for faults. Removal is over,
for all of them, when the names are gone; the kernel then removes the namespaces themselves in the background.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from itertools import count

from benchmarks import rivals
from benchmarks.results import Result, median_ms, say, seconds
from labsupport import Lab
from labsupport.net import Topology, network
from labsupport.views import draw
from labsupport.views.topology import draw_network
from labsupport.waiting import wait_until

ROUNDS = {10: (5, 5), 50: (7, 5), 200: (3, 1)}  # of Topology and of the loop, by the number of namespaces
READS, LOOP_READS, GROWTHS = 7, 3, 5
SAME_WORK_WITH_IPV6 = 50  # there both are also measured without any sysctl
LIMIT_OF_50, LIMIT_OF_200, REMOVAL_LIMIT_MS, DRAWING_LIMIT_MS = 0.35, 4.0, 100.0, 300.0

Key = tuple[int, str]
Times = defaultdict[Key, list[float]]


class Quiet:
    """Waits until the kernel has removed namespaces, which it does in the background, in the order of their ends.

    It deletes a namespace of its own with one end of a cable in it: the other end vanishes after all that ended before.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.numbers = count()

    def wait(self) -> None:
        name = f"last{next(self.numbers)}"
        commands = f"ip netns add {name}; ip link add {name} type veth peer name x netns {name}; ip netns delete {name}"
        self.lab.run(commands, echo=False).check()
        wait_until(lambda: self.lab.run(["ip", "link", "show", name], echo=False).exit_status != 0,
                   what="the kernel removes namespaces", deadline_s=60)


def build(lab: Lab, hosts: int, *, ipv6: bool = False) -> Topology:
    net = Topology(ipv6=ipv6)
    net.switch(rivals.SWITCH)
    for number in range(hosts):
        net.host(f"h{number}", rivals.address(number), to=rivals.SWITCH)
    net.build(lab)
    return net


def time_topology(times: Times, hosts: int, quiet: Quiet, *, ipv6: bool) -> None:
    """Add the times of one build and of both ways to end it."""
    words = " with IPv6" if ipv6 else ""
    quiet.wait()
    with Lab() as lab:
        begin = time.perf_counter()
        net = build(lab, hosts, ipv6=ipv6)
        times[hosts, "build" + words].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        net.remove(lab)
        times[hosts, "remove" + words].append(time.perf_counter() - begin)
        quiet.wait()
        times[hosts, "gone" + words].append(time.perf_counter() - begin)
    if not ipv6:
        quiet.wait()
        with Lab() as lab:
            build(lab, hosts)
            times[hosts, "close"].append(seconds(lab.close))


def time_loop(times: Times, hosts: int, quiet: Quiet, *, ipv6: bool) -> None:
    words = " with IPv6" if ipv6 else ""
    quiet.wait()
    with Lab() as lab:
        scripts = {"loop": rivals.building(hosts, ipv6=ipv6), "loop's removal": rivals.removing(hosts)}
        for what, script in scripts.items():
            lab.run("cat > script.sh", stdin=script, echo=False).check()
            begin = time.perf_counter()
            lab.run(["sh", "script.sh"], echo=False).check()
            times[hosts, what + words].append(time.perf_counter() - begin)


def all_times() -> dict[Key, float]:
    """Return the medians in milliseconds."""
    times: Times = defaultdict(list)
    with Lab() as lab:
        quiet = Quiet(lab)
        for turn in range(max(max(both) for both in ROUNDS.values())):
            for hosts, (builds, loops) in ROUNDS.items():
                for ipv6 in (False, True) if hosts == SAME_WORK_WITH_IPV6 else (False,):
                    if turn < builds:
                        time_topology(times, hosts, quiet, ipv6=ipv6)
                    if turn < loops:
                        time_loop(times, hosts, quiet, ipv6=ipv6)
        quiet.wait()
    return {key: median_ms(found) for key, found in times.items()}


def building_results() -> list[Result]:
    for_all = all_times()
    results = []
    for hosts in ROUNDS:
        what = f"{hosts} namespaces"
        found = {name: median for (number, name), median in for_all.items() if number == hosts}
        for words in ("", " with IPv6") if hosts == SAME_WORK_WITH_IPV6 else ("",):
            built, loop = found["build" + words], found["loop" + words]
            gone, loop_gone = found["remove" + words], found["loop's removal" + words]
            results += [
                Result(f"{what}{words}: loop of ip", loop, "ms", note="" if ROUNDS[hosts][1] > 1 else "one round"),
                Result(f"{what}{words}: Topology, built", built, "ms", None, built / loop, "the loop"),
                Result(f"{what}{words}: loop of ip netns delete", loop_gone, "ms"),
                Result(f"{what}{words}: remove()", gone, "ms", REMOVAL_LIMIT_MS, gone / loop_gone, "the loop"),
                Result(f"{what}{words}: remove(), until the kernel is done", found["gone" + words], "ms"),
            ]
            if hosts == SAME_WORK_WITH_IPV6:
                results.append(Result(f"{what}{words}: Topology / loop", built / loop, "x", LIMIT_OF_50))
        results.append(Result(f"{what}: close() of the lab", found["close"], "ms", REMOVAL_LIMIT_MS))
    return [*results, Result("200 namespaces / 50 namespaces: Topology, built", growth(), "x", LIMIT_OF_200,
                             note=f"4 is linear; median of {GROWTHS}, each 4 builds of 50 and then 1 of 200"),
            *mininet_results(for_all)]


def growth() -> float:
    """Return how many times longer 200 take than 50.

    Both take equally long in all, one right after the other, so that what else the machine does hits both alike.
    """
    def time_one(hosts: int) -> float:
        quiet.wait()
        with Lab() as lab:
            return seconds(lambda: build(lab, hosts))

    with Lab() as keeper:
        quiet = Quiet(keeper)
        found = []
        for _ in range(GROWTHS):
            small = statistics.mean(time_one(50) for _ in range(4))
            found.append(time_one(200) / small)
    return statistics.median(found)


def mininet_results(ours: dict[Key, float]) -> list[Result]:
    python, reason = rivals.mininet_python()
    results = []
    for hosts in ROUNDS:
        names = f"{hosts} namespaces: Mininet, built", f"{hosts} namespaces: Mininet, stopped"
        if reason:
            results.append(Result(names[0], None, "ms", note=reason))
            continue
        say(f"{hosts} namespaces by Mininet")
        for name, time_s, our in zip(names, rivals.mininet_s(python, hosts), ("build", "remove"), strict=True):
            times = time_s * 1000 / ours[hosts, our]
            results.append(Result(name, time_s * 1000, "ms", None, times, "the Topology's", note="one round"))
    return results


def views_results(hosts: int) -> list[Result]:
    """Measure reading and drawing in turns with the loop, which does not even parse what it reads."""
    reads, drawings, both, loops = [], [], [], []
    with Lab() as lab:
        build(lab, hosts)
        lab.run("cat > read.sh", stdin=rivals.reading(lab.namespaces()), echo=False).check()
        state = network(lab)
        for turn in range(READS):
            reads.append(seconds(lambda: network(lab)))
            drawings.append(seconds(lambda: draw_network(state)._repr_html_()))
            both.append(seconds(lambda: draw(lab)._repr_html_()))
            if turn < LOOP_READS and hosts == 50:
                loops.append(seconds(lambda: lab.run(["sh", "read.sh"], echo=False).check()))
    what, read = f"{hosts} namespaces", median_ms(reads)
    results = [Result(f"{what}: network(lab)", read, "ms")]
    if loops:
        loop = median_ms(loops)
        results = [Result(f"{what}: read by a loop of ip -json", loop, "ms"),
                   Result(f"{what}: network(lab)", read, "ms", None, read / loop, "the loop")]
    return [*results,
            Result(f"{what}: drawn, from what was read", median_ms(drawings), "ms"),
            Result(f"{what}: draw(lab), as a notebook shows it", median_ms(both), "ms",
                   DRAWING_LIMIT_MS if hosts == 50 else None)]


def measure() -> list[Result]:
    """Run everything, saying what is under way."""
    say("networks of " + ", ".join(map(str, ROUNDS)) + " namespaces")
    results = building_results()
    say("reading and drawing")
    return [*results, *views_results(50), *views_results(200)]
