"""A file that we write must be what the standard says, and what tcpdump opens."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from frame_bytes import ALL
from tcpdump_lines import tcpdump

from labsupport.net import Endpoint, Frame
from labsupport.net.pcapng import write_pcapng

RED, SWITCH, BRIDGE = Endpoint("red", "red0"), Endpoint("sw", "to-red"), Endpoint("", "br0")
SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
START_NS = 1_795_470_648_089_691_028


class Block(NamedTuple):
    kind: int
    fixed: tuple[int, ...]
    data: bytes
    options: dict[int, bytes]


def blocks(path: Path) -> Iterator[Block]:
    """Read a pcapng file by the letter of the draft, with nothing of labsupport."""
    rest = path.read_bytes()
    layouts = {SECTION: "<IHHq", INTERFACE: "<HHI", PACKET: "<IIIII"}
    while rest:
        kind, length = struct.unpack_from("<II", rest)
        assert length % 4 == 0
        assert struct.unpack_from("<I", rest, length - 4) == (length,)
        body, rest = rest[8:length - 4], rest[length:]
        fixed = struct.unpack_from(layouts[kind], body)
        position = struct.calcsize(layouts[kind])
        data = body[position:position + fixed[3]] if kind == PACKET else b""
        position += len(data) + -len(data) % 4
        options: dict[int, bytes] = {}
        while position < len(body):
            code, size = struct.unpack_from("<HH", body, position)
            options[code] = body[position + 4:position + 4 + size]
            position += 4 + size + -size % 4
        assert position == len(body)
        assert not options or list(options)[-1] == 0, "options end with code 0"
        yield Block(kind, fixed, data, options)


@pytest.fixture
def frames() -> list[Frame]:
    ends = (RED, SWITCH, BRIDGE)
    return [Frame(START_NS + 1001 * number, ends[number % 3], "out" if number % 2 else "in", data,
                  len(data) + number % 4) for number, data in enumerate(ALL.values())]


def test_blocks(frames: list[Frame], tmp_path: Path) -> None:
    write_pcapng(tmp_path / "x.pcapng", frames)
    section, *others = blocks(tmp_path / "x.pcapng")
    assert section.kind == SECTION
    assert section.fixed == (0x1A2B3C4D, 1, 0, -1)
    interfaces, packets = others[:3], others[3:]
    assert {block.kind for block in interfaces} == {INTERFACE}
    assert [block.options[2] for block in interfaces] == [b"red:red0", b"sw:to-red", b":br0"]
    assert {(block.fixed, block.options[9]) for block in interfaces} == {((1, 0, 262144), b"\x09")}, \
        "Ethernet, one snaplen for all, nanoseconds"
    assert len(packets) == len(frames)
    names = [RED, SWITCH, BRIDGE]
    for frame, block in zip(frames, packets, strict=True):
        interface, high, low, captured, length = block.fixed
        assert (names[interface], high << 32 | low, length) == (frame.end, frame.time_ns, frame.length_bytes)
        assert (captured, block.data) == (len(frame.data), frame.data)
        assert struct.unpack("<I", block.options[2]) == ({"in": 1, "out": 2}[frame.direction],)


def test_tcpdump_opens_it_and_tells_nanoseconds(frames: list[Frame], tmp_path: Path) -> None:
    write_pcapng(tmp_path / "x.pcapng", frames)
    entries = tcpdump(tmp_path / "x.pcapng", "-tt", "--time-stamp-precision=nano")
    assert [int(entry.split()[0].replace(".", "")) for entry in entries] == [frame.time_ns for frame in frames]


def test_tcpdump_filters_it(frames: list[Frame], tmp_path: Path) -> None:
    write_pcapng(tmp_path / "x.pcapng", frames)
    assert len(tcpdump(tmp_path / "x.pcapng", "arp")) == sum(summary.startswith("ARP") for summary in ALL)


def test_no_frames(tmp_path: Path) -> None:
    write_pcapng(str(tmp_path / "x.pcapng"), [])
    assert tcpdump(tmp_path / "x.pcapng") == []


def test_frames_of_an_iterator(frames: list[Frame], tmp_path: Path) -> None:
    write_pcapng(tmp_path / "x.pcapng", iter(frames))
    assert len(tcpdump(tmp_path / "x.pcapng")) == len(frames)


@pytest.mark.parametrize("name", ["<&\"x'", "ein-Gerät", "\x1b[31m", "\udcff", "x" * 70000], ids=ascii)
def test_any_name(name: str, frames: list[Frame], tmp_path: Path) -> None:
    write_pcapng(tmp_path / "x.pcapng", [Frame(1, Endpoint(name, "eth0"), "in", frames[0].data, 42)])
    (interface,) = [block for block in blocks(tmp_path / "x.pcapng") if block.kind == INTERFACE]
    assert interface.options[2] == f"{name}:eth0".encode("utf-8", "replace")[:65535]
    assert len(tcpdump(tmp_path / "x.pcapng")) == 1


def test_the_largest_frame(tmp_path: Path) -> None:
    data = frame_of(262144)
    write_pcapng(tmp_path / "x.pcapng", [Frame(1, RED, "in", data, len(data))])
    assert len(tcpdump(tmp_path / "x.pcapng")) == 1


def frame_of(length_bytes: int) -> bytes:
    return bytes(12) + b"\x12\x34" + bytes(length_bytes - 14)
