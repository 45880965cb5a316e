"""Checks of what is kept: anchor_persist_record, _cosignature and anchor_atomic_advance."""

import errno
from dataclasses import replace

from ..result import Finding
from ..run import Run, Script
from ..shown import quoted
from . import check, ed25519
from .anchor_format import LAST_ID, NO_DIGEST, Record, chain, cosign
from .returns import errno_name, still_open, wrong_return

EEXIST, EINVAL, ENOENT, ENOMEM = -errno.EEXIST, -errno.EINVAL, -errno.ENOENT, -errno.ENOMEM
TOO_LONG = -errno.ENAMETOOLONG
TIME = 1_700_000_000
HASHES_MOST = 5  # calls of libcrypto in one that keeps a file


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

    def publishing(self, folder: str, number: int) -> list[tuple]:
        """The calls for one anchor, from record to head."""
        return [
            ("anchor_persist_record", folder, *self.records[number].words),
            ("anchor_persist_cosignature", folder, *self.cosignature(number).words),
            ("anchor_atomic_advance", folder, number),
        ]

    def persist(self, script: Script, folder: str, number: int) -> list[int]:
        return [script.call(*call) for call in self.publishing(folder, number)]


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
            shown = f"{len(got[name] or b'')} bytes, not {len(want[name])}"
            if name == "head":
                shown = f"{quoted(got[name] or b'')}, not {quoted(want[name])}"
            return f"{name} holds something else than it should ({shown})"
    return None


def each_call(w: World):
    """What is called, what stands there first, and the name that it makes."""
    record, cosignature = w.records[1], w.cosignature(1)
    before = {**w.files(1, head=0), "anchor_1.rec": record.bytes}
    yield "anchor_persist_record", record.words, w.files(1, head=0), "anchor_1.rec"
    yield "anchor_persist_cosignature", cosignature.words, before, "anchor_1.cosig"
    yield "anchor_atomic_advance", (1,), w.files(2, head=0), None


@check("builds")
def keeps_anchors_under_their_names(run: Run):
    """Each call leaves its file: whole, under its name, and nothing else.

    anchor_<id>.rec, anchor_<id>.cosig and head, ids in decimal up to 2^64-1, `head` a
    number and a newline; and no descriptor stays open.
    """
    w, script = world(run), Script()
    far = Record(LAST_ID, NO_DIGEST, w.records[0].payload)
    calls = [call for i in range(3) for call in w.publishing("log", i)]
    calls.append(("anchor_persist_record", "far", *far.words))
    calls.append(("anchor_persist_cosignature", "far", *cosign(far, 0, w.seed).words))
    calls.append(("anchor_atomic_advance", "far", LAST_ID))
    numbers = [(script.call("fds"), script.call(*call), script.call("fds")) for call in calls]
    session = run.drive(script, files={**inside("log", {}), **inside("far", {})})
    for _, number, _ in numbers:
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
    for before, number, after in numbers:
        call = session[number].call
        left = still_open(run, session, session[before], session[after])
        if left:
            message = f"{left[0]} stays open after {call}() returned 0"
            yield run.at_function(Finding("F109", message), call)
            return
    yield from _heads(run)
    yield from _at_descriptor_0(run)


def _heads(run: Run):
    """`head` is the id of the last call, also a lower one, or one that somebody took away."""
    w, script, numbers = world(run), Script(), []
    for folder, count in (("back", 3), ("gone", 1)):
        for i in range(count):
            w.persist(script, folder, i)
        if folder == "gone":
            script.call("unlink", "gone/head")
        numbers.append(script.call("anchor_atomic_advance", folder, 0))
    session = run.drive(script, files={**inside("back", {}), **inside("gone", {})})
    cases = zip(numbers, (("back", 3, "a higher one"), ("gone", 1, "an unlinked one")))
    for number, (folder, count, before) in cases:
        when = f"behind {before}"
        bad = list(wrong_return(run, session[number], 0, "O407", when))
        problem = files_differ(standing(session, folder), w.files(count, head=0))
        if not bad and problem:
            message = f"anchor_atomic_advance() to 0 {when} returned 0, and {problem}"
            bad = [run.at_function(Finding("O407", message), "anchor_atomic_advance")]
        yield from bad
        if bad:
            return


def _at_descriptor_0(run: Run):
    """Where standard input is closed, open(2) returns 0, which is no error."""
    w, script = world(run), Script()
    script.call("free0")
    script.call("errno", errno.ENOENT)  # of some call before
    numbers = [n for i in range(2) for n in w.persist(script, "log", i)]
    session = run.drive(script, files=inside("log", {}))
    for number in numbers:
        bad = list(wrong_return(run, session[number], 0, "O407", "where descriptor 0 is free"))
        yield from bad
        if bad:
            return
    problem = files_differ(standing(session, "log"), w.files(2, head=1))
    if problem:
        yield Finding("O407", f"where descriptor 0 is free: {problem}")


@check("keeps-anchors-under-their-names")
def never_replaces_an_anchor(run: Run):
    """What stands under an anchor's name stays.

    Another record or cosignature, a torn one, an empty one, one with any field damaged:
    -EEXIST, and the file stays as it was. The witness may have signed what stands there.
    """
    w, script = world(run), Script()
    record, cosignature = w.records[0], w.cosignature(0)
    others = [("another record", w.other[0].bytes), *_nearly(record.bytes, (0, 16, 24, 56, 88))]
    again = [("a later cosignature", replace(cosignature, time=cosignature.time + 1).bytes),
             ("another signature", replace(cosignature, signature=bytes(64)).bytes),
             *_nearly(cosignature.bytes, (0, 16, 24, 56, 64, 128))]
    cases, files = [], {}
    for i, (what, there) in enumerate(others):
        files |= inside(f"r{i}", {"anchor_0.rec": there})
        number = script.call("anchor_persist_record", f"r{i}", *record.words)
        cases.append((number, f"r{i}/anchor_0.rec", what, there))
    for i, (what, there) in enumerate(again):
        files |= inside(f"c{i}", {"anchor_0.rec": record.bytes, "anchor_0.cosig": there})
        number = script.call("anchor_persist_cosignature", f"c{i}", *cosignature.words)
        cases.append((number, f"c{i}/anchor_0.cosig", what, there))
    session = run.drive(script, files=files)
    for number, name, what, there in cases:
        when = f"where {what} stands under its name"
        bad = list(wrong_return(run, session[number], EEXIST, "A110", when))
        if not bad and session.file(name) != there:
            message = f"{when}: {name.partition('/')[2]} was changed"
            bad = [run.at_function(Finding("A110", message), session[number].call)]
        if bad:
            yield from bad
            return


def _nearly(data: bytes, fields):
    """What is none of it; `fields` are the offsets at which one byte alone is another."""
    yield "its first 60 bytes", data[:60]
    yield "an empty file", b""
    yield "a file of one byte more", data + b"\0"
    for at in fields:
        yield f"one that differs in byte {at}", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


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

    Without a whole record under that name it is -ENOENT, for another record, by its id or
    its digest, -EINVAL. A record
    0 with a past is -EINVAL; a directory that is not there is -ENOENT. A path is long only
    beyond PATH_MAX, and then it is -ENAMETOOLONG, not a path that is cut.
    """
    w, script = world(run), Script()
    record, cosignature = w.records[1], w.cosignature(1)
    files = {
        **inside("none", {}), **inside("torn", {"anchor_1.rec": record.bytes[:60]}),
        **inside("damaged", {"anchor_1.rec": record.bytes[:56] + bytes(32) + record.bytes[88:]}),
        **inside("fork", {"anchor_1.rec": replace(record, payload=NO_DIGEST).bytes}),
        **inside("moved", {"anchor_1.rec": w.records[2].bytes}),
    }
    cases = []
    for folder, want, when in (("none", ENOENT, "where its record is missing"),
                               ("torn", ENOENT, "where its record is torn"),
                               ("damaged", ENOENT, "where its record is torn and the last digest whole"),
                               ("fork", EINVAL, "where another record has its id"),
                               ("missing", ENOENT, "where there is no such directory")):
        cases.append((script.call("anchor_persist_cosignature", folder, *cosignature.words), want, when))
    moved = replace(cosignature, digest=w.records[2].digest)
    number = script.call("anchor_persist_cosignature", "moved", *moved.words)
    cases.append((number, EINVAL, "where the record that it names has another id"))
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
    folders = ("none", "torn", "damaged", "fork", "moved")
    left = [n for folder in folders for n in standing(session, folder) if n != "anchor_1.rec"]
    if left:
        yield Finding("F111", f"{left[0]} is left by a call that was refused")
        return
    yield from under_long_paths(run, list(each_call(w)))


PATH_MAX = 4096
LENGTHS = (3900, *range(PATH_MAX - len("/anchor_0.cosig") - 3, PATH_MAX - len("/head") + 3), PATH_MAX)


def _long(folder: str, length: int) -> str:
    """The same directory, by a path of this length."""
    return folder + "/" * (1 + (length - len(folder) - 1) % 2) + "./" * ((length - len(folder) - 1) // 2)


def under_long_paths(run: Run, calls):
    """What is done under a long path is done rightly, or refused. Who opens the directory
    first may go further than who puts paths together."""
    w, script, files, cases = world(run), Script(), {}, []
    for length in LENGTHS:
        for call, args, before, name in calls:
            made = {name or "head": w.files(2, 1)[name or "head"]}
            folder = f"p{len(cases)}"
            files |= inside(folder, before)
            cases.append((length, script.call(call, _long(folder, length), *args), folder, before, made))
    session = run.drive(script, files=files)
    for length, number, folder, before, made in cases:
        reply, there = session[number], standing(session, folder)
        refused = reply["ret"] == TOO_LONG and length > LENGTHS[0]
        wanted = 2 if reply.call == "anchor_recover" else 0
        there.pop("head.tmp", None)
        problem = files_differ(there, before if refused else before | made)
        if reply["ret"] not in (wanted, TOO_LONG if refused else wanted):
            problem = f"it returned {errno_name(reply['ret'])}"
        if problem:
            message = f"under a path of {length} bytes: {problem}"
            yield run.at_function(Finding("O409", message), reply.call)
            return
