"""Checks stand on what `labsupport.net` reads, so the lab's root, a hostile student say, must not be able to fake it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labsupport import Lab, net

FAKES = {
    "another namespace where /proc names the own one": """
ip netns add fake
ip -n fake link add evil type bridge
mkdir -p /tmp/proc/self/ns && touch /tmp/proc/self/ns/net
mount --bind /run/netns/fake /tmp/proc/self/ns/net
mount --rbind /tmp/proc /proc""",
    "settings": """
echo 1 > /tmp/one
mount --bind /tmp/one /proc/sys/net/ipv4/ip_forward""",
    "the library": """
for folder in $(python3 -c 'import sys; print(*sys.path)'); do
    if [ -d $folder ]; then mount -t tmpfs none $folder; fi
done""",
    "the programs": "mount -t tmpfs none /usr/sbin; mount -t tmpfs none /usr/bin",
}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(name="trust") as one:
        one.run("echo 0 > /proc/sys/net/ipv4/ip_forward; ip netns add red", echo=False).check()
        yield one


@pytest.mark.parametrize("fake", FAKES)
def test_the_first_namespace_is_read_as_it_is(lab: Lab, fake: str) -> None:
    lab.run(f"set -e\n{FAKES[fake]}", echo=False).check()
    state = net.network(lab).namespaces[""]
    assert ([link.name for link in state.links], state.forwards_ipv4) == (["lo"], False)
    assert [link.name for link in net.links(lab)] == ["lo"]
    assert net.fdb(lab) == net.routes(lab) == net.neighbours(lab) == ()


@pytest.mark.parametrize("fake", FAKES)
def test_a_capture_hears_the_real_link(lab: Lab, fake: str) -> None:
    lab.run(f"set -e\n{FAKES[fake]}", echo=False).check()
    with net.Capture(lab, ":lo") as capture:
        lab.observe(["ping", "-c", "1", "-W", "2", "127.0.0.1"]).check()
    assert any(frame.icmp for frame in capture.frames)
