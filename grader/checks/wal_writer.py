"""Checks of the log's writer: wal_open, wal_append, wal_close."""

import errno

from ..result import Finding
from ..run import HERE, Failed, Run, Script
from ..tracing import Promise, trace
from . import check
from .returns import errno_name, interrupted_syncs, sync_tried_again, wrong_return
from .wal_format import FOUR, SET, encode, random_record, show

LOG, OTHER = "test.wal", "other.wal"
FIRST, SECOND = FOUR[0], FOUR[1]


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
    wal_close() closes it. Small records, random ones and the largest there is.
    """
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


@check("holds-every-record-appended")
def continues_an_existing_log(run: Run):
    """A log that is there is continued at its end.

    wal_open() sets `offset` to the size of the file, and what stands in it stays: a torn
    record too, which is for recovery to judge.
    """
    yield from _leaves_a_torn_tail(run)
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


@check("holds-every-record-appended")
def makes_the_log_with_mode_0644(run: Run):
    """A new log has mode 0644, under the usual umask of 022."""
    script = Script()
    script.call("wal_open", 0, LOG)
    script.call("wal_close", 0)
    session = run.drive(script)
    mode = session.mode(LOG)
    if mode != 0o644:
        yield run.at_function(
            Finding("O105", f"{LOG} has mode {mode:04o} and should have 0644"), "wal_open"
        )


@check("holds-every-record-appended")
def never_overwrites(run: Run):
    """Two handles on one log never overwrite each other's records.

    That is what O_APPEND is for: the kernel itself moves each write to the end.
    """
    script = Script()
    script.call("wal_open", 0, LOG)
    script.call("wal_append", 0, *FIRST)
    opened = script.call("wal_open", 1, LOG)
    for handle, record in ((1, SECOND), (0, FOUR[2])):
        script.call("wal_append", handle, *record)
    for handle in (0, 1):
        script.call("wal_close", handle)
    session, findings = trace(run, script, append_only=(LOG,))
    if findings:
        yield from findings
        return
    want = _bytes(FIRST, SECOND, FOUR[2])
    yield from _log_differs(run, session, want, "A101", "appending through two handles in turn")
    if not session[opened]["append"]:
        # Whoever looks for the end and then writes there may be a moment late.
        message = "the log is not open with O_APPEND: another handle may write first"
        yield run.at_function(Finding("A101", message), "wal_open")


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
    script.call("fault", "sync", 1, "errno", errno.EIO)
    unsynced = script.call("wal_open", 0, LOG)
    script.call("fault", "sync", 1, "errno", errno.ENOSPC)
    full = script.call("wal_open", 0, LOG)
    after = script.call("fds")
    unopened = []
    for error in (errno.EMFILE, errno.EACCES, errno.EIO):
        script.call("fault", "open", 2, "errno", error)
        unopened.append((script.call("wal_open", 0, LOG), error))
    at_last = script.call("fds")
    session = run.drive(script, files={"deep/x": b""})
    yield from wrong_return(run, session[missing], -errno.ENOENT, "O107", "where its directory is not there")
    yield from wrong_return(run, session[folder], -errno.EISDIR, "O107", "for a directory")
    if session[unsynced].faults:
        wrong = list(sync_tried_again(run, [], ("wal_open", 0, LOG), "D206"))
        for number, error in () if wrong else ((unsynced, errno.EIO), (full, errno.ENOSPC)):
            when = f"though the sync of the directory failed ({errno.errorcode[error]})"
            wrong += wrong_return(run, session[number], -error, "F104", when)
        for number, error in unopened:
            if session[number].faults:
                after = at_last
                when = f"though its directory could not be opened ({errno.errorcode[error]})"
                wrong += wrong_return(run, session[number], -error, "F108", when)
        yield from wrong
        if not wrong and session[after]["open"] > session[before]["open"]:
            message = "a wal_open() that fails leaves a descriptor open"
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
    opened, append = ("wal_open", 0, LOG), ("wal_append", 0, *FIRST)
    yield from interrupted_syncs(run, [opened], append, [Promise(LOG, "file")])


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
    later = [session[number] for number in (*call["later"], call["closed"])]
    bad = list(_used_again(run, later, error, what, met))
    if not bad and left is not None:
        why = f"{what}, and the handle was used again"
        bad = list(_log_differs(run, session, left, "F105", why))
    yield from bad or _beside_the_poison(run, session, call, what)


def _used_again(run: Run, replies, error: int, what: str, met):
    """What the handle did after the failure at `met`, if it did anything."""
    for reply in replies:
        if reply["ret"] != -error:
            message = (
                f"{what}; a later {reply.call}() returned {errno_name(reply['ret'])} "
                f"and not the first error, {errno_name(-error)}"
            )
            yield run.at_fault(Finding("F105", message), met)
            return
        if reply.faults:
            message = f"{what}; a later {reply.call}() called {reply.faults[0].call}() all the same"
            yield run.at_fault(Finding("F105", message), reply.faults[0])
            return


def _beside_the_poison(run: Run, session, call, what: str):
    """A poisoned handle is closed all the same, and is the only one that is poisoned."""
    if session[call["closed"]]["fd"] != -1:
        message = f"{what}; fd is not -1 after wal_close()"
        yield run.at_function(Finding("F109", message), "wal_close")
    elif session[call["after"]]["open"] > session[call["before"]]["open"]:
        message = f"{what}; wal_close() then leaves the file open"
        yield run.at_function(Finding("F109", message), "wal_close")
    other, size = session[call["other"]], len(_bytes(SECOND))
    when = f"on another log: {what}, on this one nothing did"
    yield from wrong_return(run, other, 0, "O107", when)
    if other["ret"] == 0 and other["offset"] != size:
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
        yield from _stops(run, ("write", 1, "errno", error), error, "F103", what, whole)
    yield from _real_limit(run)


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
    for error in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
        what = f"a sync failed ({errno.errorcode[error]})"
        found = list(_stops(run, ("sync", 1, "errno", error), error, "F104", what, None))
        if found:
            yield from found
            return


@check("holds-every-record-appended")
def reports_a_failed_close(run: Run):
    """wal_close() reports what failed, and always closes the file.

    Once: after a close that failed the descriptor is gone, and its number may already be
    another file's.
    """
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
        if session[after]["open"] > session[before]["open"]:
            message = f"wal_close() leaves the file open {when}"
            yield run.at_function(Finding("F109", message), "wal_close")


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
    yield from _only(_appends(run), *mine) or _only(_names_that_were_there(run), *mine)


def _names_that_were_there(run: Run):
    """Logs that another program made and did not sync: empty, not empty, far away."""
    far = "/".join(["d" * 200, "e" * 200, LOG])
    script, opened = Script(), {}
    for name, path, data in (
        (LOG, LOG, b""), (OTHER, OTHER, _bytes(FIRST)), (far, f"{HERE}/{far}", b""),
    ):
        script.call("put", name, data)
        opened[script.call("wal_open", 0, path)] = [Promise(name, "name")]
        script.call("wal_close", 0)
    folder = far.removesuffix(LOG)
    session, findings = trace(run, script, files={f"{folder}x": b""}, promises=opened)
    for number in opened:
        findings += wrong_return(run, session[number], 0, "D201", "for a log that is there")
    return findings


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
