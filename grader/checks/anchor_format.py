"""Anchor records and cosignatures, written a second time: what the checks hold answers against.

Independent of any C in the course: struct, hashlib and ed25519.py do the work. The
layouts are those of w18/anchor_record.h.
"""

import hashlib
import struct
from dataclasses import dataclass, replace

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
