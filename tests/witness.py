"""A second pair of eyes on the packets of a lab: plain sockets of Python in each namespace, nothing of labsupport.net.

tcpdump would do as well, but it gives up where a lab has one user id only.
"""

from __future__ import annotations

from labsupport import Lab
from labsupport.waiting import wait_until

Crossing = tuple[str, str, str]
"""Link, "in" or "out", and the addresses and ports, such as "10.0.0.1:4000 > 10.0.0.2:80"."""

_PROGRAM = """
import ctypes, select, socket, struct, sys
ears = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
steps = [(0x30, 0, 0, 9), (0x15, 0, 3, 6), (0x30, 0, 0, 33), (0x45, 0, 1, 2), (6, 0, 0, 65535), (6, 0, 0, 0)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))  # TCP with SYN
ears.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", len(steps), ctypes.addressof(code)))
print("ready", flush=True)
ended = False
while True:
    ready, _, _ = select.select([ears] if ended else [ears, sys.stdin], [], [], 0 if ended else None)
    if ears in ready:
        data, (link, kind, how, *_) = ears.recvfrom(65535)
        if kind == 0x0800 and data[9] == 6 and data[20 + 13] & 0x02:
            source, destination = struct.unpack("!HH", data[20:24])
            way = "out" if how == 4 else "in"
            ends = [socket.inet_ntoa(data[at : at + 4]) for at in (12, 16)]
            print(link, way, f"{ends[0]}:{source} > {ends[1]}:{destination}")
    elif ended:
        break
    else:
        ended = not sys.stdin.read(1)
"""


class Witness:
    """Sees every TCP packet with SYN on all links of some namespaces."""

    def __init__(self, lab: Lab, *namespaces: str) -> None:
        self._processes = {name: lab.start(["python3", "-I", "-u", "-c", _PROGRAM], namespace=name)
                           for name in namespaces}
        self._said = dict.fromkeys(namespaces, "")
        for name in namespaces:
            wait_until(lambda name=name: "ready" in self._read(name), what=f"the witness in {name}", deadline_s=10)

    def stop(self) -> dict[str, list[Crossing]]:
        """Return what was seen in each namespace."""
        for name, process in self._processes.items():
            process.close_stdin()
            wait_until(lambda name=name, process=process: (self._read(name), process.exit_status == 0)[1],
                       what=f"the witness in {name} to end", deadline_s=10)
        return {name: [_crossing(line) for line in said.splitlines()[1:]] for name, said in self._said.items()}

    def _read(self, name: str) -> str:
        self._said[name] += "".join(data.decode() for _, data in self._processes[name].read(0.05))
        return self._said[name]


def _crossing(line: str) -> Crossing:
    link, way, ends = line.split(" ", 2)
    return link, way, ends
