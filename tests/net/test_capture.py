"""A capture holds what was sent, all of it and in its order, and says so when it could not."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import oracle
import packet_maker as make
import pytest
from from_outside import links, ping, told
from tcpdump_lines import tcpdump, told_by_frame, told_by_tcpdump

from labsupport import Lab
from labsupport.errors import CaptureError
from labsupport.net import Capture
from labsupport.net.model import Endpoint
from labsupport.waiting import wait_until

BLUE = "10.0.0.2"
SEND = ("import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0)); "
        "s.send(bytes.fromhex(sys.argv[2]))")


@pytest.fixture
def lab(small_lan: Lab) -> Lab:
    return small_lan


def send(lab: Lab, namespace: str, frame: bytes) -> None:
    lab.run(["python3", "-I", "-c", SEND, f"{namespace}0", frame.hex()], namespace=namespace, echo=False).check()


def test_one_ping_crosses_every_interface_in_the_order_of_its_way(lab: Lab) -> None:
    assert ping(lab, "red", BLUE) == 0  # ARP is done
    start = time.time_ns()
    with Capture(lab) as capture:
        assert ping(lab, "red", BLUE) == 0
    end = time.time_ns()
    seen = [(":".join(frame.end), frame.direction, frame.icmp and frame.icmp.name) for frame in capture.frames]
    way = [("red:red0", "out"), ("sw:to-red", "in"), ("sw:to-blue", "out"), ("blue:blue0", "in")]
    turned = {"in": "out", "out": "in"}
    assert seen == [(*step, "echo request") for step in way] + [
        (place, turned[direction], "echo reply") for place, direction in reversed(way)]
    times = [frame.time_ns for frame in capture.frames]
    assert all(earlier <= later for earlier, later in pairwise([start, *times, end]))
    assert capture.peers[Endpoint("red", "red0")] == ("sw", "to-red")
    assert capture.lost == 0


def test_places(lab: Lab) -> None:
    lab.run("ip link add here0 type veth peer name here1", echo=False).check()
    wanted = {
        ("red:red0",): ["red:red0"], ("red",): ["red:red0"], ("sw",): ["sw:br0", "sw:to-red", "sw:to-blue"],
        ("",): [":here1", ":here0"], ("sw:to-red", "red:red0"): ["sw:to-red", "red:red0"],
        ("red:red0", "red"): ["red:red0"], (":lo",): [":lo"],
        (): [":here1", ":here0", "blue:blue0", "red:red0", "sw:br0", "sw:to-red", "sw:to-blue"],
    }
    for places, ends in wanted.items():
        with Capture(lab, *places) as capture:
            assert [":".join(end) for end in capture.ends] == ends
            for end in ends:
                assert end in repr(capture)


def test_all_places_that_there_are_not_are_named(lab: Lab) -> None:
    with pytest.raises(CaptureError, match="'rde', 'red:red1', 'green:green0'") as caught:
        Capture(lab, "red", "rde", "red:red1", "green:green0")
    assert "red:red0" in caught.value.expected
    with pytest.raises(CaptureError, match="no interface to listen on"):
        Capture(lab, "")


def test_frames_are_there_as_soon_as_the_command_has_ended(lab: Lab) -> None:
    assert ping(lab, "red", BLUE) == 0
    with Capture(lab, "red", "blue") as capture:
        for count in range(1, 11):
            assert ping(lab, "red", BLUE) == 0
            assert len(capture.frames) == 4 * count
            assert capture.running
        capture.stop()
        assert not capture.running
        capture.stop()
        assert ping(lab, "red", BLUE) == 0
        assert len(capture.frames) == 40


def test_what_changes_in_the_tables_is_told_with_what_was_before(lab: Lab) -> None:
    with Capture(lab) as capture:
        assert ping(lab, "red", BLUE) == 0
        first = {(one.namespace, one.table, one.key, one.device): (one.before, one.after) for one in capture.changes}
        assert first["sw", "fdb", "02:00:00:00:00:01", "br0"] == ("", "to-red")
        assert first["sw", "fdb", "02:00:00:00:00:02", "br0"] == ("", "to-blue")
        assert first["red", "neighbour", BLUE, "red0"] == ("", "02:00:00:00:00:02 REACHABLE")
        assert capture.changes[0].time_ns >= capture.frames[0].time_ns
    with Capture(lab) as capture:
        assert capture.tables_before["sw", "fdb", "02:00:00:00:00:01", "br0"] == "to-red"
        assert ping(lab, "red", BLUE) == 0
        assert [one for one in capture.changes if one.table == "fdb"] == []  # all of it was known
        send(lab, "blue", make.ethernet(b"red has moved", 0x88B5, make.mac(1), b"\xff" * 6))
        lab.run("bridge fdb del 02:00:00:00:00:02 dev to-blue master", namespace="sw", echo=False).check()
        lab.run(f"ip neigh del {BLUE} dev red0", namespace="red", echo=False).check()
        changes = capture.changes
    assert [(one.key[-2:], one.before, one.after) for one in changes if one.table == "fdb"] == [
        ("01", "to-red", "to-blue"), ("02", "to-blue", "")]
    last = [one for one in changes if one.namespace == "red"][-1]
    assert (last.key, last.device, last.after) in {(BLUE, "red0", ""), (BLUE, "red0", "FAILED")}
    assert last.before


def packets(lab: Lab) -> dict[str, int]:
    """What the kernel has counted at red's link and at the port that it is plugged into."""
    ends = (("red", "red0"), ("sw", "to-red"))
    found = {f"{name}:{link}": told(lab, f"ip -json -s link show {link}", name)[0]["stats64"] for name, link in ends}
    return {end: counted["rx"]["packets"] + counted["tx"]["packets"] for end, counted in found.items()}


@pytest.fixture
def quiet(lab: Lab) -> None:
    """Without ARP: it would count after the end of a capture as well."""
    for name, ip, number in (("red", BLUE, 2), ("blue", "10.0.0.1", 1)):
        lab.run(f"ip neigh add {ip} lladdr {make.mac(number).hex(':')} dev {name}0 nud permanent", namespace=name,
                echo=False).check()


def flood(lab: Lab, count: int) -> None:
    lab.run(["ping", "-f", "-q", "-c", str(count), BLUE], namespace="red", echo=False).check()


def taken(capture: Capture) -> dict[str, int]:
    return dict(Counter(":".join(frame.end) for frame in capture.frames))


@pytest.mark.usefixtures("quiet")
def test_nothing_is_lost_when_much_is_sent(lab: Lab) -> None:
    """40,000 frames a second, 20,000 at each end of the cable: the rate is limited, so that no machine is too fast."""
    lab.run("tc qdisc add dev red0 root tbf rate 8mbit burst 1600 limit 16000", namespace="red", echo=False).check()
    before = packets(lab)
    with Capture(lab, "red:red0", "sw:to-red") as capture:
        flood(lab, 12_000)
    assert taken(capture) == {end: count - before[end] for end, count in packets(lab).items()}
    assert len(capture.frames) >= 48_000
    assert capture.lost == 0


@pytest.mark.usefixtures("quiet")
def test_what_is_lost_is_counted(lab: Lab) -> None:
    known = {process.pid for process in oracle.lab_processes_below(os.getpid())}
    before = packets(lab)
    with Capture(lab, "red:red0", "sw:to-red") as capture:
        (pid,) = {process.pid for process in oracle.lab_processes_below(os.getpid())} - known
        os.kill(pid, signal.SIGSTOP)  # nobody empties the kernel's rings
        flood(lab, 40_000)
        os.kill(pid, signal.SIGCONT)
    assert capture.lost > 1000
    assert sum(taken(capture).values()) + capture.lost == sum(packets(lab).values()) - sum(before.values())


def test_it_stops_at_its_limit(lab: Lab) -> None:
    capture = Capture(lab, "red", limit_bytes=100_000)
    lab.run(["ping", "-f", "-q", "-c", "3000", BLUE], namespace="red", echo=False).check()
    wait_until(lambda: not capture.running, what="the capture to stop", deadline_s=10)
    assert capture.full
    kept = len(capture.frames)
    assert kept > 300
    assert ping(lab, "red", BLUE) == 0
    capture.stop()
    assert len(capture.frames) == kept
    assert ping(lab, "red", BLUE) == 0  # and the lab goes on


def test_saved_frames_are_what_tcpdump_reads(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "ping.pcapng"
    with Capture(lab, "red", "sw") as capture:
        assert ping(lab, "red", BLUE) == 0
        send(lab, "red", make.vlan(make.ethernet(make.ipv4(make.udp(b"x" * 30, 4000, 5000), 17), 0x0800), 7, 3))
    capture.save(path)
    entries = tcpdump(path, "-t", "-e", "-vv", "-S")
    assert len(entries) == len(capture.frames) > 10
    for entry, frame in zip(entries, capture.frames, strict=True):
        ours = told_by_frame(frame)
        assert {name: ours.get(name) for name in told_by_tcpdump(entry)} == told_by_tcpdump(entry)
    times = [float(line.split()[0]) for line in tcpdump(path, "-tt", "--nano")]
    assert times == pytest.approx([frame.time_ns / 1e9 for frame in capture.frames], abs=1e-6)
    with pytest.raises(CaptureError, match="could not be saved") as caught:
        capture.save(tmp_path / "missing" / "x.pcapng")
    assert "No such file" in caught.value.observed


def test_a_vlan_tag_stays_in_the_frame(lab: Lab) -> None:
    frame = make.vlan(make.ethernet(b"x" * 50, 0x88B5), 42, priority=5)
    with Capture(lab, "red", "sw:to-red", "blue") as capture:
        send(lab, "red", frame)
    assert [(":".join(one.end), one.data, one.length_bytes) for one in capture.frames] == [
        (end, frame, len(frame)) for end in ("red:red0", "sw:to-red", "blue:blue0")]
    assert [(one.vlan.number, one.vlan.priority) for one in capture.frames if one.vlan] == [(42, 5)] * 3


TAKE = ("import socket\nserver = socket.create_server(('10.0.0.2', 5000))\nprint('ready', flush=True)\n"
        "peer = server.accept()[0]\nwhile peer.recv(65536): pass")
GIVE = "import socket; socket.create_connection(('10.0.0.2', 5000)).sendall(bytes(3 << 20))"


def test_frames_larger_than_any_cable_takes(lab: Lab) -> None:
    """A veth leaves cutting to a network card that is never reached: segments of up to 64 KiB pass it."""
    server = lab.start(["python3", "-I", "-c", TAKE], namespace="blue")
    assert server.read(20) == [("stdout", b"ready\n")]
    with Capture(lab, "red") as capture:
        lab.run(["python3", "-I", "-c", GIVE], namespace="red", echo=False).check()
    sent = [frame for frame in capture.frames if frame.tcp and frame.direction == "out"]
    assert max(frame.length_bytes for frame in sent) > 20_000
    assert all(len(frame.data) == frame.length_bytes for frame in sent)
    assert len({(one.tcp.sequence, one.tcp.payload_bytes) for one in sent if one.tcp and one.tcp.payload_bytes}) > 10
    distinct = {one.tcp.sequence: one.tcp.payload_bytes for one in sent if one.tcp}
    assert sum(distinct.values()) == 3 << 20
    assert capture.lost == 0


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_waiting_costs_nothing_even_at_a_link_that_is_down(lab: Lab) -> None:
    lab.run("ip link set red0 down", namespace="red", echo=False).check()
    known = {process.pid for process in oracle.lab_processes_below(os.getpid())}
    with Capture(lab, "red", "sw") as capture:
        (pid,) = {process.pid for process in oracle.lab_processes_below(os.getpid())} - known
        before = cpu_ticks(pid)
        lab.run(["sleep", "0.4"], echo=False)
        assert cpu_ticks(pid) - before < 10
        lab.run("ip link set red0 up", namespace="red", echo=False).check()
        wait_until(lambda: links(lab, "red")["red0"]["operstate"] == "UP", what="the link", deadline_s=5)
        assert ping(lab, "red", BLUE) == 0
        assert {frame.end.namespace for frame in capture.frames if frame.icmp} == {"red", "sw"}
        lab.run("ip link delete red0", namespace="red", echo=False).check()
        before = cpu_ticks(pid)
        lab.run(["sleep", "0.4"], echo=False)
        assert cpu_ticks(pid) - before < 10
    assert capture.lost == 0
