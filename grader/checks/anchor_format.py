"""Anchor records and cosignatures, written a second time: what the checks hold answers against.

Independent of any C in the course: struct, hashlib and ed25519.py do the work. The
layouts are those of w18/anchor_record.h.
"""

import hashlib
import re
import struct
from dataclasses import dataclass, field, replace
from functools import cache

from . import ed25519

(OK, UNJUDGED, TORN, MALFORMED, REPEAT, GAP, BROKEN_CHAIN, FULL, MISMATCH,
 BAD_SIGNATURE) = range(10)
VERDICTS = ("OK", "UNJUDGED", "TORN", "MALFORMED", "REPEAT", "GAP", "BROKEN_CHAIN", "FULL",
            "MISMATCH", "BAD_SIGNATURE")
NO_DIGEST = bytes(32)
LAST_ID = 2**64 - 1


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def seal(body: bytes) -> bytes:
    """Puts a right digest behind a body, whatever the body is."""
    return body + sha256(body)


@dataclass(frozen=True)
class Record:
    id: int
    prev: bytes
    payload: bytes

    @property
    def bytes(self) -> bytes:
        return seal(b"anchor-record/v1" + struct.pack(">Q", self.id) + self.prev + self.payload)

    @property
    def digest(self) -> bytes:
        return self.bytes[88:]

    @property
    def words(self) -> tuple:
        return self.id, self.prev, self.payload


@dataclass(frozen=True)
class Cosignature:
    id: int
    digest: bytes
    time: int
    signature: bytes

    @property
    def signed(self) -> bytes:
        head = b"anchor-cosign/v1" + struct.pack(">Q", self.id)
        return head + self.digest + struct.pack(">Q", self.time)

    @property
    def bytes(self) -> bytes:
        return seal(self.signed + self.signature)

    @property
    def words(self) -> tuple:
        return self.id, self.digest, self.time, self.signature


@cache
def cosign(record: Record, time: int, seed: bytes) -> Cosignature:
    blank = Cosignature(record.id, record.digest, time, b"")
    return replace(blank, signature=ed25519.sign(seed, blank.signed))


def chain(payloads) -> list[Record]:
    """A log of records, one a payload."""
    records, prev = [], NO_DIGEST
    for i, payload in enumerate(payloads):
        records.append(Record(i, prev, payload))
        prev = records[-1].digest
    return records


def verdict(reply) -> str:
    number = reply["verdict"]
    return f"ANCHOR_{VERDICTS[number]}" if 0 <= number < len(VERDICTS) else str(number)


# Recovery, as w18/anchor_storage.h words it.

HEAD_NONE, HEAD_MALFORMED, HEAD_VALID = range(3)
FREE, PENDING, BLOCKED = range(3)


def read_record(data: bytes) -> Record | int:
    """The record, or the verdict on what is none."""
    why = _not_whole(data, 120, b"anchor-record/v1")
    if why:
        return why
    record = Record(struct.unpack(">Q", data[16:24])[0], data[24:56], data[56:88])
    return MALFORMED if record.id == 0 and record.prev != NO_DIGEST else record


def read_cosignature(data: bytes) -> Cosignature | int:
    why = _not_whole(data, 160, b"anchor-cosign/v1")
    number, time = (struct.unpack(">Q", data[at : at + 8])[0] if not why else 0 for at in (16, 56))
    return why or Cosignature(number, data[24:56], time, data[64:128])


def _not_whole(data: bytes, size: int, magic: bytes) -> int:
    if len(data) > size:
        return MALFORMED
    if data[-32:] != sha256(data[:-32]) or len(data) < size:
        return TORN
    return OK if data.startswith(magic) else MALFORMED


def read_head(text: bytes | None) -> tuple[int, int | None]:
    """What the file `head` is, None for no file, and the id in it."""
    if text is None:
        return HEAD_NONE, None
    whole = re.fullmatch(rb"(0|[1-9][0-9]*)\n", text)
    valid = whole and int(whole[1]) <= LAST_ID
    return (HEAD_VALID, int(whole[1])) if valid else (HEAD_MALFORMED, None)


@dataclass
class Found:
    """What recovery of a directory must report, and what must stand there then."""

    files: dict[str, bytes]
    log: list[Record] = field(default_factory=list)
    head: int = HEAD_NONE
    head_id: int | None = None
    next: int = FREE
    pending: Record | None = None
    torn: int = 0

    @property
    def count(self) -> int:
        return len(self.log)

    @property
    def last(self) -> bytes:
        return self.log[-1].digest if self.log else NO_DIGEST

    @property
    def highest(self) -> int | None:
        """The highest id beyond the log, if there is any."""
        names = (re.fullmatch(r"anchor_(0|[1-9]\d*)\.(rec|cosig)", name) for name in self.files)
        beyond = [int(m[1]) for m in names if m and self.count < int(m[1]) <= LAST_ID]
        return max(beyond, default=None)


def recover(files: dict[str, bytes], seed: bytes | None) -> Found:
    """The oracle: `seed` is the witness's secret, so that signing again verifies."""
    found = Found(dict(files))
    found.head, found.head_id = read_head(found.files.pop("head", None))
    while _takes_in(found, seed):
        pass
    if found.log:
        found.files["head"] = b"%d\n" % (found.count - 1)
    return found


def _takes_in(found: Found, seed: bytes | None) -> bool:
    """One step; at the end of the log it says what stands there."""
    record = _stands(found, ".rec", read_record)
    cosignature = _stands(found, ".cosig", read_cosignature)
    fits = isinstance(record, Record) and (record.id, record.prev) == (found.count, found.last)
    if fits and isinstance(cosignature, Cosignature) and _matches(cosignature, record, seed):
        found.log.append(record)
        return True
    if cosignature is not None or (record is not None and not fits):
        found.next = BLOCKED
    elif fits:
        found.next, found.pending = PENDING, record
    return False


def _stands(found: Found, suffix: str, read):
    """What stands under the next id, None for nothing; a torn file is set aside."""
    name = f"anchor_{found.count}{suffix}"
    data = found.files.get(name)
    what = None if data is None else read(data)
    if what != TORN:
        return what
    names = (f"{name}{number}.torn" for number in ("", *(f".{i}" for i in range(1, 99))))
    found.files[next(n for n in names if n not in found.files)] = found.files.pop(name)
    found.torn += 1
    return None


def _matches(cosignature: Cosignature, record: Record, seed: bytes | None) -> bool:
    if (cosignature.id, cosignature.digest) != (record.id, record.digest):
        return False
    return seed is None or cosignature == cosign(record, cosignature.time, seed)
