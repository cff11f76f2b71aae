"""What tcpdump reads in a capture file, as facts by name: the independent witness for our own decoder."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labsupport.net import Frame

Facts = dict[str, Any]
_TCP_LETTERS = {"F": "FIN", "S": "SYN", "R": "RST", "P": "PSH", ".": "ACK", "U": "URG", "E": "ECE", "W": "CWR"}
_MAC, _IP = r"((?:[0-9a-f]{2}:){5}[0-9a-f]{2})", r"([0-9a-f.:]+)"

# A pattern, and what its groups are called and how they are to be read.
_PATTERNS: list[tuple[str, dict[str, Callable[[str], Any]]]] = [
    (rf"^{_MAC} > {_MAC}, .*?length (\d+)", {"source": str, "destination": str, "bytes": int}),
    (r"vlan (\d+), p (\d+)(, DEI)?", {"vlan": int, "priority": int, "drop_eligible": bool}),
    (r"tos (\S+), ttl (\d+), id (\d+), offset (\d+), flags \[(.*?)\], proto \S+ \((\d+)\), length (\d+)",
     {"tos": lambda text: int(text, 16), "ttl": int, "identification": int, "offset": int, "ip_flags": str,
      "protocol": int, "total": int}),
    (rf"hlim (\d+), next-header \S+ \((\d+)\) payload length: (\d+)\) {_IP}\.\d+ > {_IP}\.\d+:",
     {"ttl": int, "protocol": int, "total": int, "from": str, "to": str}),
    (r"\n    (\d+\.\d+\.\d+\.\d+)\S* > (\d+\.\d+\.\d+\.\d+)", {"from": str, "to": str}),
    (r"(\d+) > \S+\.(\d+): .*UDP, length (\d+)", {"source_port": int, "destination_port": int, "payload": int}),
    (r"(\d+) > \S+\.(\d+): Flags \[(.*?)\], .*?seq (\d+)", {
        "source_port": int, "destination_port": int,
        "tcp_flags": lambda text: {_TCP_LETTERS[letter] for letter in text}, "sequence": int}),
    (r"seq [\d:]+, (?:ack (\d+), )?win (\d+),.* length (\d+)(?: \[RST.*)?$",
     {"acknowledgement": lambda text: int(text or 0), "window": int, "payload": int}),
    (r"ICMP echo (request|reply), id (\d+), seq (\d+)", {"echo": str, "icmp_id": int, "icmp_sequence": int}),
    (r"Request who-has (\S+) (?:\(\S+\) )?tell (\S+),", {"asked": str, "asker": str}),
    (r"Reply (\S+) is-at (\S+),", {"answered": str, "answer": str}),
    (r"STP 802.1d, Config, Flags \[(.*?)\], bridge-id (\S+)\.([0-9a-f]{4}),", {
        "stp_flags": str, "bridge": lambda text: text.replace(":", ""), "port": lambda text: int(text, 16)}),
    (r"message-age ([\d.]+)s, max-age ([\d.]+)s, hello-time ([\d.]+)s, forwarding-delay ([\d.]+)s",
     {"age": float, "longest_age": float, "hello": float, "delay": float}),
    (r"root-id (\S+), root-pathcost (\d+)", {"root": lambda text: text.replace(":", ""), "cost": int}),
]


def tcpdump(path: Path, *options: str) -> list[str]:
    """Return what tcpdump prints, one text for each frame, which may have several lines."""
    done = subprocess.run(["tcpdump", "-nn", *options, "-r", str(path)], capture_output=True, text=True, check=True,
                          timeout=20)
    return [entry for entry in re.split(r"\n(?!\s)", done.stdout) if entry]


def told_by_tcpdump(entry: str) -> Facts:
    """Return what one entry of `tcpdump -t -e -vv -S` says."""
    facts: Facts = {}
    for pattern, readers in _PATTERNS:
        found = re.search(pattern, entry)
        if found:
            facts |= {name: read(text) for (name, read), text in zip(readers.items(), found.groups(), strict=True)}
    return facts


def told_by_frame(frame: Frame) -> Facts:
    """Return the same facts as our decoder tells them."""
    facts: Facts = {"source": frame.source, "destination": frame.destination, "bytes": frame.length_bytes}
    if frame.ethernet and frame.ethernet.ethertype <= 1500:
        facts["bytes"] = frame.ethernet.ethertype  # of an 802.3 frame, tcpdump tells the length field
    if frame.vlan:
        facts |= {"vlan": frame.vlan.number, "priority": frame.vlan.priority, "drop_eligible": frame.vlan.drop_eligible}
    if frame.ipv4:
        ip, flags = frame.ipv4, f"{'+' if frame.ipv4.more_fragments else ''}{'DF' if frame.ipv4.dont_fragment else ''}"
        facts |= {"tos": ip.tos, "ttl": ip.ttl, "identification": ip.identification, "offset": ip.offset_bytes,
                  "ip_flags": flags or "none", "protocol": ip.protocol, "total": ip.total_length_bytes,
                  "from": ip.source, "to": ip.destination}
    if frame.ipv6:
        facts |= {"ttl": frame.ipv6.hop_limit, "protocol": frame.ipv6.protocol, "from": frame.ipv6.source,
                  "to": frame.ipv6.destination, "total": frame.ipv6.payload_length_bytes}
    transport = frame.udp or frame.tcp
    if transport:
        facts |= {"source_port": transport.source_port, "destination_port": transport.destination_port,
                  "payload": transport.payload_bytes}
    if frame.tcp:
        tcp = frame.tcp
        acknowledgement = tcp.acknowledgement if "ACK" in tcp.flags else 0
        facts |= {"tcp_flags": set(tcp.flags), "sequence": tcp.sequence, "acknowledgement": acknowledgement,
                  "window": tcp.window}
    if frame.icmp:
        facts |= {"echo": frame.icmp.name.removeprefix("echo "), "icmp_id": frame.icmp.identifier,
                  "icmp_sequence": frame.icmp.sequence}
    return facts | _told_by_arp_and_stp(frame)


def _told_by_arp_and_stp(frame: Frame) -> Facts:
    if frame.arp and frame.arp.operation == "request":
        return {"asked": frame.arp.target_ip, "asker": frame.arp.sender_ip}
    if frame.arp:
        return {"answered": frame.arp.sender_ip, "answer": frame.arp.sender_mac}
    if frame.stp is None:
        return {}
    stp = frame.stp
    flags = ["Topology change"] * stp.topology_change + ["Topology change ACK"] * stp.topology_change_acknowledged
    return {"stp_flags": ", ".join(flags) or "none", "bridge": stp.bridge, "port": stp.port, "root": stp.root,
            "cost": stp.root_cost, "age": stp.message_age_s, "longest_age": stp.max_age_s, "hello": stp.hello_time_s,
            "delay": stp.forward_delay_s}
