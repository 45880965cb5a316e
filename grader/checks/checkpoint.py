"""Checks of the log with checkpoints: what it keeps, writes, replays, removes and refuses."""

import errno

from ..crash.checkpoint import DIR, HERE
from ..result import Finding
from ..run import Run, Script
from ..shown import quoted
from ..tracing import Promise, trace
from . import check
from . import checkpoint_format as form
from .returns import errno_name, interrupted_syncs, together, wrong_return
from .wal_format import DEL, FOUR, SET, apply, random_record

OPEN, CLOSE, CHECKPOINT = ("kv_log_open", 0, DIR), ("kv_log_close", 0), ("kv_log_checkpoint", 0)
AFTER = (SET, b"after", b"all")
EBADMSG = -errno.EBADMSG
ROOM = 48 << 20


def append(record) -> tuple:
    return ("kv_log_append", 0, *record)


def placed(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files of a run, for a log's directory that holds these."""
    return HERE | {f"{DIR}/": b""} | {f"{DIR}/{name}": data for name, data in files.items()}


def play(run: Run, *calls, files=None, **more):
    """Makes the calls; the session, and the numbers of the calls."""
    script = Script()
    numbers = [script.call(*call) for call in calls]
    start = HERE if files is None else placed(files)
    return run.drive(script, files=start, **more), numbers


def left(session) -> dict[str, bytes | None]:
    return {name: session.file(f"{DIR}/{name}") for name in session.names(DIR)}


def _differs(run: Run, reply, want: dict, code: str, what: str):
    """The map that a call showed, against the one that there should be."""
    if "skipped" in dict(reply.words):
        return  # the open that failed has a finding of its own
    found = reply.pairs
    if reply["ret"] != 0:
        message = f"{what}: {reply.call}() returned {errno_name(reply['ret'])}"
    elif found != want:
        wrong = sorted(key for key in found.keys() | want.keys() if found.get(key) != want.get(key))
        has = "has another value" if wrong[0] in found else "is missing"
        has = has if wrong[0] in want else "is there"
        message = f"{what}: of {len(want)} pairs {len(wrong)} are wrong; {quoted(wrong[0])} {has}"
    else:
        return
    yield run.at_function(Finding(code, message), "kv_log_open")


@check("builds")
def keeps_the_map(run: Run):
    """What was appended is in the map, at once and after the next open.

    Across several opens and checkpoints, whatever bytes keys and values hold. A record
    without an encoding is refused and changes nothing. Two logs do not mix.
    """
    rng = run.rng("map")
    records = [random_record(rng, rng.choice((3, 40))) for _ in range(120)] + [(SET, b"\0", b"")]
    records += [(SET, b"%d" % (i % 7), rng.randbytes(9)) for i in range(40)] + [(DEL, b"3", b"")]
    parts = [records[:50], records[50:51], records[51:]]
    calls, shows, so_far = [], {}, []
    for part in parts:
        for ending in (CHECKPOINT, None):
            before = f"(checkpoints before it: {calls.count(CHECKPOINT)}, appends: {len(so_far)})"
            calls.append(OPEN)
            what = f"open {calls.count(OPEN)} of {2 * len(parts)} {before}"
            shows[len(calls)] = what, apply(so_far)
            some = part[: len(part) // 2] if ending else part[len(part) // 2 :]
            calls += [*map(append, some), *([ending] if ending else []), ("kv_log_map", 0)]
            so_far += some
            shows[len(calls)] = f"{what}, and {len(some)} appends later", apply(so_far)
            calls.append(CLOSE)
    session, _ = play(run, *calls)
    for number, (what, want) in shows.items():
        found = list(_differs(run, session[number], want, "R621", what))
        if found:
            yield from found
            return
    yield from _refuses_a_bad_record(run)
    yield from _keeps_two_apart(run)


def _refuses_a_bad_record(run: Run):
    bad = append((DEL, FOUR[0][1], b"value"))
    session, at = play(run, OPEN, append(FOUR[0]), bad, append(AFTER), ("kv_log_map", 0), CLOSE)
    when = "for a DEL with a value"
    yield from wrong_return(run, session[at[2]], -errno.EINVAL, "R621", when)
    yield from _differs(run, session[at[4]], apply([FOUR[0], AFTER]), "R621", f"then, {when}")


def _keeps_two_apart(run: Run):
    script = Script()
    calls = [OPEN, ("kv_log_open", 1, "other"), append(FOUR[0]), ("kv_log_append", 1, *FOUR[1]),
             CHECKPOINT, ("kv_log_append", 1, *FOUR[2]), ("kv_log_checkpoint", 1), CLOSE,
             ("kv_log_close", 1), OPEN, ("kv_log_open", 1, "other")]
    *_, one, two = [script.call(*call) for call in calls]
    session = run.drive(script, files=HERE)
    yield from _differs(run, session[one], apply(FOUR[:1]), "R621", "of two logs, the first")
    yield from _differs(run, session[two], apply(FOUR[1:3]), "R621", "of two logs, the second")


@check("keeps-the-map")
def writes_the_snapshot(run: Run):
    """A checkpoint leaves the header's snapshot and an empty new segment.

    Every pair once, the number of the new segment, the count, the CRC; also of a map
    that is empty, and of one that no buffer holds at once. Before that the log is one
    segment with every record. The old segments are gone.
    """
    rng = run.rng("snapshot")
    large = [(SET, rng.randbytes(65_535), rng.randbytes(65_535)) for _ in range(2)]
    many = [(SET, b"%d" % i, rng.randbytes(rng.randint(0, 2000))) for i in range(300)]
    for what, records in (
        ("of the lesson's records", FOUR), ("of no record", []),
        ("of records that are all deleted", [FOUR[1], FOUR[3]]), ("of 302 pairs", [*many, *large]),
    ):
        session, _ = play(run, OPEN, *map(append, records), CLOSE)
        if left(session) != {form.segment(1): form.log(records)}:
            message = f"a log {what}: {form.segment(1)} is not these records one after another"
            yield run.at_function(Finding("O501", message), "kv_log_append")
            return
        session, _ = play(run, OPEN, *map(append, records), CHECKPOINT, CLOSE)
        problem = _wrong_snapshot(left(session), apply(records), 2)
        if problem:
            message = f"a snapshot {what}: {problem}"
            yield run.at_function(Finding("O501", message), "kv_log_checkpoint")
            return
    session, _ = play(run, OPEN, append(FOUR[0]), CHECKPOINT, append(FOUR[1]), CHECKPOINT, CLOSE)
    problem = _wrong_snapshot(left(session), apply(FOUR[:2]), 3)
    if problem:
        message = f"a second snapshot: {problem}"
        yield run.at_function(Finding("O501", message), "kv_log_checkpoint")


def _wrong_snapshot(files: dict, pairs: dict, first: int) -> str:
    """What is wrong with a directory in which a checkpoint was just made."""
    data = files.get(form.SNAPSHOT)
    if data is None:
        return "there is none"
    found = form.parse_snapshot(data)
    if found is None:
        return f"its {len(data)} bytes are not whole, as the header has it"
    if found.pairs != pairs:
        return f"it holds {len(found.pairs)} pairs and not the {len(pairs)} of the map"
    if found.first != first or files.get(form.segment(first)) != b"":
        return f"it names segment {found.first}, and an empty segment {first} should follow"
    more = sorted(files.keys() - {form.SNAPSHOT, form.segment(first)})
    return f"{', '.join(more)} should be gone" if more else ""


def _recoverable(run: Run):
    """What is odd, the files of the directory, the map, the segment that goes on."""
    rng = run.rng("recoverable")
    one, two, three = FOUR[:2], [(SET, b"foo", b"new"), (DEL, b"name", b"")], [FOUR[2]]
    seg, log = form.segment, form.log
    snap = {n: form.snapshot(apply(sum((one, two, three)[: n - 1], [])), n) for n in (2, 3, 4)}
    yield "one segment and no snapshot", {seg(1): log(one)}, one, 1
    yield "three segments and no snapshot", {
        seg(1): log(one), seg(2): log(two), seg(3): log(three)}, one + two + three, 3
    yield "a snapshot that is older than two segments", {
        form.SNAPSHOT: snap[2], seg(2): log(two), seg(3): log(three)}, one + two + three, 3
    yield "a snapshot and no segment", {form.SNAPSHOT: snap[3]}, one + two, 3
    yield "a snapshot and the first of two old segments", {
        form.SNAPSHOT: snap[3], seg(1): log(one), seg(3): log(three)}, one + two + three, 3
    yield "a snapshot, all old segments and a torn tail", {
        form.SNAPSHOT: snap[3], seg(1): log(one), seg(2): log(two),
        seg(3): log(three, log(one)[:30])}, one + two + three + one[:1], 3
    yield "a snapshot.tmp that is whole and has no name", {
        form.SNAPSHOT: snap[2], form.TEMP: snap[4], seg(2): log(two)}, one + two, 2
    yield "an empty snapshot.tmp, and no snapshot", {form.TEMP: b"", seg(1): log(one)}, one, 1
    numbers = {seg(n): log([(SET, b"k", b"%d" % n)]) for n in (9, 10, 11)}
    yield "segments 9, 10 and 11", numbers | {form.SNAPSHOT: form.snapshot({}, 9)}, [(SET, b"k", b"11")], 11
    yield "an empty directory", {}, [], 1
    big = [(SET, rng.randbytes(60_000), rng.randbytes(60_000)) for _ in range(4)]
    big += [(SET, b"%d" % i, b"v" * i) for i in range(400)]
    yield "a snapshot of 404 pairs", {form.SNAPSHOT: form.snapshot(apply(big), 2), seg(2): b""}, big, 2


@check("keeps-the-map")
def replays_only_what_follows(run: Run):
    """The map is the snapshot and the segments from its number on, in order.

    Whatever else a crash left there: no snapshot yet, one that is older than several
    segments, old segments whose removal did not last, a snapshot that has no name
    yet. The next append goes to the last segment.
    """
    for what, files, records, last in _recoverable(run):
        session, at = play(run, OPEN, append(AFTER), CLOSE, OPEN, CLOSE, files=files)
        yield from _differs(run, session[at[0]], apply(records), "R622", what)
        if session[at[0]]["ret"] == 0 and session[at[0]]["segment"] < last:
            message = f"{what}: the segment that goes on is {session[at[0]]['segment']}, not {last}"
            yield run.at_function(Finding("R622", message), "kv_log_open")
        want = apply([*records, AFTER])
        yield from _differs(run, session[at[3]], want, "R622", f"{what}, one append later")


@check("replays-only-what-follows")
def removes_what_is_not_needed(run: Run):
    """Leftovers go at the next open, and nothing else does.

    Old segments and snapshot.tmp, also where the open finds nothing else to do. What is
    not named like a segment is somebody else's.
    """
    foreign = ["01.wal", "1.wal.bak", "x.wal", "-1.wal", "+1.wal", "notes", ".hidden", "1wal", "0.wal"]
    files = {name: b"not ours" for name in foreign}
    files |= {form.segment(n): form.log(FOUR) for n in (1, 2, 7, 12, 13)} | {form.TEMP: b"torn"}
    files |= {form.SNAPSHOT: form.snapshot(apply(FOUR), 12)}
    session, at = play(run, OPEN, CLOSE, files=files)
    yield from wrong_return(run, session[at[0]], 0, "R623", "where leftovers stand")
    found, kept = left(session), files.keys() - {form.segment(n) for n in (1, 2, 7)} - {form.TEMP}
    stays, gone = sorted(found.keys() & files.keys() - kept), sorted(kept - found.keys())
    changed = sorted(name for name in kept & found.keys() if found[name] != files[name])
    for names, how in ((stays, "is left over"), (gone, "is gone"), (changed, "was changed")):
        if names:
            message = f"{names[0]} {how} after kv_log_open() with a snapshot that names segment 12"
            yield run.at_function(Finding("R623", message), "kv_log_open")
            return


def _damaged(run: Run):
    """What no crash leaves."""
    rng = run.rng("damaged")
    seg, log, snapshot = form.segment, form.log, form.snapshot(apply(FOUR), 3)
    segments = {seg(3): log(FOUR[:1]), seg(4): log(FOUR[1:2])}
    for n in range(len(snapshot)):
        yield f"a snapshot cut to {n} bytes", {form.SNAPSHOT: snapshot[:n]} | segments
    for n in range(len(snapshot)):
        flipped = bytearray(snapshot)
        flipped[n] ^= 1 << rng.randint(0, 7)
        yield f"a snapshot with a bit of byte {n} flipped", {form.SNAPSHOT: bytes(flipped)} | segments
    pair = log(FOUR[:1])
    for what, data in (
        ("of zeros", bytes(len(snapshot))), ("with a byte behind its end", snapshot + b"\0"),
        ("with another magic and its CRC right", form.seal(pair, 3, 1, b"SNAQ")),
        ("that names segment 0", form.seal(pair, 0, 1)), ("that counts one more", form.seal(pair, 3, 2)),
        ("that counts one less", form.seal(pair, 3, 0)), ("with a torn record", form.seal(pair[:-1], 3, 1)),
        ("with a DEL in it", form.seal(pair + log([(DEL, b"x", b"")]), 3, 2)),
    ):
        yield f"a snapshot {what}", {form.SNAPSHOT: data} | segments
    for data in (b"", snapshot[:-1]):
        yield f"a snapshot cut to {len(data)} bytes, alone", {form.SNAPSHOT: data}
    good = {form.SNAPSHOT: snapshot}
    yield "no snapshot, and segment 1 missing", segments
    yield "the segment that the snapshot names missing", good | {seg(4): log(FOUR)}
    yield "a segment missing between two", good | segments | {seg(6): b""}
    for what, bad in (("torn", log(FOUR)[:-3]), ("that ends in zeros", log(FOUR, bytes(9))),
                      ("with a bad record", log(FOUR[:1], b"?" + log(FOUR[:1])))):
        yield f"a segment {what} before another", good | {seg(3): bad, seg(4): log(FOUR)}
    yield "a bad record in the last segment", good | {seg(3): log(FOUR[:1], b"?" + log(FOUR[:1]))}


@check("replays-only-what-follows")
def refuses_what_no_crash_leaves(run: Run):
    """Damage is refused with -EBADMSG, and nothing is removed or changed.

    A snapshot that is not whole in any way, a segment that is missing, a closed one
    that is not whole. Only the last segment can have been torn by a crash. An open that
    failed keeps no descriptor and no memory.
    """
    cases = [(what, files | {form.TEMP: b"left", "1.wal.bak": b""}) for what, files in _damaged(run)]
    script, start = Script(), {}
    before = script.call("fds")
    for i, (_, files) in enumerate(cases):
        start |= {f"{i}/{name}": data for name, data in files.items()}
    numbers = [script.call("kv_log_open", 0, str(i)) for i in range(len(cases))]
    after = script.call("fds")
    session = run.drive(script, files=start)
    for i, ((what, files), number) in enumerate(zip(cases, numbers)):
        reply = session[number]
        found = {name: session.file(f"{i}/{name}") for name in session.names(str(i))}
        problem = "" if found == files else "and changed the directory"
        if reply["ret"] != EBADMSG or problem:
            message = f"{what}: kv_log_open() returned {errno_name(reply['ret'])} {problem}".rstrip()
            yield run.at_function(Finding("R624", message), "kv_log_open")
            return
    if session[after]["open"] > session[before]["open"]:
        message = "kv_log_open() leaves a descriptor open where it refuses"
        yield run.at_function(Finding("F109", message), "kv_log_open")
    yield from _keeps_memory(run)


def _keeps_memory(run: Run):
    """More maps are loaded and refused than the memory has room for."""
    rng = run.rng("memory")
    snapshot = form.snapshot({b"%d" % i: rng.randbytes(60_000) for i in range(50)}, 2)
    files = {form.SNAPSHOT: snapshot, form.segment(2): b"?", form.segment(3): b""}
    opens = [OPEN] * (ROOM // len(snapshot) + 5)
    session, at = play(run, ("limit", "data", ROOM), *opens, files=files, variant="plain")
    for count, number in enumerate(at[1:], 1):
        if session[number]["ret"] != EBADMSG:
            message = (
                f"the same log, of {len(snapshot)} bytes, refused again and again in "
                f"{ROOM >> 20} MiB of memory: kv_log_open() number {count} returned "
                f"{errno_name(session[number]['ret'])}"
            )
            yield run.at_function(Finding("F132", message), "kv_log_open")
            return


@check("keeps-the-map")
def syncs_every_step(run: Run):
    """What a call promises is on stable storage when it returns.

    The directory's own name, the segment's name, every record, the snapshot and its
    name; also where another process made them and was killed. The snapshot has its name
    in one step and with all its bytes synced. A sync that a signal interrupts is no sync.
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


def _calls_of_a_checkpoint(run: Run) -> list[str]:
    """The names of the calls that a checkpoint makes down to the first removal."""
    session, at = play(
        run, OPEN, append(FOUR[0]), ("fault", "any", "1+", "watch"), CHECKPOINT, ("clear",), CLOSE
    )
    names = [fault.call for fault in session[at[3]].faults]
    ends = [i for i, name in enumerate(names) if name in ("unlink", "unlinkat", "remove")]
    return names[: ends[0]] if ends else names


def _directory_sync(run: Run) -> int:
    """Which of a checkpoint's syncs is the last behind its rename; 0 if there is none."""
    names = _calls_of_a_checkpoint(run)
    renames = [i for i, name in enumerate(names) if name.startswith("rename")]
    if not renames or not any("sync" in name for name in names[renames[-1] :]):
        return 0
    return sum("sync" in name for name in names)


@check("writes-the-snapshot")
def goes_on_after_a_failed_snapshot(run: Run):
    """A snapshot that cannot be written fails that call alone.

    The disk is full, the rename fails: the errno is returned, snapshot.tmp is removed,
    the segments and the old snapshot stay, appends go on, and the next checkpoint
    works.
    """
    yield from together(_failed_snapshots(run))


def _failed_snapshots(run: Run):
    full, bad = errno.ENOSPC, errno.EIO
    for fault in (("write", 1, "errno", full), ("write", "1+", "errno", bad), ("rename", 1, "errno", bad)):
        calls = [OPEN, append(FOUR[0]), CHECKPOINT, append(FOUR[1]), ("fault", *fault), CHECKPOINT,
                 ("clear",)]
        session, at = play(run, *calls)
        reply = session[at[5]]
        if not reply.faults:
            continue
        yield from wrong_return(run, reply, -fault[3], "F131", "where the snapshot failed")
        files = left(session)
        found = form.parse_snapshot(files.get(form.SNAPSHOT) or b"")
        if form.TEMP in files or not found or found.first != 2 or "2.wal" not in files:
            message = f"a snapshot failed, and the directory holds {', '.join(sorted(files))}"
            yield run.at_fault(Finding("F131", message), reply.faults[-1])
        rest = [append(AFTER), CHECKPOINT, append(FOUR[2]), CLOSE, OPEN]
        session, at = play(run, *calls, *rest)
        for number in at[7:10]:
            when = "after a snapshot that failed"
            yield from wrong_return(run, session[number], 0, "F131", when)
        want = apply([*FOUR[:3], AFTER])
        yield from _differs(run, session[at[-1]], want, "F131", "after a snapshot that failed")


@check("writes-the-snapshot")
def stops_after_a_failure(run: Run):
    """After a failed append or directory sync, every call fails.

    The first error is kept, every later call returns it, and no segment is removed. The
    same holds where the map has no memory for what was appended.
    """
    yield from together(_failures(run))
    yield from _full_map(run)


def _failures(run: Run):
    eio = -errno.EIO
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
            run, OPEN, append(FOUR[0]), ("fault", *fault), call, ("clear",),
            append(AFTER), CHECKPOINT, append(AFTER), CLOSE,
        )
        if not session[at[3]].faults:
            continue
        for number in (at[3], *at[5:]):
            yield from wrong_return(run, session[number], eio, "F105", f"after {what}")
        if form.segment(1) not in left(session):
            message = f"after {what}, {form.segment(1)} was removed"
            yield run.at_fault(Finding("F105", message), session[at[3]].faults[-1])


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
