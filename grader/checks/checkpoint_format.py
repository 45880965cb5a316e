"""A directory of segments and a snapshot, written and read a second time.

Independent of any C in the course. The layout is that of w10/checkpoint.h.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from .wal_format import DEL, SET, apply, encode

MAGIC = b"SNAP"
TRAILER_BYTES = 24
SNAPSHOT, TEMP = "snapshot", "snapshot.tmp"
_SEGMENT = re.compile(r"([1-9][0-9]*)\.wal")


def segment(number: int) -> str:
    return f"{number}.wal"


def number_of(name: str) -> int | None:
    found = _SEGMENT.fullmatch(name)
    return int(found[1]) if found else None


def log(records, tail: bytes = b"") -> bytes:
    return b"".join(encode(*record) for record in records) + tail


def seal(records: bytes, first: int, count: int, magic: bytes = MAGIC) -> bytes:
    """A snapshot of these bytes, whatever they are, with a right CRC."""
    body = records + magic + struct.pack("<QQ", first, count)
    return body + struct.pack("<I", zlib.crc32(body))


def snapshot(pairs: dict[bytes, bytes], first: int) -> bytes:
    return seal(log((SET, key, value) for key, value in pairs.items()), first, len(pairs))


def whole_records(data: bytes) -> tuple[list[tuple], int]:
    """The canonical records at the beginning, and the bytes that they take."""
    found, at = [], 0
    while len(data) - at >= 11:
        size, kind, key_len = struct.unpack_from("<IBH", data, at + 4)
        key = data[at + 11 : at + 11 + key_len]
        value_at = at + 11 + key_len + 4 - key_len % 4
        value = b""
        if kind == SET:
            (value_len,) = struct.unpack_from("<H", data[value_at : value_at + 2].ljust(2, b"\0"))
            value = data[value_at + 2 : value_at + 2 + value_len]
        if kind not in (SET, DEL) or not key or data[at : at + size] != encode(kind, key, value):
            break
        found.append((kind, key, value))
        at += size
    return found, at


@dataclass(frozen=True)
class Snapshot:
    pairs: dict[bytes, bytes]
    first: int


def parse_snapshot(data: bytes) -> Snapshot | None:
    """None if it is not whole."""
    body, trailer = data[:-TRAILER_BYTES], data[-TRAILER_BYTES:]
    if len(trailer) < TRAILER_BYTES or struct.pack("<I", zlib.crc32(data[:-4])) != data[-4:]:
        return None
    first, count = struct.unpack_from("<QQ", trailer, 4)
    records, size = whole_records(body)
    pairs = apply(records)
    sets_only = all(kind == SET for kind, _, _ in records)
    if trailer[:4] != MAGIC or first == 0 or not sets_only:
        return None
    if size != len(body) or not count == len(records) == len(pairs):
        return None
    return Snapshot(pairs, first)


def content(files: dict[str, bytes]) -> dict[bytes, bytes] | str:
    """The map that a directory holds, or what is wrong with it."""
    base = Snapshot({}, 1)
    if SNAPSHOT in files:
        parsed = parse_snapshot(files[SNAPSHOT])
        if parsed is None:
            return "the snapshot is not whole"
        base = parsed
    numbers = [n for n in map(number_of, files) if n is not None]
    last = max([base.first, *numbers])
    records = []
    for number in range(base.first, last + 1):
        name = segment(number)
        if name not in files and number < last:
            return f"{name} is missing"
        data = files.get(name, b"")
        found, size = whole_records(data)
        if number < last and size < len(data):
            return f"{name} is torn, and a later segment is there"
        records += found
    return apply([*((SET, k, v) for k, v in base.pairs.items()), *records])
