"""Checks of the log's writer: wal_open, wal_append, wal_close."""

import errno

from ..result import Finding
from ..run import Run, Script, Sparse
from ..tracing import trace
from . import check
from .returns import LEFT_OPEN, still_open, sync_tried_again, wrong_return
from .wal_format import FOUR, SET, encode, random_record, show

LOG, OTHER = "test.wal", "other.wal"
FIRST, SECOND = FOUR[0], FOUR[1]
BEFORE_OPEN = 0x5A5A5A5A  # what the driver writes into each `int` of a handle before wal_open()
TOGETHER = 50_000  # microseconds in which two threads come to their writes
MEMORY_ROUNDS = 6  # of which the first two may fill caches
# Of a sync, beside EIO. There are programs that take the last three for "not needed here".
FINAL = (errno.ENOSPC, errno.EDQUOT, errno.EINVAL, errno.EROFS, errno.ENOTSUP)


def encoded(*records) -> bytes:
    return b"".join(encode(*record) for record in records)


def log_differs(run: Run, session, want: bytes, code: str, why: str, name=LOG, function="wal_append"):
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
    wal_close() closes it. Small records, random ones and the largest there is; the same
    one twice.
    """
    wrong = list(_appends_the_same_again(run))
    if wrong:
        yield from wrong
        return
    rng = run.rng("appended")
    records = FOUR + [random_record(rng) for _ in range(30)]
    records.insert(20, (SET, rng.randbytes(65_535), rng.randbytes(65_535)))
    script = Script()
    opened = script.call("wal_open", 0, LOG)
    appended = [script.call("wal_append", 0, *record) for record in records]
    closed = script.call("wal_close", 0)
    session = run.drive(script)
    sizes = [f"for a record of {len(encode(*record))} bytes" for record in records]
    for number, when in zip((opened, *appended, closed), ("of a new log", *sizes, "where nothing is wrong")):
        bad = list(wrong_return(run, session[number], 0, "O103", when))
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
    yield from log_differs(run, session, encoded(*records), "O103", "after all appends")


def _appends_the_same_again(run: Run):
    """Two equal records are two. Sees, too, which descriptors are open at the end where
    nothing fails: LEFT_OPEN, by the function that opened them."""
    script = Script()
    before = script.call("fds")
    opened = script.call("wal_open", 0, LOG)
    made = script.call("fds")
    appended = [script.call("wal_append", 0, *FIRST) for _ in range(2)]
    script.call("wal_close", 0)
    after = script.call("fds")
    session = run.drive(script)
    if session[opened]["ret"] == 0:
        refused = list(_refused(run, [session[number] for number in appended]))
        want, why = encoded(FIRST, FIRST), "after the same record twice"
        yield from refused or log_differs(run, session, want, "O103", why)
        by_open = still_open(run, session, session[before], session[made])
        run.memo[LEFT_OPEN] = {
            name: "wal_open" if name in by_open and name != LOG else "wal_close"
            for name in still_open(run, session, session[before], session[after])
        }


def _refused(run: Run, replies):
    """The first append that fails though no call of it does."""
    reply = next((reply for reply in replies if reply["ret"] != 0), None)
    if reply:
        stood = ", as it stood in the handle before wal_open()" if reply["ret"] == BEFORE_OPEN else ""
        yield from wrong_return(run, reply, 0, "O103", f"on a new log{stood}")


def stays_open(run: Run, session, before: int, after: int) -> str | None:
    """The descriptors that a failure leaves open, beside those that always are."""
    left = still_open(run, session, session[before], session[after])
    return ", ".join(name for name in left if name not in run.memo.get(LEFT_OPEN, ())) or None


@check("holds-every-record-appended")
def continues_an_existing_log(run: Run):
    """A log that is there is continued at its end.

    wal_open() sets `offset` to the size of the file, and what stands in it stays: a torn
    record too, which is for recovery to judge. The log may be large, and its name may be
    a symbolic link to it.
    """
    yield from _leaves_a_torn_tail(run)
    yield from _opens_what_is_there(run)
    before, name = encoded(*FOUR), f"deep/er/{LOG}"
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
    yield from log_differs(run, session, before + encoded(SECOND), "O104", "after one append", name)


def _leaves_a_torn_tail(run: Run):
    torn = encoded(*FOUR)[:-3]
    script = Script()
    opened = script.call("wal_open", 0, LOG)
    script.call("wal_close", 0)
    session = run.drive(script, files={LOG: torn})
    yield from wrong_return(run, session[opened], 0, "O104", "for a log with a torn record")
    why = "wal_open() of a log whose last record is torn"
    yield from log_differs(run, session, torn, "A102", why, function="wal_open")


def _opens_what_is_there(run: Run):
    """A log of which 32 bits cannot hold the size, one behind a symbolic link, and one that
    another process makes just before the open would."""
    size = (5 << 30) + 7
    script = Script()
    script.call("make", "link", "link.wal", f"deep/{LOG}")
    large = script.call("wal_open", 0, OTHER)
    script.call("wal_close", 0)
    linked = script.call("wal_open", 1, "link.wal")
    script.call("wal_append", 1, *SECOND)
    script.call("wal_close", 1)
    script.call("fault", "create", 1, "taken")
    taken = script.call("wal_open", 2, LOG)
    session = run.drive(script, files={OTHER: Sparse(b"", size), f"deep/{LOG}": encoded(FIRST)})
    for number, when in (
        (large, f"for a log of {size} bytes"), (linked, "for a symbolic link to a log"),
        (taken, "for a log that another process makes in between"),
    ):
        yield from wrong_return(run, session[number], 0, "O104", when)
    if session[large]["ret"] == 0 and session[large]["offset"] != size:
        message = f"offset is {session[large]['offset']} after wal_open() of a log of {size} bytes"
        yield run.at_function(Finding("O106", message), "wal_open")
    if session[linked]["ret"] == 0:
        want, why = encoded(FIRST, SECOND), "after one append through a symbolic link"
        yield from log_differs(run, session, want, "O104", why, f"deep/{LOG}")


@check("holds-every-record-appended")
def makes_the_log_with_mode_0644(run: Run):
    """A new log has mode 0644, under the usual umask of 022.

    The umask takes away what it must, and nobody else adds to it. A log that is there
    keeps its mode.
    """
    umasks = {LOG: 0o022, "open.wal": 0, "shut.wal": 0o077}
    script = Script()
    for i, (name, umask) in enumerate(umasks.items()):
        script.call("umask", umask)
        script.call("wal_open", i, name)
        script.call("wal_close", i)
    script.call("put", OTHER, encoded(FIRST))
    script.call("mode", OTHER, 0o600)
    script.call("wal_open", 3, OTHER)
    script.call("wal_append", 3, *SECOND)
    script.call("wal_close", 3)
    session = run.drive(script)
    wanted = [(name, 0o644 & ~umask, f"under a umask of {umask:03o}") for name, umask in umasks.items()]
    for name, want, when in (*wanted, (OTHER, 0o600, "which it had before")):
        mode = session.mode(name)
        if mode != want:
            message = f"{name} has mode {mode:04o} and should have {want:04o}, {when}"
            yield run.at_function(Finding("O105", message), "wal_open")
            return


@check("holds-every-record-appended")
def never_overwrites(run: Run):
    """Two handles on one log never overwrite each other's records.

    That is what O_APPEND is for: the kernel itself moves each write to the end. Each
    handle's `offset` counts what it made durable itself, and not the other's records.
    Nor do two handles share memory: two threads may each have one, on two logs.
    """
    mixed = list(_threads_mix(run)) or list(_threads_mix_paths(run)) or list(_another_process(run))
    if mixed:
        yield mixed[0]
        return
    script = Script()
    script.call("wal_open", 0, LOG)
    first = script.call("wal_append", 0, *FIRST)
    opened = script.call("wal_open", 1, LOG)
    last = [script.call("wal_append", handle, *record) for handle, record in ((1, SECOND), (0, FOUR[2]))]
    closed = [script.call("wal_close", handle) for handle in (0, 1)]
    session, findings = trace(run, script, append_only=(LOG,))
    findings += wrong_return(run, session[opened], 0, "O107", "for a second handle on the same log")
    if not findings:
        for number in (first, *last, *closed):
            findings += wrong_return(run, session[number], 0, "O107", "with two handles on one log")
    if findings:
        yield from findings
        return
    want = encoded(FIRST, SECOND, FOUR[2])
    yield from log_differs(run, session, want, "A101", "appending through two handles in turn")
    if not session[opened]["append"]:
        # Whoever looks for the end and then writes there may be a moment late.
        message = "the log is not open with O_APPEND: another handle may write first"
        yield run.at_function(Finding("A101", message), "wal_open")
    for number, want in zip(last, (len(encoded(FIRST, SECOND)), len(encoded(FIRST, FOUR[2])))):
        if session[number]["offset"] != want:
            message = (
                f"offset is {session[number]['offset']} with two handles on one log, and should be {want}: "
                "the size at wal_open(), and the records of this handle"
            )
            yield run.at_function(Finding("O106", message), "wal_append")
            return


def _threads_mix(run: Run):
    """Two threads, each with a handle of its own. Each write waits until both are on their
    way, so that memory which they share holds one record for the two."""
    records = {LOG: (SET, b"one", b"1" * 99), OTHER: (SET, b"two", b"2" * 99)}
    script = Script()
    for i, name in enumerate(records):
        script.call("wal_open", i, name)
    script.call("fault", "write", 1, "delay", TOGETHER)
    script.call("together")
    appended = [script.call("wal_append", i, *record, f"@{i}") for i, record in enumerate(records.values())]
    script.call("apart")
    script.call("clear")
    for i, name in enumerate(records):
        script.call("wal_close", i)
    session = run.drive(script)
    for number in appended:
        yield from wrong_return(run, session[number], 0, "O107", "beside a thread with another log")
    for name, record in records.items():
        why = "after two threads appended to two logs at the same time"
        yield from log_differs(run, session, encoded(record), "O103", why, name)


def _threads_mix_paths(run: Run):
    """Two threads, each with a path of its own: one directory is there, one is not."""
    wanted = {f"deep/{LOG}": 0, f"missing/{LOG}": -errno.ENOENT}
    script = Script()
    script.call("fault", "open", 1, "delay", TOGETHER)
    script.call("together")
    made = [script.call("wal_sync_dir", name, f"@{i}") for i, name in enumerate(wanted)]
    script.call("apart")
    session = run.drive(script, files={"deep/x": b""})
    for number, (name, want) in zip(made, wanted.items()):
        when = f"for {name}, which is not there, beside a thread with another path"
        yield from wrong_return(run, session[number], want, "O107", when)


def _another_process(run: Run):
    """It may open the log that this one has open."""
    script = Script()
    script.call("wal_open", 0, LOG)
    script.call("begin")
    opened = script.call("wal_open", 1, LOG)
    script.call("end")
    script.call("wal_close", 0)
    when = "for a log that another process has open"
    yield from wrong_return(run, run.drive(script)[opened], 0, "O107", when)


@check("holds-every-record-appended")
def reports_a_failed_open(run: Run):
    """An open that fails says so, with the errno, and leaves nothing open.

    A directory that is not there, a directory instead of a file, a directory whose sync
    fails: each a negative errno. A log that was there stays, and descriptor 0 is one like
    any other.
    """
    other = list(_keeps_what_is_not_its_own(run)) or list(_with_descriptor_0_free(run))
    if other:
        yield from other
        return
    script = Script()
    before = script.call("fds")
    missing = script.call("wal_open", 0, f"missing/{LOG}")
    folder = script.call("wal_open", 0, "deep")
    unsynced = []
    for error in (errno.EIO, *FINAL):
        script.call("fault", "sync", 1, "errno", error)
        unsynced.append((script.call("wal_open", 0, LOG), error))
    script.call("clear")
    after = script.call("fds")
    script.call("fault", "leave", 1, "errno", errno.EIO)
    left = script.call("wal_open", 1, LOG)
    script.call("clear")
    script.call("wal_close", 1)  # for those who keep the directory open
    unopened = []
    for error in (errno.EMFILE, errno.EACCES, errno.EIO):
        script.call("fault", "open", 2, "errno", error)
        unopened.append((script.call("wal_open", 0, LOG), error))
    at_last = script.call("fds")
    session = run.drive(script, files={"deep/x": b""})
    yield from wrong_return(run, session[missing], -errno.ENOENT, "O107", "where its directory is not there")
    yield from wrong_return(run, session[folder], -errno.EISDIR, "O107", "for a directory")
    if session[unsynced[0][0]].faults:
        wrong = list(sync_tried_again(run, [], ("wal_open", 0, LOG), "D206"))
        for number, error in () if wrong else unsynced:
            when = f"though the sync of the directory failed ({errno.errorcode[error]})"
            wrong += wrong_return(run, session[number], -error, "F104", when)
            if wrong:
                break
        if session[left].faults:
            when = "though the close of the directory failed (EIO)"
            wrong += wrong_return(run, session[left], -errno.EIO, "F108", when)
        for number, error in unopened:
            if session[number].faults:
                after = at_last
                when = f"though its directory could not be opened ({errno.errorcode[error]})"
                wrong += wrong_return(run, session[number], -error, "F108", when)
        yield from wrong
        names = stays_open(run, session, before, after)
        if not wrong and names:
            message = f"a wal_open() that fails leaves {names} open"
            yield run.at_function(Finding("F109", message), "wal_open")


def _keeps_what_is_not_its_own(run: Run):
    """A log that was there before, empty, when its open fails; and a descriptor whose
    number stands in the handle, which was never open."""
    script = Script()
    script.call("fault", "sync", 1, "errno", errno.EIO)
    opened = script.call("wal_open", 0, LOG)
    session = run.drive(script, files={LOG: b""})
    if ("taken", "1") in session[opened].words:
        message = "wal_open() closes the descriptor whose number it found in the handle"
        yield run.at_function(Finding("F123", message), "wal_open")
    if session.file(LOG) is None:
        message = f"an empty log, and the sync of its directory fails (EIO): wal_open() takes {LOG} away"
        yield run.at_function(Finding("F123", message), "wal_open")


def _with_descriptor_0_free(run: Run):
    """As in a server that has closed its standard input: the next file opened gets 0.
    What was left in errno says nothing of a call that works."""
    when = "where descriptor 0 is free and errno was EINTR before the call"
    script = Script()
    script.call("free0")
    script.call("errno", errno.EINTR)
    before = script.call("fds")
    made = {script.call("wal_sync_dir", LOG): f"for {LOG}, which is not there yet, {when}"}
    for words in (("wal_open", 0, LOG), ("wal_append", 0, *FIRST), ("wal_close", 0)):
        made[script.call(*words)] = when
    after = script.call("fds")
    session = run.drive(script)
    for number, case in made.items():
        wrong = list(wrong_return(run, session[number], 0, "O107", case))
        if wrong:
            yield from wrong
            return
    names = stays_open(run, session, before, after)
    if names:
        message = f"where descriptor 0 is free, wal_close() leaves {names} open"
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
    yield from log_differs(run, session, encoded(FIRST, SECOND), "F110", "after a refused record")
