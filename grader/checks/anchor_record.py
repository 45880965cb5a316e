"""Checks of anchor records and of the log in memory: w18/anchor_record.h, first half."""

import errno
import hashlib

from ..result import Finding
from ..run import Run, Script
from ..shown import quoted
from . import check
from .anchor_format import (
    BROKEN_CHAIN, FULL, GAP, LAST_ID, MALFORMED, NO_DIGEST, OK, REPEAT, TORN, UNJUDGED, VERDICTS,
    Record, chain, seal, verdict,
)
from .returns import errno_name, leaks, without_libcrypto

EINVAL, ENOMEM, EOVERFLOW = -errno.EINVAL, -errno.ENOMEM, -errno.EOVERFLOW
CALLS_MOST = 5  # of libcrypto, in one call of the student's
FIELDS = ((16, "magic"), (24, "id"), (56, "prev"), (88, "payload"), (120, "digest"))


@check("builds")
def hashes_with_sha_256(run: Run):
    """anchor_sha256() computes SHA-256, of any bytes and of none.

    No length is too large for it. Where libcrypto fails it returns -ENOMEM and writes
    nothing; and what it allocated it frees, then too.
    """
    rng = run.rng("sha256")
    messages = [b"", b"abc", bytes(64), rng.randbytes(10_000)]
    messages += [rng.randbytes(rng.randint(1, 130)) for _ in range(20)]
    script = Script()
    calls = {script.call("anchor_sha256", message, told=_counted(message)): message for message in messages}
    large = script.call("anchor_sha256_long", 2**32 + 16)
    session = run.drive(script)
    for number, message in calls.items():
        want, reply = hashlib.sha256(message).digest(), session[number]
        if reply["ret"] != 0 or reply.bytes("digest") != want:
            got = f"ret={errno_name(reply['ret'])}, {reply.bytes('digest')[:4].hex()}..."
            text = f"of {_counted(message)}: {got}, and should be {want[:4].hex()}..."
            yield run.at_function(Finding("O401", f"SHA-256 {text}"), "anchor_sha256")
            return
    if session[large]["early"]:
        text = "of 2^32 + 16 bytes it reads the first 16 and no more"
        yield run.at_function(Finding("O401", f"SHA-256 {text}"), "anchor_sha256")
        return
    done = (0, hashlib.sha256(b"abc").digest())
    yield from _without_libcrypto(run, [(("anchor_sha256", b"abc"), "digest", done)])
    steps = [("where nothing fails", ("anchor_sha256", b"abc"), None)]
    for number in range(1, CALLS_MOST):
        steps.append(("", ("libcrypto_fails", number), None))
        steps.append((f"where call {number} of libcrypto fails", ("anchor_sha256", b"abc"), None))
    yield from leaks(run, [*steps, ("", ("libcrypto_fails", 0), None)])


def _counted(data: bytes) -> str:
    return f"{len(data):,} byte{'s' * (len(data) != 1)}" if data else "NULL and length 0"


def _without_libcrypto(run: Run, cases):
    """Makes each call of libcrypto fail in turn. F108 where a call then neither does its
    work nor returns -ENOMEM (a verdict: ANCHOR_UNJUDGED), F111 where it changed an output,
    or where the same call does not do its work once nothing fails any more.

    `cases`  each the words of a call, the name of its output, and what it returns and
             outputs when nothing fails; an output that is a log comes behind its count
    """
    script, made = Script(), {}
    for words, output, done in cases:
        for number in range(1, CALLS_MOST + 1):
            told = f"a libcrypto whose call {number} fails"
            failing, again = without_libcrypto(script, number, *words, told=told)
            made[failing] = again, words, output, done
    session = run.drive(script)
    for number, (again, words, output, done) in made.items():
        reply = session[number]
        if not reply.faults:
            continue
        wrong = _failed_wrong(reply, words, output, done) or _spoiled(session[again], output, done)
        if wrong:
            code, problem = wrong
            message = f"{reply.faults[0].call}() failed, and {reply.call}() {problem}"
            yield run.at_function(Finding(code, message), reply.call)
            return


def _failed_wrong(reply, words, output: str, done) -> tuple[str, str] | None:
    """The code and the words for what it did."""
    judges = any(key == "verdict" for key, _ in reply.words)
    got = reply["verdict" if judges else "ret"]
    if got == 0 == done[0] and _output(reply, output) == done[1]:
        return None  # it found another way
    if got != (UNJUDGED if judges else ENOMEM):
        names = (verdict(reply), "ANCHOR_UNJUDGED") if judges else (errno_name(got), errno_name(ENOMEM))
        return "F108", "returned {} and should return {}".format(*names)
    touched = {
        "wrote": lambda: reply["wrote"],
        "log": lambda: _output(reply, "log") != words[1:3],
    }.get(output, lambda: set(reply.bytes(output)) - {0xA5})
    what = "changed the log" if output == "log" else "wrote to its output"
    return ("F111", f"said so, and {what} all the same") if touched() else None


def _spoiled(reply, output: str, done) -> tuple[str, str] | None:
    judges = any(key == "verdict" for key, _ in reply.words)
    got = reply["verdict" if judges else "ret"]
    if got != done[0]:
        said = verdict(reply) if judges else errno_name(got)
        return "F111", f"returned {said} in the next call, in which nothing failed"
    if _output(reply, output) != done[1]:
        return "F111", "gave a wrong answer in the next call, in which nothing failed"
    return None


def _output(reply, name: str):
    if name == "log":
        return reply["count"], reply.bytes("last")
    if name == "wrote":
        return reply["id"], reply.bytes("prev"), reply.bytes("payload")
    return reply.bytes(name)


def _records(run: Run) -> list[Record]:
    """Records of every shape: a chain, high ids, and noise."""
    rng = run.rng("records")
    records = chain(rng.randbytes(32) for _ in range(4))
    records += [Record(0, NO_DIGEST, NO_DIGEST), Record(1, NO_DIGEST, b"\xff" * 32)]
    top_bits = [0x80 << shift for shift in range(0, 64, 8)]
    for number in (255, 256, 2**32, 0x0102030405060708, LAST_ID - 1, LAST_ID, *top_bits):
        records.append(Record(number, rng.randbytes(32), rng.randbytes(32)))
    return records


@check("hashes-with-sha-256")
def encodes_an_anchor_record(run: Run):
    """anchor_record_encode() writes the layout of anchor_record.h.

    Byte for byte, integers highest byte first on every machine; and anchor_record_digest() gives the
    last field. Where libcrypto fails, both return -ENOMEM and write nothing.
    """
    script = Script()
    calls = {}
    for record in _records(run):
        name = _name(record)
        calls[script.call("anchor_record_encode", *record.words, told=name)] = record, "buf"
        calls[script.call("anchor_record_digest", *record.words, told=name)] = record, "digest"
    session = run.drive(script)
    for number, (record, name) in calls.items():
        reply = session[number]
        want = record.bytes if name == "buf" else record.digest
        if reply["ret"] != 0:
            problem = f"it returned {errno_name(reply['ret'])}"
        elif reply.bytes(name) != want:
            problem = _first_difference(want, reply.bytes(name))
        else:
            continue
        yield run.at_function(Finding("O402", f"{_name(record)}: {problem}"), reply.call)
        return
    yield from _without_libcrypto(run, [
        (("anchor_record_encode", *record.words), "buf", (0, record.bytes)),
        (("anchor_record_digest", *record.words), "digest", (0, record.digest)),
    ])


def _name(record: Record) -> str:
    """The record, and what is special of it."""
    fields = {"prev": record.prev if record.id else b"", "payload": record.payload}
    zeros = [name for name, field in fields.items() if field == NO_DIGEST]
    return f"record {_number(record.id)}" + "".join(f", a {name} of zeros" for name in zeros)


def _number(number: int) -> str:
    """Those at the end of 64 bits as what they lack of 2^64."""
    return f"2^64-{2**64 - number}" if 2**64 - number < 10 else str(number)


def _first_difference(want: bytes, got: bytes) -> str:
    at = next(i for i, (a, b) in enumerate(zip(want, got)) if a != b)
    field = next(name for end, name in FIELDS if at < end) if len(want) > 32 else "digest"
    return f"byte {at} ({field}) is {got[at]:02x} and should be {want[at]:02x}"


@check("encodes-an-anchor-record")
def refuses_a_first_record_with_a_past(run: Run):
    """Record 0 has no predecessor; with a prev it is refused.

    A prev that is not zero is -EINVAL from anchor_record_encode() and from
    anchor_record_digest(), the second time too, and nothing is written.
    """
    rng = run.rng("refused")
    script = Script()
    numbers = []
    for prev in (rng.randbytes(32), bytes(31) + b"\1", b"\1" + bytes(31)):
        numbers += [script.call(f"anchor_record_{name}", 0, prev, NO_DIGEST)
                    for name in ("encode", "digest") for _ in range(2)]
    session = run.drive(script)
    for number in numbers:
        reply = session[number]
        output = reply.bytes("buf" if reply.call.endswith("encode") else "digest")
        if reply["ret"] != EINVAL:
            problem = f"returned {errno_name(reply['ret'])} and should return {errno_name(EINVAL)}"
        elif set(output) - {0xA5}:
            problem = "wrote to its output, and refused"
        else:
            continue
        message = f"record 0 with a prev: {reply.call}() {problem}"
        yield run.at_function(Finding("O403", message), reply.call)
        return


@check("builds")
def decodes_an_anchor_record(run: Run):
    """anchor_record_decode() reads back every canonical record.

    It writes to none. Where libcrypto fails nobody knows: that is ANCHOR_UNJUDGED.
    """
    script = Script()
    calls = {}
    for record in _records(run):
        for total in ((), (len(record.bytes),)):
            calls[script.call("anchor_record_decode", record.bytes, *total, told=_name(record))] = record
    session = run.drive(script)
    for number, record in calls.items():
        reply = session[number]
        if reply["verdict"] != OK:
            problem = f"the verdict is {verdict(reply)} and should be ANCHOR_OK"
        elif (reply["id"], reply.bytes("prev"), reply.bytes("payload")) != record.words:
            problem = "id, prev or payload is not what was encoded"
        else:
            continue
        message = f"{_name(record)}: {problem}"
        yield run.at_function(Finding("O404", message), "anchor_record_decode")
        return
    yield from _without_libcrypto(run, [
        (("anchor_record_decode", record.bytes), "wrote", (0, record.words)),
    ])


def judge(run: Run, function: str, cases, code: str):
    """Drives a decoder over (what, bytes, verdict) and yields the first that differs."""
    script = Script()
    calls = {script.call(function, data, told=what): (what, want) for what, data, want in cases}
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
    """What a crash can leave of `data`, which comes first, so that a copy of it that was
    kept does not stand in for what is short: short, zeros, noise or a flipped bit."""
    yield "the whole bytes", data, OK
    for n in range(len(data) - 1, 0, -1):
        yield f"{n} of {len(data)} bytes", data[:n], TORN
    yield "no bytes", b"", TORN
    starts = (0, 1, 16, 24, len(data) - 32, len(data) - 1)
    zeroed = [(n, len(data)) for n in starts] + [(n, n + 8) for n in range(0, len(data), 8)]
    for n, end in zeroed:
        zeros = data[:n] + bytes(end - n) + data[end:]
        if zeros != data:
            yield f"zeros from byte {n} to byte {end - 1}", zeros, TORN
    for n in starts:
        yield f"noise from byte {n} on", data[:n] + rng.randbytes(len(data) - n), TORN
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit % 8} of byte {bit // 8} flipped", bytes(flipped), TORN


@check("decodes-an-anchor-record")
def finds_every_torn_anchor(run: Run):
    """A record that a crash tore is ANCHOR_TORN.

    Cut short at any byte, zeros or noise in its place, any one bit flipped, in record 0
    too: the digest covers all that stands before it, and is judged before it is asked what
    that is. Nor does it matter if the digest ends in zeros. No byte past the input is read.
    """
    rng = run.rng("torn")
    first = Record(0, NO_DIGEST, rng.randbytes(32))
    for record in (_ending_in_zero(rng), first):
        cases = [(f"record {record.id}, {what}", data, want) for what, data, want in torn(record.bytes, rng)]
        wrong = list(judge(run, "anchor_record_decode", cases, "R401"))
        yield from wrong
        if wrong:
            return


def _ending_in_zero(rng) -> Record:
    """Its last byte is what a program that pads with zeros would make up."""
    prev = rng.randbytes(32)
    while True:
        record = Record(5, prev, rng.randbytes(32))
        if record.digest.endswith(b"\0"):
            return record


def misspelt(data: bytes, magic: bytes):
    """Whole bytes that no encoder writes: no crash leaves them."""
    body = data[:-32]
    for more in (b"\0", b"x", bytes(40), data):
        yield f"{len(more)} bytes too many", data + more, MALFORMED
    yield "one byte too many, and zeros", bytes(len(data) + 1), MALFORMED
    for other in (magic[:-1] + b"2", bytes(16), magic[::-1], b"X" + magic[1:]):
        what = "a magic of zeros" if other == bytes(16) else f"the magic {quoted(other)}"
        yield what, seal(other + body[16:]), MALFORMED


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
    wrong = list(judge(run, "anchor_record_decode", cases, "R402"))
    yield from wrong or _longer_by_gibibytes(run, data)


def _longer_by_gibibytes(run: Run, data: bytes):
    script = Script()
    total = 2**32 + len(data)
    number = script.call("anchor_record_decode", data, total, told=f"2^32 + {len(data)} bytes")
    reply = run.drive(script)[number]
    if reply["verdict"] != MALFORMED:
        problem = f"the verdict is {verdict(reply)} and should be ANCHOR_MALFORMED"
        message = f"a record and 2^32 bytes more: {problem}"
        yield run.at_function(Finding("R402", message), "anchor_record_decode")


@check("encodes-an-anchor-record")
def continues_the_log(run: Run):
    """anchor_log_next() and anchor_log_append() build a log.

    The next record has the count for its id and the last digest for its prev. A full log
    has no next record: -EOVERFLOW, and nothing written. Where libcrypto fails the verdict
    is ANCHOR_UNJUDGED, and the log stays as it was.
    """
    rng = run.rng("log")
    script = Script()
    calls, prev = {}, NO_DIGEST
    for record in chain(rng.randbytes(32) for _ in range(5)):
        calls[script.call("anchor_log_next", record.id, prev, record.payload)] = record
        calls[script.call("anchor_log_append", record.id, prev, *record.words)] = record
        prev = record.digest
    last = Record(LAST_ID - 1, prev, rng.randbytes(32))
    calls[script.call("anchor_log_next", LAST_ID - 1, prev, last.payload)] = last
    calls[script.call("anchor_log_append", LAST_ID - 1, prev, *last.words)] = last
    full = script.call("anchor_log_next", LAST_ID, prev, NO_DIGEST)
    session = run.drive(script)
    for number, record in calls.items():
        reply = session[number]
        problem = _log_problem(reply, record)
        if problem:
            message = f"{reply.call}(), record {_number(record.id)}: {problem}"
            yield run.at_function(Finding("R403", message), reply.call)
            return
    reply = session[full]
    written = {*reply.bytes("prev"), *reply.bytes("payload"), *reply["id"].to_bytes(8, "big")} != {0xA5}
    if reply["ret"] != EOVERFLOW or written:
        got = f"returned {errno_name(reply['ret'])}{' and wrote to its output' * written}"
        want = f"should return {errno_name(EOVERFLOW)} and write nothing"
        message = f"anchor_log_next() {got} for a full log, and {want}"
        yield run.at_function(Finding("R403", message), "anchor_log_next")
        return
    first, second = chain(rng.randbytes(32) for _ in range(2))
    yield from _without_libcrypto(run, [
        (("anchor_log_append", 1, first.digest, *second.words), "log", (0, (2, second.digest))),
    ])


def _log_problem(reply, record: Record) -> str | None:
    if reply.call == "anchor_log_next":
        if reply["ret"] != 0:
            return f"it returned {errno_name(reply['ret'])} and should return 0"
        if (reply["id"], reply.bytes("prev"), reply.bytes("payload")) != record.words:
            return "id, prev or payload is not what continues the log"
        return None
    if reply["verdict"] != OK:
        return f"the verdict is {verdict(reply)} and should be ANCHOR_OK"
    if (reply["count"], reply.bytes("last")) != (record.id + 1, record.digest):
        if reply["count"] == record.id + 1:
            return "last is not the digest of the record"
        return f"count is {_number(reply['count'])} and should be {_number(record.id + 1)}"
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
    last = last[:4] + b"\0" + last[5:]
    for number in (0, 1, 2):
        prev = last if number else NO_DIGEST
        yield f"record {number} in a log of 3", 3, last, Record(number, prev, other), REPEAT
    yield "a repeat with another prev", 3, last, Record(2, other, other), REPEAT
    for number in (4, 5, 2**32 + 3, LAST_ID):
        yield f"record {_number(number)} in a log of 3", 3, last, Record(number, last, other), GAP
    yield "record 1 in an empty log", 0, NO_DIGEST, Record(1, NO_DIGEST, other), GAP
    yield "a gap with another prev", 3, last, Record(4, other, other), GAP
    for prev in (other, NO_DIGEST):
        yield "the right id, another prev", 3, last, Record(3, prev, other), BROKEN_CHAIN
    for at in range(32):
        near = last[:at] + bytes([last[at] ^ 1]) + last[at + 1 :]
        what = f"the right id, a prev that differs in byte {at} (last has a 0 in byte 4)"
        yield what, 3, last, Record(3, near, other), BROKEN_CHAIN
    yield "record 0 with a prev", 0, NO_DIGEST, Record(0, other, other), BROKEN_CHAIN
    for number in (LAST_ID, 0, 3):
        prev = last if number else NO_DIGEST
        yield f"record {_number(number)} in a log of 2^64-1", LAST_ID, last, Record(number, prev, other), FULL
