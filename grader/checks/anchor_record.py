"""Checks of anchor records and of the log in memory: w18/anchor_record.h, first half."""

import errno
import hashlib

from ..result import Finding
from ..run import Run, Script
from ..shown import quoted
from . import check
from .anchor_format import (
    BROKEN_CHAIN, FULL, GAP, LAST_ID, MALFORMED, NO_DIGEST, OK, REPEAT, TORN, VERDICTS, Record,
    chain, seal, verdict,
)

EINVAL, EOVERFLOW = -errno.EINVAL, -errno.EOVERFLOW
FIELDS = ((16, "magic"), (24, "id"), (56, "prev"), (88, "payload"), (120, "digest"))


@check("builds")
def hashes_with_sha_256(run: Run):
    """anchor_sha256() computes SHA-256, of any bytes and of none."""
    rng = run.rng("sha256")
    messages = [b"", b"abc", bytes(64), rng.randbytes(10_000)]
    messages += [rng.randbytes(rng.randint(1, 130)) for _ in range(20)]
    script = Script()
    calls = {script.call("anchor_sha256", message): message for message in messages}
    session = run.drive(script)
    for number, message in calls.items():
        want, reply = hashlib.sha256(message).digest(), session[number]
        if reply["ret"] != 0 or reply.bytes("digest") != want:
            got = f"ret={reply['ret']}, {reply.bytes('digest')[:4].hex()}..."
            text = f"of {len(message)} bytes: {got}, and should be {want[:4].hex()}..."
            yield run.at_function(Finding("O401", f"SHA-256 {text}"), "anchor_sha256")
            return


def _records(run: Run) -> list[Record]:
    """Records of every shape: a chain, high ids, and noise."""
    rng = run.rng("records")
    records = chain(rng.randbytes(32) for _ in range(4))
    records += [Record(0, NO_DIGEST, NO_DIGEST), Record(1, NO_DIGEST, b"\xff" * 32)]
    for number in (255, 256, 2**32, 0x0102030405060708, LAST_ID - 1, LAST_ID):
        records.append(Record(number, rng.randbytes(32), rng.randbytes(32)))
    return records


@check("hashes-with-sha-256")
def encodes_an_anchor_record(run: Run):
    """anchor_record_encode() writes the layout of anchor_record.h.

    Byte for byte, integers highest byte first on every machine; and anchor_record_digest() gives the
    last field.
    """
    script = Script()
    calls = {}
    for record in _records(run):
        calls[script.call("anchor_record_encode", *record.words)] = record, "buf"
        calls[script.call("anchor_record_digest", *record.words)] = record, "digest"
    session = run.drive(script)
    for number, (record, name) in calls.items():
        reply = session[number]
        want = record.bytes if name == "buf" else record.digest
        if reply["ret"] != 0:
            problem = f"it returned {reply['ret']}"
        elif reply.bytes(name) != want:
            problem = _first_difference(want, reply.bytes(name))
        else:
            continue
        yield run.at_function(Finding("O402", f"record {record.id}: {problem}"), reply.call)
        return


def _first_difference(want: bytes, got: bytes) -> str:
    at = next(i for i, (a, b) in enumerate(zip(want, got)) if a != b)
    field = next(name for end, name in FIELDS if at < end) if len(want) > 32 else "digest"
    return f"byte {at} ({field}) is {got[at]:02x} and should be {want[at]:02x}"


@check("encodes-an-anchor-record")
def refuses_a_first_record_with_a_past(run: Run):
    """Record 0 has no predecessor; with a prev it is refused.

    A prev that is not zero is -EINVAL from anchor_record_encode() and from
    anchor_record_digest(), and nothing is written.
    """
    rng = run.rng("refused")
    script = Script()
    numbers = []
    for prev in (rng.randbytes(32), bytes(31) + b"\1", b"\1" + bytes(31)):
        numbers += [script.call(f"anchor_record_{name}", 0, prev, NO_DIGEST)
                    for name in ("encode", "digest")]
    session = run.drive(script)
    for number in numbers:
        reply = session[number]
        output = reply.bytes("buf" if reply.call.endswith("encode") else "digest")
        if reply["ret"] != EINVAL:
            problem = f"returned {reply['ret']} and should return {EINVAL} (-EINVAL)"
        elif set(output) - {0xA5}:
            problem = "wrote to its output, and refused"
        else:
            continue
        message = f"record 0 with a prev: {reply.call}() {problem}"
        yield run.at_function(Finding("O403", message), reply.call)
        return


@check("builds")
def decodes_an_anchor_record(run: Run):
    """anchor_record_decode() reads back every canonical record."""
    script = Script()
    calls = {script.call("anchor_record_decode", r.bytes): r for r in _records(run)}
    session = run.drive(script)
    for number, record in calls.items():
        reply = session[number]
        if reply["verdict"] != OK:
            problem = f"the verdict is {verdict(reply)} and should be ANCHOR_OK"
        elif (reply["id"], reply.bytes("prev"), reply.bytes("payload")) != record.words:
            problem = "id, prev or payload is not what was encoded"
        else:
            continue
        message = f"record {record.id}: {problem}"
        yield run.at_function(Finding("O404", message), "anchor_record_decode")
        return


def judge(run: Run, function: str, cases, code: str):
    """Drives a decoder over (what, bytes, verdict) and yields the first that differs."""
    script = Script()
    calls = {script.call(function, data): (what, want) for what, data, want in cases}
    session = run.drive(script)
    for number, (what, want) in calls.items():
        reply = session[number]
        if reply["verdict"] != want:
            problem = f"the verdict is {verdict(reply)} and should be ANCHOR_{VERDICTS[want]}"
        elif want != OK and reply["wrote"]:
            problem = "it wrote to its output, and the verdict is not ANCHOR_OK"
        else:
            continue
        yield run.at_function(Finding(code, f"{what}: {problem}"), function)
        return


def torn(data: bytes, rng):
    """What a crash can leave of `data`: short, zeros, noise or a flipped bit."""
    yield "no bytes", b"", TORN
    for n in range(1, len(data)):
        yield f"{n} of {len(data)} bytes", data[:n], TORN
    for n in (0, 1, 16, 24, len(data) - 32, len(data) - 1):
        yield f"zeros from byte {n} on", data[:n] + bytes(len(data) - n), TORN
        yield f"noise from byte {n} on", data[:n] + rng.randbytes(len(data) - n), TORN
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit % 8} of byte {bit // 8} flipped", bytes(flipped), TORN


@check("decodes-an-anchor-record")
def finds_every_torn_anchor(run: Run):
    """A record that a crash tore is ANCHOR_TORN.

    Cut short at any byte, zeros or noise in its place, any one bit flipped: the digest
    covers all that stands before it. No byte past the input is read.
    """
    rng = run.rng("torn")
    data = Record(5, rng.randbytes(32), rng.randbytes(32)).bytes
    yield from judge(run, "anchor_record_decode", torn(data, rng), "R401")


def misspelt(data: bytes, magic: bytes):
    """Whole bytes that no encoder writes: no crash leaves them."""
    body = data[:-32]
    for more in (b"\0", b"x", bytes(40), data):
        yield f"{len(more)} bytes too many", data + more, MALFORMED
    yield "one byte too many, and zeros", bytes(len(data) + 1), MALFORMED
    for other in (magic[:-1] + b"2", bytes(16), magic[::-1], b"X" + magic[1:]):
        yield f"the magic {quoted(other)}", seal(other + body[16:]), MALFORMED


@check("decodes-an-anchor-record")
def accepts_one_spelling_only(run: Run):
    """Whole bytes that are not canonical are ANCHOR_MALFORMED.

    Bytes too many, another magic, a record 0 with a past, whatever their digest says. A
    crash leaves none of these: a person has to look.
    """
    rng = run.rng("misspelt")
    data = Record(5, rng.randbytes(32), rng.randbytes(32)).bytes
    cases = list(misspelt(data, b"anchor-record/v1"))
    cases.append(("a cosignature's bytes", seal(b"anchor-cosign/v1" + rng.randbytes(112)), MALFORMED))
    past = Record(0, bytes(31) + b"\1", rng.randbytes(32))
    cases.append(("record 0 with a prev that is not zero", past.bytes, MALFORMED))
    yield from judge(run, "anchor_record_decode", cases, "R402")


@check("encodes-an-anchor-record")
def continues_the_log(run: Run):
    """anchor_log_next() and anchor_log_append() build a log.

    The next record has the count for its id and the last digest for its prev. A full log
    has no next record: -EOVERFLOW, and nothing written.
    """
    rng = run.rng("log")
    script = Script()
    calls, prev = {}, NO_DIGEST
    for record in chain(rng.randbytes(32) for _ in range(5)):
        calls[script.call("anchor_log_next", record.id, prev, record.payload)] = record
        calls[script.call("anchor_log_append", record.id, prev, *record.words)] = record
        prev = record.digest
    last = Record(LAST_ID - 1, prev, rng.randbytes(32))
    calls[script.call("anchor_log_append", LAST_ID - 1, prev, *last.words)] = last
    full = script.call("anchor_log_next", LAST_ID, prev, NO_DIGEST)
    session = run.drive(script)
    for number, record in calls.items():
        reply = session[number]
        problem = _log_problem(reply, record)
        if problem:
            message = f"{reply.call}(), record {record.id}: {problem}"
            yield run.at_function(Finding("R403", message), reply.call)
            return
    if session[full]["ret"] != EOVERFLOW or set(session[full].bytes("prev")) != {0xA5}:
        got = f"anchor_log_next() returned {session[full]['ret']} for a full log, or wrote"
        message = f"{got}; it should return {EOVERFLOW} (-EOVERFLOW)"
        yield run.at_function(Finding("R403", message), "anchor_log_next")


def _log_problem(reply, record: Record) -> str | None:
    if reply.call == "anchor_log_next":
        if (reply["id"], reply.bytes("prev"), reply.bytes("payload")) != record.words:
            return "id, prev or payload is not what continues the log"
        return None if reply["ret"] == 0 else f"it returned {reply['ret']}"
    if reply["verdict"] != OK:
        return f"the verdict is {verdict(reply)} and should be ANCHOR_OK"
    if (reply["count"], reply.bytes("last")) != (record.id + 1, record.digest):
        return f"count is {reply['count']} and should be {record.id + 1}, or last is wrong"
    return None


@check("continues-the-log")
def refuses_what_does_not_continue_the_log(run: Run):
    """What does not continue the log is refused.

    A repeat, a gap, a broken chain and one record too many, each by its verdict, ids
    judged before the chain; and the log stays as it was.
    """
    script = Script()
    calls = {}
    for what, count, last, record, want in _refused(run):
        number = script.call("anchor_log_append", count, last, *record.words)
        calls[number] = what, count, last, want
    session = run.drive(script)
    for number, (what, count, last, want) in calls.items():
        reply = session[number]
        if reply["verdict"] != want:
            problem = f"the verdict is {verdict(reply)} and should be ANCHOR_{VERDICTS[want]}"
        elif (reply["count"], reply.bytes("last")) != (count, last):
            problem = "the log was changed by a record that it refused"
        else:
            continue
        yield run.at_function(Finding("R404", f"{what}: {problem}"), "anchor_log_append")
        return


def _refused(run: Run):
    rng = run.rng("refused by the log")
    last, other = rng.randbytes(32), rng.randbytes(32)
    near = bytes([*last[:31], last[31] ^ 1])
    for number in (0, 1, 2):
        prev = last if number else NO_DIGEST
        yield f"record {number} in a log of 3", 3, last, Record(number, prev, other), REPEAT
    yield "a repeat with another prev", 3, last, Record(2, other, other), REPEAT
    for number in (4, 5, 2**32 + 3, LAST_ID):
        yield f"record {number} in a log of 3", 3, last, Record(number, last, other), GAP
    yield "record 1 in an empty log", 0, NO_DIGEST, Record(1, NO_DIGEST, other), GAP
    yield "a gap with another prev", 3, last, Record(4, other, other), GAP
    for prev in (other, near, NO_DIGEST):
        yield "the right id, another prev", 3, last, Record(3, prev, other), BROKEN_CHAIN
    yield "record 0 with a prev", 0, NO_DIGEST, Record(0, other, other), BROKEN_CHAIN
    for number in (LAST_ID, 0, 3):
        prev = last if number else NO_DIGEST
        yield f"record {number} in a log of 2^64-1", LAST_ID, last, Record(number, prev, other), FULL
