"""Writes frames as a pcapng file, which tcpdump and Wireshark open.

Source: draft-ietf-opsawg-pcapng, sections 3 and 4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from labsupport.net.frames import Frame
from labsupport.net.model import Endpoint

_SECTION_HEADER, _INTERFACE_DESCRIPTION, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_OPTION_END, _OPTION_EPB_FLAGS, _OPTION_IF_NAME, _OPTION_IF_TSRESOL = 0, 2, 2, 9
_LINK_TYPE_ETHERNET = 1
_SNAPLEN_BYTES = 262_144  # the same for all interfaces: libpcap refuses a file in which it differs
_FLAG = {"in": 1, "out": 2}
_LONGEST_OPTION = 0xFFFF


def write_pcapng(path: str | Path, frames: Iterable[Frame]) -> None:
    """Write frames to a file, in the order given, with nanoseconds, directions and the names of their interfaces.

    Effects:
        Replaces the file.
    """
    frames = tuple(frames)
    number_of = {end: number for number, end in enumerate(dict.fromkeys(frame.end for frame in frames))}
    with Path(path).open("wb") as file:
        # One section, of a length that is not told (-1); version 1.0.
        file.write(_block(_SECTION_HEADER, struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, -1)))
        # Without any interface libpcap would not open it.
        file.writelines(map(_interface, number_of or [Endpoint("", "")]))
        file.writelines(_packet(frame, number_of[frame.end]) for frame in frames)


def _interface(end: Endpoint) -> bytes:
    name = f"{end.namespace}:{end.link}".encode("utf-8", "replace")
    options = _option(_OPTION_IF_NAME, name) + _option(_OPTION_IF_TSRESOL, b"\x09") + _option(_OPTION_END)
    return _block(_INTERFACE_DESCRIPTION, struct.pack("<HHI", _LINK_TYPE_ETHERNET, 0, _SNAPLEN_BYTES) + options)


def _packet(frame: Frame, interface: int) -> bytes:
    fields = struct.pack("<IIIII", interface, frame.time_ns >> 32, frame.time_ns & 0xFFFFFFFF, len(frame.data),
                         frame.length_bytes)
    flags = _option(_OPTION_EPB_FLAGS, struct.pack("<I", _FLAG[frame.direction])) + _option(_OPTION_END)
    return _block(_ENHANCED_PACKET, fields + _padded(frame.data) + flags)


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _option(code: int, value: bytes = b"") -> bytes:
    value = value[:_LONGEST_OPTION]
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
