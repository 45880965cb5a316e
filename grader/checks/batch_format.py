"""The format of w10/wal_batch.h, written a second time: a log of batches, read."""

import struct
import zlib
from dataclasses import dataclass

from .wal_format import MAX_BYTES, MIN_BYTES, SET, encode

MARK_BYTES, BATCH_MAX_BYTES = 20, 1 << 18
_MARK = struct.Struct("<II4sQ")


@dataclass(frozen=True)
class Batch:
    offset: int
    synced: int
    records: tuple[tuple, ...]


def batch(synced: int, records) -> bytes:
    body = b"".join(encode(*record) for record in records)
    rest = _MARK.pack(0, MARK_BYTES + len(body), b"WALB", synced)[4:]
    return struct.pack("<I", zlib.crc32(rest)) + rest + body


def log_of(*groups, start: int = 0) -> bytes:
    """A log of these batches, each synced before the next."""
    data = b""
    for records in groups:
        data += batch(start + len(data), records)
    return data


def parse(data: bytes) -> tuple[list[Batch], str]:
    """The whole batches at the beginning, and what is wrong with what follows, if
    anything does."""
    found, at = [], 0
    while at < len(data):
        one = _one(data, at)
        if isinstance(one, str):
            return found, f"at offset {at}: {one}"
        found.append(one[0])
        at = one[1]
    return found, ""


def _one(data: bytes, at: int) -> tuple[Batch, int] | str:
    if len(data) - at < MARK_BYTES:
        return f"{len(data) - at} bytes, which is no mark"
    crc, size, magic, synced = _MARK.unpack_from(data, at)
    if magic != b"WALB" or crc != zlib.crc32(data[at + 4 : at + MARK_BYTES]):
        return "no mark"
    if size > BATCH_MAX_BYTES or synced > at:
        return f"a mark that says batch_len={size} synced={synced}"
    records, place, end = [], at + MARK_BYTES, at + size
    while place < end:
        record = _record(data[place:end])
        if record is None:
            return f"a batch of {size} bytes without a whole record at offset {place}"
        records.append(record)
        place += len(encode(*record))
    if place != end or not records:
        return f"a batch of {size} bytes that its records do not fill"
    return Batch(at, synced, tuple(records)), end


def _record(data: bytes) -> tuple[int, bytes, bytes] | None:
    """The canonical record at the start, or None."""
    if len(data) < MIN_BYTES:
        return None
    size, kind, key_len = struct.unpack_from("<IBH", data, 4)
    value_at = 11 + (key_len + 4) // 4 * 4
    if not MIN_BYTES <= size <= min(MAX_BYTES, len(data)) or key_len == 0:
        return None
    value = data[value_at + 2 : size - 1] if kind == SET else b""
    record = kind, data[11 : 11 + key_len], value
    return record if len(value) <= 65_535 and data[:size] == encode(*record) else None


def records_of(found: list[Batch]) -> list[tuple]:
    return [record for one in found for record in one.records]
