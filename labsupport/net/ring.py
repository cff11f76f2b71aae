"""Reads the blocks of a packet ring as the kernel wrote them (packet(7), TPACKET_V3; linux/if_packet.h)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from labsupport.net.frames import Direction, Frame
from labsupport.net.model import Endpoint

_BLOCK = struct.Struct("=IIII")  # version, offset to private data; then status, number of frames, offset to the first
_BLOCK_FIRST_AT = 16
_HEADER = struct.Struct("=IIIIIIHHIIHH")
_ADDRESS_AT, _PACKET_TYPE_AT = 48, 10
_OUTGOING = 4  # PACKET_OUTGOING
_VLAN_VALID, _VLAN_TPID_VALID, _DEFAULT_TPID = 0x10, 0x40, 0x8100
_TAG_AT = 12


def frames_of(end: Endpoint, block: bytes) -> Iterator[Frame]:
    """Return the frames of one block."""
    _, _, _, count = _BLOCK.unpack_from(block)
    at = int.from_bytes(block[_BLOCK_FIRST_AT : _BLOCK_FIRST_AT + 4], "little")
    for _ in range(count):
        (following, seconds, nanoseconds, captured, length, status, mac_at, _network_at,
         _hash, tag, tag_type, _) = _HEADER.unpack_from(block, at)
        data = block[at + mac_at : at + mac_at + captured]
        if status & _VLAN_VALID:  # the kernel takes the tag out of the frame and tells it apart
            tpid = tag_type if status & _VLAN_TPID_VALID else _DEFAULT_TPID
            data = data[:_TAG_AT] + struct.pack("!HH", tpid, tag & 0xFFFF) + data[_TAG_AT:]
            length += 4
        outgoing = block[at + _ADDRESS_AT + _PACKET_TYPE_AT] == _OUTGOING
        direction: Direction = "out" if outgoing else "in"
        yield Frame(seconds * 1_000_000_000 + nanoseconds, end, direction, data, length)
        at += following
