"""Checks of group commit where something fails, or the log is closed meanwhile."""

import errno
import re

from ..crash import group
from ..crash.group import CLOSE, LOG, OPEN, commit, together
from ..errors import CannotJudge
from ..result import Finding
from ..run import Run
from . import check
from .batch_format import log_of, parse, records_of
from .group_commit import (
    FIRST, HANGS, NEXT, OLD, SLOW, TRIES, batches_in, per_thread, replies_to_commits, scripted,
    slow_calls,
)
from .returns import SYNCS_MOST, errno_name, still_open, sync_tried_again, wrong_return
from .wal_format import SET

BEHIND = (SET, b"behind", b"the close")


@check("holds-every-record-committed")
def opens_only_what_it_synced(run: Run):
    """An open of which a sync fails says so, and leaves nothing open.

    The directory's or the log's: each in turn fails, and wal_group_open() returns that
    errno. What it found and could not sync, no mark may call synced. And so it is where
    the log has a thread of its own that cannot be started (EAGAIN).
    """
    for number in range(1, SYNCS_MOST + 1):
        script, _ = scripted(
            ("fds",), ("fault", "sync", number, "errno", errno.EIO), OPEN, ("clear",), ("fds",)
        )
        session = run.drive(script, files=OLD)
        if not session[3].faults:
            break
        when = f"though {session[3].faults[-1].call}() failed, its sync number {number}"
        wrong = list(wrong_return(run, session[3], -errno.EIO, "F104", when))
        wrong = wrong or _left_by_open(run, session)
        if wrong:
            yield wrong[0]
            return
    yield from _opens_without_a_thread(run)


def _opens_without_a_thread(run: Run):
    """A log that has none, or starts it later, is opened all the same."""
    script, _ = scripted(("fds",), ("threads_fail", errno.EAGAIN), OPEN, ("threads_fail", 0), ("fds",))
    session = run.drive(script, files=OLD)
    got = session[3]["ret"]
    if got > 0:  # pthread_create(3) returns it without a sign
        message = f"pthread_create() failed, and wal_group_open() returned {got}: its errors are negative"
        yield run.at_function(Finding("F108", message), "wal_group_open")
    elif got < 0:
        yield from _left_by_open(run, session)


def _left_by_open(run: Run, session) -> list[Finding]:
    """What an open that fails, call 3, leaves open between two calls of `fds`."""
    left = still_open(run, session, session[1], session[5])
    message = f"a wal_group_open() that fails leaves {', '.join(left)} open"
    return [run.at_function(Finding("F109", message), "wal_group_open")] if left else []


@check("holds-every-record-committed")
def continues_a_short_write(run: Run):
    """A write that stops half way is continued to the end of the batch.

    write(2) may take fewer bytes than it is given, and that is no failure: here the
    first call takes 5 bytes.
    """
    script, _ = scripted(OPEN, ("fault", "write", 1, "short", 5), commit(FIRST), ("clear",), CLOSE)
    session = run.drive(script, files=group.FOLDER)
    reply, data = session[3], session.file(LOG) or b""
    if reply.faults and (reply["ret"] != 0 or data != log_of([FIRST])):
        message = (
            f"{reply.faults[0].call}() took 5 bytes; then wal_group_commit() returned "
            f"{errno_name(reply['ret'])}, and {len(data)} bytes were in the log"
        )
        yield run.at_fault(Finding("F101", message), reply.faults[0])


def _with_failing(run: Run, kind: str, error: int):
    """Flushes are slow, and the second one fails. Six threads; then one more commit."""
    many = per_thread(6, 3)
    script, calls = scripted(
        OPEN, slow_calls("sync"), ("fault", kind, 2, "errno", error), *together(many), ("clear",),
        *(("fault", watched, "1+", "watch") for watched in ("write", "sync")), commit(NEXT), CLOSE,
    )
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    return session, calls


def _fault(session):
    """The failure that was brought about, if the program came across it."""
    met = [fault for reply in session.replies.values() for fault in reply.faults]
    return next((fault for fault in met if fault.what == "errno"), None)


@check("holds-every-record-committed")
def fails_everyone_in_the_batch(run: Run):
    """Where a flush fails, everyone whose record stood in it is told.

    The second flush of six threads fails, in its write or in its sync. Those of the first
    batch had been told 0. Nobody else is: each gets the errno. And a record that a
    completed flush holds stays committed, also if its writer wakes late, when a later
    flush has failed.
    """
    wrong = list(sync_tried_again(run, [OPEN], commit(FIRST), "D106", files=group.FOLDER))
    yield from wrong or _fails_everyone(run) or _wakes_late(run)


def _fails_everyone(run: Run) -> list[Finding]:
    for kind, error, code in (("sync", errno.EIO, "F104"), ("write", errno.ENOSPC, "F103")):
        session, calls = _with_failing(run, kind, error)
        fault = _fault(session)
        if fault is None:
            continue
        found = parse(session.file(LOG) or b"")[0]
        durable, later = records_of(found[:1]), records_of(found[2 if kind == "sync" else 1 :])
        replies = replies_to_commits(session, calls)
        wrong = [r for r in replies if replies[r]["ret"] != -error and r not in durable and r != NEXT]
        for record in sorted(wrong, key=lambda record: record in later)[:1]:
            there = "stands in no batch"
            if record in records_of(found[1:]):
                there = f"stood in {'a later' if record in later else 'that'} batch"
            message = (
                f"the {kind} of the second batch failed ({errno.errorcode[error]}); the record "
                f"{record[1].decode()} {there}, and its wal_group_commit() returned "
                f"{errno_name(replies[record]['ret'])}"
            )
            said = Finding("F105" if record in later else code, message)
            return [run.at_function(said, "wal_group_commit")]
    return []


def _wakes_late(run: Run) -> list[Finding]:
    """The first thread flushes; the others join the next batch, and one of them wakes
    when the write of a third batch has failed."""
    slow = 5 * SLOW  # as those syncs
    once, late, other = ((SET, key, b"") for key in (b"once", b"late", b"other"))
    third = ("pause", 6 * slow, "@0"), ("fault", "write", 1, "errno", errno.EIO, "@0"), commit(NEXT, 0)
    script, calls = scripted(
        OPEN, slow_calls("sync", 5), ("together",), commit(once, 0), *third,
        ("late", 12 * slow, "@1"), ("pause", slow // 4, "@1"), commit(late, 1),
        ("pause", slow // 4, "@2"), commit(other, 2), ("apart",), CLOSE,
    )
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    reply = replies_to_commits(session, calls)[late]
    if reply["ret"] == 0 or late not in records_of(parse(session.file(LOG) or b"")[0]):
        return []
    message = (
        f"wal_group_commit() returned {errno_name(reply['ret'])} for a record whose flush was complete; "
        "the write of a later batch had failed before its thread woke"
    )
    return [run.at_function(Finding("O107", message), "wal_group_commit")]


@check("fails-everyone-in-the-batch")
def stops_after_a_failed_flush(run: Run):
    """After a failed flush the log is poisoned.

    Every later commit and the close return that errno, and nothing is written any more:
    after a failed sync no later one is believed, and the close makes none. The file is
    closed all the same.
    """
    for kind, error in (("sync", errno.EIO), ("write", errno.EIO)):
        session, calls = _with_failing(run, kind, error)
        if _fault(session) is None:
            continue
        what = f"the {kind} of a flush had failed"
        for number, call in calls.items():
            if call[2:5] != NEXT and call != CLOSE:
                continue
            reply = session[number]
            wrong = list(wrong_return(run, reply, -error, "F105", f"though {what}"))
            yield from wrong
            kinds = ("write", "sync") if call == CLOSE else ("write",)
            again = [fault for fault in reply.faults if any(kind in fault.call for kind in kinds)]
            for fault in again[: not wrong]:
                yield run.at_fault(Finding("F105", f"{what}, and {fault.call}() is called again"), fault)


@check("holds-every-record-committed")
def drains_at_close(run: Run):
    """wal_group_close() flushes what has joined a batch, and tells its writers.

    It is called while four threads commit and a sync goes on. Whoever was in time gets
    0 and finds the record in the log; who comes later gets -EBADF, also while the close
    still waits. So it is where those who wait wake late, and the close has the lock before
    them. Nothing stays open.
    """
    for late in (0, 25 * SLOW):
        wrong: list[Finding] | None = None
        for _ in range(TRIES):
            was_busy, found = _drains(run, late)
            wrong = found if was_busy else wrong
            if wrong == []:
                break
        if wrong is None:
            raise CannotJudge("this machine is too busy to have threads wait in a batch")
        if wrong:
            yield wrong[0]
            return
    yield from _reports_a_failed_close(run)


def _drains(run: Run, late: int) -> tuple[bool, list[Finding]]:
    """The first thread flushes, the others join the next batch, and then the log is
    closed: whether it was so, and what is wrong. One more comes when the close waits. If
    the others are to wake so much later than they are woken, the first does not come again
    to flush for them."""
    slow = 5 * SLOW
    first, *rest = per_thread(4, 2)
    begin, *commits, end = together([first[:1] if late else first, *rest])
    others = [f"@{thread}" for thread in (1, 2, 3)]
    pauses = [("late", late, other) for other in others] + [("pause", slow // 4, other) for other in others]
    closing = ("pause", slow * 5 // 8, "@4"), (*CLOSE, "@4")
    behind = ("pause", slow * 7 // 4, "@5"), commit(BEHIND, 5)
    script, calls = scripted(
        ("fds",), OPEN, *(("fault", kind, 1, "delay", slow) for kind in ("sync", "write")),
        ("fault", "write", "1+", "watch"), begin, *pauses, *commits, *closing, *behind, end,
        ("clear",), commit(NEXT), ("fds",),
    )
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    early = _told_before_a_write(session, calls)
    if early:
        message = f"the commit of {early[1].decode()} returned 0 before anything was written"
        return True, [run.at_function(Finding("D104", message), "wal_group_commit")]
    number = next(n for n, call in calls.items() if call[0] == CLOSE[0])
    inside = _inside(session, calls, number)
    found, wrong = batches_in(run, session)
    wrong += wrong_return(run, session[number], 0, "F112", "while threads commit")
    wrong += _told(run, replies_to_commits(session, calls), records_of(found), inside)
    if session[len(script.lines)]["open"] > session[1]["open"]:
        wrong.append(_left_open(run))
    return len(inside) > 2, wrong


def _told_before_a_write(session, calls) -> tuple | None:
    """The record of a commit that returned 0 before the first write, if any is seen: a log
    may be written without calls."""
    before, *written = re.split(r"^! \d+ \w*write", session.done.marks.decode(), maxsplit=1, flags=re.M)
    told = re.findall(r"^< (\d+) wal_group_commit ret=0$", before, re.M)
    return calls[int(told[0])][2:5] if written and told else None


def _inside(session, calls, closing: int) -> set[tuple]:
    """The records whose commit had begun when the close began, and had not ended."""
    lines = [line.split() for line in session.done.marks.decode().splitlines()]
    lines = lines[: lines.index([">", str(closing), CLOSE[0]])]
    begun = {int(w[1]) for w in lines if w[0] == ">"} - {int(w[1]) for w in lines if w[0] == "<"}
    return {calls[n][2:5] for n in begun if calls.get(n, ("",))[0] == "wal_group_commit"}


def _told(run: Run, replies, there, inside):
    for record, reply in replies.items():
        name, got = record[1].decode(), reply["ret"]
        if record == BEHIND and record not in inside and got == 0:
            problem = "a commit that came while wal_group_close() waited returned 0, and should return -EBADF"
        elif record in inside and got != 0:
            problem = f"a commit that was waiting when the log was closed returned {errno_name(got)}"
        elif got == 0 and record not in there:
            problem = f"the commit of {name} returned 0, and the log does not hold it"
        elif got != 0 and record in there:
            problem = f"the commit of {name} returned {errno_name(got)}, and the log holds it"
        elif got not in (0, -errno.EBADF):
            problem = f"a commit after the close returned {errno_name(got)}, and should return -EBADF"
        else:
            continue
        yield run.at_function(Finding("F112", problem), "wal_group_close")
        return


def _left_open(run: Run) -> Finding:
    return run.at_function(Finding("F109", "wal_group_close() leaves the file open"), "wal_group_close")


def _reports_a_failed_close(run: Run):
    for kind, code in (("sync", "F104"), ("close", "F108")):
        script, calls = scripted(
            ("fds",), OPEN, commit(FIRST), ("fault", kind, 1, "errno", errno.EIO), CLOSE, ("clear",), ("fds",)
        )
        session = run.drive(script, files=group.FOLDER, seconds=HANGS)
        reply = session[5]
        again = [fault for fault in reply.faults if fault.call == "close"][1 if kind == "close" else 0 :]
        if again:  # the driver reports a close of what is not open
            message = "wal_group_close() closes the log a second time"
            yield run.at_fault(Finding("F108", message), again[0])
            return
        if reply.faults:
            yield from wrong_return(run, reply, -errno.EIO, code, f"though {reply.faults[0].call}() failed")
        if session[7]["open"] > session[1]["open"]:
            yield _left_open(run)
