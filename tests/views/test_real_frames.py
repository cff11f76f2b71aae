"""What a real capture of a real bridge looks like in the table and in the picture."""

from __future__ import annotations

import pytest
from frame_worlds import assert_readable, rows

from labsupport import Lab
from labsupport.net.capture import Capture
from labsupport.views import draw_frames, frame_table

SWITCH = """
set -e
for n in red sw blue; do ip netns add $n; ip netns exec $n sysctl -qw net.ipv6.conf.all.disable_ipv6=1; done
ip -n sw link add br0 address 02:00:00:00:ff:00 type bridge mcast_snooping 0  # it would send IGMP, at any time
ip -n sw link set br0 up
number=0
for n in red blue; do
    number=$((number+1))
    ip link add to-$n netns sw address 02:00:00:00:ff:0$number type veth \
        peer name ${n}0 netns $n address 02:00:00:00:00:0$number
    ip -n sw link set to-$n master br0 up
    ip -n $n link set ${n}0 up
    ip -n $n address add 10.0.0.$number/24 dev ${n}0
done
# The ports start to forward when the bridge has heard of their carrier.
until ip netns exec red ping -c 1 -W 1 10.0.0.2 > /dev/null; do :; done
ip -n red neigh flush all
ip -n blue neigh flush all
"""
ASKS, ANSWER = "ARP who has 10.0.0.2? tell 10.0.0.1", "ARP 10.0.0.2 is at 02:00:00:00:00:02"
REQUEST, REPLY = "ICMP echo request seq 1, ttl 64", "ICMP echo reply seq 1, ttl 64"


@pytest.fixture
def switch(lab: Lab) -> Lab:
    lab.run(SWITCH, echo=False, timeout_s=20).check()
    return lab


def test_a_ping_over_a_bridge(switch: Lab) -> None:
    with Capture(switch, "red", "sw", "blue") as capture:
        switch.run("ping -c 1 -W 2 10.0.0.2", namespace="red", echo=False).check()
    picture = draw_frames(capture)
    there, back = [("red", "sw", "arrow"), ("sw", "blue", "arrow")], [("blue", "sw", "arrow"), ("sw", "red", "arrow")]
    assert [row[:3] for row in rows(picture)] == [there[0], ("sw", "sw", "in"), there[1], *back, *there, *back]
    assert [row.words[0] for row in rows(picture)] == [ASKS] * 3 + [ANSWER] * 2 + [REQUEST] * 2 + [REPLY] * 2
    assert_readable(picture)
    assert draw_frames(capture.frames, capture.peers) == picture
    lines = str(frame_table(capture.frames)).splitlines()
    assert len(lines) == 2 + 2 * 8 + 1
    assert lines[2].endswith(f" red:red0    out     02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff     42  {ASKS}")


def test_a_frame_that_is_too_long_for_the_other_end_is_lost_in_the_cable(switch: Lab) -> None:
    switch.run("ip -n sw link set to-red mtu 1400; ping -c 1 -W 2 10.0.0.2", namespace="red", echo=False).check()
    with Capture(switch, "red", "sw") as capture:
        switch.run("ping -c 1 -W 0.2 -s 1450 10.0.0.2", namespace="red", echo=False)
    lost = [row for row in rows(draw_frames(capture)) if row.words[0] == REQUEST]
    assert [row[:4] for row in lost] == [("red", "sw", "lost", ("lost",))]
    assert f"red:red0 > sw:to-red, lost: 10.0.0.1 > 10.0.0.2, {REQUEST}" in str(draw_frames(capture))
