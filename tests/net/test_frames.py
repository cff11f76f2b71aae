"""A frame must say what tcpdump says, and whatever the bytes are, it must not raise."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
from frame_bytes import ALL, HAND_MADE, REAL
from packet_maker import MAKERS, ethernet, ipv4, ipv6, tcp, udp
from tcpdump_lines import tcpdump, told_by_frame, told_by_tcpdump

from labsupport.net import Endpoint, Frame
from labsupport.net.pcapng import write_pcapng

END = Endpoint("red", "red0")
PROPERTIES = ("source", "destination", "problem", "ethernet", "vlan", "llc", "stp", "arp", "ipv4", "ipv6", "icmp",
              "icmpv6", "udp", "tcp", "dns")


def frame(data: bytes, length_bytes: int | None = None) -> Frame:
    return Frame(1_000_000_000, END, "in", data, len(data) if length_bytes is None else length_bytes)


def read_all(one: Frame) -> dict[str, Any]:
    """Return every property, and check what holds for all frames."""
    assert one.summary == one.summary.strip()
    assert one.summary.isprintable()
    assert one.problem in ("", "truncated", "malformed")
    assert one.summary.endswith(f"({one.problem})") == bool(one.problem)
    return {name: getattr(one, name) for name in PROPERTIES}


@pytest.mark.parametrize("summary", ALL)
def test_summary(summary: str) -> None:
    one = frame(ALL[summary])
    assert one.summary == summary
    read_all(one)


def test_the_real_frames_are_read_to_their_end() -> None:
    assert [frame(bytes.fromhex(data)).problem for data in REAL.values()] == [""] * len(REAL)
    assert {"truncated", "malformed"} <= {frame(data).problem for data in HAND_MADE.values()}


def test_what_the_headers_of_an_error_say() -> None:
    one = frame(bytes.fromhex(REAL["ICMP time exceeded (ttl 0 in transit) for 10.0.0.1 > 10.0.1.1"]))
    assert one.icmp is not None
    assert one.icmp.original is not None
    assert (one.ipv4.source, one.ipv4.ttl) == ("10.0.0.254", 64)  # type: ignore[union-attr]
    assert (one.icmp.original.source, one.icmp.original.destination) == ("10.0.0.1", "10.0.1.1")
    assert (one.icmp.original.ttl, one.icmp.original.dont_fragment) == (1, True)
    assert (one.icmp.type, one.icmp.code, one.icmp.identifier, one.icmp.sequence) == (11, 0, None, None)


def test_next_hop_mtu() -> None:
    one = frame(ALL["ICMP fragmentation needed, mtu 1400, for 10.0.0.1 > 10.0.9.9"])
    assert one.icmp is not None
    assert one.icmp.next_hop_mtu_bytes == 1400
    assert one.icmp.original_ports == (40000, 9)


def test_a_frame_without_a_header_says_none() -> None:
    one = frame(ALL["ARP who has 10.0.0.2? tell 10.0.0.1"])
    assert [name for name in PROPERTIES if getattr(one, name)] == ["source", "destination", "ethernet", "arp"]
    assert (one.source, one.destination) == ("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff")


def test_frames_are_values() -> None:
    data = ALL["ICMP echo request seq 1, ttl 64"]
    one, other = frame(data), frame(data)
    assert one.summary  # decoding one of them must not make them different
    assert one == other
    assert {one: 1}[other] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.time_ns = 2  # type: ignore[misc]


def test_snapped_frames_are_whole_as_far_as_their_headers_reach() -> None:
    data = ethernet(ipv4(udp(bytes(1400), 5, 6), 17), 0x0800)
    assert frame(data[:60], len(data)).summary == "UDP 10.0.0.1:5 > 10.0.0.2:6, 1400 bytes"
    assert frame(data[:60]).summary == "UDP 10.0.0.1:5 > 10.0.0.2:6, 1400 bytes (truncated)"
    data = ethernet(ipv6(tcp(bytes(1400), 5, 6, 0x10), 6), 0x86DD)
    assert frame(data[:90], len(data)).summary == "TCP [fd00::1]:5 > [fd00::2]:6 ACK, 1400 bytes"


def test_a_cut_in_the_options_is_told() -> None:
    data = ALL["ICMPv6 multicast listener report v2"]
    assert frame(data[:60], len(data)).summary == "IPv6 :: > ff02::16, hop limit 1 (truncated)"


def test_packets_above_64_kib_have_no_length() -> None:
    data = bytearray(ethernet(ipv4(tcp(b"", 5, 6, 0x10), 6), 0x0800))
    data[16:18] = bytes(2)  # BIG TCP: the length does not fit, and is 0
    assert frame(bytes(data) + bytes(70000)).summary == "TCP 10.0.0.1:5 > 10.0.0.2:6 ACK, 70000 bytes"


@pytest.mark.parametrize("kind", MAKERS)
def test_tcpdump_reads_the_same(kind: str, tmp_path: Path) -> None:
    choose = random.Random(kind)  # noqa: S311  (no secret)
    frames = [frame(MAKERS[kind](choose)) for _ in range(60)]
    write_pcapng(tmp_path / "any.pcapng", frames)
    entries = tcpdump(tmp_path / "any.pcapng", "-t", "-e", "-vv", "-S")
    assert len(entries) == len(frames)
    for one, entry in zip(frames, entries, strict=True):
        facts = told_by_tcpdump(entry)
        assert told_by_frame(one) == facts, entry
        assert len(facts) >= 5, f"nothing was understood of {entry}"


WORDS_OF_TCPDUMP = {  # what tcpdump calls what we call so
    "ICMP host unreachable for 10.0.0.1 > 10.0.9.9": "ICMP host 10.0.9.9 unreachable",
    "ICMP network unreachable for 10.0.0.1 > 10.0.9.9": "ICMP net 10.0.9.9 unreachable",
    "ICMP port unreachable (UDP 9) for 10.0.0.1 > 10.0.9.9": "10.0.9.9 udp port 9 unreachable",
    "ICMP fragmentation needed, mtu 1400, for 10.0.0.1 > 10.0.9.9": "10.0.9.9 unreachable - need to frag (mtu 1400)",
    "ICMP communication administratively prohibited for 10.0.0.1 > 10.0.9.9": "unreachable - admin prohibited filter",
    "ICMP redirect to 10.0.0.253 for 10.0.0.1 > 10.0.9.9": "ICMP redirect 10.0.9.9 to host 10.0.0.253",
    "ICMP time exceeded (ttl 0 in transit) for 10.0.0.1 > 10.0.1.1": "ICMP time exceeded in-transit",
    "ICMP time exceeded (fragments missing) for 10.0.0.1 > 10.0.9.9": "ICMP ip reassembly time exceeded",
    "UDP 10.0.0.1:9 > 10.0.0.2:53, DNS asks for AAAA of www.example.com": "AAAA? www.example.com.",
    "UDP 10.0.0.1:53 > 10.0.0.2:9, DNS answers A of nobody: NXDOMAIN": "NXDomain",
    "ICMPv6 neighbour solicitation: who has fd00::2?": "length 32, who has fd00::2",
    "ICMPv6 neighbour advertisement: fd00::2 is here": "tgt is fd00::2",
    "ICMPv6 multicast listener report v2": "multicast listener report v2",
    "ICMPv6 router solicitation": "router solicitation",
    "ICMPv6 packet too big, mtu 1400, for fd00::1 > fd00::9": "packet too big, mtu 1400",
    "ICMPv6 echo request seq 2, hop limit 64": "echo request, id 0, seq 2",
    "STP topology change notification": "STP 802.1d, Topology Change",
    "STP root 8000.020000000001, cost 4, says 8000.020000000002, topology change": "Flags [Topology change]",
    "UDP 10.0.0.1 > 10.0.0.2, fragment from byte 1480": "offset 1480, flags [+]",
    "UDP fd00::1 > fd00::2, last fragment from byte 1448": "frag (0x00000007:1448|40)",
    "VLAN 10: ARP who has 10.0.0.2? tell 10.0.0.1": "vlan 10, p 0, ethertype ARP",
    "UDP 10.0.0.1:40000 > 10.0.9.9:9, 20 bytes (truncated)": "truncated-ip - 5 bytes missing!",
}


def test_tcpdump_means_the_same_by_other_words(tmp_path: Path) -> None:
    write_pcapng(tmp_path / "words.pcapng", [frame(ALL[summary]) for summary in WORDS_OF_TCPDUMP])
    entries = tcpdump(tmp_path / "words.pcapng", "-t", "-e", "-v")
    for words, entry in zip(WORDS_OF_TCPDUMP.values(), entries, strict=True):
        assert words in entry


@pytest.mark.parametrize("summary", ALL)
def test_a_frame_cut_anywhere_says_the_same_or_nothing(summary: str) -> None:
    whole = frame(ALL[summary])
    for length in range(len(whole.data)):
        for on_the_wire in (length, len(whole.data)):
            cut = frame(whole.data[:length], on_the_wire)
            read = read_all(cut)
            for name in ("ethernet", "arp", "ipv4", "udp", "stp", "llc"):
                assert read[name] in (None, getattr(whole, name)), f"{name} of the first {length} bytes"
            if read["ipv6"] and whole.ipv6:  # its protocol is behind the options, which may be cut off
                assert (read["ipv6"].source, read["ipv6"].hop_limit) == (whole.ipv6.source, whole.ipv6.hop_limit)
            needed = 14 + whole.ipv4.total_length_bytes if whole.ipv4 and not whole.problem else 0
            if on_the_wire == length < needed:
                assert cut.problem, f"only {length} bytes of {summary}"


@pytest.mark.parametrize("seed", range(4))
def test_no_bytes_make_it_raise(seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311  (no secret)
    starts = [data for data in ALL.values() if len(data) >= 14]
    for _ in range(3000):
        data = bytearray(choose.choice(starts))
        for _ in range(choose.choice([1, 2, 8])):
            data[choose.randrange(len(data))] = choose.choice([0, 1, 0x7F, 0x80, 0xFF, choose.randrange(256)])
        if choose.random() < 0.3:
            data = data[:choose.randrange(len(data))] + choose.randbytes(choose.randrange(80))
        read_all(frame(bytes(data), len(data) + choose.choice([0, 0, 1, 1000])))
        read_all(frame(choose.randbytes(choose.randrange(100))))


@pytest.mark.parametrize("data", [
    ethernet(b"\x81\x00\x81\x00" * 16000, 0x8100),                        # tags without end
    ethernet(ipv6(b"\x00" * 64000, 0), 0x86DD),                           # extension headers without end
    ethernet(ipv4(udp(bytes(12) + b"\x01a" * 30000, 5, 53), 17), 0x0800),  # a name without end
], ids=["tags", "extensions", "labels"])
@pytest.mark.timeout(10)
def test_nesting_without_end_ends(data: bytes) -> None:
    read_all(frame(data))
