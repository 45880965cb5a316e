"""Checks of the log's writer: wal_open, wal_append, wal_close."""

import errno

from ..result import Finding
from ..run import HERE, Failed, Run, Script, Sparse
from ..tracing import Promise, trace
from . import check
from .returns import LEFT_OPEN, errno_name, interrupted_syncs, still_open, sync_tried_again, wrong_return
from .wal_format import FOUR, SET, encode, random_record, show

LOG, OTHER = "test.wal", "other.wal"
FIRST, SECOND = FOUR[0], FOUR[1]
TOGETHER = 50_000  # microseconds in which two threads come to their writes
MEMORY_ROUNDS = 6  # of which the first two may fill caches
# Of a sync, beside EIO. There are programs that take the last three for "not needed here".
FINAL = (errno.ENOSPC, errno.EDQUOT, errno.EINVAL, errno.EROFS, errno.ENOTSUP)


def _bytes(*records) -> bytes:
    return b"".join(encode(*record) for record in records)


def _log_differs(run: Run, session, want: bytes, code: str, why: str, name=LOG, function="wal_append"):
    """Yields a finding if the log is not exactly `want`."""
    got = session.file(name)
    if got == want:
        return
    if got is None:
        problem = f"{name} is not there"
    elif len(got) != len(want):
        problem = f"{name} has {len(got)} bytes and should have {len(want)}"
    else:
        at = next(i for i, (a, b) in enumerate(zip(got, want)) if a != b)
        problem = f"{name} is wrong from byte {at} on: {show(got[at:], 8)}"
    yield run.at_function(Finding(code, f"{why}: {problem}"), function)


@check("builds")
def holds_every_record_appended(run: Run):
    """The log holds every record, encoded, in order, and nothing else.

    wal_open() makes the file, wal_append() adds a record and moves `offset` by its size,
    wal_close() closes it. Small records, random ones and the largest there is; the same
    one twice.
    """
    wrong = list(_appends_the_same_again(run))
    if wrong:
        yield from wrong
        return
    rng = run.rng("appended")
    records = FOUR + [random_record(rng) for _ in range(30)]
    records.insert(20, (SET, rng.randbytes(65_535), rng.randbytes(65_535)))
    script = Script()
    opened = script.call("wal_open", 0, LOG)
    appended = [script.call("wal_append", 0, *record) for record in records]
    closed = script.call("wal_close", 0)
    session = run.drive(script)
    for number in (opened, *appended, closed):
        bad = list(wrong_return(run, session[number], 0, "O103", "where nothing is wrong"))
        if bad:
            yield from bad
            return
    offset = 0
    for number, record in zip(appended, records):
        offset += len(encode(*record))
        if session[number]["offset"] != offset:
            message = f"offset is {session[number]['offset']} after {offset} bytes of records"
            yield run.at_function(Finding("O106", message), "wal_append")
            return
    if session[closed]["fd"] != -1:
        yield run.at_function(Finding("O107", "fd is not -1 after wal_close()"), "wal_close")
    yield from _log_differs(run, session, _bytes(*records), "O103", "after all appends")


def _appends_the_same_again(run: Run):
    """Two equal records are two. Sees, too, which descriptors are open at the end where
    nothing fails: LEFT_OPEN, by the function that opened them."""
    script = Script()
    before = script.call("fds")
    opened = script.call("wal_open", 0, LOG)
    made = script.call("fds")
    for _ in range(2):
        script.call("wal_append", 0, *FIRST)
    script.call("wal_close", 0)
    after = script.call("fds")
    session = run.drive(script)
    if session[opened]["ret"] == 0:
        yield from _log_differs(run, session, _bytes(FIRST, FIRST), "O103", "after the same record twice")
        by_open = still_open(run, session, session[before], session[made])
        run.memo[LEFT_OPEN] = {
            name: "wal_open" if name in by_open and name != LOG else "wal_close"
            for name in still_open(run, session, session[before], session[after])
        }


def _stays_open(run: Run, session, before: int, after: int) -> str | None:
    """The descriptors that a failure leaves open, beside those that always are."""
    left = still_open(run, session, session[before], session[after])
    return ", ".join(name for name in left if name not in run.memo.get(LEFT_OPEN, ())) or None


@check("holds-every-record-appended")
def continues_an_existing_log(run: Run):
    """A log that is there is continued at its end.

    wal_open() sets `offset` to the size of the file, and what stands in it stays: a torn
    record too, which is for recovery to judge. The log may be large, and its name may be
    a symbolic link to it.
    """
    yield from _leaves_a_torn_tail(run)
    yield from _opens_what_is_there(run)
    before, name = _bytes(*FOUR), f"deep/er/{LOG}"
    script = Script()
    opened = script.call("wal_open", 0, name)
    appended = script.call("wal_append", 0, *SECOND)
    script.call("wal_close", 0)
    session = run.drive(script, files={name: before})
    yield from wrong_return(run, session[opened], 0, "O104", "for a log that is there")
    if session[opened]["ret"] != 0:
        return
    for number, want in ((opened, len(before)), (appended, len(before) + 27)):
        got = session[number]["offset"]
        if got != want:
            message = f"offset is {got} after {session[number].call}(), and should be {want}"
            yield run.at_function(Finding("O106", message), session[number].call)
            return
    yield from _log_differs(run, session, before + _bytes(SECOND), "O104", "after one append", name)


def _leaves_a_torn_tail(run: Run):
    torn = _bytes(*FOUR)[:-3]
    script = Script()
    opened = script.call("wal_open", 0, LOG)
    script.call("wal_close", 0)
    session = run.drive(script, files={LOG: torn})
    yield from wrong_return(run, session[opened], 0, "O104", "for a log with a torn record")
    why = "wal_open() of a log whose last record is torn"
    yield from _log_differs(run, session, torn, "A102", why, function="wal_open")


def _opens_what_is_there(run: Run):
    """A log of which 32 bits cannot hold the size, and one behind a symbolic link."""
    size = (5 << 30) + 7
    script = Script()
    script.call("make", "link", "link.wal", f"deep/{LOG}")
    large = script.call("wal_open", 0, OTHER)
    script.call("wal_close", 0)
    linked = script.call("wal_open", 1, "link.wal")
    script.call("wal_append", 1, *SECOND)
    script.call("wal_close", 1)
    session = run.drive(script, files={OTHER: Sparse(b"", size), f"deep/{LOG}": _bytes(FIRST)})
    for number, when in ((large, f"for a log of {size} bytes"), (linked, "for a symbolic link to a log")):
        yield from wrong_return(run, session[number], 0, "O104", when)
    if session[large]["ret"] == 0 and session[large]["offset"] != size:
        message = f"offset is {session[large]['offset']} after wal_open() of a log of {size} bytes"
        yield run.at_function(Finding("O106", message), "wal_open")
    if session[linked]["ret"] == 0:
        want, why = _bytes(FIRST, SECOND), "after one append through a symbolic link"
        yield from _log_differs(run, session, want, "O104", why, f"deep/{LOG}")


@check("holds-every-record-appended")
def makes_the_log_with_mode_0644(run: Run):
    """A new log has mode 0644, under the usual umask of 022.

    The umask takes away what it must, and nobody else adds to it. A log that is there
    keeps its mode.
    """
    umasks = {LOG: 0o022, "open.wal": 0, "shut.wal": 0o077}
    script = Script()
    for i, (name, umask) in enumerate(umasks.items()):
        script.call("umask", umask)
        script.call("wal_open", i, name)
        script.call("wal_close", i)
    script.call("put", OTHER, _bytes(FIRST))
    script.call("mode", OTHER, 0o600)
    script.call("wal_open", 3, OTHER)
    script.call("wal_append", 3, *SECOND)
    script.call("wal_close", 3)
    session = run.drive(script)
    wanted = [(name, 0o644 & ~umask, f"under a umask of {umask:03o}") for name, umask in umasks.items()]
    for name, want, when in (*wanted, (OTHER, 0o600, "which it had before")):
        mode = session.mode(name)
        if mode != want:
            message = f"{name} has mode {mode:04o} and should have {want:04o}, {when}"
            yield run.at_function(Finding("O105", message), "wal_open")
            return


@check("holds-every-record-appended")
def never_overwrites(run: Run):
    """Two handles on one log never overwrite each other's records.

    That is what O_APPEND is for: the kernel itself moves each write to the end. Each
    handle's `offset` counts what it made durable itself, and not the other's records.
    Nor do two handles share memory: two threads may each have one, on two logs.
    """
    mixed = list(_threads_mix(run))
    if mixed:
        yield mixed[0]
        return
    script = Script()
    script.call("wal_open", 0, LOG)
    first = script.call("wal_append", 0, *FIRST)
    opened = script.call("wal_open", 1, LOG)
    last = [script.call("wal_append", handle, *record) for handle, record in ((1, SECOND), (0, FOUR[2]))]
    closed = [script.call("wal_close", handle) for handle in (0, 1)]
    session, findings = trace(run, script, append_only=(LOG,))
    findings += wrong_return(run, session[opened], 0, "O107", "for a second handle on the same log")
    if not findings:
        for number in (first, *last, *closed):
            findings += wrong_return(run, session[number], 0, "O107", "with two handles on one log")
    if findings:
        yield from findings
        return
    want = _bytes(FIRST, SECOND, FOUR[2])
    yield from _log_differs(run, session, want, "A101", "appending through two handles in turn")
    if not session[opened]["append"]:
        # Whoever looks for the end and then writes there may be a moment late.
        message = "the log is not open with O_APPEND: another handle may write first"
        yield run.at_function(Finding("A101", message), "wal_open")
    for number, want in zip(last, (len(_bytes(FIRST, SECOND)), len(_bytes(FIRST, FOUR[2])))):
        if session[number]["offset"] != want:
            message = (
                f"offset is {session[number]['offset']} with two handles on one log, and should be {want}: "
                "the size at wal_open(), and the records of this handle"
            )
            yield run.at_function(Finding("O106", message), "wal_append")
            return


def _threads_mix(run: Run):
    """Two threads, each with a handle of its own. Each write waits until both are on their
    way, so that memory which they share holds one record for the two."""
    records = {LOG: (SET, b"one", b"1" * 99), OTHER: (SET, b"two", b"2" * 99)}
    script = Script()
    for i, name in enumerate(records):
        script.call("wal_open", i, name)
    script.call("fault", "write", 1, "delay", TOGETHER)
    script.call("together")
    appended = [script.call("wal_append", i, *record, f"@{i}") for i, record in enumerate(records.values())]
    script.call("apart")
    script.call("clear")
    for i, name in enumerate(records):
        script.call("wal_close", i)
    session = run.drive(script)
    for number in appended:
        yield from wrong_return(run, session[number], 0, "O107", "beside a thread with another log")
    for name, record in records.items():
        why = "after two threads appended to two logs at the same time"
        yield from _log_differs(run, session, _bytes(record), "O103", why, name)


@check("holds-every-record-appended")
def reports_a_failed_open(run: Run):
    """An open that fails says so, with the errno, and leaves nothing open.

    A directory that is not there, a directory instead of a file, a directory whose sync
    fails: each a negative errno.
    """
    script = Script()
    before = script.call("fds")
    missing = script.call("wal_open", 0, f"missing/{LOG}")
    folder = script.call("wal_open", 0, "deep")
    unsynced = []
    for error in (errno.EIO, *FINAL):
        script.call("fault", "sync", 1, "errno", error)
        unsynced.append((script.call("wal_open", 0, LOG), error))
    script.call("clear")
    after = script.call("fds")
    script.call("fault", "leave", 1, "errno", errno.EIO)
    left = script.call("wal_open", 1, LOG)
    script.call("clear")
    script.call("wal_close", 1)  # for those who keep the directory open
    unopened = []
    for error in (errno.EMFILE, errno.EACCES, errno.EIO):
        script.call("fault", "open", 2, "errno", error)
        unopened.append((script.call("wal_open", 0, LOG), error))
    at_last = script.call("fds")
    session = run.drive(script, files={"deep/x": b""})
    yield from wrong_return(run, session[missing], -errno.ENOENT, "O107", "where its directory is not there")
    yield from wrong_return(run, session[folder], -errno.EISDIR, "O107", "for a directory")
    if session[unsynced[0][0]].faults:
        wrong = list(sync_tried_again(run, [], ("wal_open", 0, LOG), "D206"))
        for number, error in () if wrong else unsynced:
            when = f"though the sync of the directory failed ({errno.errorcode[error]})"
            wrong += wrong_return(run, session[number], -error, "F104", when)
            if wrong:
                break
        if session[left].faults:
            when = "though the close of the directory failed (EIO)"
            wrong += wrong_return(run, session[left], -errno.EIO, "F108", when)
        for number, error in unopened:
            if session[number].faults:
                after = at_last
                when = f"though its directory could not be opened ({errno.errorcode[error]})"
                wrong += wrong_return(run, session[number], -error, "F108", when)
        yield from wrong
        names = _stays_open(run, session, before, after)
        if not wrong and names:
            message = f"a wal_open() that fails leaves {names} open"
            yield run.at_function(Finding("F109", message), "wal_open")


@check("holds-every-record-appended")
def refuses_a_bad_record_and_goes_on(run: Run):
    """A record without an encoding is refused, and the handle stays good."""
    script = Script()
    script.call("wal_open", 0, LOG)
    script.call("wal_append", 0, *FIRST)
    refused = [script.call("wal_append", 0, *r) for r in ((3, b"k", b""), (SET, b"", b"v"))]
    good = script.call("wal_append", 0, *SECOND)
    closed = script.call("wal_close", 0)
    session = run.drive(script)
    for number in refused:
        yield from wrong_return(run, session[number], -errno.EINVAL, "F110", "for a bad record")
    for number in (good, closed):
        yield from wrong_return(run, session[number], 0, "F110", "after a bad record was refused")
    yield from _log_differs(run, session, _bytes(FIRST, SECOND), "F110", "after a refused record")


# Faults: the calls below fail, or do less than they were asked, for real.


def _with_fault(run: Run, fault: tuple, record):
    """Opens, appends `record` under the fault, and closes. The session and the append."""
    script = Script()
    script.call("wal_open", 0, LOG)
    script.call("fault", *fault)
    appended = script.call("wal_append", 0, *record)
    script.call("clear")
    script.call("wal_close", 0)
    session = run.drive(script)
    return session, session[appended]


@check("holds-every-record-appended")
def survives_short_writes(run: Run):
    """A write that stops half way is continued to the end of the record.

    write(2) may take fewer bytes than it is given. Here it does: the first call takes 1,
    5 or 20 bytes, or each call takes 3; and once it takes none at all, which must end in
    an error, not in an endless loop.
    """
    for fault in (("write", 1, "short", 1), ("write", 1, "short", 5), ("write", 1, "short", 20),
                  ("write", "1+", "short", 3)):
        session, reply = _with_fault(run, fault, FIRST)
        if reply.faults and (reply["ret"] != 0 or session.file(LOG) != _bytes(FIRST)):
            size = len(session.file(LOG) or b"")
            message = (
                f"{reply.faults[0].call}() took {fault[3]} of 21 bytes; then wal_append() "
                f"returned {errno_name(reply['ret'])} and {size} bytes were in the log"
            )
            yield run.at_fault(Finding("F101", message), reply.faults[0])
            return
    yield from _zero_write(run)


def _zero_write(run: Run):
    try:
        _, reply = _with_fault(run, ("write", "1+", "zero"), FIRST)
    except Failed as failed:
        if failed.findings[0].code != "S101" and failed.findings[0].code != "S102":
            raise
        where = failed.findings[0]
        message = "wal_append() never returns when write() keeps returning 0"
        yield Finding("F106", message, where.file, where.line)
        return
    if reply.faults and reply["ret"] >= 0:
        yield run.at_fault(
            Finding("F106", "wal_append() returned 0 though write() took no byte"), reply.faults[0]
        )


@check("holds-every-record-appended")
def survives_interrupted_writes(run: Run):
    """A write that a signal interrupts is tried again.

    EINTR means that nothing was written yet; it is not a failure of the disk. A sync
    that is interrupted has not synced: it is tried again, or the error is returned.
    """
    session, reply = _with_fault(run, ("write", 1, "errno", errno.EINTR), FIRST)
    if reply.faults and (reply["ret"] != 0 or session.file(LOG) != _bytes(FIRST)):
        message = f"write() was interrupted (EINTR) and wal_append() returned {errno_name(reply['ret'])}"
        yield run.at_fault(Finding("F102", message), reply.faults[0])
        return
    again = list(_interrupted_after_a_part(run))
    if again:
        yield from again
        return
    opened, append = ("wal_open", 0, LOG), ("wal_append", 0, *FIRST)
    yield from interrupted_syncs(run, [opened], append, [Promise(LOG, "file")])


def _interrupted_after_a_part(run: Run):
    """The first write takes 5 bytes, the second is interrupted: 16 are left, not 21."""
    script = Script()
    script.call("wal_open", 0, LOG)
    script.call("fault", "write", 1, "short", 5)
    script.call("fault", "any", 2, "errno", errno.EINTR)
    appended = script.call("wal_append", 0, *FIRST)
    script.call("wal_close", 0)
    session = run.drive(script)
    reply = session[appended]
    if [fault.what for fault in reply.faults] != ["short", "errno"] or "write" not in reply.faults[1].call:
        return
    if reply["ret"] != 0 or session.file(LOG) != _bytes(FIRST):
        message = (
            f"{reply.faults[0].call}() took 5 of 21 bytes and was then interrupted (EINTR); wal_append() "
            f"returned {errno_name(reply['ret'])} and {len(session.file(LOG) or b'')} bytes were in the log"
        )
        yield run.at_fault(Finding("F102", message), reply.faults[1])


def _poison_script(fault):
    """Two handles, of which the first meets the fault in its second append. Then it is
    used again and again, and closed, with an eye on what it calls."""
    script, call = Script(), {}
    call["before"] = script.call("fds")
    script.call("wal_open", 0, LOG)
    script.call("wal_open", 1, OTHER)
    call["good"] = script.call("wal_append", 0, *FIRST)
    script.call("fault", *fault)
    call["failing"] = script.call("wal_append", 0, *SECOND)
    script.call("clear")
    for kind in ("write", "truncate"):
        script.call("fault", kind, "1+", "watch")
    records = (FIRST, FOUR[2], *FOUR)
    call["later"] = [script.call("wal_append", 0, *record) for record in records]
    call["refused"] = script.call("wal_append", 0, 3, b"k", b"")
    script.call("fault", "close", 1, "errno", errno.ESTALE)
    call["closed"] = script.call("wal_close", 0)
    script.call("clear")
    call["other"] = script.call("wal_append", 1, *SECOND)
    script.call("wal_close", 1)
    call["after"] = script.call("fds")
    return script, call


def _stops(run: Run, fault, error: int, code: str, what: str, left: bytes | None):
    """The failing call says so, and the handle then only repeats the error.

    `left`: what must stand in the log at the end, None for whatever does.
    """
    script, call = _poison_script(fault)
    session = run.drive(script)
    reply = session[call["failing"]]
    if not reply.faults:
        return  # the program does not use that call: there is nothing to fail
    met = reply.faults[-1]
    bad = list(wrong_return(run, reply, -error, code, f"though {what}"))
    if bad:
        yield from bad
        return
    if reply["offset"] != session[call["good"]]["offset"]:
        message = f"offset moved to {reply['offset']} though {what}"
        yield run.at_fault(Finding("F107", message), met)
        return
    later = [session[number] for number in (*call["later"], call["refused"], call["closed"])]
    bad = list(_used_again(run, later, error, what, met))
    if not bad and left is not None:
        why = f"{what}, and the handle was used again"
        bad = list(_log_differs(run, session, left, "F105", why))
    yield from bad or _beside_the_poison(run, session, call, what)


def _stops_each_time(run: Run, kind: str, errors, code: str):
    """No error of a write or a sync is one to go on from, whatever its number; but EINTR."""
    script, made = Script(), []
    for error in errors:
        script.call("wal_open", 0, LOG)
        script.call("fault", kind, 1, "errno", error)
        failing = script.call("wal_append", 0, *FIRST)
        script.call("clear")
        later = script.call("wal_append", 0, *SECOND), script.call("wal_close", 0)
        made.append((error, failing, later))
    session = run.drive(script)
    for error, failing, later in made:
        reply, what = session[failing], f"a {kind} failed ({errno.errorcode[error]})"
        if not reply.faults:
            return
        bad = list(wrong_return(run, reply, -error, code, f"though {what}"))
        bad = bad or list(_used_again(run, [session[n] for n in later], error, what, reply.faults[-1]))
        if bad:
            yield from bad
            return


def _used_again(run: Run, replies, error: int, what: str, met):
    """What the handle did after the failure at `met`, if it did anything."""
    for reply in replies:
        if reply["ret"] != -error:
            of = {-errno.EINVAL: " of a bad record", -errno.ESTALE: ", whose close(2) failed (ESTALE),"}
            message = (
                f"{what}; a later {reply.call}(){of.get(reply['ret'], '')} returned "
                f"{errno_name(reply['ret'])} and not the first error, {errno_name(-error)}"
            )
            yield run.at_fault(Finding("F105", message), met)
            return
        made = next((fault for fault in reply.faults if fault.call != "close"), None)
        if made:
            message = f"{what}; a later {reply.call}() called {made.call}() all the same"
            yield run.at_fault(Finding("F105", message), made)
            return


def _beside_the_poison(run: Run, session, call, what: str):
    """A poisoned handle is closed all the same, and is the only one that is poisoned."""
    if session[call["closed"]]["fd"] != -1:
        message = f"{what}; fd is not -1 after wal_close()"
        yield run.at_function(Finding("F109", message), "wal_close")
    elif names := _stays_open(run, session, call["before"], call["after"]):
        message = f"{what}; wal_close() then leaves {names} open"
        yield run.at_function(Finding("F109", message), "wal_close")
    other, size = session[call["other"]], len(_bytes(SECOND))
    when = f"on another log: {what}, on this one nothing did"
    yield from wrong_return(run, other, 0, "O107", when)
    if dict(other.words).get("ret") == "0" and other["offset"] != size:
        message = f"offset is {other['offset']} after one record of {size} bytes in another log"
        yield run.at_function(Finding("O106", message), "wal_append")


@check("holds-every-record-appended")
def stops_after_a_failed_write(run: Run):
    """After a failed write the handle is poisoned.

    wal_append() returns the errno and `offset` stays. From then on wal_append() and
    wal_close() return that same error and write nothing: behind a torn record nothing
    may follow. Only recovery mends the log.
    """
    whole = _bytes(FIRST)
    for error in (errno.ENOSPC, errno.EIO):
        what = f"a write failed ({errno.errorcode[error]})"
        found = list(_stops(run, ("write", 1, "errno", error), error, "F103", what, whole))
        if found:
            yield from found
            return
    found = list(_stops_each_time(run, "write", (errno.EAGAIN, errno.EDQUOT), "F103"))
    yield from found or _real_limit(run)


def _real_limit(run: Run):
    """A limit on the file's size: the kernel writes what fits, then fails with EFBIG.

    It reaches programs whose writes pass through stdio as well.
    """
    script = Script()
    script.call("wal_open", 0, LOG)
    script.call("wal_append", 0, *FIRST)
    script.call("limit", "fsize", 30)
    failing = script.call("wal_append", 0, *SECOND)
    later = script.call("wal_append", 0, *FOUR[2])
    closed = script.call("wal_close", 0)
    # Not the checked build: the sanitizers write files of their own.
    session = run.drive(script, variant="plain")
    want = -errno.EFBIG
    when = "where a write was cut short by a full disk and then failed (EFBIG)"
    yield from wrong_return(run, session[failing], want, "F103", when)
    yield from wrong_return(run, session[later], want, "F105", "after that failure")
    yield from wrong_return(run, session[closed], want, "F105", "after that failure")
    got = session.file(LOG) or b""
    if not _bytes(FIRST, SECOND)[:30].startswith(got):
        yield from _log_differs(run, session, _bytes(FIRST, SECOND)[:30], "F105", when)


@check("holds-every-record-appended")
def stops_after_a_failed_sync(run: Run):
    """After a failed sync the handle is poisoned; no later sync is believed.

    The kernel may have thrown away the pages that it could not write, and the next
    fsync() then returns 0. So the first error is returned until the log is recovered.
    """
    opened, append = ("wal_open", 0, LOG), ("wal_append", 0, *FIRST)
    again = list(sync_tried_again(run, [opened], append, "D106"))
    if again:
        yield from again
        return
    found = list(_stops(run, ("sync", 1, "errno", errno.EIO), errno.EIO, "F104", "a sync failed (EIO)", None))
    yield from found or _stops_each_time(run, "sync", FINAL, "F104")


@check("holds-every-record-appended")
def reports_a_failed_close(run: Run):
    """wal_close() reports what failed, and always closes the file.

    Once: after a close that failed the descriptor is gone, and its number may already be
    another file's. Whatever was opened or allocated on the way is given back.
    """
    for name, function in run.memo.get(LEFT_OPEN, {}).items():
        yield run.at_function(Finding("F109", f"{name} is still open after wal_close()"), function)
    yield from _memory_is_given_back(run)
    for kind, error, code in (
        ("sync", errno.EIO, "F104"), ("close", errno.EIO, "F108"), ("close", errno.EINTR, "F108")
    ):
        script = Script()
        before = script.call("fds")
        script.call("wal_open", 0, LOG)
        script.call("wal_append", 0, *FIRST)
        script.call("fault", kind, 1, "errno", error)
        closed = script.call("wal_close", 0)
        script.call("clear")
        after = script.call("fds")
        session = run.drive(script)
        if not session[closed].faults:
            continue
        first, *more = session[closed].faults
        when = f"though {first.call}() failed ({errno.errorcode[error]})"
        for fault in more:  # the driver reports a close of what is not open
            message = f"wal_close() closes a second time {when}"
            yield run.at_fault(Finding("F108", message), fault)
            return
        if error != errno.EINTR:  # closed it is; some say 0, some say EINTR
            yield from wrong_return(run, session[closed], -error, code, when)
        names = _stays_open(run, session, before, after)
        if names:
            message = f"wal_close() leaves {names} open {when}"
            yield run.at_function(Finding("F109", message), "wal_close")
            return


def _memory_is_given_back(run: Run):
    """A handle may keep memory until it is closed, and a function for its next call."""
    append, refused = ("wal_append", 0, *FIRST), ("wal_append", 0, 3, b"k", b"")
    missing = ("wal_open", 0, f"missing/{LOG}")
    rounds = ("wal_open", 0, LOG), append, append, refused, ("wal_close", 0), missing
    script, used = Script(), []
    for _ in range(MEMORY_ROUNDS):
        used.append([script.call("heap")] + [script.call(*c) and script.call("heap") for c in rounds])
    session = run.drive(script)
    used = [[session[number]["used"] for number in numbers] for numbers in used[2:]]
    if min(numbers[-1] - numbers[0] for numbers in used) <= 0:
        return
    by_append = min(numbers[3] - numbers[2] for numbers in used)  # a second one fills no buffer
    name = "wal_append" if by_append > 0 else "wal_open"
    least = by_append if by_append > 0 else min(numbers[-1] - numbers[0] for numbers in used)
    what = "each wal_append()" if by_append > 0 else "opening, appending and closing"
    yield run.at_function(Finding("F113", f"{what} leaves {least} bytes allocated"), name)


# What the trace of system calls shows.


def _appends(run: Run):
    """What the traces of appends show; traced once for several checks.

    First four small records. Then, if nothing is wrong with those, two new logs in turn:
    small records, large ones, and one that takes several writes.
    """
    if "appends" not in run.memo:
        rng = run.rng("traced")
        mixed = [random_record(rng) for _ in range(8)]
        mixed += [(SET, b"k", rng.randbytes(n)) for n in (4_000, 9_000, 65_535)]
        mixed += [random_record(rng) for _ in range(30)]
        few = [(0, record) for record in FOUR]
        many = few + [(i % 2, record) for i, record in enumerate(mixed)]
        run.memo["appends"] = _traced(run, few) or _traced(run, many)
    return run.memo["appends"]


def _traced(run: Run, appends):
    """The findings of a trace of these (handle, record), the last of them cut short once."""
    names = (f"deep/er/{LOG}", f"deep/{OTHER}")
    script, promises = Script(), {}

    def call(name, handle, *args, what="both"):
        promises[script.call(name, handle, *args)] = [Promise(names[handle], what)]

    handles = sorted({handle for handle, _ in appends})
    for handle in handles:
        call("wal_open", handle, names[handle], what="name")
    for handle, record in appends:
        call("wal_append", handle, *record)
    script.call("fault", "write", 1, "short", 5)
    call("wal_append", 0, *FIRST)
    script.call("clear")
    for handle in handles:
        call("wal_close", handle)
    _, findings = trace(
        run, script, files={"deep/er/x": b"", "deep/x": b""}, promises=promises,
        append_only=names, syncs_at_most={"wal_append": 4}, must_sync_in=("wal_close",),
    )
    return findings


def _only(findings, *codes):
    return [finding for finding in findings if finding.code in codes]


@check("holds-every-record-appended")
def syncs_before_it_returns(run: Run):
    """Every record is on stable storage before wal_append() returns.

    A sync of that file, begun after the last write of the record and finished before
    the return. Any call that gives this will do: fsync, fdatasync, O_DSYNC. A sync of
    another file, one that came before the last write, and sync_file_range do not.
    """
    yield from _only(_appends(run), "D101", "D102", "D103", "D104", "D105", "D106")


@check("holds-every-record-appended")
def syncs_the_directory(run: Run):
    """The log's name is on stable storage before wal_open() returns.

    fsync of a file does not make its name durable; fsync of its directory does. Also
    where the file was there before: whoever made it may have died before the sync.
    """
    mine = ("D201", "D202", "D203", "D204", "D205", "D206")
    yield from (_only(_appends(run), *mine) or _only(_names_that_were_there(run), *mine, "O107")
                or _in_the_root(run))


def _names_that_were_there(run: Run):
    """Logs that another program made and did not sync: empty, not empty, taken away and
    made anew, far away."""
    far = "/".join(["d" * 200, "e" * 200, LOG])
    script, opened, again = Script(), {}, set()
    for name, path, data in (
        (OTHER, OTHER, _bytes(FIRST)), (LOG, LOG, b""), (LOG, LOG, b""), (far, f"{HERE}/{far}", b""),
    ):
        if name in again:
            script.call("unlink", name)
        again.add(name)
        script.call("put", name, data)
        opened[script.call("wal_open", 0, path)] = [Promise(name, "name")]
        script.call("wal_close", 0)
    folder = far.removesuffix(LOG)
    session, findings = trace(run, script, files={f"{folder}x": b""}, promises=opened)
    *near, last = opened
    for number in near:
        findings += wrong_return(run, session[number], 0, "O107", "for a log that is there")
    when = f"for a log that is there, with a path of more than {len(far)} bytes"
    return findings + list(wrong_return(run, session[last], 0, "O107", when))


def _in_the_root(run: Run):
    """/test.wal stands in /. The program runs in a directory that it cannot open."""
    script = Script()
    script.call("make", "dir", "blind")
    script.call("mode", "blind", 0o300)
    script.call("cd", "blind")
    synced = script.call("wal_sync_dir", f"/{LOG}")
    reply = run.drive(script)[synced]
    if reply["ret"] == -errno.EACCES:
        message = f"wal_sync_dir(\"/{LOG}\") opens the directory in which the program runs, and not /"
        yield run.at_function(Finding("D203", message), "wal_sync_dir")


@check("syncs-before-it-returns")
def syncs_once_a_record(run: Run):
    """One sync a record, not one a byte.

    Each sync is a trip to the device. wal_append() may take up to four, for those who
    write a record in parts through O_DSYNC.
    """
    yield from _only(_appends(run), "D108")


@check("syncs-before-it-returns")
def syncs_at_close(run: Run):
    """wal_close() syncs one final time before it closes.

    A handle opened with O_DSYNC or O_SYNC has no need to.
    """
    yield from _only(_appends(run), "D107")
