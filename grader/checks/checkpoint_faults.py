"""Checks of checkpoints step by step, and on a bad day."""

import errno
from dataclasses import replace

from ..crash.checkpoint import DIR, HERE
from ..result import Finding
from ..run import Fault, Run, Script
from ..tracing import Promise, trace
from . import check
from . import checkpoint_format as form
from .returns import SYNCS_MOST, errno_name, interrupted_syncs, wrong_return
from .wal_format import FOUR, SET, apply
from .checkpoint import AFTER, CHECKPOINT, CLOSE, OPEN, REMOVALS, RENAMES, append, differs, left, play


@check("keeps-the-map")
def syncs_every_step(run: Run):
    """What a call promises is on stable storage when it returns.

    The directory's own name, the segment's name, every record, the snapshot and its
    name; also where another process made them and was killed. The snapshot has its name
    in one step and with all its bytes synced. A sync that a signal interrupts is no sync,
    and one that fails is an error.
    """
    def here(name: str) -> str:
        return f"{DIR}/{name}"

    script = Script()
    opened = script.call(*OPEN)
    appended = script.call(*append(FOUR[0]))
    made = script.call(*CHECKPOINT)
    then = script.call(*append(FOUR[1]))
    script.call(*CLOSE)
    script.call("make", "dir", "other")
    script.call("put", "other/1.wal", form.log(FOUR))
    others = script.call("kv_log_open", 0, "other")
    promises = {
        opened: [Promise(DIR, "name")], appended: [Promise(here("1.wal"))],
        made: [Promise(here(form.SNAPSHOT)), Promise(here("2.wal"), "name")],
        then: [Promise(here("2.wal"))], others: [Promise("other", "name"), Promise("other/1.wal")],
    }
    steps = [here(form.SNAPSHOT)]
    _, found = trace(run, script, files=HERE, promises=promises, in_one_step=steps)
    yield from found
    if not found:
        made = promises[made]
        yield from interrupted_syncs(run, (OPEN, append(FOUR[0])), CHECKPOINT, made, HERE)
        yield from _cannot_sync_a_new_one(run)


def _cannot_sync_a_new_one(run: Run):
    """Each sync of an open that makes the directory fails in turn."""
    script, opened = Script(), []
    for number in range(1, SYNCS_MOST + 1):
        script.call("fault", "sync", number, "errno", errno.EIO)
        opened.append(script.call("kv_log_open", 0, f"new{number}"))
        script.call("clear")
        script.call(*CLOSE)
    session = run.drive(script)
    for reply in map(session.__getitem__, opened):
        when = f"where {reply.faults[0].call}() failed (EIO) and the directory is new" if reply.faults else ""
        found = list(wrong_return(run, reply, -errno.EIO, "F104", when)) if when else []
        if found:
            yield from found
            return


def of_a_checkpoint(run: Run) -> tuple[list[Fault], list[Fault]]:
    """The calls that a checkpoint makes down to its rename, and from there to the first
    removal."""
    session, at = play(
        run, OPEN, append(FOUR[0]), ("fault", "any", "1+", "watch"), CHECKPOINT, ("clear",), CLOSE
    )
    calls = list(session[at[3]].faults)
    named = next((i for i, fault in enumerate(calls) if fault.call in RENAMES), 0)
    end = next((i for i, fault in enumerate(calls) if i > named and fault.call in REMOVALS), len(calls))
    return calls[:named], calls[named:end]


def _directory_sync(run: Run) -> int:
    """Which of a checkpoint's syncs is the last behind its rename; 0 if there is none."""
    parts = [sum("sync" in fault.call for fault in part) for part in of_a_checkpoint(run)]
    return sum(parts) if parts[1] else 0


def how_many(calls: list[Fault], names) -> int:
    return sum(fault.call in names for fault in calls)


def _closes_the_snapshot(before: list[Fault]) -> int:
    """Which of the closes before the rename is the one of what was written; 0 if none is."""
    wrote = max((i for i, fault in enumerate(before) if "write" in fault.call), default=len(before))
    for i, fault in enumerate(before[wrote:], wrote):
        if fault.call == "close" and fault.fd == before[wrote].fd:
            return how_many(before[: i + 1], ("close",))
    return 0


@check("writes-the-snapshot")
def goes_on_after_a_failed_snapshot(run: Run):
    """A snapshot that cannot be written fails that call alone.

    The disk is full, the close or the rename fails: the errno is returned, snapshot.tmp
    is removed, the segments and the old snapshot stay, appends go on, and the next
    checkpoint works and removes all of them.
    """
    full, bad = errno.ENOSPC, errno.EIO
    before, _ = of_a_checkpoint(run)
    faults = [("write", 1, "errno", full), ("write", "1+", "errno", bad), ("rename", 1, "errno", bad)]
    faults += [("close", n, "errno", bad) for n in [_closes_the_snapshot(before)] if n]
    large = [(SET, b"large %d" % i, bytes(60_000)) for i in range(6)]  # no buffer holds all
    for fault, more in [(fault, []) for fault in faults] + [(faults[0], large)]:
        found = list(_fails_alone(run, fault, more))
        yield from _folded(found)
        if found:
            return


def _fails_alone(run: Run, fault, more):
    """With `more` in the map, a write that fails can be followed by one that does not."""
    calls = [OPEN, append(FOUR[0]), *map(append, more), CHECKPOINT, append(FOUR[1]), ("fault", *fault),
             CHECKPOINT, ("clear",)]
    session, at = play(run, *calls)
    reply = session[at[-2]]
    if not reply.faults:
        return
    when = "where the snapshot failed"
    when += f": {reply.faults[0].call}(), one of several" if more else ""
    yield from wrong_return(run, reply, -fault[3], "F131", when)
    files = left(session)
    found = form.parse_snapshot(files.get(form.SNAPSHOT) or b"")
    if form.TEMP in files or not found or found.first != 2 or "2.wal" not in files:
        message = f"a snapshot failed, and the directory holds {', '.join(sorted(files))}"
        yield run.at_fault(Finding("F131", message), reply.faults[-1])
    yield from _checkpoints_again(run, calls, more)


def _checkpoints_again(run: Run, calls, more_records):
    when = "after a snapshot that failed"
    session, at = play(run, *calls, append(AFTER), CHECKPOINT, append(FOUR[2]), CLOSE)
    for number in at[-4:]:
        yield from wrong_return(run, session[number], 0, "F131", when)
    files = left(session)
    more = sorted(files.keys() - {form.SNAPSHOT, form.segment(session[at[-3]]["segment"])})
    if more:
        message = f"{', '.join(more)} should be gone: a checkpoint returned 0 {when}"
        yield run.at_function(Finding("R623", message), "kv_log_checkpoint")
    session, at = play(run, OPEN, files=files)
    yield from differs(run, session[at[0]], apply([*more_records, *FOUR[:3], AFTER]), "F131", when)


@check("writes-the-snapshot")
def stops_after_a_failure(run: Run):
    """After a failed append or directory sync, every call fails.

    The first error is kept and returned, and the handle's `error` says it, whatever the
    close does; nothing is written any more, and no segment removed. The same holds where
    the map has no memory for what was appended. Memory is given back on every path.
    """
    cases = [
        ("a write failed in kv_log_append()", ("write", 1, "errno", errno.EIO), append(FOUR[1])),
        ("a sync failed in kv_log_append()", ("sync", 1, "errno", errno.EIO), append(FOUR[1])),
    ]
    number = _directory_sync(run)
    if number:
        fault = "sync", number, "errno", errno.EIO
        cases.append(("the directory's sync failed in kv_log_checkpoint()", fault, CHECKPOINT))
    for what, fault, call in cases:
        session, at = play(
            run, OPEN, append(FOUR[0]), ("fault", *fault), call, ("clear",), append(AFTER), CHECKPOINT,
            append(AFTER), ("fault", "close", 1, "errno", errno.ENOSPC), CLOSE,
        )
        if not session[at[3]].faults:
            continue
        found = _goes_on(run, session, [at[3], *at[5:8], at[9]], f"after {what}")
        if form.segment(1) not in left(session):
            message = f"after {what}, {form.segment(1)} was removed"
            found.append(run.at_fault(Finding("F105", message), session[at[3]].faults[-1]))
        yield from _folded(found)
    yield from _keeps_the_second_snapshot(run, number)
    yield from _full_map(run)
    yield from _gives_memory_back(run)


def _folded(found: list[Finding]):
    """One of several of one cause: the first, with what came of it behind."""
    yield from (replace(one, excerpt=tuple(more.message for more in found[1:])) for one in found[:1])


def _goes_on(run: Run, session, numbers, when: str) -> list[Finding]:
    """What does not return the first error (EIO), or does not keep it."""
    found = []
    for number in numbers:
        found += wrong_return(run, session[number], -errno.EIO, "F105", when)
    kept = session[numbers[0]]["error"]
    if not found and kept != -errno.EIO:
        message = f"the handle's error is {kept} {when}, and should be {errno_name(-errno.EIO)}"
        found = [run.at_function(Finding("F105", message), session[numbers[0]].call)]
    return found


def _keeps_the_second_snapshot(run: Run, number: int):
    """The directory's sync fails behind a second snapshot: it took the place of the first,
    and the segments below that one are gone."""
    fault = "fault", "sync", number, "errno", errno.EIO
    session, at = play(
        run, OPEN, append(FOUR[0]), CHECKPOINT, append(FOUR[1]), fault, CHECKPOINT, ("clear",), CLOSE, OPEN,
    )
    if number and session[at[5]].faults:
        what = "the directory's sync failed in a second kv_log_checkpoint(); opened again"
        for one in differs(run, session[at[8]], apply(FOUR[:2]), "F131", what):
            yield run.at_function(one, "kv_log_checkpoint")


def _full_map(run: Run):
    """The log has the record that the map has no room for. The driver finds room for a
    value where it had a larger one before."""
    rng = run.rng("full")
    first, *more = [append((SET, b"%d" % i, rng.randbytes(60_000 - 2000 * i))) for i in range(8)]
    calls = OPEN, first, ("limit", "data", 4096), *more, ("limit", "data", 1 << 30), CHECKPOINT
    session, at = play(run, *calls, variant="plain")
    if any(session[number]["ret"] < 0 for number in at[3:-2]):
        when = "after an append failed with ENOMEM"
        yield from wrong_return(run, session[at[-1]], -errno.ENOMEM, "F105", when)


def _ways_of_memory(run: Run):
    """In words, the calls of a round, the files before the first, and the function that
    should give back."""
    seg, log, pairs, eio = form.segment, form.log, apply(FOUR), errno.EIO
    closed = {form.SNAPSHOT: form.snapshot(pairs, 2), seg(2): log(FOUR), seg(3): log(FOUR)}

    def failing(call, *fault):
        return (("fault", *fault), call, ("clear",))

    yield "opened and closed", (OPEN, CLOSE), {seg(1): log(FOUR)}, "kv_log_close"
    yield ("opened, with a snapshot and a closed segment, and closed", (OPEN, CLOSE), closed,
           "kv_log_open")
    for what, bad in (
        ("a torn segment before another", {seg(2): log(FOUR)[:-3]}),
        ("a snapshot that is cut", {form.SNAPSHOT: closed[form.SNAPSHOT][:-1]}),
        ("a snapshot that counts one more", {form.SNAPSHOT: form.seal(log(FOUR[:1]), 2, 2)}),
    ):
        yield f"refused for {what}", (OPEN,), closed | bad, "kv_log_open"
    for kind, number in [("read", n) for n in (1, 2, 3)] + [("open", n) for n in range(1, 7)]:
        calls = (*failing(OPEN, kind, number, "errno", eio), CLOSE)
        yield f"opened where {kind}() number {number} fails", calls, closed, "kv_log_open"
    calls = (OPEN, *failing(append(FOUR[0]), "sync", 1, "errno", eio), CLOSE)
    yield "opened and closed, with an append that failed", calls, closed, "kv_log_close"
    yield ("opened and closed, with a checkpoint", (OPEN, CHECKPOINT, CLOSE), closed,
           "kv_log_checkpoint")
    for what, fault in (
        ("file to write cannot be made", ("create", 1)), ("second file cannot be made", ("create", 2)),
        ("write fails", ("write", 1)), ("sync fails", ("sync", 1)), ("rename fails", ("rename", 1)),
    ):
        calls = (OPEN, *failing(CHECKPOINT, *fault, "errno", eio), CLOSE)
        yield (f"opened and closed, with a checkpoint in which a {what}", calls, closed,
               "kv_log_checkpoint")


def _gives_memory_back(run: Run):
    """The same calls again and again, on a log of their own: behind each round as much is
    allocated as before. Where nothing meets a fault, a way before it was the same."""
    script, start, heaps = Script(), {}, []
    for i, (what, calls, files, name) in enumerate(_ways_of_memory(run)):
        start |= {f"{i}/{file}": data for file, data in files.items()}
        rounds = []
        for _ in range(4):  # the first ones fill the caches
            for call in calls:
                script.call(*(("kv_log_open", 0, str(i)) if call == OPEN else call))
            rounds.append(script.call("heap"))
        heaps.append((what, name, rounds))
    session = run.drive(script, files=start)
    for what, name, rounds in heaps:
        _, *used = [session[number]["used"] for number in rounds]
        least = min(b - a for a, b in zip(used, used[1:]))
        if least > 0:
            message = f"each time that a log is {what}, {least} bytes stay allocated"
            yield run.at_function(Finding("F113", message), name)
            return
