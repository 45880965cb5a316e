"""Checks of what the trace of system calls shows of the anchors."""

import re

from ..errors import CannotJudge
from ..result import Finding
from ..run import Run, Script
from ..tracing import Promise, trace
from . import check
from .anchor_storage import inside, world

PROGRAM = ["./anchor_store_test", "/tmp/anchor_test_dir2"]
LESSONS_CALLS = "fsync,rename"
ANY_CALLS = "fsync,fdatasync,syncfs,sync,open,openat,rename,renameat,renameat2,link,linkat"
_CALL = re.compile(r"(?:\[pid +\d+\] )?(\w+)\((.*)")


def _rests_on(folder: str, count: int) -> dict:
    """A cosignature rests on its record, a head on both files of every id up to it."""
    def record(i):
        return Promise(f"{folder}/anchor_{i}.rec")

    def cosignature(i):
        return Promise(f"{folder}/anchor_{i}.cosig")

    def of_head(data: bytes):
        ids = range(int(data) + 1) if data.strip().isdigit() and int(data) < 99 else ()
        return [promise for i in ids for promise in (record(i), cosignature(i))]

    names = {f"{folder}/anchor_{i}.cosig": lambda _, i=i: [record(i)] for i in range(count)}
    return {f"{folder}/head": of_head, **names}


def _traced(run: Run, name: str, make):
    """What the trace of a script shows, traced once for several checks."""
    if name not in run.memo:
        script, files, promises, rules = make(world(run))
        run.memo[name] = trace(run, script, files=files, promises=promises, **rules)[1]
    return run.memo[name]


def _promise(folder: str, name: str, what: str = "both") -> list[Promise]:
    return [Promise(f"{folder}/{name}", what)]


def _kept(w):
    """Two anchors, from record to head."""
    script, promises = Script(), {}
    for i in range(2):
        names = (f"anchor_{i}.rec", f"anchor_{i}.cosig", "head")
        promises |= {n: _promise("log", name) for n, name in zip(w.persist(script, "log", i), names)}
    heads = ("log/head",)
    rules = {"rests_on": _rests_on("log", 2), "in_one_step": heads, "always_there": heads}
    return script, inside("log", {}), promises, rules


def _taken_up(w):
    """The same anchor again, behind a process that was killed before it synced."""
    script, promises = Script(), {}
    script.call("put", "log/anchor_0.rec", w.records[0].bytes)
    number = script.call("anchor_persist_record", "log", *w.records[0].words)
    promises[number] = _promise("log", "anchor_0.rec")
    script.call("put", "log/anchor_0.cosig", w.cosignature(0).bytes)
    number = script.call("anchor_persist_cosignature", "log", *w.cosignature(0).words)
    promises[number] = _promise("log", "anchor_0.cosig")
    return script, inside("log", {}), promises, {}


def _recovered(w):
    """Recovery of what another program left and did not sync."""
    script, promises, pending = Script(), {}, w.records[2]
    for name, data in {**w.files(2), "anchor_2.rec": pending.bytes}.items():
        script.call("put", f"ahead/{name}", data)
    for name, data in w.files(1, 0).items():
        script.call("put", f"right/{name}", data)
    lists = {"ahead": [*w.files(2), "anchor_2.rec", "head"], "right": w.files(1, 0)}
    for folder, names in lists.items():
        number = script.call("anchor_recover", folder, w.key)
        promises[number] = [p for name in names for p in _promise(folder, name)]
    number = script.call("anchor_recover", "back", w.key)
    promises[number] = _promise("back", "head")
    number = script.call("anchor_recover", "none", w.key)
    promises[number] = _promise("none", "head", "gone") + _promise("none", "anchor_0.rec", "gone")
    files = {
        **inside("ahead", {}), **inside("right", {}), **inside("back", w.files(1, 5)),
        **inside("none", {"head": b"0\n", "anchor_0.rec": b"torn"}),
    }
    folders = ("ahead", "back")
    rests = {path: rule for folder in folders for path, rule in _rests_on(folder, 0).items()}
    rules = {"rests_on": rests, "in_one_step": [f"{folder}/head" for folder in folders]}
    return script, files, promises, rules


def _only(findings, kind: str):
    return [finding for finding in findings if finding.code.startswith(kind)]


@check("keeps-anchors-under-their-names")
def syncs_every_file_before_it_returns(run: Run):
    """Record, cosignature and head are on stable storage on return.

    A sync of that very file, begun after its last write and finished before the return.
    Any call that gives this will do: fsync, fdatasync, syncfs, O_DSYNC.
    """
    yield from _only(_traced(run, "kept", _kept), "D1")


@check("keeps-anchors-under-their-names")
def syncs_the_directory_of_the_anchors(run: Run):
    """Each name is on stable storage on return.

    fsync of a file does not make its name durable; a sync of the directory, begun after
    the name was made, does.
    """
    yield from _only(_traced(run, "kept", _kept), "D2")


@check("keeps-anchors-under-their-names")
def replaces_the_head_in_one_step(run: Run):
    """The head goes from one whole, synced file to the next in one step.

    No byte of a file changes while it is called `head`. A reader, and a crash, finds the
    old head or the new one.
    """
    yield from _only(_traced(run, "kept", _kept), "A")


@check("takes-the-same-anchor-up-again")
def syncs_again_what_it_takes_up(run: Run):
    """What a killed process left is synced again, file and directory.

    Its bytes can be read and are not durable. Who answers "it is there" without a sync
    promises what the next power loss takes.
    """
    yield from _traced(run, "taken up", _taken_up)


@check("finds-the-complete-anchors", "syncs-every-file-before-it-returns")
def syncs_what_it_counts(run: Run):
    """What recovery counts is on stable storage on return.

    Every record, every cosignature, the pending record, the head, and their names. A head
    that was unlinked, or a torn file that was set aside, must not come back.
    """
    yield from _only(_traced(run, "recovered", _recovered), "D")


@check("finds-the-complete-anchors", "replaces-the-head-in-one-step")
def moves_the_head_last(run: Run):
    """The head names what is durable already: record, cosignature, then head.

    In recovery, where a roll forward must not outrun the directory's sync; and in your
    main(), where a cosignature has to be durable before the head counts it.
    """
    found = _only(_traced(run, "recovered", _recovered), "A")
    yield from found or _only(_traced(run, "main", _main), "A")


def _main(_):
    """The lesson's own self-test, in a directory that is there."""
    script = Script()
    script.call("main", "log")
    rules = {"rests_on": _rests_on("log", 3), "in_one_step": ("log/head",)}
    return script, inside("log", {}), {}, rules


@check("prints-what-the-lesson-shows")
def shows_a_sync_before_every_rename(run: Run):
    """The lesson's strace command shows a sync before every rename.

    Run as printed, in the sandbox. If it shows less, since another call does the same
    work (fdatasync, syncfs, O_DSYNC; renameat, link), that call counts.
    """
    lines, bare = _bare_rename(run, LESSONS_CALLS)
    if bare is not None:
        lines, bare = _bare_rename(run, ANY_CALLS)
    if bare is not None:
        shown = tuple(f"         {line}" for line in lines[max(0, bare - 4) : bare])
        message = "strace shows a rename without a sync before it"
        yield Finding("A103", message, excerpt=(*shown, f"BAD      {lines[bare]}"))


def _bare_rename(run: Run, calls: str) -> tuple[list[str], int | None]:
    """What strace shows, and the line of the first rename without a sync before it."""
    words = ["strace", "-f", "-e", f"trace={calls}", "-e", "signal=none", *PROGRAM]
    done = run.sandbox.run(words, cwd="lesson", seconds=10)
    lines = done.stderr.decode(errors="replace").splitlines()
    if done.stopped or "exited with" not in (lines[-1:] or [""])[0]:
        raise CannotJudge(f"strace does not run in the sandbox: {''.join(lines[-1:]) or done.stopped}")
    synced = False
    for i, line in enumerate(lines):
        call = _CALL.match(line)
        if not call or " = -1 " in line:
            continue
        name, args = call.groups()
        if name.startswith("open"):
            synced = synced or "O_DSYNC" in args or "O_SYNC" in args
        elif "sync" in name:
            synced = True
        elif not synced:
            return lines, i
        else:
            synced = False
    return lines, None
