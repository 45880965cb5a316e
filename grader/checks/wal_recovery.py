"""Checks of recovery: wal_recover, alone and followed by the writer."""

import errno
from dataclasses import replace

from ..result import Finding
from ..run import Failed, Run, Script
from ..tracing import Promise, read_ends, trace
from . import check
from .returns import leaks
from .wal_format import DEL, FOUR, MAX_BYTES, SET, apply, encode, random_record, show

LOG = "test.wal"
EBADMSG = -errno.EBADMSG
BEFORE = (b"before", b"kept")  # a pair that is in the map when recovery begins
LONG = "/".join(["longer-than-a-name-can-be"] * 10)  # a directory's path, of 259 bytes


def log_of(records) -> bytes:
    return b"".join(encode(*record) for record in records)


def _pairs(reply) -> dict[bytes, bytes]:
    return dict(zip(reply.all_bytes("k"), reply.all_bytes("v")))


def differs(run: Run, reply, records, cut: int, code: str, what: str, before=()):
    """Yields a finding unless the reply says: these records, this much cut; in a map that
    held `before`."""
    want = (0, len(records), len(log_of(records)), cut)
    if reply["ret"] != 0:
        problem = f"it returned {reply['ret']} and should return 0"
    elif ("unwritten", "1") in reply.words:
        problem = "it returned 0, and did not write *found_out"
    elif (reply["ret"], reply["records"], reply["valid"], reply["cut"]) != want:
        got = f"{reply['records']} records, {reply['valid']} bytes, {reply['cut']} cut"
        problem = f"it found {got}; there are {want[1]} records, {want[2]} bytes, {cut} to cut"
    elif _pairs(reply) != dict(before) | apply(records):
        problem = _map_differs(_pairs(reply), dict(before) | apply(records))
    else:
        return
    yield run.at_function(Finding(code, f"{what}: {problem}"), "wal_recover")


def _map_differs(got, want) -> str:
    for key in sorted(got.keys() | want.keys()):
        if got.get(key) != want.get(key):
            had = "not there" if key not in got else show(got[key], 8) or "empty"
            should = "not there" if key not in want else show(want[key], 8) or "empty"
            return f"in the map, key {show(key, 8)} is {had} and should be {should}"
    return "the map is wrong"


def _recover_all(run: Run, cases, code: str, variant="checked", left_as_it_was=False):
    """Recovers one log a case, (what, bytes, records that must be found), and holds
    the answer and the file against it. Stops at the first that differs."""
    files, script, numbers = {}, Script(), []
    for i, (_, data, _) in enumerate(cases):
        files[f"{i}.wal"] = data
        numbers.append(script.call("wal_recover", f"{i}.wal"))
    session = run.drive(script, files=files, variant=variant)
    for i, (what, data, records) in enumerate(cases):
        good = log_of(records)
        bad = list(differs(run, session[numbers[i]], records, len(data) - len(good), code, what))
        if not bad and session.file(f"{i}.wal") != good:
            size = len(session.file(f"{i}.wal") or b"")
            message = f"{what}: the file has {size} bytes after recovery and should have {len(good)}"
            bad = [run.at_function(Finding(code, message), "wal_recover")]
        if bad:
            yield from bad
            return


@check("builds")
def replays_every_record(run: Run):
    """wal_recover() replays every record, in order, into the map.

    A SET sets, a DEL deletes, the last one wins; keys and values of any bytes and any
    size; an empty log; many records, wherever a buffer may happen to end. Also a log that
    ends exactly where a page or a buffer does. A pair that was in the map stays.
    """
    rng = run.rng("replay")
    again = [(SET, b"k", b"1"), (SET, b"k", b"22"), (DEL, b"k", b""), (SET, b"k", b"333")]
    few_keys = [(rng.choice((SET, SET, DEL)), b"key%d" % rng.randint(0, 9), b"") for _ in range(80)]
    few_keys = [(k, key, rng.randbytes(5) if k == SET else b"") for k, key, _ in few_keys]
    large = [_largest(rng) for _ in range(3)]
    mixed = [random_record(rng, rng.choice((8, 40, 3000))) for _ in range(600)]
    yield from _recover_all(run, [
        (f"the log of {len(records)} records ({name})", log_of(records), records)
        for name, records in (
            ("the lesson's", FOUR), ("one key again and again", again), ("ten keys", few_keys),
            ("the largest", large), ("empty", []), ("random", mixed + large + mixed),
            *((f"{size} bytes", _records_of(rng, size)) for size in (4096, 65_536, 1 << 20)),
        )
    ], "R101")
    yield from _into_a_map(run)
    for read in _read_ends(run):
        cases = []
        for end in (read - 1, read, read + 1):
            what = f"the largest record, up to byte {end}, where a read ended at {read}"
            records = [*_records_of(rng, end - MAX_BYTES), _largest(rng), FOUR[0]]
            cases.append((what, log_of(records), records))
        yield from _recover_all(run, cases, "R101")


def _into_a_map(run: Run):
    """What the map held before: other segments of the log, in w10-l05."""
    script = Script()
    number = script.call("wal_recover", LOG, *BEFORE)
    session = run.drive(script, files={LOG: log_of(FOUR)})
    what = "into a map with a pair in it"
    yield from differs(run, session[number], FOUR, 0, "R101", what, before=[BEFORE])


def _read_ends(run: Run) -> list[int]:
    """The first place, behind the largest record, at which the program's buffer ended
    when it read a long log. Not found where it maps the log."""
    if "read ends" not in run.memo:
        script = Script()
        script.call("wal_recover", LOG)
        data = log_of(_records_of(run.rng("read ends"), 3 << 20))
        ends = read_ends(run, script, {LOG: data}, LOG)
        fit = [end for end in ends if MAX_BYTES + 100 < end < len(data) - 1]
        run.memo["read ends"] = fit[:1]
    return run.memo["read ends"]


def _largest(rng) -> tuple[int, bytes, bytes]:
    return SET, rng.randbytes(65_535), rng.randbytes(65_535)


def _records_of(rng, size: int):
    """Records that take so many bytes: a SET of a one-byte key takes 18 and its value."""
    whole, rest = divmod(size, 60_000)
    parts = [60_000] * whole + [rest] if rest >= 18 else [60_000] * (whole - 1) + [59_900, 100 + rest]
    return [(SET, b"%d" % (i % 10), rng.randbytes(part - 18)) for i, part in enumerate(parts)]


@check("replays-every-record")
def takes_no_log_for_an_empty_one(run: Run):
    """A log that is not there is an empty one, and is not made.

    In a directory that is not there it is no error either, or -ENOENT.
    """
    script = Script()
    number = script.call("wal_recover", LOG)
    session = run.drive(script)
    yield from differs(run, session[number], [], 0, "R106", "a log that is not there")
    if session.names():
        yield run.at_function(Finding("R106", "wal_recover() made a log"), "wal_recover")
        return
    script = Script()
    number = script.call("wal_recover", f"missing/{LOG}")
    got = run.drive(script)[number]["ret"]
    if got not in (0, -errno.ENOENT):
        message = f"wal_recover() returned {got} where the log's directory is not there"
        yield run.at_function(Finding("R106", message), "wal_recover")


@check("replays-every-record")
def cuts_a_torn_tail(run: Run):
    """A record that is torn at the end is cut off, wherever it was torn.

    At every byte of the last record; also where the size reached the disk and the data
    did not, so that the tail is zeros, or half data and half zeros, or noise.
    """
    rng = run.rng("torn")
    good, last = FOUR[:3], encode(SET, b"tail", b"a value of some length")
    cases = [
        (f"the last record torn after {n} bytes", log_of(good) + last[:n], good)
        for n in range(1, len(last))
    ]
    cases += [("a torn record alone in the log", last[:-1], [])]
    for n in (1, 4, 8, 15, 21, 4096, MAX_BYTES):
        cases.append((f"{n} zero bytes at the end", log_of(good) + bytes(n), good))
    for n in (4, 8, 12, len(last) - 2):
        zeroed = last[:n] + bytes(len(last) - n)
        cases.append((f"the last record zero from byte {n} on", log_of(good) + zeroed, good))
        noise = last[:n] + rng.randbytes(len(last) - n)
        cases.append((f"the last record noise from byte {n} on", log_of(good) + noise, good))
    cases.append(("the largest record torn", log_of(good) + encode(*_largest(rng))[:-1], good))
    for size in (4096, 65_536):
        fits = _records_of(rng, size - 10)
        what = f"a record torn where the log has {size} bytes"
        cases.append((what, log_of(fits) + last[:10], fits))
    same = [(SET, b"k", rng.randbytes(600))] * 2000
    cases.append(("the last of 2000 equal records torn", log_of(same)[:-100], same[:-1]))
    yield from _recover_all(run, cases, "R102")


@check("replays-every-record")
def reports_corruption_and_cuts_nothing(run: Run):
    """A bad record with a whole one behind it is corruption, and is not cut.

    -EBADMSG, the offset of the bad record in `valid_bytes`, and the file as it was. The
    records before it are in the map, or none is, and `records` says how many. The whole
    record is found wherever it stands, since the bad one's length says nothing.
    """
    files, script, cases = {}, Script(), []
    for what, good, data in _corrupt_logs(run):
        name = f"{len(cases)}.wal"
        files[name] = data
        cases.append((what, good, data, name, script.call("wal_recover", name, *BEFORE)))
    session = _drive_search(run, script, files=files)
    for what, good, data, name, number in cases:
        problem = _not_refused(session[number], good)
        if not problem and session.file(name) != data:
            problem = "the log was changed"
        if problem:
            yield run.at_function(Finding("R103", f"{what}: {problem}"), "wal_recover")
            return


def _not_refused(reply, good) -> str:
    """What is wrong with the answer on a log that is corrupt behind these records."""
    if reply["ret"] != EBADMSG:
        return f"wal_recover() returned {reply['ret']} and should return {EBADMSG} (-EBADMSG)"
    if ("unwritten", "1") in reply.words:
        return f"wal_recover() returned {EBADMSG} (-EBADMSG), and did not write *found_out"
    for name, want in (("valid", len(log_of(good))), ("cut", 0)):
        if reply[name] != want:
            return f"{name}_bytes is {reply[name]} and should be {want}"
    records, got, before = reply["records"], _pairs(reply), dict([BEFORE])
    want = before | apply(good)
    if (records, got) in ((len(good), want), (0, before)):
        return ""  # who looks through the whole log first has replayed nothing
    if got == before:
        return f"records is {records}, and the map is as it was before the call"
    if got == want:
        return f"records is {records}, and {len(good)} are in the map"
    return _map_differs(got, want)


def _drive_search(run: Run, script: Script, **how):
    """Drives what searches behind a bad record; who runs too long is told what it costs."""
    try:
        return run.drive(script, **how)
    except Failed as failed:
        raise Failed(*(
            replace(f, message=f"{f.message}; a search that reads its buffer again at every byte does")
            if f.code == "S101" else f for f in failed.findings
        )) from None


def _corrupt_logs(run: Run):
    """Logs in which a record before the last is bad: what, the records before, the bytes."""
    rng = run.rng("corrupt")
    data = log_of(FOUR)
    for at in range(21, 48):
        flipped = bytearray(data)
        flipped[at] ^= 1 << rng.randint(0, 7)
        yield f"a bit of byte {at} flipped, in the second of four records", FOUR[:1], bytes(flipped)
    flipped = data[:30] + bytes([data[30] ^ 1]) + data[31:]
    yield "a bit of the second record flipped, and the last one torn", FOUR[:1], flipped[:-3]
    yield "the second record and the last bad", FOUR[:1], flipped[:-1] + b"?"
    smallest = encode(DEL, b"k")
    yield "the first record zeroed", [], bytes(21) + data[21:]
    yield "three stray bytes between two records", FOUR[:1], data[:21] + b"???" + data[21:]
    yield "a byte missing from the second record", FOUR[:1], data[:30] + data[31:]
    yield "one stray byte, then the smallest record", FOUR, data + b"?" + smallest
    yield "a torn record, then the smallest one", FOUR, data + data[:20] + smallest
    large = encode(*_largest(rng))
    for read in _read_ends(run):
        what = f"zeros, then the largest record, up to byte {read + 1}, where a read ended at {read}"
        yield what, [], bytes(read + 1 - MAX_BYTES) + large
    bad = bytearray(large)
    bad[100] ^= 1
    yield "a bit of the largest record flipped", FOUR, data + bytes(bad) + encode(*FOUR[0])
    torn = data * 3000 + b"\xff" + (data * 3000)[1:]
    yield "a byte changed in the middle of 24,000 records", FOUR * 3000, torn
    yield "1.2 MB of zeros, then a whole record", FOUR, far()
    # From more than 64 KiB before 1 MiB to as much behind it, counted from the log's beginning
    # or from the bad record's: who goes chunk by chunk has a part of it in each of two.
    zeros = bytes((1 << 20) - (65 << 10) - len(data))
    yield "zeros, then the largest record, around 1 MiB", FOUR, data + zeros + large


def far() -> bytes:
    return log_of(FOUR) + bytes(1_200_000) + encode(*FOUR[0])


@check("cuts-a-torn-tail", "reports-corruption-and-cuts-nothing")
def can_be_run_again(run: Run):
    """Recovering again changes nothing.

    Nor does a crash in the middle of it: a byte that was replayed is neither cut nor
    written again, not for a moment. And every call closes what it opened.
    """
    torn = log_of(FOUR) + encode(*FOUR[1])[:-3]
    bad = log_of(FOUR)[:21] + b"?" + log_of(FOUR)[21:]
    script = Script()
    before = script.call("fds")
    first, second = (script.call("wal_recover", LOG) for _ in range(2))
    for name in ("bad.wal", "missing.wal"):
        script.call("wal_recover", name)
    after = script.call("fds")
    session = run.drive(script, files={LOG: torn, "bad.wal": bad})
    yield from differs(run, session[first], FOUR, 24, "R104", "the first time")
    yield from differs(run, session[second], FOUR, 0, "R104", "the second time")
    yield from left_open(run, session[before], session[after])
    yield from (f for f in _promised(run) if f.code in ("A101", "A102"))
    recover = "wal_recover", LOG
    yield from leaks(run, [
        ("refusing a damaged log", ("wal_recover", "bad.wal"), None),
        ("where reads fail", recover, ("read", "1+", "errno", errno.EIO)),
        ("of a whole log", recover, None),
    ], files={LOG: log_of(FOUR), "bad.wal": bad})


def left_open(run: Run, before, after, when=""):
    """Holds what `fds` said behind a recovery against what it said before it."""
    if after["open"] > before["open"]:
        message = f"{when}wal_recover() leaves a descriptor open"
        yield run.at_function(Finding("F109", message), "wal_recover")


@check("cuts-a-torn-tail")
def lets_the_next_append_work(run: Run):
    """What is appended after recovery is found by the next recovery.

    A torn tail that is left in place swallows every record that is written behind it.
    """
    for n in (1, 8, 20):
        script = Script()
        script.call("wal_recover", LOG)
        script.call("wal_open", 0, LOG)
        script.call("wal_append", 0, *FOUR[2])
        script.call("wal_close", 0)
        found = script.call("wal_recover", LOG)
        session = run.drive(script, files={LOG: log_of(FOUR[:2]) + encode(*FOUR[1])[:n]})
        bad = list(differs(run, session[found], FOUR[:3], 0, "R104", "after one more append"))
        if bad:
            yield from bad
            return


@check("replays-every-record")
def needs_no_more_memory_than_the_map(run: Run):
    """A log larger than memory is replayed; only the map grows.

    48 MiB of records on ten keys, half of it in the smallest there are, in a process that
    may have 16 MiB of data. Nor does the search behind a bad record need more: 17 MiB of
    zeros.
    """
    yield from _long_tail(run)
    rng = run.rng("large")
    records = [(SET, b"key%d" % (i % 10), rng.randbytes(60_000)) for i in range(40)]
    smallest = encode(DEL, b"k")
    times, small = (24 << 20) // len(log_of(records)) + 1, (24 << 20) // len(smallest)
    data = log_of(records) * times + smallest * small
    script = Script()
    script.call("limit", "data", 16 << 20)
    number = script.call("wal_recover", LOG)
    try:
        session = run.drive(script, files={LOG: data}, variant="plain", seconds=30)
    except Failed as failed:
        where = failed.findings[0]
        message = f"a log of 48 MiB and 16 MiB of memory: {where.message}"
        yield Finding("R105", message, where.file, where.line)
        return
    finally:
        run.forget_folders()
    reply = session[number]
    if reply["ret"] != 0:
        message = f"a log of 48 MiB and 16 MiB of memory: wal_recover() returned {reply['ret']}"
        yield run.at_function(Finding("R105", message), "wal_recover")
        return
    want = len(records) * times + small
    if reply["records"] != want or _pairs(reply) != apply(records):
        message = f"a log of 48 MiB: {reply['records']} records, not {want}, or a wrong map"
        yield run.at_function(Finding("R105", message), "wal_recover")


def _long_tail(run: Run):
    script = Script()
    script.call("limit", "data", 16 << 20)
    number = script.call("wal_recover", LOG)
    files = {LOG: log_of(FOUR) + bytes(17 << 20)}
    reply = _drive_search(run, script, files=files, variant="plain", seconds=30)[number]
    what = "a log that ends in 17 MiB of zeros, and 16 MiB of memory"
    code = "R105" if reply["ret"] == -errno.ENOMEM else "R102"
    yield from differs(run, reply, FOUR, 17 << 20, code, what)
    log = log_of(FOUR) + bytes(17 << 20) + encode(*FOUR[0])
    script = Script()
    number = script.call("wal_recover", LOG, *BEFORE)
    session = _drive_search(run, script, files={LOG: log}, variant="plain", seconds=30)
    problem = _not_refused(session[number], FOUR)
    if problem:
        message = f"17 MiB of zeros, then a whole record: {problem}"
        yield run.at_function(Finding("R103", message), "wal_recover")


def _promised(run: Run):
    """The trace of recoveries of what another program left and did not sync."""
    if "recoveries" not in run.memo:
        good, large = log_of(FOUR), log_of(_records_of(run.rng("promised"), 200_000))
        script, promises, sizes = Script(), {}, {}
        for name, whole, tail in (
            ("deep/er/whole.wal", good, b""), (LOG, good, b"torn"), ("deep/twin.wal", good, b""),
            ("alone.wal", b"", b"torn"), ("deep/large.wal", large, b""), (f"{LONG}/test.wal", good, b""),
            ("deep/er/empty.wal", b"", b""),
        ):
            script.call("put", name, (whole + tail) or b"torn")
            if not whole + tail:  # a recovery was killed between its cut and its sync
                script.call("cut", name, 0)
            promises[script.call("wal_recover", name)] = [Promise(name, "both")]
            sizes[name] = len(whole)
        _, run.memo["recoveries"] = trace(
            run, script, files={"deep/x": b"", "deep/er/x": b"", f"{LONG}/x": b""},
            promises=promises, append_only=sizes,
        )
    return run.memo["recoveries"]


@check("cuts-a-torn-tail")
def syncs_what_it_replayed(run: Run):
    """What was replayed, and the cut, are on stable storage on return.

    A killed process leaves bytes that can be read and are not durable. Records that
    recovery hands out must not be gone after the next power loss, and a torn tail that
    was cut must not come back. So the file is synced, cut or not.
    """
    yield from (f for f in _promised(run) if f.code.startswith("D1"))


@check("cuts-a-torn-tail")
def syncs_the_directory_of_the_log(run: Run):
    """The name of the log that was replayed is on stable storage on return."""
    yield from (f for f in _promised(run) if f.code.startswith("D2"))
