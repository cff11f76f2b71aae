"""Which frame made a table change, whatever the clock says."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import Literal

import packet_maker
import pytest

from labsupport.net import Endpoint
from labsupport.net.changes import TableChange
from labsupport.net.frames import Frame
from labsupport.net.story import find_causes

RED, BLUE = "02:00:00:00:00:01", "02:00:00:00:00:02"
RED_IP, BLUE_IP = "10.0.0.1", "10.0.0.2"
MS = 1_000_000
EVERYBODY = b"\xff" * 6


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def request(source: str = RED, sender: str = RED_IP, target: str = BLUE_IP, destination: bytes = EVERYBODY) -> bytes:
    message = packet_maker.arp(1, (mac(source), sender), (bytes(6), target))
    return packet_maker.ethernet(message, 0x0806, mac(source), destination)


def reply() -> bytes:
    message = packet_maker.arp(2, (mac(BLUE), BLUE_IP), (mac(RED), RED_IP))
    return packet_maker.ethernet(message, 0x0806, mac(BLUE), mac(RED))


def echo(kind: int = 8, source: str = RED, destination: str = BLUE) -> bytes:
    packet = packet_maker.ipv4(packet_maker.icmp(kind, 0, 1), 1)
    return packet_maker.ethernet(packet, 0x0800, mac(source), mac(destination))


def at(time_ms: float, place: str, direction: Literal["in", "out"], data: bytes) -> Frame:
    return Frame(int(time_ms * MS), Endpoint(*place.split(":")), direction, data, len(data))


def fdb(time_ms: float, key: str, before: str, after: str) -> TableChange:
    return TableChange(int(time_ms * MS), "sw", "fdb", key, "br0", before, after)


def neighbour(time_ms: float, key: str, before: str, after: str, place: str = "red:red0") -> TableChange:
    namespace, device = place.split(":")
    return TableChange(int(time_ms * MS), namespace, "neighbour", key, device, before, after)


# A ping from red to blue through a switch, 0.01 ms from one place to the next.
PING = [
    at(1.00, "red:red0", "out", request()), at(1.01, "sw:to-red", "in", request()),
    at(1.02, "sw:to-blue", "out", request()), at(1.03, "blue:blue0", "in", request()),
    at(1.04, "blue:blue0", "out", reply()), at(1.05, "sw:to-blue", "in", reply()),
    at(1.06, "sw:to-red", "out", reply()), at(1.07, "red:red0", "in", reply()),
    at(1.08, "red:red0", "out", echo()), at(1.09, "sw:to-red", "in", echo()),
    at(1.10, "sw:to-blue", "out", echo()), at(1.11, "blue:blue0", "in", echo()),
    at(1.12, "blue:blue0", "out", echo(0, BLUE, RED)), at(1.13, "sw:to-blue", "in", echo(0, BLUE, RED)),
    at(1.14, "sw:to-red", "out", echo(0, BLUE, RED)), at(1.15, "red:red0", "in", echo(0, BLUE, RED)),
]
LEARNED = {  # the change, and the position of the frame that makes it
    neighbour(0.99, BLUE_IP, "", "INCOMPLETE"): 0,
    fdb(1.01, RED, "", "to-red"): 1,
    neighbour(1.04, RED_IP, "", f"{RED} STALE", "blue:blue0"): 3,
    fdb(1.05, BLUE, "", "to-blue"): 5,
    neighbour(1.08, BLUE_IP, "INCOMPLETE", f"{BLUE} REACHABLE"): 7,
    neighbour(1.12, RED_IP, f"{RED} STALE", f"{RED} DELAY", "blue:blue0"): 12,
}


def later(change: TableChange, ms: float) -> TableChange:
    return TableChange(change.time_ns + int(ms * MS), *list(vars(change).values())[1:])


def positions(changes: list[TableChange], frames: list[Frame] = PING) -> list[int | None]:
    """Return for each change the position of its frame, None where no frame is certain."""
    found = {cause.change: cause for cause in find_causes(frames, changes)}
    return [frames.index(found[one].frame) if found[one].certain else None for one in changes]


@pytest.mark.parametrize("late_ms", [0, 0.05, 0.2, 5, 1000])
def test_each_change_of_a_ping_belongs_to_the_frame_that_made_it_however_late_one_reads_of_it(late_ms):
    changes = [later(change, late_ms) for change in LEARNED]
    assert positions(changes) == list(LEARNED.values())


def test_the_order_in_which_frames_and_changes_are_given_does_not_matter():
    changes = list(LEARNED)
    found = [cause.change for cause in find_causes(reversed(PING), reversed(changes))]
    assert found == changes
    assert positions(changes[::-1], PING[::-1]) == [15 - at for at in list(LEARNED.values())[::-1]]


def test_a_move_of_an_address_belongs_to_the_first_frame_at_the_new_port():
    frames = [at(time, port, "in", request()) for time, port in enumerate(["sw:to-red", "sw:to-s2"] * 2)]
    changes = [fdb(5, RED, "", "to-red"), fdb(6, RED, "to-red", "to-s2"), fdb(7, RED, "to-s2", "to-red"),
               fdb(8, RED, "to-red", "to-s2")]
    assert positions(changes, frames) == [0, 1, 2, 3]


def test_an_entry_that_got_too_old_is_nobodys_doing_and_is_learned_anew_from_the_next_frame():
    frames = [at(time, "sw:to-red", "in", echo()) for time in (1, 2, 9000)]
    changes = [fdb(1, RED, "", "to-red"), fdb(5000, RED, "to-red", ""), fdb(9000, RED, "", "to-red")]
    assert positions(changes, frames) == [0, None, 2]
    aged = find_causes(frames, changes)[1]
    assert aged.frame is frames[1], "by time: after the second frame"


def test_a_change_before_the_first_frame_belongs_to_none():
    cause, = find_causes(PING, [neighbour(0.5, "10.0.0.9", "10.0.0.9 STALE", "")])
    assert cause.frame is None
    assert not cause.certain


def test_what_somebody_typed_belongs_to_no_frame():
    typed = [fdb(1.2, "02:00:00:00:00:99", "", "to-red"), neighbour(1.2, BLUE_IP, "", f"{BLUE} PERMANENT"),
             neighbour(1.2, BLUE_IP, f"{BLUE} REACHABLE", ""), neighbour(1.2, "10.0.0.9", "INCOMPLETE", "FAILED")]
    assert positions(typed) == [None] * 4


def test_a_frame_of_another_switch_host_port_or_address_proves_nothing():
    frames = [at(1, "s2:to-red", "in", request()), at(1, "sw:to-red", "out", request()),
              at(1, "sw:to-s2", "in", request()), at(1, "sw:to-red", "in", request(BLUE, BLUE_IP, RED_IP))]
    assert positions([fdb(2, RED, "", "to-red")], frames) == [None]
    frames = [at(1, "red:red1", "in", reply()), at(1, "green:red0", "in", reply()), at(1, "red:red0", "out", reply()),
              at(1, "red:red0", "in", request(sender="10.0.0.7"))]
    assert positions([neighbour(2, BLUE_IP, "INCOMPLETE", f"{BLUE} REACHABLE")], frames) == [None]


def test_of_three_requests_without_an_answer_the_first_one_makes_the_entry():
    frames = [at(time, "red:red0", "out", request()) for time in (1, 1001, 2001)]
    changes = [neighbour(2900, BLUE_IP, "", "INCOMPLETE"), neighbour(3001, BLUE_IP, "INCOMPLETE", "FAILED")]
    assert positions(changes, frames) == [0, None]
    assert find_causes(frames, changes)[1].frame is frames[2]


def test_a_neighbour_that_is_used_again_must_prove_itself():
    frames = [at(1, "red:red0", "out", echo()), at(1.1, "red:red0", "in", echo(0, BLUE, RED)),
              at(5001, "red:red0", "out", request(destination=mac(BLUE))), at(5001.1, "red:red0", "in", reply())]
    states = ["STALE", "DELAY", "REACHABLE"]
    changes = [neighbour(2 + at, BLUE_IP, f"{BLUE} {old}", f"{BLUE} {new}")
               for at, (old, new) in enumerate(pairwise(states))]
    assert positions(changes, frames) == [0, 1], "the answer to a packet is proof enough"
    asked = [neighbour(3, BLUE_IP, f"{BLUE} STALE", f"{BLUE} DELAY"),
             neighbour(5002, BLUE_IP, f"{BLUE} DELAY", f"{BLUE} PROBE"),
             neighbour(5003, BLUE_IP, f"{BLUE} PROBE", f"{BLUE} REACHABLE")]
    assert positions(asked, frames) == [0, 2, 3], "or the answer to a question"


def test_a_neighbour_gets_stale_by_itself_but_a_new_mac_address_comes_from_a_message():
    other = "02:00:00:00:00:99"
    frames = [at(1, "red:red0", "in", reply()), at(2, "red:red0", "in", request(BLUE, BLUE_IP, RED_IP)),
              at(40000, "red:red0", "in", request(other, BLUE_IP, RED_IP))]
    changes = [neighbour(1, BLUE_IP, "INCOMPLETE", f"{BLUE} REACHABLE"),
               neighbour(30000, BLUE_IP, f"{BLUE} REACHABLE", f"{BLUE} STALE"),
               neighbour(40000, BLUE_IP, f"{BLUE} STALE", f"{other} STALE")]
    assert positions(changes, frames) == [0, None, 2]


def test_what_a_bridge_itself_learns_is_seen_at_its_ports_if_only_those_were_captured():
    ports = [at(1, "sw:to-blue", "in", reply())]
    assert positions([neighbour(2, BLUE_IP, "INCOMPLETE", f"{BLUE} REACHABLE", "sw:br0")], ports) == [0]
    both = [*ports, at(1.1, "sw:br0", "in", reply())]
    assert positions([neighbour(2, BLUE_IP, "INCOMPLETE", f"{BLUE} REACHABLE", "sw:br0")], both) == [1]


def test_ipv6_neighbours_are_learned_from_solicitations_and_advertisements():
    def message(kind: int, source: str, destination: str, target: str) -> bytes:
        body = packet_maker.icmp(kind, 0, 0, packet_maker.ip_address(target).packed)
        return packet_maker.ethernet(packet_maker.ipv6(body, 58, source, destination, 255), 0x86DD)

    frames = [at(1, "red:red0", "out", message(135, "fd00::1", "ff02::1:ff00:2", "fd00::2")),
              at(1, "blue:blue0", "in", message(135, "fd00::1", "ff02::1:ff00:2", "fd00::2")),
              at(2, "red:red0", "in", message(136, "fd00::2", "fd00::1", "fd00::2"))]
    changes = [neighbour(1, "fd00::2", "", "INCOMPLETE"),
               neighbour(1, "fd00::1", "", f"{RED} STALE", "blue:blue0"),
               neighbour(2, "fd00::2", "INCOMPLETE", f"{BLUE} REACHABLE")]
    assert positions(changes, frames) == [0, 1, 2]


def test_bytes_that_are_no_header_are_nobodys_cause():
    frames = [at(1, "sw:to-red", "in", bytes(size)) for size in range(20)]
    assert positions([fdb(2, RED, "", "to-red")], frames) == [None]


def test_the_same_address_at_another_bridge_or_link_is_another_line():
    frames = [at(1, "sw:a1", "in", echo()), at(2, "sw:b1", "in", echo()), at(3, "sw:a2", "in", echo())]
    changes = [TableChange(MS, "sw", "fdb", RED, "a", "", "a1"), TableChange(2 * MS, "sw", "fdb", RED, "b", "", "b1"),
               TableChange(3 * MS, "sw", "fdb", RED, "a", "a1", "a2")]
    assert positions(changes, frames) == [0, 1, 2]


def test_changes_of_different_entries_do_not_disturb_each_other():
    for some in permutations(list(LEARNED.items()), 3):
        assert positions([change for change, _ in some]) == [position for _, position in some]
