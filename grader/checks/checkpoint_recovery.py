"""Checks of what a log with checkpoints finds when it is opened."""

import errno

from ..result import Finding
from ..run import Run, Script
from . import check
from . import checkpoint_format as form
from .returns import errno_name, wrong_return
from .wal_format import DEL, FOUR, SET, apply
from .checkpoint import AFTER, CHECKPOINT, CLOSE, EBADMSG, FAR, OPEN, REMOVALS, append, differs, left, play
from .checkpoint_faults import how_many, of_a_checkpoint


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
    yield "a snapshot that names segment 3, which is not there yet, and an old segment", {
        form.SNAPSHOT: snap[3], seg(1): log(one[1:])}, one + two, 3
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
        yield from differs(run, session[at[0]], apply(records), "R622", what)
        if session[at[0]]["ret"] == 0 and session[at[0]]["segment"] < last:
            message = f"{what}: the segment that goes on is {session[at[0]]['segment']}, not {last}"
            yield run.at_function(Finding("R622", message), "kv_log_open")
        want = apply([*records, AFTER])
        yield from differs(run, session[at[3]], want, "R622", f"{what}, one append later")
    files = _three_parts()
    session, at = play(run, ("fault", "read", "1+", "short", 7), OPEN, CLOSE, files=files)
    short = "where each read returns 7 bytes at most"
    yield from differs(run, session[at[1]], form.content(files), "F101", short)


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
    foreign += [form.segment(2**64 + 2), form.segment(10**23)]  # more than a number of a segment can be
    files = {name: b"not ours" for name in foreign}
    files |= {form.segment(n): form.log(FOUR) for n in (1, 2, 7, 12, 13)} | {form.TEMP: b"torn"}
    files |= {form.SNAPSHOT: form.snapshot(apply(FOUR), 12)}
    session, at = play(run, OPEN, CLOSE, files=files)
    if session[at[0]]["ret"] != 0:
        own = {name: data for name, data in files.items() if name not in foreign}
        found = list(_stands_in_the_way(run, own, foreign))
        yield from found or wrong_return(run, session[at[0]], 0, "R623", "where leftovers stand")
        return
    found, kept = left(session), files.keys() - {form.segment(n) for n in (1, 2, 7)} - {form.TEMP}
    stays, gone = sorted(found.keys() & files.keys() - kept), sorted(kept - found.keys())
    changed = sorted(name for name in kept & found.keys() if found[name] != files[name])
    for names, how in ((stays, "is left over"), (gone, "is gone"), (changed, "was changed")):
        if names:
            message = f"{names[0]} {how} after kv_log_open() with a snapshot that names segment 12"
            yield run.at_function(Finding("R623", message), "kv_log_open")
            return
    yield from _cannot_remove(run)


def _stands_in_the_way(run: Run, files: dict[str, bytes], foreign: list[str]):
    """Which of the foreign files an open cannot do with: none, each, or all of them."""
    script, start, beside = Script(), {}, {}
    for i, names in enumerate(([], *([name] for name in foreign), foreign)):
        start |= {f"{i}/{name}": data for name, data in (files | dict.fromkeys(names, b"not ours")).items()}
        beside[script.call("kv_log_open", 0, str(i))] = names
        script.call(*CLOSE)
    session = run.drive(script, files=start)
    for number, names in beside.items():
        stand = f"{', '.join(names)}, no name of a segment, stands" if names else "leftovers stand"
        found = list(wrong_return(run, session[number], 0, "R623", f"where {stand} in the directory"))
        if found:
            yield from found
            return


def _cannot_remove(run: Run):
    """No removal behind the rename works; the next open makes up for it."""
    before, _ = of_a_checkpoint(run)
    fault = "fault", "unlink", f"{1 + how_many(before, REMOVALS)}+", "errno", errno.EACCES
    session, at = play(run, OPEN, append(FOUR[0]), fault, CHECKPOINT, ("clear",), CLOSE, OPEN, CLOSE)
    yield from wrong_return(run, session[at[3]], 0, "O107", "where no segment can be removed")
    yield from differs(run, session[at[6]], apply(FOUR[:1]), "R623", "after removals that failed")
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
    cannot be opened, listed, read or held in memory is neither damaged nor missing: its
    errno is returned.
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
    yield from _cannot_hold(run)


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
            found = differs(run, session[again], form.content(files), "R625", what)
        else:
            what = f"where {met[-1].call}() failed ({errno.errorcode[error]})"
            found = differs(run, session[first], form.content(files), "R625", what)
        for one in list(found)[:1]:
            yield run.at_fault(one, met[-1]) if met else one
            return


def _cannot_hold(run: Run):
    """A file of 6 MB and 9 MiB of memory: less than the file and its map take together. A
    program that maps the file, or reads a part of it at a time, has room for the map."""
    records = [(SET, b"%d" % i, bytes(60_000)) for i in range(100)]
    for what, files in (
        ("a closed segment", {form.segment(1): form.log(records), form.segment(2): b""}),
        ("a snapshot", {form.SNAPSHOT: form.snapshot(apply(records), 2)}),
    ):
        session, at = play(run, ("limit", "data", 9 << 20), OPEN, files=files, variant="plain")
        when = f"where memory does not last for {what} of 6 MB"
        if session[at[1]]["ret"] == 0:
            found = differs(run, session[at[1]], apply(records), "R625", f"{when}, kv_log_open() returned 0")
        else:
            found = wrong_return(run, session[at[1]], -errno.ENOMEM, "R625", when)
        if found := list(found):
            yield from found
            return
