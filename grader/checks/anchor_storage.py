"""Checks of what is kept: anchor_persist_record, _cosignature and anchor_atomic_advance."""

import errno
from dataclasses import replace

from ..result import Finding
from ..run import Failed, Run, Script
from ..tracing import Promise
from . import check, ed25519
from .anchor_format import LAST_ID, NO_DIGEST, Record, chain, cosign
from .returns import errno_name, interrupted_syncs, wrong_return

EEXIST, EINVAL, ENOENT = -errno.EEXIST, -errno.EINVAL, -errno.ENOENT
TIME = 1_700_000_000


class World:
    """A witness and a log that it has signed, other ones for each submission."""

    def __init__(self, run: Run, length: int = 4):
        rng = run.rng("world")
        self.seed = rng.randbytes(32)
        self.key = ed25519.public_key(self.seed)
        self.records = chain(rng.randbytes(32) for _ in range(length))
        self.other = chain(rng.randbytes(32) for _ in range(length))

    def cosignature(self, number: int):
        return cosign(self.records[number], TIME + number, self.seed)

    def files(self, count: int, head: int | None = None) -> dict[str, bytes]:
        """The directory of a log of `count` complete anchors."""
        found = {}
        for i in range(count):
            found[f"anchor_{i}.rec"] = self.records[i].bytes
            found[f"anchor_{i}.cosig"] = self.cosignature(i).bytes
        return found if head is None else {**found, "head": b"%d\n" % head}

    def persist(self, script: Script, folder: str, number: int) -> list[int]:
        """One anchor from record to head."""
        return [
            script.call("anchor_persist_record", folder, *self.records[number].words),
            script.call("anchor_persist_cosignature", folder, *self.cosignature(number).words),
            script.call("anchor_atomic_advance", folder, number),
        ]


def world(run: Run) -> World:
    if "world" not in run.memo:
        run.memo["world"] = World(run)
    return run.memo["world"]


def inside(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files in a directory of a run; a stranger makes sure that it is there."""
    return {f"{folder}/notes": b"not of the log", **{f"{folder}/{n}": d for n, d in files.items()}}


def standing(session, folder: str) -> dict[str, bytes]:
    """What a run left in a directory, without the stranger."""
    names = session.names(folder)
    return {name: session.file(f"{folder}/{name}") for name in names if name != "notes"}


def files_differ(got: dict, want: dict) -> str | None:
    for name in sorted(got.keys() | want.keys()):
        if name not in got:
            return f"{name} is not there"
        if name not in want:
            return f"{name} is there and should not be"
        if got[name] != want[name]:
            size = f"{len(got[name] or b'')} bytes, not {len(want[name])}"
            return f"{name} holds something else than it should ({size})"
    return None


@check("builds")
def keeps_anchors_under_their_names(run: Run):
    """Each call leaves its file: whole, under its name, and nothing else.

    anchor_<id>.rec, anchor_<id>.cosig and head, ids in decimal up to 2^64-1, `head` a
    number and a newline; and no descriptor stays open.
    """
    w, script = world(run), Script()
    far = Record(LAST_ID, NO_DIGEST, w.records[0].payload)
    before = script.call("fds")
    numbers = [n for i in range(3) for n in w.persist(script, "log", i)]
    numbers.append(script.call("anchor_persist_record", "far", *far.words))
    numbers.append(script.call("anchor_persist_cosignature", "far", *cosign(far, 0, w.seed).words))
    numbers.append(script.call("anchor_atomic_advance", "far", LAST_ID))
    after = script.call("fds")
    session = run.drive(script, files={**inside("log", {}), **inside("far", {})})
    for number in numbers:
        bad = list(wrong_return(run, session[number], 0, "O407", "where nothing is wrong"))
        if bad:
            yield from bad
            return
    far_files = {
        f"anchor_{LAST_ID}.rec": far.bytes, f"anchor_{LAST_ID}.cosig": cosign(far, 0, w.seed).bytes,
        "head": b"%d\n" % LAST_ID,
    }
    for folder, want in (("log", w.files(3, head=2)), ("far", far_files)):
        problem = files_differ(standing(session, folder), want)
        if problem:
            yield Finding("O407", f"after all calls: {problem}")
            return
    if session[after]["open"] > session[before]["open"]:
        yield Finding("F109", "a descriptor stays open after calls that returned 0")


@check("keeps-anchors-under-their-names")
def never_replaces_an_anchor(run: Run):
    """What stands under an anchor's name stays.

    Another record or cosignature, a torn one, an empty one: -EEXIST, and the file stays
    as it was. The witness may have signed what stands there.
    """
    w, script = world(run), Script()
    record, cosignature = w.records[0], w.cosignature(0)
    later = replace(cosignature, time=cosignature.time + 1)
    cases, files = [], {}
    for i, there in enumerate((w.other[0].bytes, record.bytes[:60], b"", record.bytes + b"\0")):
        files |= inside(f"r{i}", {"anchor_0.rec": there})
        number = script.call("anchor_persist_record", f"r{i}", *record.words)
        cases.append((number, f"r{i}/anchor_0.rec", there))
    for i, there in enumerate((later.bytes, cosignature.bytes[:60], b"", cosignature.bytes + b"\0")):
        files |= inside(f"c{i}", {"anchor_0.rec": record.bytes, "anchor_0.cosig": there})
        number = script.call("anchor_persist_cosignature", f"c{i}", *cosignature.words)
        cases.append((number, f"c{i}/anchor_0.cosig", there))
    session = run.drive(script, files=files)
    for number, name, there in cases:
        when = f"where {len(there)} other bytes stand under its name"
        bad = list(wrong_return(run, session[number], EEXIST, "A110", when))
        if not bad and session.file(name) != there:
            message = f"{when}: {name.partition('/')[2]} was changed"
            bad = [run.at_function(Finding("A110", message), session[number].call)]
        if bad:
            yield from bad
            return


@check("keeps-anchors-under-their-names")
def takes_the_same_anchor_up_again(run: Run):
    """The same record, or the same cosignature, may be kept again.

    A process that was killed does not know how far it came. Its next life does the same
    again, and is told 0. A head.tmp that was left does not block the next head.
    """
    w, script = world(run), Script()
    numbers = [n for _ in range(2) for n in w.persist(script, "log", 0)]
    session = run.drive(script, files=inside("log", {"head.tmp": b"1844674407370955161"}))
    for number in numbers:
        when = "where the same file, or a head.tmp, is left from before"
        yield from wrong_return(run, session[number], 0, "O408", when)
    problem = files_differ(standing(session, "log"), w.files(1, head=0))
    if problem:
        yield Finding("O408", f"after everything was kept twice: {problem}")


@check("keeps-anchors-under-their-names")
def refuses_what_it_cannot_keep(run: Run):
    """A cosignature needs its record; and what cannot be kept leaves nothing.

    Without a whole record of that id it is -ENOENT, for another record -EINVAL. A record
    0 with a past is -EINVAL; a directory that is not there is -ENOENT.
    """
    w, script = world(run), Script()
    record, cosignature = w.records[1], w.cosignature(1)
    files = {
        **inside("none", {}), **inside("torn", {"anchor_1.rec": record.bytes[:60]}),
        **inside("fork", {"anchor_1.rec": replace(record, payload=NO_DIGEST).bytes}),
    }
    cases = []
    for folder, want in (("none", ENOENT), ("torn", ENOENT), ("fork", EINVAL), ("missing", ENOENT)):
        number = script.call("anchor_persist_cosignature", folder, *cosignature.words)
        cases.append((number, want, f"in the directory {folder!r} of no, a torn or another record"))
    number = script.call("anchor_persist_record", "none", 0, b"\1" * 32, NO_DIGEST)
    cases.append((number, EINVAL, "for a record 0 with a prev"))
    for call, args in (("anchor_persist_record", record.words), ("anchor_atomic_advance", (1,))):
        cases.append((script.call(call, "missing", *args), ENOENT, "where there is no such directory"))
    session = run.drive(script, files=files)
    for number, want, when in cases:
        bad = list(wrong_return(run, session[number], want, "O409", when))
        if bad:
            yield from bad
            return
    left = [n for folder in ("none", "torn", "fork") for n in standing(session, folder) if n != "anchor_1.rec"]
    if left:
        yield Finding("F111", f"{left[0]} is left by a call that was refused")


# Faults: the calls below fail, or do less than they were asked, for real.

EIO, ENOSPC = errno.EIO, errno.ENOSPC
FAULTS = (
    ("write", 1, "errno", ENOSPC, "F103"), ("write", 1, "errno", EIO, "F103"),
    ("sync", 1, "errno", EIO, "F104"), ("sync", 2, "errno", EIO, "F104"),
    ("open", 1, "errno", EIO, "F108"), ("open", 2, "errno", EIO, "F108"),
    ("close", "1+", "errno", EIO, "F108"), ("rename", 1, "errno", EIO, "F108"),
)


def _calls(w: World):
    """What is called, what stands there first, and the name that it makes."""
    record, cosignature = w.records[1], w.cosignature(1)
    before = {**w.files(1, head=0), "anchor_1.rec": record.bytes}
    yield "anchor_persist_record", record.words, w.files(1, head=0), "anchor_1.rec"
    yield "anchor_persist_cosignature", cosignature.words, before, "anchor_1.cosig"
    yield "anchor_atomic_advance", (1,), w.files(2, head=0), None


def _faulty(run: Run, faults):
    """Each call under each fault, then once more without: what came of it."""
    w, script, files, cases = world(run), Script(), {}, []
    for call, args, before, name in _calls(w):
        for *fault, code in faults:
            folder = f"f{len(cases)}"
            files |= inside(folder, before)
            open_before = script.call("fds")
            script.call("fault", *fault)
            failing = script.call(call, folder, *args)
            script.call("clear")
            open_after = script.call("fds")
            cases.append((folder, code, fault, before, name, failing, open_before, open_after))
    return run.drive(script, files=files), cases


@check("keeps-anchors-under-their-names")
def takes_back_what_failed(run: Run):
    """A call that fails says so, and leaves nothing to be believed later.

    A write (ENOSPC, EIO), a sync of file or directory, a close, a rename, an open: the
    errno comes back, and the file that was made is unlinked, since its pages may be gone
    though they can still be read. The old head stays whole. No descriptor stays open.
    """
    session, cases = _faulty(run, FAULTS)
    for folder, code, fault, before, name, failing, open_before, open_after in cases:
        reply = session[failing]
        if not reply.faults:
            continue  # the program does not use that call: there is nothing to fail
        met = reply.faults[-1]
        when = f"though {met.call}() failed ({errno.errorcode[met.value]})"
        bad = list(wrong_return(run, reply, -fault[3], code, when))
        there = standing(session, folder)
        if not bad and name in there:
            message = f"{name} is left by a {reply.call}() that failed, {when}"
            bad = [run.at_fault(Finding("F111", message), met)]
        if not bad and there.get("head") not in (before["head"], b"1\n"):
            bad = [run.at_fault(Finding("A104", f"head is not whole {when}"), met)]
        if not bad and session[open_after]["open"] > session[open_before]["open"]:
            message = f"{reply.call}() leaves a descriptor open {when}"
            bad = [run.at_fault(Finding("F109", message), met)]
        if bad:
            yield from bad
            return


@check("takes-back-what-failed")
def survives_a_full_disk(run: Run):
    """On a full disk every call fails, and nothing half-made stays.

    A limit on the size of files: the kernel writes what fits, then fails with EFBIG,
    which the call returns.
    What was kept before stays, and recovery finds it.
    """
    w = world(run)
    for call, args, before, name in _calls(w):
        script = Script()
        script.call("limit", "fsize", 1)
        number = script.call(call, "log", *args)
        # Not the checked build: the sanitizers write files of their own.
        session = run.drive(script, files=inside("log", before), variant="plain")
        yield from wrong_return(run, session[number], -errno.EFBIG, "F103", "on a full disk")
        there = standing(session, "log")
        there.pop("head.tmp", None)
        problem = files_differ(there, before)
        if problem:
            code = "F111" if name in there else "A104"
            yield run.at_function(Finding(code, f"after it failed on a full disk: {problem}"), call)
            return


@check("keeps-anchors-under-their-names")
def survives_short_and_interrupted_writes(run: Run):
    """A write that stops half way is continued to its end.

    write(2) takes one byte, or three a call; EINTR means that nothing was written yet,
    and the same call is made again. A call that takes no byte at all must end in an
    error, not in an endless loop. A sync that is interrupted has not synced.
    """
    faults = [("write", 1, "short", 1, "F101"), ("write", "1+", "short", 3, "F101"),
              ("write", 1, "errno", errno.EINTR, "F102")]
    session, cases = _faulty(run, faults)
    want = world(run).files(2, head=1)
    for folder, code, fault, before, name, failing, *_ in cases:
        reply = session[failing]
        if not reply.faults:
            continue
        made, met = name or "head", reply.faults[0]
        whole = session.file(f"{folder}/{made}") == want[made]
        if reply["ret"] != 0 or not whole:
            how = "was interrupted" if fault[2] == "errno" else f"took {fault[3]} bytes"
            state = "whole" if whole else "not whole"
            message = f"{met.call}() {how}; {reply.call}() returned {errno_name(reply['ret'])} and {made} is {state}"
            yield run.at_fault(Finding(code, message), met)
            return
    yield from _zero_write(run)
    for call, args, before, name in _calls(world(run)):
        promises = [Promise(f"log/{name or 'head'}", "both")]
        words = (call, "log", *args)
        yield from interrupted_syncs(run, [], words, promises, inside("log", before))


def _zero_write(run: Run):
    try:
        session, cases = _faulty(run, [("write", "1+", "zero", 0, "F106")])
    except Failed as failed:
        if failed.findings[0].code not in ("S101", "S102"):
            raise
        where = failed.findings[0]
        yield Finding("F106", "a call never returns when write() keeps returning 0", where.file, where.line)
        return
    for *_, failing, _, _ in cases:
        reply = session[failing]
        if reply.faults and reply["ret"] >= 0:
            message = f"{reply.call}() returned 0 though write() took no byte"
            yield run.at_fault(Finding("F106", message), reply.faults[0])
            return
