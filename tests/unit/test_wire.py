"""Frames: what goes in comes out, however it is cut, and nothing else comes out."""

from __future__ import annotations

from random import Random

import pytest

from labsupport.sandbox.agent import wire

MalformedFrameError = wire.MalformedFrameError
FRAMES = [[b"hello", b"", b"1", b"token"], [b"stdin", b"7", bytes(range(256)) * 10], [b""], [b"x"] * wire.MAX_FIELDS]


@pytest.mark.parametrize("fields", FRAMES, ids=["text", "binary", "one empty field", "the most fields"])
def test_a_frame_comes_back_as_it_was(fields):
    assert wire.Decoder().feed(wire.encode(*fields)) == [fields]


def test_a_frame_looks_as_documented():
    assert wire.encode(b"ping", b"1") == bytes.fromhex("0d000000 04000000 70696e67 01000000 31")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100, 1000])
def test_frames_may_arrive_in_pieces(size):
    stream = b"".join(wire.encode(*fields) for fields in FRAMES)
    decoder, found = wire.Decoder(), []
    for start in range(0, len(stream), size):
        found += decoder.feed(stream[start : start + size])
    assert found == FRAMES


def test_frames_may_arrive_all_at_once():
    assert wire.Decoder().feed(b"".join(wire.encode(*fields) for fields in FRAMES)) == FRAMES


def test_the_largest_frame_passes_and_one_byte_more_does_not():
    largest = wire.encode(bytes(wire.MAX_FRAME_BYTES - 4))
    assert len(wire.Decoder().feed(largest)[0][0]) == wire.MAX_FRAME_BYTES - 4
    with pytest.raises(MalformedFrameError, match=f"over the limit of {wire.MAX_FRAME_BYTES}"):
        wire.Decoder().feed(wire.encode(bytes(wire.MAX_FRAME_BYTES - 3))[:4])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bytes(4), "a frame has no fields"),
        (b"\x05\0\0\0\x02\0\0\0a", "field 0 ends at byte 6 of a frame of 5 bytes"),
        (b"\x02\0\0\0\0\0", "field 0 ends at byte 4 of a frame of 2 bytes"),
        (b"\x08\0\0\0\xff\xff\xff\xffabcd", "field 0 ends at byte"),
        (wire.encode(*[b""] * (wire.MAX_FIELDS + 1)), f"more than {wire.MAX_FIELDS} fields"),
    ],
)
def test_what_is_no_frame_is_refused_with_the_reason(data, reason):
    with pytest.raises(MalformedFrameError, match=reason):
        wire.Decoder().feed(data)


def test_random_bytes_give_frames_or_are_refused():
    chance = Random(3)  # noqa: S311  (repeatable, not secret)
    refused = 0
    for _ in range(3000):
        decoder = wire.Decoder()
        try:
            for _ in range(5):
                data = chance.choice([chance.randbytes(20), bytes([chance.randrange(12), 0, 0, 0])])
                for frame in decoder.feed(data):
                    assert frame
                    assert all(isinstance(field, bytes) for field in frame)
        except MalformedFrameError:
            refused += 1
    assert 0 < refused <= 3000
