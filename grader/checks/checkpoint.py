"""Checks of the log with checkpoints: what it keeps, writes, replays, removes and refuses."""

import errno

from ..crash.checkpoint import DIR, HERE
from ..result import Finding
from ..run import Run, Script
from ..shown import quoted
from . import check
from . import checkpoint_format as form
from .returns import errno_name, wrong_return
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


def differs(run: Run, reply, want: dict, code: str, what: str):
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
            found = list(differs(run, reply, want, "R621", what))
        else:
            found = [] if _is_skipped(reply) else list(wrong_return(run, reply, 0, "R621", when))
        if found:
            yield from found
            return
    yield from _refuses_a_bad_record(run)
    yield from _keeps_two_apart(run)


def _refuses_a_bad_record(run: Run):
    bad, shown = append((DEL, FOUR[0][1], b"value")), ("kv_log_map", 0)
    session, at = play(run, OPEN, append(FOUR[0]), bad, shown, append(AFTER), shown, CLOSE)
    yield from wrong_return(run, session[at[2]], -errno.EINVAL, "R621", "for a DEL with a value")
    what = "a DEL with a value was refused and should have changed nothing"
    for number, records, what in (
        (at[3], FOUR[:1], what), (at[5], [FOUR[0], AFTER], f"{what}; one append later"),
    ):
        found = list(differs(run, session[number], apply(records), "R621", what))
        if found:
            yield run.at_function(found[0], "kv_log_append")
            return


def _keeps_two_apart(run: Run):
    script = Script()
    calls = [OPEN, ("kv_log_open", 1, "other"), append(FOUR[0]), ("kv_log_append", 1, *FOUR[1]),
             CHECKPOINT, ("kv_log_append", 1, *FOUR[2]), ("kv_log_checkpoint", 1), CLOSE,
             ("kv_log_close", 1), OPEN, ("kv_log_open", 1, "other")]
    *_, one, two = [script.call(*call) for call in calls]
    session = run.drive(script, files=HERE)
    yield from differs(run, session[one], apply(FOUR[:1]), "R621", "of two logs, the first")
    yield from differs(run, session[two], apply(FOUR[1:3]), "R621", "of two logs, the second")


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
    yield from _cleans_two_apart(run)
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


def _cleans_two_apart(run: Run):
    """The segments of the one have other numbers than those of the other."""
    script = Script()
    for call in (OPEN, ("kv_log_open", 1, "other"), CHECKPOINT, ("kv_log_checkpoint", 1), CLOSE,
                 ("kv_log_close", 1)):
        script.call(*call)
    there = {form.SNAPSHOT: form.snapshot({}, 5), form.segment(5): form.log(FOUR)}
    session = run.drive(script, files=placed(there) | {"other/1.wal": form.log(FOUR)})
    for folder, number in ((DIR, 6), ("other", 2)):
        more = sorted(set(session.names(folder)) - {form.SNAPSHOT, form.segment(number)})
        if more:
            message = f"two logs were open; after a checkpoint of each {folder}/ still holds {more[0]}"
            yield run.at_function(Finding("R623", message), "kv_log_checkpoint")
            return


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
    yield from _makes_a_directory(run)


def _makes_a_directory(run: Run):
    umasks = {"usual": 0o022, "shut": 0o077}
    script = Script()
    for name, umask in umasks.items():
        script.call("umask", umask)
        script.call("kv_log_open", 0, name)
        script.call(*CLOSE)
    session = run.drive(script)
    for name, umask in umasks.items():
        want = 0o755 & ~umask
        mode = session.mode(name) if name in session.names() else want
        if mode != want:
            message = f"under a umask of {umask:03o} the directory has mode {mode:04o}, not {want:04o}"
            yield run.at_function(Finding("O105", message), "kv_log_open")
            return


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
