"""Checks of what the log's writer has made durable, by the trace of system calls."""

import errno

from ..result import Finding
from ..run import HERE, Run, Script
from ..tracing import Promise, trace
from . import check
from .returns import wrong_return
from .wal_format import FOUR, SET, random_record
from .wal_writer import FIRST, LOG, OTHER, encoded


def _appends(run: Run):
    """What the traces of appends show; traced once for several checks.

    First four small records. Then, if nothing is wrong with those, two new logs in turn:
    small records, large ones, and one that takes several writes.
    """
    if "appends" not in run.memo:
        rng = run.rng("traced")
        mixed = [random_record(rng) for _ in range(8)]
        mixed += [(SET, b"k", rng.randbytes(n)) for n in (4_000, 9_000, 65_535)]
        mixed += [random_record(rng) for _ in range(30)]
        few = [(0, record) for record in FOUR]
        many = few + [(i % 2, record) for i, record in enumerate(mixed)]
        run.memo["appends"] = _traced(run, few) or _traced(run, many)
    return run.memo["appends"]


def _traced(run: Run, appends):
    """The findings of a trace of these (handle, record), the last of them cut short once."""
    names = (f"deep/er/{LOG}", f"deep/{OTHER}", "deep/late.wal")
    script, promises = Script(), {}

    def call(name, handle, *args, what="both"):
        promises[script.call(name, handle, *args)] = [Promise(names[handle], what)]

    handles = sorted({handle for handle, _ in appends})
    for handle in handles:
        call("wal_open", handle, names[handle], what="name")
    for handle, record in appends:
        call("wal_append", handle, *record)
    script.call("fault", "write", 1, "short", 5)
    call("wal_append", 0, *FIRST)
    script.call("clear")
    call("wal_open", 2, names[2], what="name")  # that is no reason not to sync the others
    for handle in handles:
        call("wal_close", handle)
    _, findings = trace(
        run, script, files={"deep/er/x": b"", "deep/x": b""}, promises=promises,
        append_only=names, syncs_at_most={"wal_append": 4}, must_sync_in=("wal_close",),
    )
    return findings


def _only(findings, *codes):
    return [finding for finding in findings if finding.code in codes]


@check("holds-every-record-appended")
def syncs_before_it_returns(run: Run):
    """Every record is on stable storage before wal_append() returns.

    A sync of that file, begun after the last write of the record and finished before
    the return. Any call that gives this will do: fsync, fdatasync, O_DSYNC. A sync of
    another file, one that came before the last write, and sync_file_range do not.
    """
    yield from _only(_appends(run), "D101", "D102", "D103", "D104", "D105", "D106")


@check("holds-every-record-appended")
def syncs_the_directory(run: Run):
    """The log's name is on stable storage before wal_open() returns.

    fsync of a file does not make its name durable; fsync of its directory does. Also
    where the file was there before: whoever made it may have died before the sync.
    """
    mine = ("D201", "D202", "D203", "D204", "D205", "D206")
    yield from (_only(_appends(run), *mine) or _only(_names_that_were_there(run), *mine, "O107")
                or _in_the_root(run))


def _names_that_were_there(run: Run):
    """Logs that another program made and did not sync: empty, not empty, taken away and
    made anew, in another directory by the same path, behind a symbolic link, far away."""
    far = "/".join(["d" * 250] * 12 + [LOG])
    script, opened = Script(), {}
    for steps, name, path in (
        ([("put", OTHER, encoded(FIRST))], OTHER, OTHER),
        ([("put", LOG, b"")], LOG, LOG),
        ([("unlink", LOG), ("put", LOG, b"")], LOG, LOG),
        ([("cd", "deep"), ("put", LOG, b"")], f"deep/{LOG}", LOG),
        ([("make", "link", "linked.wal", f"er/{OTHER}")], "deep/linked.wal", "linked.wal"),
        ([("put", f"{HERE}/{far}", b"")], far, f"{HERE}/{far}"),
    ):
        for step in steps:
            script.call(*step)
        opened[script.call("wal_open", 0, path)] = [Promise(name, "name")]
        script.call("wal_close", 0)
    files = {f"{far.removesuffix(LOG)}x": b"", f"deep/er/{OTHER}": b""}
    session, findings = trace(run, script, files=files, promises=opened)
    *near, last = opened
    for number in near:
        findings += wrong_return(run, session[number], 0, "O107", "for a log that is there")
    when = f"for a log that is there, with a path of more than {len(far)} bytes"
    return findings + list(wrong_return(run, session[last], 0, "O107", when))


def _in_the_root(run: Run):
    """/test.wal stands in /. The program runs in a directory that it cannot open."""
    script = Script()
    script.call("make", "dir", "blind")
    script.call("mode", "blind", 0o300)
    script.call("cd", "blind")
    synced = script.call("wal_sync_dir", f"/{LOG}")
    reply = run.drive(script)[synced]
    if reply["ret"] == -errno.EACCES:
        message = f"wal_sync_dir(\"/{LOG}\") opens the directory in which the program runs, and not /"
        yield run.at_function(Finding("D203", message), "wal_sync_dir")


@check("syncs-before-it-returns")
def syncs_once_a_record(run: Run):
    """One sync a record, not one a byte.

    Each sync is a trip to the device. wal_append() may take up to four, for those who
    write a record in parts through O_DSYNC.
    """
    yield from _only(_appends(run), "D108")


@check("syncs-before-it-returns")
def syncs_at_close(run: Run):
    """wal_close() syncs one final time before it closes.

    A handle opened with O_DSYNC or O_SYNC has no need to.
    """
    yield from _only(_appends(run), "D107")
