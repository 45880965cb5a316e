"""Checks of the log with checkpoints: what it keeps, writes, replays, removes and refuses."""

import errno
from dataclasses import replace

from ..crash.checkpoint import DIR, HERE
from ..result import Finding
from ..run import Fault, Run, Script
from ..shown import quoted
from ..tracing import Promise, trace
from . import check
from . import checkpoint_format as form
from .returns import errno_name, interrupted_syncs, wrong_return
from .wal_format import DEL, FOUR, SET, apply, random_record

OPEN, CLOSE, CHECKPOINT = ("kv_log_open", 0, DIR), ("kv_log_close", 0), ("kv_log_checkpoint", 0)
AFTER = (SET, b"after", b"all")
EBADMSG = -errno.EBADMSG
FAR = (1 << 40) + 3  # a number of a segment that 32 bits do not hold
DIR_MAX_BYTES = 4000
REMOVALS, RENAMES = ("unlink", "unlinkat", "remove"), ("rename", "renameat", "renameat2")


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


def _is_skipped(reply) -> bool:
    return "skipped" in dict(reply.words)


def _differs(run: Run, reply, want: dict, code: str, what: str):
    """The map that a call showed, against the one that there should be."""
    if _is_skipped(reply):
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
    session, numbers = play(run, *calls)
    for number in numbers:
        reply, when = session[number], "after kv_log_open() had returned 0"
        if number in shows:
            what, want = shows[number]
            found = list(_differs(run, reply, want, "R621", what))
        else:
            found = [] if _is_skipped(reply) else list(wrong_return(run, reply, 0, "R621", when))
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
    that is empty, and of one that no buffer holds at once or that fills one; behind a
    segment of any number. Before that the log is one segment with every record. The old
    segments are gone. The directory is made with the header's mode, and its path may
    have 4,000 bytes.
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
    twice = [OPEN, append(FOUR[0]), CHECKPOINT, append(FOUR[1]), CHECKPOINT, CLOSE]
    far = {form.SNAPSHOT: form.snapshot({}, FAR), form.segment(FAR): form.log(FOUR[:1])}
    for what, calls, files, first in (
        ("a second snapshot", twice, {}, 3),
        (f"a snapshot of segment {FAR}", [OPEN, append(FOUR[1]), CHECKPOINT, CLOSE], far, FAR + 1),
    ):
        session, _ = play(run, *calls, files=files)
        problem = _wrong_snapshot(left(session), apply(FOUR[:2]), first)
        if problem:
            yield run.at_function(Finding("O501", f"{what}: {problem}"), "kv_log_checkpoint")
            return
    yield from _fills_a_buffer(run)
    yield from _writes_over_a_longer_one(run)
    yield from _opens_a_directory(run)


def _fills_a_buffer(run: Run):
    """One pair that leaves so many bytes of a buffer for the largest record: the trailer
    has 24."""
    script, pairs = Script(), {}
    for room in (0, 1, form.TRAILER_BYTES - 1, form.TRAILER_BYTES):
        pairs[str(room)] = b"k" * 65_535, b"v" * (65_535 - room)
        for call in (("kv_log_open", 0, str(room)), append((SET, *pairs[str(room)])), CHECKPOINT, CLOSE):
            script.call(*call)
    session = run.drive(script)
    for name, pair in pairs.items():
        found = form.parse_snapshot(session.file(f"{name}/{form.SNAPSHOT}") or b"")
        if found is None or found.pairs != dict([pair]):
            message = f"a snapshot of one pair of {sum(map(len, pair))} bytes is not whole"
            yield run.at_function(Finding("O501", message), "kv_log_checkpoint")
            return


def _writes_over_a_longer_one(run: Run):
    """A snapshot.tmp that the open could not remove."""
    files = {form.segment(1): form.log(FOUR[:1]), form.TEMP: bytes(1000)}
    fault = "fault", "unlink", "1+", "errno", errno.EACCES
    session, at = play(run, fault, OPEN, ("clear",), append(FOUR[1]), CHECKPOINT, CLOSE, files=files)
    for number in (at[1], at[4]):
        when = "where the open cannot remove a snapshot.tmp"
        yield from _returned(run, session[number], 0, "O107", when)
    problem = _wrong_snapshot(left(session), apply(FOUR[:2]), 2)
    if problem:
        message = f"a snapshot where a longer snapshot.tmp was left: {problem}"
        yield run.at_function(Finding("O501", message), "kv_log_checkpoint")


def _opens_a_directory(run: Run):
    path = "./" * ((DIR_MAX_BYTES - 8) // 2) + "deep/log"
    opened = "kv_log_open", 0, path
    session, at = play(run, opened, append(FOUR[0]), CHECKPOINT, CLOSE, opened, CLOSE,
                       ("kv_log_open", 0, f"{path}s"))
    *shorter, longer = at
    wants = [(number, 0, len(path)) for number in shorter] + [(longer, -errno.ENAMETOOLONG, len(path) + 1)]
    for number, want, size in wants:
        when = f"where the directory's path has {size} bytes"
        found = list(_returned(run, session[number], want, "O107", when))
        if found:
            yield from found
            return
    mode = session.mode("deep/log") if "log" in session.names("deep") else 0o755
    if mode != 0o755:
        message = f"the directory is made with mode {mode:04o}, and not 0755"
        yield run.at_function(Finding("O105", message), "kv_log_open")


def _returned(run: Run, reply, want: int, code: str, when: str):
    """As wrong_return(), for a call that an open that failed may have left out."""
    if not _is_skipped(reply):
        yield from wrong_return(run, reply, want, code, when)


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
    yield "an empty segment before two others", {
        seg(1): b"", seg(2): log(one), seg(3): b"", seg(4): log(two)}, one + two, 4
    yield f"a snapshot that names segment {FAR}", {
        form.SNAPSHOT: form.snapshot(apply(one), FAR), seg(1): log(three), seg(FAR): log(two),
        seg(FAR + 1): log(three)}, one + two + three, FAR + 1
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
    yet. The next append goes to the last segment. A read may return fewer bytes than it
    was asked for.
    """
    for what, files, records, last in _recoverable(run):
        session, at = play(run, OPEN, append(AFTER), CLOSE, OPEN, CLOSE, files=files)
        yield from _differs(run, session[at[0]], apply(records), "R622", what)
        if session[at[0]]["ret"] == 0 and session[at[0]]["segment"] < last:
            message = f"{what}: the segment that goes on is {session[at[0]]['segment']}, not {last}"
            yield run.at_function(Finding("R622", message), "kv_log_open")
        want = apply([*records, AFTER])
        yield from _differs(run, session[at[3]], want, "R622", f"{what}, one append later")
    files = _three_parts()
    session, at = play(run, ("fault", "read", "1+", "short", 7), OPEN, CLOSE, files=files)
    short = "where each read returns 7 bytes at most"
    yield from _differs(run, session[at[1]], form.content(files), "F101", short)


def _three_parts() -> dict[str, bytes]:
    """A snapshot, an old segment whose removal did not last, a closed one and the last."""
    return {
        form.SNAPSHOT: form.snapshot(apply(FOUR[:2]), 2), form.segment(1): form.log([(SET, b"name", b"old")]),
        form.segment(2): form.log([FOUR[2]]), form.segment(3): form.log([AFTER]),
    }


@check("replays-only-what-follows")
def removes_what_is_not_needed(run: Run):
    """Leftovers go at the next open, and nothing else does.

    Old segments and snapshot.tmp, also where the open finds nothing else to do. What is
    not named like a segment is somebody else's. A removal that fails is no error.
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
    yield from _cannot_remove(run)


def _cannot_remove(run: Run):
    """No removal behind the rename works; the next open makes up for it."""
    before, _ = _of_a_checkpoint(run)
    fault = "fault", "unlink", f"{1 + _count(before, REMOVALS)}+", "errno", errno.EACCES
    session, at = play(run, OPEN, append(FOUR[0]), fault, CHECKPOINT, ("clear",), CLOSE, OPEN, CLOSE)
    yield from wrong_return(run, session[at[3]], 0, "O107", "where no segment can be removed")
    yield from _differs(run, session[at[6]], apply(FOUR[:1]), "R623", "after removals that failed")
    more = sorted(left(session).keys() - {form.SNAPSHOT, form.segment(2)})
    if more:
        message = f"{more[0]} could not be removed, and stays at the next open too"
        yield run.at_function(Finding("R623", message), "kv_log_open")


def _damaged(run: Run):
    """What no crash leaves."""
    rng = run.rng("damaged")
    seg, log, snapshot = form.segment, form.log, form.snapshot(apply(FOUR), 3)
    torn = log(FOUR)[:-3]  # the last segment of each: it is for wal_recover(), and only then
    segments = {seg(3): log(FOUR[:1]), seg(4): torn}
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
    one = {seg(1): log(FOUR[:1])}
    yield "a snapshot that names segment 0, and segment 1", {form.SNAPSHOT: form.seal(pair, 0, 1)} | one
    for data in (b"", snapshot[:-1]):
        yield f"a snapshot cut to {len(data)} bytes, alone", {form.SNAPSHOT: data}
    good = {form.SNAPSHOT: snapshot}
    yield "no snapshot, and segment 1 missing", segments
    yield "the segment that the snapshot names missing", good | {seg(4): torn}
    yield "a segment missing between two", good | segments | {seg(6): torn}
    for what, bad in (("torn", log(FOUR)[:-3]), ("that ends in zeros", log(FOUR, bytes(9))),
                      ("with a bad record", log(FOUR[:1], b"?" + log(FOUR[:1])))):
        yield f"a segment {what} before another", good | {seg(3): bad, seg(4): torn}
    yield "a bad record in the last segment", good | {seg(3): log(FOUR[:1], b"?" + log(FOUR[:1]))}


@check("replays-only-what-follows")
def refuses_what_no_crash_leaves(run: Run):
    """Damage is refused with -EBADMSG, and nothing is removed or changed.

    A snapshot that is not whole in any way, a segment that is missing, a closed one
    that is not whole. Only the last segment can have been torn by a crash. And what
    cannot be opened, listed or read is neither damaged nor missing: its errno is returned.
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
    yield from _cannot_read(run)


def _cannot_read(run: Run):
    """Each open of a file, each of a directory to list it, and each read fails in turn."""
    files = _three_parts()
    ways = [("open", errno.EMFILE), ("open", errno.EACCES), ("list", errno.EMFILE), ("read", errno.EIO)]
    script, start, tried = Script(), {}, []
    for kind, error in ways:
        session, at = play(run, ("fault", kind, "1+", "watch"), OPEN, ("clear",), CLOSE, files=files)
        for number in range(1, len(session[at[1]].faults) + 1):
            name = str(len(tried))
            start |= {f"{name}/{file}": data for file, data in files.items()}
            script.call("fault", kind, number, "errno", error)
            first = script.call("kv_log_open", 0, name)
            script.call("clear")
            script.call(*CLOSE)
            tried.append((error, first, script.call("kv_log_open", 0, name)))
            script.call(*CLOSE)
    session = run.drive(script, files=start)
    for error, first, again in tried:
        met = session[first].faults
        if not met or session[first]["ret"] == -error:
            what = f"after an open that returned {errno_name(-error)}"
            found = _differs(run, session[again], form.content(files), "R625", what)
        else:
            what = f"where {met[-1].call}() failed ({errno.errorcode[error]})"
            found = _differs(run, session[first], form.content(files), "R625", what)
        for one in list(found)[:1]:
            yield run.at_fault(one, met[-1]) if met else one
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


def _of_a_checkpoint(run: Run) -> tuple[list[Fault], list[Fault]]:
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
    parts = [sum("sync" in fault.call for fault in part) for part in _of_a_checkpoint(run)]
    return sum(parts) if parts[1] else 0


def _count(calls: list[Fault], names) -> int:
    return sum(fault.call in names for fault in calls)


def _closes_the_snapshot(before: list[Fault]) -> int:
    """Which of the closes before the rename is the one of what was written; 0 if none is."""
    wrote = max((i for i, fault in enumerate(before) if "write" in fault.call), default=len(before))
    for i, fault in enumerate(before[wrote:], wrote):
        if fault.call == "close" and fault.fd == before[wrote].fd:
            return _count(before[: i + 1], ("close",))
    return 0


@check("writes-the-snapshot")
def goes_on_after_a_failed_snapshot(run: Run):
    """A snapshot that cannot be written fails that call alone.

    The disk is full, the close or the rename fails: the errno is returned, snapshot.tmp
    is removed, the segments and the old snapshot stay, appends go on, and the next
    checkpoint works and removes all of them.
    """
    full, bad = errno.ENOSPC, errno.EIO
    before, _ = _of_a_checkpoint(run)
    faults = [("write", 1, "errno", full), ("write", "1+", "errno", bad), ("rename", 1, "errno", bad)]
    faults += [("close", n, "errno", bad) for n in [_closes_the_snapshot(before)] if n]
    for fault in faults:
        found = list(_fails_alone(run, fault))
        yield from _folded(found)
        if found:
            return


def _fails_alone(run: Run, fault):
    calls = [OPEN, append(FOUR[0]), CHECKPOINT, append(FOUR[1]), ("fault", *fault), CHECKPOINT, ("clear",)]
    session, at = play(run, *calls)
    reply = session[at[5]]
    if not reply.faults:
        return
    yield from wrong_return(run, reply, -fault[3], "F131", "where the snapshot failed")
    files = left(session)
    found = form.parse_snapshot(files.get(form.SNAPSHOT) or b"")
    if form.TEMP in files or not found or found.first != 2 or "2.wal" not in files:
        message = f"a snapshot failed, and the directory holds {', '.join(sorted(files))}"
        yield run.at_fault(Finding("F131", message), reply.faults[-1])
    yield from _checkpoints_again(run, calls)


def _checkpoints_again(run: Run, calls):
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
    yield from _differs(run, session[at[0]], apply([*FOUR[:3], AFTER]), "F131", when)


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


def _gives_memory_back(run: Run):
    """The same calls again and again: behind each round as much is allocated as before."""
    seg, log, eio = form.segment, form.log, errno.EIO
    closed = {form.SNAPSHOT: form.snapshot(apply(FOUR), 2), seg(2): log(FOUR), seg(3): log(FOUR)}
    for what, calls, files, name in (
        ("opened and closed", (OPEN, CLOSE), {seg(1): log(FOUR)}, "kv_log_close"),
        ("opened, with a snapshot and a closed segment, and closed", (OPEN, CLOSE), closed, "kv_log_open"),
        ("refused", (OPEN,), closed | {seg(2): log(FOUR)[:-3]}, "kv_log_open"),
        ("opened and closed, with a checkpoint", (OPEN, CHECKPOINT, CLOSE), closed, "kv_log_checkpoint"),
        ("opened and closed, with an append that failed",
         (OPEN, ("fault", "sync", 1, "errno", eio), append(FOUR[0]), ("clear",), CLOSE), closed,
         "kv_log_close"),
    ):
        script, heaps = Script(), []
        for _ in range(4):  # the first ones fill the caches
            for call in calls:
                script.call(*call)
            heaps.append(script.call("heap"))
        session = run.drive(script, files=placed(files))
        _, *used = [session[number]["used"] for number in heaps]
        least = min(b - a for a, b in zip(used, used[1:]))
        if least > 0:
            message = f"each time that a log is {what}, {least} bytes stay allocated"
            yield run.at_function(Finding("F113", message), name)
            return
