"""Sends frames through a link, at a rate or as fast as the kernel can; prints the seconds that it took.

    PYTHON sender.py LINK DESTINATION_MAC FRAMES_PER_S SECONDS

It runs in a lab. The frames wait ready-made in a ring that is shared with the kernel (packet(7), PACKET_TX_RING), so
one system call sends many: the fastest way that needs nothing but Python. FRAMES_PER_S 0 is without a pause.
"""

import mmap
import select
import socket
import struct
import sys
import time

SOL_PACKET, PACKET_VERSION, PACKET_TX_RING, TPACKET_V2 = 263, 10, 13, 1
SEND_REQUEST, DATA_AT, SLOT_BYTES = 1, 32, 128
ETHERTYPE = b"\x88\xb5"  # for local experiments (IEEE 802): nobody answers
FRAME_BYTES = 60  # the shortest that Ethernet has, without its checksum
SLOW_SLOTS, FAST_SLOTS = 32, 1024


def main(link: str, destination: str, frames_per_s: int, seconds: float) -> None:
    slots = SLOW_SLOTS if frames_per_s else FAST_SLOTS
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sender.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
    sender.setsockopt(SOL_PACKET, PACKET_TX_RING, struct.pack("=IIII", slots * SLOT_BYTES, 1, SLOT_BYTES, slots))
    ring = mmap.mmap(sender.fileno(), slots * SLOT_BYTES)
    sender.bind((link, 0))
    frame = (bytes.fromhex(destination.replace(":", "")) + b"\x02\0\0\0\0\x01" + ETHERTYPE).ljust(FRAME_BYTES, b"\0")
    slot = struct.pack("=II", SEND_REQUEST, len(frame)).ljust(DATA_AT, b"\0") + frame
    full = slot.ljust(SLOT_BYTES, b"\0") * slots
    begin = due = time.monotonic()
    while (now := time.monotonic()) < begin + seconds:
        if now < due:
            select.select([], [], [], due - now)
        ring[:] = full
        sender.send(b"")
        due += slots / frames_per_s if frames_per_s else 0
    print(time.monotonic() - begin)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
