"""The log's record format, written a second time: what the checks hold answers against.

Independent of any C in the course: struct and zlib do the work. The layout is that of
w10/wal_record.h.
"""

import random
import struct
import zlib

SET, DEL = 1, 2
OK, END, TORN, CORRUPT = range(4)
VERDICTS = ("OK", "END", "TORN", "CORRUPT")
# The four records of the lessons.
FOUR = [(SET, b"foo", b"bar"), (SET, b"name", b"alice"), (SET, b"count", b"42"), (DEL, b"name", b"")]
MIN_BYTES, MAX_BYTES = 15, 131_085


def seal(body: bytes) -> bytes:
    """Puts a right crc32 in front of a body, whatever the body is."""
    return struct.pack("<I", zlib.crc32(body)) + body


def encode(kind: int, key: bytes, value: bytes = b"") -> bytes:
    padded = key + b"\0" * (4 - len(key) % 4)
    tail = struct.pack("<H", len(value)) + value + b"\0" if kind == SET else b""
    size = 11 + len(padded) + len(tail)
    return seal(struct.pack("<IBH", size, kind, len(key)) + padded + tail)


def random_record(rng: random.Random, most: int = 40) -> tuple[int, bytes, bytes]:
    kind = rng.choice((SET, SET, DEL))
    key = rng.randbytes(rng.randint(1, most))
    return kind, key, rng.randbytes(rng.randint(0, most)) if kind == SET else b""


def apply(records) -> dict[bytes, bytes]:
    """The map that replaying the records gives."""
    pairs = {}
    for kind, key, value in records:
        if kind == SET:
            pairs[key] = value
        else:
            pairs.pop(key, None)
    return pairs


def show(data: bytes, most: int = 24) -> str:
    """Bytes for a message."""
    return data[:most].hex(" ") + (f" ... ({len(data)} bytes)" if len(data) > most else "")
