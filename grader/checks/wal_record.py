"""Checks of the record format: crc32_update, wal_record_encode, wal_record_decode."""

import errno
import zlib

from ..result import Finding
from ..run import Run, Script
from . import check
from .returns import errno_name
from .wal_format import (
    CORRUPT, DEL, END, FOUR, MAX_BYTES, MIN_BYTES, OK, SET, TORN, VERDICTS, encode, random_record,
    seal, show,
)

EINVAL, ENOBUFS = -errno.EINVAL, -errno.ENOBUFS


@check("builds")
def computes_the_crc(run: Run):
    """crc32_update() computes CRC-32/IEEE, whole or in pieces.

    The nine bytes 123456789 give cbf43926, nothing gives 0, and a message gives the
    same checksum however it is cut into pieces, empty ones too, and wherever they stand.
    No length is too large for it.
    """
    rng = run.rng("crc")
    messages = [[b"123456789"], [b""], [bytes(4)], [bytes(range(256))], [b"123456789", b""]]
    messages += [[b"1234", b"", b"56789"], [b"", b"", b"", bytes(range(256))]]
    messages += [[rng.randbytes(rng.randint(0, 90)) for _ in range(3)] for _ in range(20)]
    messages += [[rng.randbytes(70_000)]]
    script = Script()
    calls = {script.call("crc32_update", *pieces, told=_sizes(pieces)): pieces for pieces in messages}
    large = script.call("crc32_update_long", 2**32 + 16)
    session = run.drive(script)
    for number, pieces in calls.items():
        want, got = zlib.crc32(b"".join(pieces)), session[number]["crc"]
        if want != got:
            text = f"crc32 of {show(b''.join(pieces), 9)} in {len(pieces)} pieces"
            yield run.at_function(
                Finding("O201", f"{text} is {got:08x} and should be {want:08x}"), "crc32_update"
            )
            return
    if session[large]["early"]:
        text = "of 2^32 + 16 bytes it reads the first 16 and no more"
        yield run.at_function(Finding("O201", text), "crc32_update")


def _sizes(pieces) -> str:
    sizes = [_counted(len(piece)) if piece else "NULL with len 0" for piece in pieces]
    return " then ".join(sizes)


def _counted(count: int) -> str:
    return f"{count:,} byte{'s' * (count != 1)}"


def _records(run: Run):
    """Records of every shape: the lesson's, the limits, and random ones."""
    rng = run.rng("records")
    yield from FOUR[:3]
    yield from [(DEL, b"name", b""), (SET, b"k", b""), (SET, b"\0", b"\0\0"), (DEL, b"abc", b"")]
    yield from [(SET, rng.randbytes(65_535), rng.randbytes(65_535)), (DEL, bytes(65_535), b"")]
    yield from [(SET, rng.randbytes(255), rng.randbytes(256)), (SET, b"\xff" * 4, b"\xff" * 257)]
    for _ in range(40):
        yield random_record(rng)


@check("computes-the-crc")
def encodes_the_layout(run: Run):
    """wal_record_encode() writes the layout of wal_record.h, byte for byte.

    Every length, every padding, any byte in key and value, the largest record too; and
    the size in *len_out.
    """
    script = Script()
    calls = {script.call("wal_record_encode", *r, len(encode(*r)), told=_name(r)): r
             for r in _records(run)}
    session = run.drive(script)
    for number, record in calls.items():
        reply, want = session[number], encode(*record)
        if reply["ret"] != 0:
            problem = f"it returned {errno_name(reply['ret'])} for a buffer of exactly {len(want)} bytes"
        elif reply["len"] != len(want):
            problem = f"*len_out is {reply['len']} and should be {len(want)}"
        elif reply.bytes("buf") != want:
            problem = _first_difference(want, reply.bytes("buf"))
        else:
            continue
        yield run.at_function(Finding("O202", f"{_name(record)}: {problem}"), "wal_record_encode")
        return


def _name(record) -> str:
    kind, key, value = record
    name = {SET: "SET", DEL: "DEL"}.get(kind, f"type {kind}")
    if isinstance(value, int):
        value_text = f"NULL with value_len {value}"
    elif value or kind != SET:
        value_text = f"of {_counted(len(value))}"
    else:
        value_text = "NULL with value_len 0"
    return f"{name}, key of {_counted(len(key))}, value {value_text}"


def _first_difference(want: bytes, got: bytes) -> str:
    at = next(i for i, (a, b) in enumerate(zip(want, got)) if a != b)
    fields = ((4, "crc32"), (8, "record_len"), (9, "type"), (11, "key_len"))
    field = next((name for end, name in fields if at < end), "the part behind key_len")
    return f"byte {at} ({field}) is {got[at]:02x} and should be {want[at]:02x}"


@check("encodes-the-layout")
def refuses_what_has_no_encoding(run: Run):
    """wal_record_encode() refuses what has no encoding.

    -EINVAL for an unknown type, an empty key, a DEL with a value, whatever the buffer;
    -ENOBUFS for one that is too small, even by one byte. Neither writes anything.
    """
    refused = [
        ((0, b"k", b"v"), 64, EINVAL), ((3, b"k", b"v"), 64, EINVAL),
        ((255, b"k", b""), 64, EINVAL), ((SET, b"", b"v"), 64, EINVAL),
        ((DEL, b"", b""), 64, EINVAL), ((DEL, b"k", b"v"), 64, EINVAL),
        ((DEL, b"k", 3), 64, EINVAL), ((3, b"k", b"v"), 0, EINVAL), ((SET, b"", b"v"), 14, EINVAL),
    ]
    for record in ((SET, b"foo", b"bar"), (DEL, b"name", b""), (SET, b"k", b"")):
        size = len(encode(*record))
        refused += [(record, cap, ENOBUFS) for cap in (size - 1, size - 5, 8, 0)]
    script = Script()
    calls = {script.call("wal_record_encode", *r, cap, told=f"{_name(r)}, a buffer of {cap}"): (r, cap, e)
             for r, cap, e in refused}
    session = run.drive(script)
    for number, (record, cap, error) in calls.items():
        reply = session[number]
        case = f"{_name(record)}, a buffer of {cap}"
        if reply["ret"] != error:
            problem = f"it returned {errno_name(reply['ret'])} and should return {errno_name(error)}"
        elif set(reply.bytes("buf")) - {0xA5} or reply["wrote"]:
            problem = f"it wrote to {'*len_out' if reply['wrote'] else 'the buffer'}, and refused"
        else:
            continue
        yield run.at_function(Finding("O203", f"{case}: {problem}"), "wal_record_encode")
        return


@check("computes-the-crc")
def decodes_what_was_encoded(run: Run):
    """wal_record_decode() reads back every canonical record.

    Type, key and value, which point into the input, and in *len_out where the next record
    starts; bytes that follow the record are not looked at, be they 2^32, and none is
    written to. No bytes at all are WAL_RECORD_END.
    """
    script = Script()
    calls = {}
    for record in _records(run):
        for given, what in _given(encode(*record)):
            name = f"{_name(record)}{what}"
            calls[script.call("wal_record_decode", *given, told=name)] = record, name
    end = script.call("wal_record_decode", b"")
    session = run.drive(script)
    for number, (record, name) in calls.items():
        reply, size = session[number], len(encode(*record))
        if reply["verdict"] != OK:
            problem = f"the verdict is {_verdict(reply)} and should be OK"
        elif reply["used"] != size:
            problem = f"*len_out is {reply['used']} and should be {size}"
        elif (reply["type"], reply.bytes("key"), reply.bytes("value")) != record:
            problem = "type, key or value is not what was encoded"
        elif reply["value_len"] != len(record[2]):
            problem = f"value_len is {reply['value_len']} and should be {len(record[2])}"
        elif not reply["inside"]:
            problem = "key or value does not point into the bytes that were decoded"
        else:
            continue
        yield run.at_function(Finding("O204", f"{name}: {problem}"), "wal_record_decode")
        return
    if session[end]["verdict"] != END:
        problem = f"the verdict on no bytes is {_verdict(session[end])} and should be END"
        yield run.at_function(Finding("O204", problem), "wal_record_decode")


def _given(data: bytes):
    """The bytes of a record, as the decoder may meet them."""
    yield (data,), ""
    yield (data + bytes(9),), ", zeros behind it"
    yield (data + b"\xff",), ", a byte ff behind it"
    if len(data) < 4096:
        yield (data, len(data)), ", in memory that can only be read"
        yield (data, 2**32), ", at the head of 2^32 bytes"


def _verdict(reply) -> str:
    verdict = reply["verdict"]
    return VERDICTS[verdict] if 0 <= verdict < len(VERDICTS) else str(verdict)


def _judge(run: Run, cases, code: str):
    """Drives the decoder over (what, bytes, verdict) and yields the first that differs."""
    script = Script()
    calls = {script.call("wal_record_decode", data, told=what): (what, want)
             for what, data, want in cases}
    session = run.drive(script)
    for number, (what, want) in calls.items():
        reply = session[number]
        if reply["verdict"] != want:
            problem = f"the verdict is {_verdict(reply)} and should be {VERDICTS[want]}"
        elif want != OK and reply["wrote"]:
            problem = "it wrote to its outputs, and the verdict is not OK"
        else:
            continue
        yield run.at_function(Finding(code, f"{what}: {problem}"), "wal_record_decode")
        return


@check("decodes-what-was-encoded")
def finds_every_torn_record(run: Run):
    """A record cut short at any byte is WAL_RECORD_TORN.

    So are fewer than 8 bytes, whatever they hold. Cut anywhere, the rest is not a record,
    and no byte past the input is read.
    """
    cases = []
    for record in ((SET, b"foo", b"bar"), (DEL, b"name", b""), (SET, b"q" * 30, b"z" * 33)):
        data = encode(*record)
        for cut in range(1, len(data)):
            cases.append((f"{cut} of {len(data)} bytes", data[:cut], TORN))
    cases += [(_counted(n).replace("byte", "zero byte"), bytes(n), TORN) for n in range(1, 8)]
    cases += [(f"8 bytes with record_len {n}", _head(n), TORN) for n in (MIN_BYTES, MAX_BYTES)]
    largest = encode(SET, b"k" * 65_535, b"v" * 65_535)
    cases.append((f"{MAX_BYTES - 1} of {MAX_BYTES} bytes", largest[:-1], TORN))
    yield from _judge(run, cases, "R201")


def _head(record_len: int) -> bytes:
    return b"\1\2\3\4" + record_len.to_bytes(4, "little")


@check("decodes-what-was-encoded")
def finds_every_flipped_bit(run: Run):
    """A record with one bit flipped is never accepted.

    The CRC covers every byte behind it, the length and the type included, and none is too
    special to count. A flip in record_len can make the record look torn; every other one
    makes it corrupt.
    """
    cases = []
    for record in ((SET, b"foo", b"bar"), (DEL, b"name", b"")):
        data = encode(*record)
        cases += [(f"crc32 {crc.hex()}", crc + data[4:], CORRUPT) for crc in (bytes(4), b"\xff" * 4)]
        for bit in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            size = int.from_bytes(flipped[4:8], "little")
            torn = len(data) < size <= MAX_BYTES
            what = f"bit {bit % 8} of byte {bit // 8} flipped"
            cases.append((what, bytes(flipped), TORN if torn else CORRUPT))
    yield from _judge(run, cases, "R202")


@check("decodes-what-was-encoded")
def accepts_canonical_records_only(run: Run):
    """Only canonical records are accepted, whatever their CRC says.

    Zeros are not a record. Nor is one whose lengths do not add up, whose padding is not
    zero, whose key is empty or whose type is unknown, though its CRC be right.
    """
    yield from _judge(run, _not_canonical(run), "R203")


def _not_canonical(run: Run):
    def body(size, kind, key_len, rest):
        head = size.to_bytes(4, "little") + bytes([kind]) + key_len.to_bytes(2, "little")
        return seal(head + rest)

    for size in (8, 15, 16, 64, 200_000):
        yield f"{size} zero bytes", bytes(size), CORRUPT
    set_rest = b"foo\0" + b"\3\0bar\0"
    yield "type 0", body(21, 0, 3, set_rest), CORRUPT
    yield "type 3", body(21, 3, 3, set_rest), CORRUPT
    yield "a DEL with a value behind it", body(21, 2, 3, set_rest), CORRUPT
    yield "an empty key", body(21, 1, 0, bytes(4) + b"\3\0bar\0"), CORRUPT
    yield "an empty key in a DEL", body(15, 2, 0, bytes(4)), CORRUPT
    yield "padding that is not zero", body(27, 1, 4, b"name\0\0x\0\5\0alice\0"), CORRUPT
    yield "no NUL behind the key", body(21, 1, 3, b"foox\3\0bar\0"), CORRUPT
    yield "no NUL behind the value", body(21, 1, 3, b"foo\0\3\0barx"), CORRUPT
    yield "a value_len one too large", body(21, 1, 3, b"foo\0\4\0bar\0"), CORRUPT
    yield "a value_len one too small", body(21, 1, 3, b"foo\0\2\0ba\0\0"), CORRUPT
    yield "a key_len past the record", body(21, 1, 60_000, set_rest), CORRUPT
    yield "a key_len that leaves no room for value_len", body(15, 1, 3, b"foo\0"), CORRUPT
    yield "one byte too many in the record", body(22, 1, 3, set_rest + b"\0"), CORRUPT
    yield "a word too much padding", body(25, 1, 3, b"foo\0" + bytes(4) + b"\3\0bar\0"), CORRUPT
    for more, rest in ((1, b"\0"), (2, b"\0\0"), (2, b"\1\0")):
        what = f"a SET that ends {_counted(more)} behind its key field"
        yield what, body(15 + more, 1, 3, b"foo\0" + rest), CORRUPT
    yield from _one_padding_byte()
    for size in (*range(MIN_BYTES), MAX_BYTES + 1):
        yield f"8 bytes with record_len {size}", _head(size), CORRUPT
    yield "record_len 14", body(14, 2, 1, b"a\0\0"), CORRUPT
    yield "record_len 0", body(0, 1, 3, set_rest), CORRUPT
    yield "record_len past the largest", body(MAX_BYTES + 1, 1, 3, set_rest), CORRUPT
    yield "record_len 2^32-1", body(2**32 - 1, 1, 3, set_rest), CORRUPT
    rng = run.rng("noise")
    for size in (21, 40, 100):
        yield f"{size} random bytes", b"\1\1\1\1\xff\xff\xff\x7f" + rng.randbytes(size), CORRUPT


def _one_padding_byte():
    """For keys of each remainder: each byte of the NULs and the padding, one at a time."""
    for kind, value in ((SET, b"bar"), (DEL, b"")):
        for key in (b"a", b"ab", b"abc", b"name"):
            data = encode(kind, key, value)
            for at in range(11 + len(key), 11 + len(key) + 4 - len(key) % 4):
                what = f"byte {at} (padding) of {_name((kind, key, value))} is 01"
                yield what, seal(data[4:at] + b"\1" + data[at + 1 :]), CORRUPT
