"""Checks of group commit: wal_group_open, wal_group_commit, wal_group_close."""

import errno
from dataclasses import replace
from itertools import chain, islice

from ..crash import group
from ..crash.group import CLOSE, LOG, OPEN, commit, together
from ..result import Finding
from ..run import Failed, Run, Script, Sparse
from . import check
from .batch_format import log_of, parse, records_of
from .returns import leaks, wrong_return
from .wal_format import FOUR, SET, apply, random_record

FIRST, SECOND, THIRD = FOUR[:3]
NEXT = (SET, b"next", b"one")
BAD = (3, b"k", b"")  # no such type
LARGEST = (SET, bytes(65_535), bytes(65_535))
SLOW = 4_000  # microseconds: long beside what threads need to join a batch
TRIES = 3  # where the machine may have kept a thread from running
HANGS = 5.0  # seconds
# A log that nearly fills a block, so that what comes crosses into the next: the parts of
# a batch can be lost apart, and a batch without the one before it.
OLD = {LOG: log_of([(SET, b"old", bytes(3_900))])}


def per_thread(threads: int, each: int) -> list[list[tuple]]:
    """What each thread commits; no two keys are the same."""
    return [[(SET, b"%d.%d" % (t, i), b"value") for i in range(each)] for t in range(threads)]


def scripted(*calls) -> tuple[Script, dict[int, tuple]]:
    script = Script()
    return script, {script.call(*call): call for call in calls}


def replies_to_commits(session, calls) -> dict[tuple, object]:
    """The reply to each commit, by its record."""
    return {
        call[2:5]: session[number] for number, call in calls.items()
        if call[0] == "wal_group_commit" and number in session.replies
    }


def batches_in(run: Run, session, name: str = LOG):
    """The whole batches of the log; a finding if anything else is in it."""
    data = session.file(name)
    if data is None:
        return [], [run.at_function(Finding("O103", f"{name} is not there"), "wal_group_commit")]
    found, wrong = parse(data)
    if not wrong:
        return found, []
    message = f"{name} is not a log of whole batches: {wrong}"
    return found, [run.at_function(Finding("O103", message), "wal_group_commit")]


def _first_not_zero(run: Run, session, calls, when: str) -> list[Finding]:
    """Of the calls of group commit, all of which should return 0."""
    ours = (session[number] for number, call in calls.items() if call[0].startswith("wal_group"))
    found = (wrong_return(run, reply, 0, "O103", when) for reply in ours)
    return list(islice(chain.from_iterable(found), 1))


def _in_order(found, want) -> str | None:
    """What is wrong with the records of a log, of which each thread has its list."""
    records = records_of(found)
    for thread, theirs in enumerate(want):
        there = [record for record in records if record in theirs]
        lost = sum(record not in there for record in theirs)
        if lost:
            return f"thread {thread} committed {len(theirs)} records, and the log lacks {lost} of them"
        if there != theirs:
            return f"of thread {thread} the log holds {len(there)} records, not its {len(theirs)} in order"
    more = len(records) - sum(map(len, want))
    return f"the log holds {more} records too many" if more else None


def slow_calls(kind: str, times: int = 1) -> tuple:
    return "fault", kind, 1, "delay", times * SLOW


@check("builds")
def holds_every_record_committed(run: Run):
    """The log holds every record, each thread's in its order.

    One thread commits small records, random ones and the largest there is; the log is
    opened again and continued; then four threads commit at the same time, then eight.
    Everything is found by wal_batch_recover(). Of two logs that are open at the same time,
    each holds its own records.
    """
    rng = run.rng("committed")
    alone = FOUR + [random_record(rng) for _ in range(20)]
    alone.insert(9, (SET, rng.randbytes(65_535), rng.randbytes(65_535)))
    few = [[(SET, b"once %d" % t, b"")] for t in range(4)]
    many = per_thread(8, 6)
    many[3][2] = (SET, b"3.2", rng.randbytes(60_000))
    script, calls = scripted(
        OPEN, *map(commit, alone), CLOSE, OPEN, ("fault", "sync", 1, "delay", SLOW // 4),
        *together(few), *together(many), CLOSE, group.RECOVER,
    )
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    wrong = _first_not_zero(run, session, calls, "where nothing is wrong")
    if wrong:
        yield from wrong
        return
    found, wrong = batches_in(run, session)
    if not wrong:
        problem = _in_order(found, [alone, *few, *many])
        wrong = [run.at_function(Finding("O103", problem), "wal_group_commit")] if problem else []
    reply = session[len(script.lines)]
    if not wrong and reply.pairs != apply(records_of(found)):
        wrong = [run.at_function(Finding("O103", "recovery finds something else"), "wal_group_commit")]
    yield from wrong or _two_logs(run)


def _two_logs(run: Run):
    """Both are opened, then two threads commit, each to a log of its own."""
    names, many = (LOG, f"{LOG}.2"), per_thread(2, 3)
    commits = [("wal_group_commit", t, *record, f"@{t}") for t in (0, 1) for record in many[t]]
    script, calls = scripted(
        *(("wal_group_open", i, name) for i, name in enumerate(names)), slow_calls("sync"),
        ("together",), *commits, ("apart",), *(("wal_group_close", i) for i in (0, 1)),
    )
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    wrong = _first_not_zero(run, session, calls, "where two logs are open")
    if wrong:
        yield from wrong
        return
    for name, theirs in zip(names, many):
        there = records_of(parse(session.file(name) or b"")[0])
        if there != theirs:
            missing = len(set(theirs) - set(there))
            more = len(there) + missing - len(theirs)
            problem = f"lacks {missing} of its {len(theirs)} records, and has {more} more"
            message = f"while another log is open, {name} {problem}"
            yield run.at_function(Finding("O103", message), "wal_group_commit")
            return


def _large(threads: int, each: int) -> list[list[tuple]]:
    """As per_thread(); three of them fill a batch."""
    return [[(kind, key, bytes(65_535)) for kind, key, _ in theirs] for theirs in per_thread(threads, each)]


@check("holds-every-record-committed")
def waits_for_room_in_a_batch(run: Run):
    """A record that finds no room in the batch goes into the next one.

    Eight threads commit records of which three fill a batch, and one comes behind them with
    small ones. Each is committed, and none is told 0 before its own batch is flushed,
    whatever batch was full when it came. When a write has failed, those who wait write
    nothing more.
    """
    large = _large(8, 2)
    many = [*large, [(SET, b"small %d" % i, b"") for i in range(2)]]
    begin, *commits = together(many)
    behind = "pause", SLOW // 2, f"@{len(large)}"  # the first flush goes on, and a batch is full
    script, calls = scripted(OPEN, slow_calls("sync"), begin, behind, *commits, CLOSE)
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    when = "where a batch was full"
    wrong = _first_not_zero(run, session, calls, when)
    if wrong:
        yield from wrong
        return
    found, wrong = batches_in(run, session)
    problem = None if wrong else _in_order(found, many)
    if problem:
        wrong = [run.at_function(Finding("O103", f"{when}, {problem}"), "wal_group_commit")]
    yield from wrong or _a_write_fails(run, large)


def _a_write_fails(run: Run, many):
    """The third write fails, and any after it: who had been told 0 by then stood in a batch
    before it, and who still waits for room writes nothing."""
    fault = "fault", "write", "3+", "errno", errno.ENOSPC
    slow = slow_calls("sync"), slow_calls("write")
    script, calls = scripted(OPEN, *slow, fault, *together(many), ("clear",), CLOSE)
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    there = records_of(parse(session.file(LOG) or b"")[0])
    for record, reply in replies_to_commits(session, calls).items():
        if reply["ret"] == 0 and record not in there:
            message = f"the commit of {record[1].decode()} waited for room and was told 0, before its write"
            yield run.at_function(Finding("D104", message), "wal_group_commit")
            return
    failed = [f for reply in session.replies.values() for f in reply.faults if "write" in f.call]
    for again in failed[1:2]:
        message = f"a write had failed while others waited for room, and {again.call}() is called again"
        yield run.at_fault(Finding("F105", message), again)


@check("holds-every-record-committed")
def marks_what_is_synced(run: Run):
    """Each mark says how much of the log was synced when its batch was written.

    One thread commits, so all that stands in front of a batch has been synced: the mark
    says where it stands itself. Also in a log that was there before, and in one of which 32
    bits cannot hold the size.
    """
    old = log_of([FIRST], [SECOND, THIRD])
    script, _ = scripted(OPEN, *map(commit, FOUR), CLOSE)
    session = run.drive(script, files={LOG: old}, seconds=HANGS)
    found, wrong = batches_in(run, session)
    yield from wrong
    for one in found:
        if one.synced != one.offset:
            message = f"the mark at offset {one.offset} says that {one.synced} bytes are synced"
            yield run.at_function(Finding("O110", message), "wal_group_commit")
            return
    if not wrong and not (session.file(LOG) or b"").startswith(old):
        yield run.at_function(Finding("O104", "the log that was there is not continued"), "wal_group_open")
    elif not wrong:
        yield from _marks_in_a_large_log(run)


def _marks_in_a_large_log(run: Run):
    """What stands in it is a hole: to open a log is not to recover it. The write fails, for
    files have a limit here; what was put into the mark is known by then."""
    size = (5 << 30) + 7
    script, _ = scripted(OPEN, commit(FIRST), ("marked",), CLOSE)
    session = run.drive(script, files={LOG: Sparse(b"", size)}, seconds=HANGS)
    says = session[3]["synced"]
    if says not in (size, -1):
        message = f"in a log of {size} bytes the mark says that {says} are synced"
        yield run.at_function(Finding("O110", message), "wal_group_commit")


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
    many = per_thread(4, 3)
    bad = [BAD, (SET, b"", b"v")]
    mixed = [[first, bad[t % 2], *rest] for t, (first, *rest) in enumerate(many)]
    script, calls = scripted(OPEN, *together(mixed), CLOSE)
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    for number, call in calls.items():
        if call[0] == "wal_group_commit":
            want = -errno.EINVAL if call[2:5] in bad else 0
            when = "for a bad record" if want else "beside a bad record"
            yield from islice(wrong_return(run, session[number], want, "F110", when), 1)
    found, wrong = batches_in(run, session)
    problem = None if wrong else _in_order(found, many)
    yield from wrong
    if problem:
        yield run.at_function(Finding("F110", f"beside a bad record: {problem}"), "wal_group_commit")


def _refuses_between(run: Run):
    bad = commit(BAD)
    script, _ = scripted(OPEN, commit(FIRST), bad, commit(SECOND), bad, CLOSE)
    session = run.drive(script, files=group.FOLDER, seconds=HANGS)
    _, wrong = batches_in(run, session)
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
    many = per_thread(8, 6)
    late = ("pause", 300, "@8"), (*CLOSE, "@8")
    begin, *commits, end = together(many)
    for calls in (
        (OPEN, begin, *commits, end, CLOSE),
        (OPEN, ("fault", "sync", 1, "delay", 200), begin, *commits, *late, end, commit(NEXT)),
        (OPEN, ("fault", "sync", 3, "errno", errno.EIO), begin, *commits, end, CLOSE),
    ):
        try:
            run.drive(scripted(*calls)[0], files=group.FOLDER, variant="raced", seconds=4 * HANGS)
        except Failed as failed:
            yield from (_of_close(run, found, calls) for found in failed.findings)
            return


def _of_close(run: Run, found: Finding, calls) -> Finding:
    """A lock that is good until the log is closed, and not for a commit that comes later."""
    if "invalid mutex" not in found.message or calls[-1] != commit(NEXT):
        return found
    message = f"{found.message}, in a commit that came after wal_group_close(), at {found.file}:{found.line}"
    return run.at_function(replace(found, message=message), "wal_group_close")
