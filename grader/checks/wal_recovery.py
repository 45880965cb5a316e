"""Checks of recovery: wal_recover, alone and followed by the writer."""

import errno

from ..result import Finding
from ..run import Failed, Run, Script
from ..tracing import Promise, trace
from . import check
from .wal_format import DEL, MAX_BYTES, SET, apply, encode, random_record, show

LOG = "test.wal"
FOUR = [(SET, b"foo", b"bar"), (SET, b"name", b"alice"), (SET, b"count", b"42"), (DEL, b"name", b"")]
EBADMSG = -errno.EBADMSG


def _log(records) -> bytes:
    return b"".join(encode(*record) for record in records)


def _pairs(reply) -> dict[bytes, bytes]:
    return dict(zip(reply.all_bytes("k"), reply.all_bytes("v")))


def _differs(run: Run, reply, records, cut: int, code: str, what: str):
    """Yields a finding unless the reply says: these records, this much cut."""
    want = (0, len(records), len(_log(records)), cut)
    if reply["ret"] != 0:
        problem = f"it returned {reply['ret']} and should return 0"
    elif (reply["ret"], reply["records"], reply["valid"], reply["cut"]) != want:
        got = f"{reply['records']} records, {reply['valid']} bytes, {reply['cut']} cut"
        problem = f"it found {got}; there are {want[1]} records, {want[2]} bytes, {cut} to cut"
    elif _pairs(reply) != apply(records):
        problem = _map_differs(_pairs(reply), apply(records))
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
        good = _log(records)
        bad = list(_differs(run, session[numbers[i]], records, len(data) - len(good), code, what))
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
    size; an empty log; many records, wherever a buffer may happen to end.
    """
    rng = run.rng("replay")
    again = [(SET, b"k", b"1"), (SET, b"k", b"22"), (DEL, b"k", b""), (SET, b"k", b"333")]
    few_keys = [(rng.choice((SET, SET, DEL)), b"key%d" % rng.randint(0, 9), b"") for _ in range(80)]
    few_keys = [(k, key, rng.randbytes(5) if k == SET else b"") for k, key, _ in few_keys]
    large = [(SET, rng.randbytes(65_535), rng.randbytes(65_535)) for _ in range(3)]
    mixed = [random_record(rng, rng.choice((8, 40, 3000))) for _ in range(600)]
    yield from _recover_all(run, [
        (f"the log of {len(records)} records ({name})", _log(records), records)
        for name, records in (
            ("the lesson's", FOUR), ("one key again and again", again), ("ten keys", few_keys),
            ("the largest", large), ("empty", []), ("random", mixed + large + mixed),
        )
    ], "R101")


@check("replays-every-record")
def takes_no_log_for_an_empty_one(run: Run):
    """A log that is not there is an empty one, and is not made.

    In a directory that is not there it is no error either, or -ENOENT.
    """
    script = Script()
    number = script.call("wal_recover", LOG)
    session = run.drive(script)
    yield from _differs(run, session[number], [], 0, "R106", "a log that is not there")
    if session.names():
        yield run.at_function(Finding("R106", "wal_recover() made a log"), "wal_recover")


@check("replays-every-record")
def cuts_a_torn_tail(run: Run):
    """A record that is torn at the end is cut off, wherever it was torn.

    At every byte of the last record; also where the size reached the disk and the data
    did not, so that the tail is zeros, or half data and half zeros, or noise.
    """
    rng = run.rng("torn")
    good, last = FOUR[:3], encode(SET, b"tail", b"a value of some length")
    cases = [
        (f"the last record torn after {n} bytes", _log(good) + last[:n], good)
        for n in range(1, len(last))
    ]
    cases += [("a torn record alone in the log", last[:-1], [])]
    for n in (1, 4, 8, 15, 21, 4096, MAX_BYTES):
        cases.append((f"{n} zero bytes at the end", _log(good) + bytes(n), good))
    for n in (4, 8, 12, len(last) - 2):
        zeroed = last[:n] + bytes(len(last) - n)
        cases.append((f"the last record zero from byte {n} on", _log(good) + zeroed, good))
        noise = last[:n] + rng.randbytes(len(last) - n)
        cases.append((f"the last record noise from byte {n} on", _log(good) + noise, good))
    largest = encode(SET, rng.randbytes(65_535), rng.randbytes(65_535))
    cases.append(("the largest record torn", _log(good) + largest[:-1], good))
    yield from _recover_all(run, cases, "R102")


@check("replays-every-record")
def reports_corruption_and_cuts_nothing(run: Run):
    """A bad record with a whole one behind it is corruption, and is not cut.

    -EBADMSG, the offset of the bad record in `valid_bytes`, and the file as it was. The
    whole record is found wherever it stands, since the bad one's length says nothing.
    """
    files, script, cases = {}, Script(), []
    for what, at, data in _corrupt_logs(run):
        name = f"{len(cases)}.wal"
        files[name] = data
        cases.append((what, at, data, name, script.call("wal_recover", name)))
    session = run.drive(script, files=files)
    for what, at, data, name, number in cases:
        reply = session[number]
        if reply["ret"] != EBADMSG:
            problem = f"wal_recover() returned {reply['ret']} and should return {EBADMSG} (-EBADMSG)"
        elif reply["valid"] != at:
            problem = f"valid_bytes is {reply['valid']} and should be {at}"
        elif session.file(name) != data:
            problem = "the log was changed"
        else:
            continue
        yield run.at_function(Finding("R103", f"{what}: {problem}"), "wal_recover")
        return


def _corrupt_logs(run: Run):
    """Logs in which a record before the last is bad: what, where it is, the bytes."""
    rng = run.rng("corrupt")
    data = _log(FOUR)
    for at in range(21, 48):
        flipped = bytearray(data)
        flipped[at] ^= 1 << rng.randint(0, 7)
        yield f"a bit of byte {at} flipped, in the second of four records", 21, bytes(flipped)
    yield "the first record zeroed", 0, bytes(21) + data[21:]
    yield "three stray bytes between two records", 21, data[:21] + b"???" + data[21:]
    yield "a byte missing from the second record", 21, data[:30] + data[31:]
    large = encode(SET, rng.randbytes(65_535), rng.randbytes(65_535))
    bad = bytearray(large)
    bad[100] ^= 1
    yield "a bit of the largest record flipped", 91, data + bytes(bad) + encode(*FOUR[0])
    many = _log(FOUR) * 6000
    at = 91 * 3000
    torn = many[:at] + b"\xff" + many[at + 1 :]
    yield "a bit flipped in the middle of 24,000 records", at, torn
    far = data + bytes(1_200_000) + encode(*FOUR[0])
    yield "1.2 MB of zeros, then a whole record", 91, far


@check("cuts-a-torn-tail", "reports-corruption-and-cuts-nothing")
def can_be_run_again(run: Run):
    """Recovering again changes nothing."""
    torn = _log(FOUR) + encode(*FOUR[1])[:-3]
    script = Script()
    first, second = (script.call("wal_recover", LOG) for _ in range(2))
    session = run.drive(script, files={LOG: torn})
    yield from _differs(run, session[first], FOUR, 24, "R104", "the first time")
    yield from _differs(run, session[second], FOUR, 0, "R104", "the second time")


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
        session = run.drive(script, files={LOG: _log(FOUR[:2]) + encode(*FOUR[1])[:n]})
        bad = list(_differs(run, session[found], FOUR[:3], 0, "R104", "after one more append"))
        if bad:
            yield from bad
            return


@check("replays-every-record")
def needs_no_more_memory_than_the_map(run: Run):
    """A log larger than memory is replayed through a buffer of fixed size.

    48 MiB of records on ten keys, in a process that may have 16 MiB of data.
    """
    rng = run.rng("large")
    records = [(SET, b"key%d" % (i % 10), rng.randbytes(60_000)) for i in range(40)]
    data = _log(records)
    times = (48 << 20) // len(data) + 1
    script = Script()
    script.call("limit", "data", 16 << 20)
    number = script.call("wal_recover", LOG)
    try:
        session = run.drive(script, files={LOG: data * times}, variant="plain")
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
    if reply["records"] != 40 * times or _pairs(reply) != apply(records):
        message = f"a log of 48 MiB: {reply['records']} records, not {40 * times}, or a wrong map"
        yield run.at_function(Finding("R105", message), "wal_recover")


@check("cuts-a-torn-tail")
def reports_what_fails(run: Run):
    """A call that fails ends recovery with its errno.

    Nothing is believed of a log that could not be read to its end, and nothing promised
    of one that could not be synced. A read that is short or interrupted is no failure.
    """
    torn = _log(FOUR) + encode(*FOUR[1])[:-3]
    for fault, code, want in (
        (("read", 1, "errno", errno.EIO), "F108", -errno.EIO),
        (("truncate", 1, "errno", errno.EIO), "F108", -errno.EIO),
        (("sync", 1, "errno", errno.EIO), "F104", -errno.EIO),
        (("sync", 2, "errno", errno.EIO), "F104", -errno.EIO),
        (("read", "1+", "short", 7), "F101", 0),
        (("read", 1, "errno", errno.EINTR), "F102", 0),
    ):
        script = Script()
        script.call("fault", *fault)
        number = script.call("wal_recover", LOG)
        session = run.drive(script, files={LOG: torn})
        reply = session[number]
        if not reply.faults:
            continue
        met = reply.faults[0]
        if reply["ret"] != want:
            message = f"{met.call}() met {_fault_name(met)} and wal_recover() returned {reply['ret']}, not {want}"
            yield run.at_fault(Finding(code, message), met)
            return
        if want == 0:
            bad = list(_differs(run, reply, FOUR, 24, code, f"{met.call}() met {_fault_name(met)}"))
            if bad:
                yield run.at_fault(bad[0], met)
                return


def _fault_name(fault) -> str:
    if fault.what == "errno":
        return errno.errorcode[fault.value]
    return f"a limit of {fault.value} bytes a call"


def _promised(run: Run, name: str, data: bytes):
    """The trace of a recovery of what another program left and did not sync."""
    key = f"recovered {name}"
    if key not in run.memo:
        script = Script()
        script.call("put", LOG, data)
        number = script.call("wal_recover", LOG)
        _, run.memo[key] = trace(run, script, promises={number: [Promise(LOG, "both")]})
    return run.memo[key]


@check("cuts-a-torn-tail")
def syncs_what_it_replayed(run: Run):
    """What was replayed, and the cut, are on stable storage on return.

    A killed process leaves bytes that can be read and are not durable. Records that
    recovery hands out must not be gone after the next power loss, and a torn tail that
    was cut must not come back. So the file is synced, cut or not.
    """
    for name, data in (("whole", _log(FOUR)), ("torn", _log(FOUR) + b"torn")):
        findings = [f for f in _promised(run, name, data) if f.code.startswith("D1")]
        if findings:
            yield from findings
            return


@check("cuts-a-torn-tail")
def syncs_the_directory_of_the_log(run: Run):
    """The name of the log that was replayed is on stable storage on return."""
    yield from (f for f in _promised(run, "whole", _log(FOUR)) if f.code.startswith("D2"))
