"""Checks of the log's writer on a bad day: calls that fail, or do less than they were asked."""

import errno

from ..result import Finding
from ..run import Run, Script
from ..tracing import Promise
from . import check
from .returns import (
    LEFT_OPEN, errno_name, if_it_never_returns, interrupted_syncs, leaks, sync_tried_again, wrong_return,
)
from .wal_format import FOUR
from .wal_writer import FINAL, FIRST, LOG, MEMORY_ROUNDS, OTHER, SECOND, encoded, log_differs, stays_open


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
    an error, not in an endless loop. write_full() writes any number of bytes: none, or
    more than 32 bits can count.
    """
    for fault in (("write", 1, "short", 1), ("write", 1, "short", 5), ("write", 1, "short", 20),
                  ("write", "1+", "short", 3)):
        session, reply = _with_fault(run, fault, FIRST)
        if reply.faults and (reply["ret"] != 0 or session.file(LOG) != encoded(FIRST)):
            size = len(session.file(LOG) or b"")
            message = (
                f"{reply.faults[0].call}() took {fault[3]} of 21 bytes; then wal_append() "
                f"returned {errno_name(reply['ret'])} and {size} bytes were in the log"
            )
            yield run.at_fault(Finding("F101", message), reply.faults[0])
            return
    yield from list(_zero_write(run)) or _any_length(run)


def _any_length(run: Run):
    """None, and more than 32 bits can count: a call of write(2) takes 2 GiB at most, so a
    second one has to come. It fails, and nobody has to wait for more."""
    large = (4 << 30) + 7
    script = Script()
    script.call("put", LOG, b"")
    none = script.call("write_full", LOG, 0)
    script.call("fault", "write", 2, "errno", errno.EIO)
    whole = script.call("write_full", "/dev/null", large)
    session = run.drive(script)
    yield from wrong_return(run, session[none], 0, "F106", "for 0 bytes")
    when = f"for {large} bytes, where the second write() fails (EIO)"
    yield from wrong_return(run, session[whole], -errno.EIO, "F101", when)


def _zero_write(run: Run):
    with if_it_never_returns("F106", "wal_append() never returns when write() keeps returning 0"):
        _, reply = _with_fault(run, ("write", "1+", "zero"), FIRST)
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
    if reply.faults and (reply["ret"] != 0 or session.file(LOG) != encoded(FIRST)):
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
    if reply["ret"] != 0 or session.file(LOG) != encoded(FIRST):
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
    bad = list(_used_again(run, later, error, what))
    if not bad and left is not None:
        why = f"{what}, and the handle was used again"
        bad = list(log_differs(run, session, left, "F105", why))
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
        bad = bad or list(_used_again(run, [session[n] for n in later], error, what))
        if bad:
            yield from bad
            return


def _used_again(run: Run, replies, error: int, what: str):
    """What the handle did after the failure, if it did anything."""
    for reply in replies:
        if reply["ret"] != -error:
            of = {-errno.EINVAL: " of a bad record", -errno.ESTALE: ", whose close(2) failed (ESTALE),"}
            message = (
                f"{what}; a later {reply.call}(){of.get(reply['ret'], '')} returned "
                f"{errno_name(reply['ret'])} and not the first error, {errno_name(-error)}"
            )
            yield run.at_function(Finding("F105", message), reply.call)
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
    elif names := stays_open(run, session, call["before"], call["after"]):
        message = f"{what}; wal_close() then leaves {names} open"
        yield run.at_function(Finding("F109", message), "wal_close")
    other, size = session[call["other"]], len(encoded(SECOND))
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
    whole = encoded(FIRST)
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
    if not encoded(FIRST, SECOND)[:30].startswith(got):
        yield from log_differs(run, session, encoded(FIRST, SECOND)[:30], "F105", when)


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
    yield from leaks(run, [
        ("where the directory cannot be opened", ("wal_sync_dir", f"missing/{LOG}"), None),
        ("where its directory cannot be synced", ("wal_open", 0, LOG), ("sync", 1, "errno", errno.EIO)),
    ])
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
        yield from wrong_return(run, session[closed], -error, code, when)
        if session[closed]["fd"] != -1:
            yield run.at_function(Finding("F109", f"fd is not -1 after wal_close(), {when}"), "wal_close")
            return
        names = stays_open(run, session, before, after)
        if names:
            message = f"wal_close() leaves {names} open {when}"
            yield run.at_function(Finding("F109", message), "wal_close")
            return


def _memory_is_given_back(run: Run):
    found = (list(_memory_left(run, failing)) for failing in (None, "write", "sync"))
    yield from next(filter(None, found), [])


def _memory_left(run: Run, failing: str | None):
    """A handle may keep memory until it is closed, and a function for its next call. The
    second append may meet a failing call of a kind."""
    append, refused = ("wal_append", 0, *FIRST), ("wal_append", 0, 3, b"k", b"")
    missing = ("wal_open", 0, f"missing/{LOG}")
    rounds = ("wal_open", 0, LOG), append, append, refused, ("wal_close", 0), missing
    script, used = Script(), []
    for _ in range(MEMORY_ROUNDS):
        used.append([script.call("heap")])
        for i, words in enumerate(rounds):
            if failing and i == 2:
                script.call("fault", failing, 1, "errno", errno.EIO)
            script.call(*words)
            script.call("clear")
            used[-1].append(script.call("heap"))
    session = run.drive(script)
    used = [[session[number]["used"] for number in numbers] for numbers in used[2:]]
    if min(numbers[-1] - numbers[0] for numbers in used) <= 0:
        return
    by_append = min(numbers[3] - numbers[2] for numbers in used)  # a second one fills no buffer
    name = "wal_append" if by_append > 0 else "wal_open"
    least = by_append if by_append > 0 else min(numbers[-1] - numbers[0] for numbers in used)
    what = "each wal_append()" if by_append > 0 else "opening, appending and closing"
    what += f", where a {failing} fails (EIO)," if failing else ""
    yield run.at_function(Finding("F113", f"{what} leaves {least} bytes allocated"), name)
