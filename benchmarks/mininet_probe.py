"""Builds one bridge with N hosts by Mininet and takes it down; prints the two times in seconds as JSON.

    unshare --net --mount PYTHON mininet_probe.py N

A program of its own, as Mininet belongs to the system's Python and needs real root. It is run in fresh namespaces, so
the host keeps its interfaces and limits. Importing Mininet is not timed.
"""

import json
import sys
import time

from mininet.net import Mininet
from mininet.nodelib import LinuxBridge


def main(count: int) -> None:
    Mininet.inited = True  # else it would raise limits of the whole host
    begin = time.perf_counter()
    net = Mininet(switch=LinuxBridge, controller=None, ipBase="10.0.0.0/16")
    switch = net.addSwitch("s1")
    for _ in range(count):
        net.addLink(net.addHost(f"h{len(net.hosts)}"), switch)
    net.start()
    built = time.perf_counter()
    net.stop()
    print(json.dumps([built - begin, time.perf_counter() - built]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
