"""Thirty megabytes less: a library of Unicode tables that is linked, but never asked, becomes an empty one.

dig and nslookup name libxml2 for statistics that only the name server `named` keeps; libxml2 names ICU, whose tables
are a third of all files of the tools. No program of the image reads them. The loader still wants a library of that
name which defines one symbol, so it gets one that defines the symbol as zeros. ICU takes these for tables that are
not there, since their header lacks its magic number.

Source: elf(5); udata.cpp of ICU.
"""

from __future__ import annotations

import platform
import re
import struct

_MACHINES = {"x86_64": 62, "aarch64": 183}
_NAME = re.compile(r"libicudata\.so\.(\d+)")
_HEADER, _PROGRAM_HEADER, _SYMBOL = 64, 56, 24
_TABLE_BYTES = 64
_PAGE_BYTES = 0x10000  # arm64 kernels have pages of up to 64 KiB


def empty_tables(library: str) -> bytes | None:
    """Return an ELF library with empty tables in place of ICU's data library; None for any other library."""
    match = _NAME.fullmatch(library)
    machine = _MACHINES.get(platform.machine())
    if match is None or machine is None:
        return None
    return _shared_object(machine, library, f"icudt{match.group(1)}_dat")


def _shared_object(machine: int, library: str, symbol: str) -> bytes:
    strings = b"\0" + symbol.encode() + b"\0" + library.encode() + b"\0"
    symbols_at = _HEADER + 3 * _PROGRAM_HEADER
    hash_at = symbols_at + 2 * _SYMBOL
    strings_at = hash_at + 20
    table_at = (strings_at + len(strings) + 15) // 16 * 16
    dynamic_at = table_at + _TABLE_BYTES
    dynamic = b"".join(struct.pack("<QQ", *pair) for pair in (
        (4, hash_at), (5, strings_at), (6, symbols_at), (10, len(strings)), (11, _SYMBOL),  # HASH STRTAB SYMTAB STRSZ
        (14, 2 + len(symbol)), (0, 0),  # SONAME, NULL
    ))
    size = dynamic_at + len(dynamic)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, machine, 1, 0, _HEADER, 0, 0, _HEADER,
                         _PROGRAM_HEADER, 3, 0, 0, 0)
    segments = (
        struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, size, size, _PAGE_BYTES),  # LOAD, readable and writable
        struct.pack("<IIQQQQQQ", 2, 6, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), 8),  # DYNAMIC
        struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16),  # GNU_STACK: not executable
    )
    symbols = bytes(_SYMBOL) + struct.pack("<IBBHQQ", 1, 0x11, 0, 1, table_at, _TABLE_BYTES)  # a global object
    hashes = struct.pack("<5I", 1, 2, 1, 0, 0)  # one bucket, two symbols, the second one found
    return (header + b"".join(segments) + symbols + hashes + strings).ljust(dynamic_at, b"\0") + dynamic
