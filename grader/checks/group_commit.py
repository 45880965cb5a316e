"""Checks of group commit: wal_group_open, wal_group_commit, wal_group_close."""

import errno
from dataclasses import replace
from itertools import islice

from ..course import find
from ..crash import faults, group
from ..crash.explore import Server, reference_server
from ..crash.group import CLOSE, LOG, OPEN, commit, together
from ..crash.survive import survive, trace
from ..errors import CannotJudge
from ..result import Finding
from ..run import Failed, Run, Script
from ..trace import ops
from ..tracing import replayed_run
from . import check
from .batch_format import log_of, parse, records_of
from .returns import SYNCS_MOST, errno_name, leaks, still_open, sync_tried_again, wrong_return
from .wal_format import FOUR, SET, apply, random_record

FIRST, SECOND, THIRD = FOUR[:3]
SLOW = 4_000  # microseconds: long beside what threads need to join a batch
TRIES = 3  # where the machine may have kept a thread from running
HANGS = 5.0  # seconds


def _records(threads: int, each: int) -> list[list[tuple]]:
    """What each thread commits; no two keys are the same."""
    return [[(SET, b"%d.%d" % (t, i), b"value") for i in range(each)] for t in range(threads)]


def _script(*calls) -> tuple[Script, dict[int, tuple]]:
    script = Script()
    return script, {script.call(*call): call for call in calls}


def _commits(session, calls) -> dict[tuple, object]:
    """The reply to each commit, by its record."""
    return {
        call[2:5]: session[number] for number, call in calls.items()
        if call[0] == "wal_group_commit" and number in session.replies
    }


def _log(run: Run, session, name: str = LOG):
    """The whole batches of the log; a finding if anything else is in it."""
    data = session.file(name)
    if data is None:
        return [], [run.at_function(Finding("O103", f"{name} is not there"), "wal_group_commit")]
    found, wrong = parse(data)
    if not wrong:
        return found, []
    message = f"{name} is not a log of whole batches: {wrong}"
    return found, [run.at_function(Finding("O103", message), "wal_group_commit")]


def _in_order(found, want) -> str | None:
    """What is wrong with the records of a log, of which each thread has its list."""
    records = records_of(found)
    for thread, theirs in enumerate(want):
        there = [record for record in records if record in theirs]
        if there != theirs:
            return f"of thread {thread} the log holds {len(there)} records, not its {len(theirs)} in order"
    more = len(records) - sum(map(len, want))
    return f"the log holds {more} records too many" if more else None


@check("builds")
def holds_every_record_committed(run: Run):
    """The log holds every record, each thread's in its order.

    One thread commits small records, random ones and the largest there is; the log is
    opened again and continued; then four threads commit at the same time, then eight.
    Everything is found by wal_batch_recover().
    """
    rng = run.rng("committed")
    alone = FOUR + [random_record(rng) for _ in range(20)]
    alone.insert(9, (SET, rng.randbytes(65_535), rng.randbytes(65_535)))
    few = [[(SET, b"once %d" % t, b"")] for t in range(4)]
    many = _records(8, 6)
    many[3][2] = (SET, b"3.2", rng.randbytes(60_000))
    script, calls = _script(
        OPEN, *map(commit, alone), CLOSE, OPEN, ("fault", "sync", 1, "delay", SLOW // 4),
        *together(few), *together(many), CLOSE, group.RECOVER,
    )
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    for number, call in calls.items():
        if call[0].startswith("wal_group"):
            bad = list(wrong_return(run, session[number], 0, "O103", "where nothing is wrong"))
            if bad:
                yield bad[0]
                return
    found, wrong = _log(run, session)
    if not wrong:
        problem = _in_order(found, [alone, *few, *many])
        wrong = [run.at_function(Finding("O103", problem), "wal_group_commit")] if problem else []
    yield from wrong
    reply = session[len(script.lines)]
    pairs = dict(zip(reply.all_bytes("k"), reply.all_bytes("v")))
    if not wrong and pairs != apply(records_of(found)):
        yield run.at_function(Finding("O103", "recovery finds something else"), "wal_group_commit")


def _large(threads: int, each: int) -> list[list[tuple]]:
    """As _records(); three of them fill a batch."""
    return [[(kind, key, bytes(65_535)) for kind, key, _ in theirs] for theirs in _records(threads, each)]


@check("holds-every-record-committed")
def waits_for_room_in_a_batch(run: Run):
    """A record that finds no room in the batch goes into the next one.

    Eight threads commit records of which three fill a batch. Each is committed, and none
    is told 0 before its own batch is flushed, whatever batch was full when it came.
    """
    many = _large(8, 2)
    script, calls = _script(OPEN, _slow("sync"), *together(many), CLOSE)
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    when = "where a batch was full"
    for number, call in calls.items():
        if call[0].startswith("wal_group"):
            bad = list(wrong_return(run, session[number], 0, "O103", when))
            if bad:
                yield bad[0]
                return
    found, wrong = _log(run, session)
    problem = None if wrong else _in_order(found, many)
    if problem:
        wrong = [run.at_function(Finding("O103", f"{when}, {problem}"), "wal_group_commit")]
    yield from wrong or _told_before_the_write(run, many)


def _told_before_the_write(run: Run, many):
    """The third write fails: who had been told 0 by then stood in a batch before it."""
    fault = "fault", "write", 3, "errno", errno.ENOSPC
    script, calls = _script(OPEN, _slow("sync"), _slow("write"), fault, *together(many), ("clear",), CLOSE)
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    there = records_of(parse(session.file(LOG) or b"")[0])
    for record, reply in _commits(session, calls).items():
        if reply["ret"] == 0 and record not in there:
            message = f"the commit of {record[1].decode()} waited for room and was told 0, before its write"
            yield run.at_function(Finding("D104", message), "wal_group_commit")
            return


@check("holds-every-record-committed")
def marks_what_is_synced(run: Run):
    """Each mark says how much of the log was synced when its batch was written.

    One thread commits, so all that stands in front of a batch has been synced: the mark
    says where it stands itself. Also in a log that was there before.
    """
    old = log_of([FIRST], [SECOND, THIRD])
    script, _ = _script(OPEN, *map(commit, FOUR), CLOSE)
    session = run.drive(script, files={LOG: old}, seconds=HANGS)
    found, wrong = _log(run, session)
    yield from wrong
    for one in found:
        if one.synced != one.offset:
            message = f"the mark at offset {one.offset} says that {one.synced} bytes are synced"
            yield run.at_function(Finding("O110", message), "wal_group_commit")
            return
    if not wrong and not (session.file(LOG) or b"").startswith(old):
        yield run.at_function(Finding("O104", "the log that was there is not continued"), "wal_group_open")


@check("holds-every-record-committed")
def refuses_one_record_and_commits_the_rest(run: Run):
    """A record without an encoding is refused and spoils nothing else.

    It gets -EINVAL at once, and nothing is written for it. The records of the others
    are committed.
    """
    wrong = list(_refuses_between(run))
    if wrong:
        yield wrong[0]
        return
    many = _records(4, 3)
    bad = [(3, b"k", b""), (SET, b"", b"v")]
    mixed = [[first, bad[t % 2], *rest] for t, (first, *rest) in enumerate(many)]
    script, calls = _script(OPEN, *together(mixed), CLOSE)
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    for number, call in calls.items():
        if call[0] == "wal_group_commit":
            want = -errno.EINVAL if call[2:5] in bad else 0
            when = "for a bad record" if want else "beside a bad record"
            yield from islice(wrong_return(run, session[number], want, "F110", when), 1)
    found, wrong = _log(run, session)
    problem = None if wrong else _in_order(found, many)
    yield from wrong
    if problem:
        yield run.at_function(Finding("F110", f"beside a bad record: {problem}"), "wal_group_commit")


def _refuses_between(run: Run):
    bad = commit((3, b"k", b""))
    script, _ = _script(OPEN, commit(FIRST), bad, commit(SECOND), bad, CLOSE)
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    _, wrong = _log(run, session)
    if not wrong and session.file(LOG) != log_of([FIRST], [SECOND]):
        message = "beside a bad record, the log does not hold the two good ones alone"
        wrong = [run.at_function(Finding("F110", message), "wal_group_commit")]
    yield from (replace(found, code="F110") for found in wrong)
    steps = [("for a bad record", bad, None), ("where nothing is wrong", commit(FIRST), None)]
    yield from leaks(run, steps, group.FOLDER, [OPEN])


@check("holds-every-record-committed")
def has_no_data_race(run: Run):
    """ThreadSanitizer sees no data race.

    What one thread writes and another reads, without a lock or an atomic between them,
    has no meaning in C. Your program runs in a build that watches for it: eight threads
    commit; the log is closed while they do; a sync fails.
    """
    many = _records(8, 6)
    late = ("pause", 300, "@8"), (*CLOSE, "@8")
    begin, *commits, end = together(many)
    for calls in (
        (OPEN, begin, *commits, end, CLOSE),
        (OPEN, ("fault", "sync", 1, "delay", 200), begin, *commits, *late, end, commit(NEXT)),
        (OPEN, ("fault", "sync", 3, "errno", errno.EIO), begin, *commits, end, CLOSE),
    ):
        try:
            run.drive(_script(*calls)[0], files=group.FOLDER, variant="raced", seconds=4 * HANGS)
        except Failed as failed:
            yield from (_of_close(run, found, calls) for found in failed.findings)
            return


def _of_close(run: Run, found: Finding, calls) -> Finding:
    """A lock that is good until the log is closed, and not for a commit that comes later."""
    if "invalid mutex" not in found.message or calls[-1] != commit(NEXT):
        return found
    message = f"{found.message}, in a commit that came after wal_group_close(), at {found.file}:{found.line}"
    return run.at_function(replace(found, message=message), "wal_group_close")


# What the trace shows. Syncs are slow, as on a disk.


def _slow(kind: str, times: int = 1) -> tuple:
    return "fault", kind, 1, "delay", times * SLOW


def _flushes(replayed) -> list:
    """The syncs behind which something had been written: another one right after costs
    a trip, and shares nothing less."""
    found, is_new = [], False
    for op in replayed.ops:
        is_new = is_new or isinstance(op, ops.Write)
        if is_new and _syncs(op):
            found.append(op)
            is_new = False
    return found


def _syncs(op) -> bool:
    """Is it a sync of the log, or a write that is one?"""
    return isinstance(op, (ops.Sync, ops.SyncAll)) and getattr(op, "ok", True) \
        or isinstance(op, ops.Write) and op.dsync


def _marks(replayed, begin: str) -> dict[int, int]:
    """Where in the trace the calls with these numbers began (>) or had returned (<)."""
    words = [(op, op.text.split()) for op in replayed.ops if isinstance(op, ops.Mark)]
    return {int(w[1]): op.call.entered for op, w in words if w[0] == begin and len(w) > 2}


def _eight(run: Run, slow: str) -> tuple[int, int]:
    """Eight threads, four commits each: the syncs, and the most that a commit waited for."""
    script, calls = _script(OPEN, _slow(slow), *together(_records(8, 4)), ("clear",), CLOSE)
    session, replayed = replayed_run(run, script, group.FOLDER, stacks=False)
    begun, ended = _marks(replayed, ">"), _marks(replayed, "<")
    numbers = [n for n, call in calls.items() if call[0] == "wal_group_commit"]
    first, last = min(begun[n] for n in numbers), max(ended[n] for n in numbers)
    flushes = [op for op in _flushes(replayed) if first < op.call.entered < last]
    if slow == "sync" and all(isinstance(op, ops.Write) for op in flushes):
        return _eight(run, "write")  # it has no syncs but those that its writes are
    waited = (sum(begun[n] < op.call.exited < ended[n] for op in flushes) for n in numbers)
    return len(flushes), max(waited)


def _best_of(run: Run, which: int, enough: int) -> int:
    """The least of a few runs: any one may have been disturbed."""
    tried = run.memo.setdefault("eight", [])
    while len(tried) < TRIES and not any(one[which] <= enough for one in tried):
        tried.append(_eight(run, "sync"))
    return min(one[which] for one in tried)


@check("holds-every-record-committed")
def shares_its_syncs(run: Run):
    """Eight threads need fewer than half as many syncs as commits.

    Every sync is made to take four milliseconds longer, as on a disk, so that the other
    threads have time to join the next batch.
    """
    syncs = _best_of(run, 0, 15)
    if syncs > 15:
        message = f"eight threads made 32 commits, and {syncs} syncs"
        yield run.at_function(Finding("D109", message), "wal_group_commit")


@check("shares-its-syncs")
def waits_for_two_flushes_at_most(run: Run):
    """No commit waits for more than two flushes.

    The one that is going on when it comes, and its own. Nobody is passed over, and who
    comes when none is going on waits for its own alone: no leader stays for the others.
    """
    waited = _best_of(run, 1, 2)
    if waited > 2:
        message = f"a commit waited until {waited} flushes had ended"
        yield run.at_function(Finding("D110", message), "wal_group_commit")
        return
    waited = 0
    for _ in range(TRIES):  # any one may have been disturbed
        waited = _first_of_three(run)
        if waited <= 1:
            return
    message = f"nobody was flushing when a commit came, and it waited until {waited} flushes had ended"
    yield run.at_function(Finding("D110", message), "wal_group_commit")


def _first_of_three(run: Run) -> int:
    """How many flushes the first commit of all waits for; the others come during its own."""
    begin, first, *others, end = together([[record] for record in FOUR[:3]])
    pauses = [("pause", SLOW, f"@{thread}") for thread in (1, 2)]
    script, calls = _script(OPEN, _slow("sync", 4), _slow("write", 4), begin, first, *pauses, *others, end,
                            ("clear",), CLOSE)
    _, replayed = replayed_run(run, script, group.FOLDER, stacks=False)
    number = next(n for n, call in calls.items() if call == first)
    begun, ended = _marks(replayed, ">")[number], _marks(replayed, "<")[number]
    return sum(begun < op.call.exited < ended for op in _flushes(replayed))


# Failures.


@check("holds-every-record-committed")
def opens_only_what_it_synced(run: Run):
    """An open of which a sync fails says so, and leaves nothing open.

    The directory's or the log's: each in turn fails, and wal_group_open() returns that
    errno. What it found and could not sync, no mark may call synced.
    """
    for number in range(1, SYNCS_MOST + 1):
        script, _ = _script(
            ("fds",), ("fault", "sync", number, "errno", errno.EIO), OPEN, ("clear",), ("fds",)
        )
        session = run.drive(script, files=OLD)
        if not session[3].faults:
            return
        when = f"though {session[3].faults[-1].call}() failed, its sync number {number}"
        wrong = list(wrong_return(run, session[3], -errno.EIO, "F104", when))
        left = still_open(run, session, session[1], session[5])
        if left and not wrong:
            message = f"a wal_group_open() that fails leaves {', '.join(left)} open"
            wrong = [run.at_function(Finding("F109", message), "wal_group_open")]
        if wrong:
            yield wrong[0]
            return


@check("holds-every-record-committed")
def continues_a_short_write(run: Run):
    """A write that stops half way is continued to the end of the batch.

    write(2) may take fewer bytes than it is given, and that is no failure: here the
    first call takes 5 bytes.
    """
    script, _ = _script(OPEN, ("fault", "write", 1, "short", 5), commit(FIRST), ("clear",), CLOSE)
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
    many = _records(6, 3)
    script, calls = _script(
        OPEN, _slow("sync"), ("fault", kind, 2, "errno", error), *together(many), ("clear",),
        ("fault", "write", "1+", "watch"), commit(NEXT), CLOSE,
    )
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    return session, calls


NEXT = (SET, b"next", b"one")


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
        replies = _commits(session, calls)
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
    script, calls = _script(
        OPEN, _slow("sync", 5), ("together",), commit(once, 0), *third,
        ("late", 12 * slow, "@1"), ("pause", slow // 4, "@1"), commit(late, 1),
        ("pause", slow // 4, "@2"), commit(other, 2), ("apart",), CLOSE,
    )
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    reply = _commits(session, calls)[late]
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
    after a failed sync no later one is believed. The file is closed all the same.
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
            yield from wrong_return(run, reply, -error, "F105", f"though {what}")
            written = [fault for fault in reply.faults if "write" in fault.call]
            for fault in written[:1]:
                yield run.at_fault(Finding("F105", f"{what}, and {fault.call}() is called again"), fault)


@check("holds-every-record-committed")
def drains_at_close(run: Run):
    """wal_group_close() flushes what has joined a batch, and tells its writers.

    It is called while four threads commit and a sync goes on. Whoever was in time gets
    0 and finds the record in the log; who comes later gets -EBADF. So it is where those
    who wait wake late, and the close has the lock before them. Nothing stays open.
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
    closed: whether it was so, and what is wrong. If the others are to wake so much later
    than they are woken, the first does not come again to flush for them."""
    slow = 5 * SLOW
    first, *rest = _records(4, 2)
    begin, *commits, end = together([first[:1] if late else first, *rest])
    others = [f"@{thread}" for thread in (1, 2, 3)]
    pauses = [("late", late, other) for other in others] + [("pause", slow // 4, other) for other in others]
    closing = ("pause", slow * 5 // 8, "@4"), (*CLOSE, "@4")
    script, calls = _script(
        ("fds",), OPEN, *(("fault", kind, 1, "delay", slow) for kind in ("sync", "write")),
        begin, *pauses, *commits, *closing, end,
        ("clear",), commit(NEXT), ("fds",),
    )
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    number = next(n for n, call in calls.items() if call[0] == CLOSE[0])
    inside = _inside(session, calls, number)
    found, wrong = _log(run, session)
    wrong += wrong_return(run, session[number], 0, "F112", "while threads commit")
    wrong += _told(run, _commits(session, calls), records_of(found), inside)
    if session[len(script.lines)]["open"] > session[1]["open"]:
        wrong.append(_left_open(run))
    return len(inside) > 2, wrong


def _inside(session, calls, closing: int) -> set[tuple]:
    """The records whose commit had begun when the close began, and had not ended."""
    lines = [line.split() for line in session.done.marks.decode().splitlines()]
    lines = lines[: lines.index([">", str(closing), CLOSE[0]])]
    begun = {int(w[1]) for w in lines if w[0] == ">"} - {int(w[1]) for w in lines if w[0] == "<"}
    return {calls[n][2:5] for n in begun if calls.get(n, ("",))[0] == "wal_group_commit"}


def _told(run: Run, replies, there, inside):
    for record, reply in replies.items():
        name, got = record[1].decode(), reply["ret"]
        if record in inside and got != 0:
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
        script, calls = _script(
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


# Power losses.

# A log that nearly fills a block, so that what comes crosses into the next: the parts of
# a batch can be lost apart, and a batch without the one before it.
OLD = {LOG: log_of([(SET, b"old", bytes(3_900))])}
LONG = (SET, b"0.1", b"\xa5" * 200)


def _among_threads() -> list:
    """Slow syncs let others join meanwhile; slow writes let a sync overtake them."""
    many = _records(4, 3)
    many[0][1] = LONG
    few = _records(3, 2)
    calls = {
        "threads, syncs being slow": (_slow("sync"), many),
        "threads, writes being slow": (_slow("write"), few),
        "threads, nothing being slow": (("clear",), few),
    }
    return [
        group.scenario(name, OPEN, first, *together(records), ("clear",), CLOSE, files=OLD)
        for name, (first, records) in calls.items()
    ]


def _session(second=SECOND, files=None) -> group.Scenario:
    return group.scenario("commits", OPEN, commit(FIRST), commit(second), CLOSE, files=files)


def _killed(run: Run) -> list:
    """The next process recovers first; or it opens the log as it is, where that was
    killed at its last sync but one: all of the last batch stands in the page cache."""
    then = OPEN, commit(THIRD), CLOSE
    long = _session(LONG, OLD)
    synced = [site for site in faults.sites(run, long) if site.is_sync]
    return faults.killed(long, then, synced[-2:-1]) + \
        faults.killed(_session(), (group.RECOVER, *then), faults.sites(run, _session()))


def _recovery(run: Run) -> Server:
    """Recovery is given. All of the group's struct is the student's, so no reference of
    group commit is built with it."""
    return reference_server(run, find(run.lesson.id).without("w10/group_commit.c", ("batch",)))


@check("holds-every-record-committed")
def survives_a_crash_among_threads(run: Run):
    """No power loss, at any moment, takes what any thread was promised.

    Threads commit, traced, with slow syncs, with slow writes, and as fast as it goes. On
    every disk that a power loss at any moment could leave, what had been acknowledged by
    then must be there, and the log must hold each thread's records in its order, and no
    others. A process is killed at each of its calls, and another goes on.
    """
    traced = trace(run, _among_threads() + _killed(run))
    for finding in survive(run, _recovery(run), group.SUBJECT, traced):
        lost = any(line.startswith(("lost", "torn")) for line in finding.excerpt)
        # A record that was not even written: nothing that was called is to blame.
        yield finding if lost else run.at_function(finding, "wal_group_commit")


@check("survives-a-crash-among-threads", "stops-after-a-failed-flush")
def survives_every_fault_of_a_flush(run: Run):
    """Whatever call fails, nothing that was acknowledged is lost.

    Each call that changes files fails in turn, once or with all behind it, and then the
    power fails at any moment.
    """
    then = group.RECOVER, ("stop",), OPEN, commit(THIRD), CLOSE, ("resume",)
    server = _recovery(run)
    yield from faults.survive_failing(run, server, group.SUBJECT, [_session()], then)
