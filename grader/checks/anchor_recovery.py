"""Checks of anchor_recover: what it finds, reports, sets aside and writes."""

import errno
from dataclasses import dataclass, replace

from ..result import Finding
from ..run import Run, Script
from ..shown import quoted
from . import check
from .anchor_format import (
    HEAD_VALID, LAST_ID, PENDING, Cosignature, Record, chain, cosign, recover, seal,
)
from .anchor_storage import files_differ, inside, standing, under_long_paths, world
from .returns import errno_name, leaks, still_open, without_libcrypto, wrong_return

NEXT = ("ANCHOR_NEXT_FREE", "ANCHOR_NEXT_PENDING", "ANCHOR_NEXT_BLOCKED")
LONG = 1030  # anchors
HASHES_MOST = 12  # calls of libcrypto in the recovery of one anchor and a pending record
HEADS = ("ANCHOR_HEAD_NONE", "ANCHOR_HEAD_MALFORMED", "ANCHOR_HEAD_VALID")


@dataclass(frozen=True)
class Case:
    what: str
    files: dict[str, bytes]
    keyed: bool = True


def _named(names, number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)


def _head_of(number: int | None) -> str:
    return "no head" if number is None else f"head {number}"


def _report_differs(reply, want) -> str | None:
    """What the report says otherwise than the oracle."""
    if reply["ret"] != want.count:
        return f"it returned {errno_name(reply['ret'])}, and {want.count} anchors are complete"
    if (reply["count"], reply.bytes("last")) != (want.count, want.last):
        return "found->log is not the log of the complete anchors"
    if reply["next"] != want.next:
        return f"next is {_named(NEXT, reply['next'])} and should be {NEXT[want.next]}"
    if want.next == PENDING:
        if (reply["id"], reply.bytes("prev"), reply.bytes("payload")) != want.pending.words:
            return "found->pending is not the record that is pending"
    if reply["head"] != want.head:
        return f"head is {_named(HEADS, reply['head'])} and should be {HEADS[want.head]}"
    if want.head == HEAD_VALID and reply["head_id"] != want.head_id:
        return f"head_id is {reply['head_id']} and should be {want.head_id}"
    if reply["torn"] != want.torn:
        return f"torn is {reply['torn']} and should be {want.torn}"
    if reply["hole"] and want.highest is None:
        return f"hole is true, and no .rec or .cosig has an id beyond {want.count}"
    if not reply["hole"] and want.highest is not None:
        names = (f"anchor_{want.highest}.{suffix}" for suffix in ("rec", "cosig"))
        there = next(name for name in names if name in want.files)
        return f"hole is false, and {there} lies beyond {want.count}, the first id that is not complete"
    if want.highest is not None and reply["highest"] != want.highest:
        return f"highest is {reply['highest']} and should be {want.highest}"
    return None


def _recover_all(run: Run, cases, code: str, times: int = 1, after: str = "R410"):
    """Recovers each case in a directory of its own and asks the oracle. With `times`
    2 it recovers again, which must find the same log and change nothing."""
    w, script, files, calls = world(run), Script(), {}, []
    for i, case in enumerate(cases):
        files |= inside(f"d{i}", case.files)
        key = w.key if case.keyed else b""
        calls.append([script.call("anchor_recover", f"d{i}", key) for _ in range(times)])
    session = run.drive(script, files=files)
    for i, case in enumerate(cases):
        seed, stood = w.seed if case.keyed else None, case.files
        for nth, number in enumerate(calls[i]):
            want = recover(stood, seed)
            problem = _report_differs(session[number], want)
            stood = want.files
            if problem:
                again = ", recovered again" if nth else ""
                message = f"{case.what}{again}: {problem}"
                yield run.at_function(Finding(after if nth else code, message), "anchor_recover")
                return
        there = standing(session, f"d{i}")
        if "head.tmp" not in want.files or "head.tmp" not in there:
            there.pop("head.tmp", None)
            want.files.pop("head.tmp", None)
        problem = files_differ(there, want.files)
        if problem:
            yield run.at_function(Finding(code, f"{case.what}: afterwards {problem}"), "anchor_recover")
            return


@check("keeps-anchors-under-their-names")
def finds_the_complete_anchors(run: Run):
    """anchor_recover() counts the complete anchors and sets the head to match.

    Rolled forward where a complete anchor lies beyond the head, back where the last ones
    are incomplete; with no complete anchor there is no head.
    """
    w = world(run)
    cases = [Case("an empty directory", {})]
    for count in (1, 3):
        for head in (None, *range(count + 1)):
            cases.append(Case(f"{count} complete anchors, {_head_of(head)}", w.files(count, head)))
    cases.append(Case("a head and no anchor", {"head": b"0\n"}))
    cases.append(Case("a head.tmp that was left", {**w.files(2, 0), "head.tmp": b"1"}))
    strangers = {"anchor_00.rec": b"", "anchor_x.cosig": b"", "anchor_1.rec~": b"", "anchor_.rec": b""}
    cases.append(Case("files of other names", {**w.files(1, 0), **strangers}))
    yield from _recover_all(run, cases, "R406")


@check("finds-the-complete-anchors")
def keeps_a_pending_record(run: Run):
    """A whole record without its cosignature is pending, and stays.

    The witness may have signed it, so this very record has to come next.
    """
    w = world(run)
    cases = []
    for count, head in ((0, None), (0, 0), (2, 1), (2, 2)):
        files = {**w.files(count, head), f"anchor_{count}.rec": w.records[count].bytes}
        cases.append(Case(f"record {count} without a cosignature, {_head_of(head)}", files))
    torn = {**w.files(1, 0), "anchor_1.rec": w.records[1].bytes, "anchor_1.cosig": b"torn"}
    cases.append(Case("record 1 with a torn cosignature", torn))
    yield from _recover_all(run, cases, "R411")


@check("finds-the-complete-anchors")
def sets_torn_files_aside(run: Run):
    """A torn .rec or .cosig is set aside, and its name is free again.

    Torn at any byte, zeros in its place, a bit flipped. Its bytes are kept as evidence
    with .torn behind the name, also where an older torn file has that name already.
    """
    w = world(run)
    rng = run.rng("torn")
    pending = {**w.files(1, 0), "anchor_1.rec": w.records[1].bytes}
    cases = []
    for name, data, base in (("anchor_1.rec", w.records[1].bytes, w.files(1, 0)),
                             ("anchor_1.cosig", w.cosignature(1).bytes, pending)):
        for n in range(len(data)):
            cases.append(Case(f"{name} torn to {n} bytes", {**base, name: data[:n]}))
        for n in (0, 16, 60, len(data) - 1):
            zeros = data[:n] + bytes(len(data) - n)
            cases.append(Case(f"{name} zero from byte {n} on", {**base, name: zeros}))
            at = rng.randrange(len(data))
            flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            cases.append(Case(f"byte {at} of {name} changed", {**base, name: flipped}))
        older = {f"{name}.torn": b"older", f"{name}.1.torn": b"newer"}
        cases.append(Case(f"{name} torn a third time", {**base, **older, name: data[:9]}))
        older |= {f"{name}.{i}.torn": b"newer" for i in range(2, 13)}
        cases.append(Case(f"{name} torn a 14th time", {**base, **older, name: data[:9]}))
    both = {**w.files(2, 1), "anchor_1.rec": b"torn", "anchor_1.cosig": b"torn too"}
    cases.append(Case("record and cosignature 1 torn", both))
    yield from _recover_all(run, cases, "R407")


@check("finds-the-complete-anchors")
def leaves_foreign_files_to_a_person(run: Run):
    """Whole files that are no anchor of this log block it, and stay.

    A record of another id or another past, a cosignature of another record or by another
    witness, one without a record, bytes too many: no crash does that.
    """
    w = world(run)
    data, signed = w.records[1].bytes, w.cosignature(1).bytes
    forged = cosign(w.records[1], 0, b"\7" * 32).bytes
    alone = {"anchor_1.rec": data}
    cases = [
        ("record 1 of another id", {"anchor_1.rec": w.records[2].bytes}),
        ("record 1 of another past", {"anchor_1.rec": w.other[1].bytes}),
        ("record 1 and a byte more", {"anchor_1.rec": data + b"\0"}),
        ("record 1 of another magic", {"anchor_1.rec": seal(b"X" + data[1:-32])}),
        ("a foreign record 1, cosigned", {"anchor_1.rec": w.other[1].bytes,
                                          "anchor_1.cosig": cosign(w.other[1], 0, w.seed).bytes}),
        ("a cosignature of another id", {**alone, "anchor_1.cosig": w.cosignature(2).bytes}),
        ("a cosignature of another record", {**alone, "anchor_1.cosig": cosign(w.other[1], 0, w.seed).bytes}),
        ("another witness's cosignature", {**alone, "anchor_1.cosig": forged}),
        ("a cosignature and a byte more", {**alone, "anchor_1.cosig": signed + b"\0"}),
        ("a cosignature without its record", {"anchor_1.cosig": signed}),
        ("a cosignature with a torn record", {"anchor_1.rec": data[:60], "anchor_1.cosig": signed}),
    ]
    cases = [Case(f"{what}, head {head}", {**w.files(1, head), **files})
             for what, files in cases for head in (0, 1)]
    for what, other in (("another witness's cosignature", forged),
                        ("a cosignature of another record", cosign(w.other[1], 0, w.seed).bytes),
                        ("a cosignature of another id", w.cosignature(2).bytes)):
        unkeyed = {**w.files(1, 0), **alone, "anchor_1.cosig": other}
        cases.append(Case(f"{what}, without a key", unkeyed, keyed=False))
    yield from _recover_all(run, cases, "R408")


@check("finds-the-complete-anchors")
def ends_the_log_at_a_hole(run: Run):
    """The log is the prefix before the first hole.

    What lies beyond is not counted, not touched (not even where it is torn), and not
    forgotten: `hole` and `highest` say so, also for the id 2^64-1. And without a hole it
    does not end: a thousand anchors are one log.
    """
    w = world(run)
    cases = []
    for name, why in (("anchor_1.rec", "missing"), ("anchor_1.cosig", "missing")):
        files = w.files(3, 2)
        del files[name]
        cases.append(Case(f"{name} of three anchors {why}", files))
    for name, data in (("anchor_2.rec", w.records[2].bytes), ("anchor_3.cosig", b"")):
        files = {**w.files(1, 0), name: data[:60]}
        cases.append(Case(f"a torn {name} beyond one anchor", files))
    for name in ("anchor_1.rec", "anchor_1.cosig", "anchor_0.rec"):
        files = w.files(4, 3)
        del files[name]
        cases.append(Case(f"{name} of four anchors missing", files))
    far = Record(LAST_ID, w.records[0].digest, w.records[0].payload)
    for suffix in ("rec", "cosig"):
        name = f"anchor_{LAST_ID}.{suffix}"
        cases.append(Case(f"{name} beyond one anchor", {**w.files(1, 0), name: far.bytes}))
    too_large = (LAST_ID + 1, 3 * 10**19, 2 * 10**20, 10**30)
    beyond = {f"anchor_{number}.rec": b"" for number in too_large} | {"anchor_07.rec": b""}
    cases.append(Case("names that are no ids", {**w.files(1, 0), **beyond}))
    wrong = list(_recover_all(run, cases, "R412"))
    many = Case(f"{LONG} complete anchors, without a key", _long_log(run), keyed=False)
    yield from wrong or _recover_all(run, [many], "R406")


def _long_log(run: Run) -> dict[str, bytes]:
    """Who recovers it without a key looks at no signature: none has to be made."""
    rng, files = run.rng("long"), {"head": b"9\n"}
    for record in chain(rng.randbytes(32) for _ in range(LONG)):
        proof = Cosignature(record.id, record.digest, 0, bytes(64))
        files |= {f"anchor_{record.id}.rec": record.bytes, f"anchor_{record.id}.cosig": proof.bytes}
    return files


@check("finds-the-complete-anchors")
def does_not_trust_the_head(run: Run):
    """Whatever `head` says, the files decide.

    Empty, negative, huge, not a number, with a leading zero, a blank or a tail: it is
    ANCHOR_HEAD_MALFORMED, recovery goes on without it and writes a right one. And a
    number is a hint: both files of every id up to it are looked at.
    """
    w = world(run)
    heads = [b"", b"\n", b"-1\n", b"+1\n", b"01\n", b"00\n", b" 1\n", b"1", b"1 \n", b"1\n\n", b"1\r\n",
             b"1\n2\n", b"one\n", b"0x1\n", b"1\0\n", b"1\n\0", b"1\n\0\n", b"\0\0", b"1e0\n",
             b"18446744073709551616\n", b"30000000000000000000\n", b"99999999999999999999999\n",
             b"200000000000000000000\n", b"9" * 5000,
             b"18446744073709551615\n", b"9\n", b"0\n", b"1\n"]
    cases = [Case(f"head {quoted(head)}, {count} complete anchors", {**w.files(count), "head": head})
             for head in heads for count in (0, 2)]
    for name, data in (("anchor_0.cosig", w.cosignature(1).bytes), ("anchor_0.rec", w.other[0].bytes),
                       ("anchor_0.cosig", w.cosignature(0).bytes[:80])):
        files = {**w.files(3, 2), name: data}
        cases.append(Case(f"three anchors, head 2, {name} lost to {len(data)} other bytes", files))
    yield from _recover_all(run, cases, "R409")


@check("sets-torn-files-aside", "keeps-a-pending-record")
def can_be_recovered_again(run: Run):
    """A second recovery finds the same and changes nothing; the log goes on.

    A recovery may itself be crashed. After it the next anchor can be kept, whatever the
    crash had left in its place.
    """
    w = world(run)
    left = {
        "a torn record": {"anchor_1.rec": w.records[1].bytes[:50]},
        "a torn cosignature": {"anchor_1.rec": w.records[1].bytes, "anchor_1.cosig": b""},
        "a pending record": {"anchor_1.rec": w.records[1].bytes},
        "a head.tmp": {"head.tmp": b""},
    }
    cases = [Case(what, {**w.files(1, 1), **files}) for what, files in left.items()]
    yield from _recover_all(run, cases, "R410", times=2)
    script, calls = Script(), {}
    for i, case in enumerate(cases):
        script.call("anchor_recover", f"d{i}", w.key)
        kept = w.persist(script, f"d{i}", 1)
        calls[script.call("anchor_recover", f"d{i}", w.key)] = case.what, kept
    files = [inside(f"d{i}", case.files) for i, case in enumerate(cases)]
    session = run.drive(script, files={name: data for each in files for name, data in each.items()})
    for number, (what, kept) in calls.items():
        for n in kept:
            bad = list(wrong_return(run, session[n], 0, "R410", f"after the recovery of {what}"))
            yield from bad
            if bad:
                return
        if session[number]["ret"] != 2:
            message = f"{what}, recovered, then anchor 1 kept: {session[number]['ret']} anchors, not 2"
            yield run.at_function(Finding("R410", message), "anchor_recover")
            return


@check("finds-the-complete-anchors")
def reports_a_failed_recovery(run: Run):
    """A call that fails ends recovery with its errno; nothing is made of it.

    A file that cannot be opened, read or synced is not a file that is missing; a directory
    that cannot be read to its end is not one without more files. A read that is short or
    interrupted is no failure. Where libcrypto fails, nobody knows what stands there: that
    is -ENOMEM, and the files stay. A path is long only beyond PATH_MAX. No descriptor stays
    open and no memory allocated.
    """
    w = world(run)
    torn = {**w.files(2, 0), "anchor_2.rec": b"torn"}
    none = {"anchor_0.rec": w.records[0].bytes, "head": b"0\n"}
    faults, unlink = _faults()
    soft = [(("read", "1+", "short", 7), "F101"), (("read", 1, "errno", errno.EINTR), "F102")]
    script, files, cases = Script(), {}, []
    for base, given in ((torn, faults + soft), (none, faults + soft + unlink)):
        for fault, code in given:
            folder = f"d{len(cases)}"
            files |= inside(folder, base)
            before = script.call("fds")
            script.call("fault", *fault)
            number = script.call("anchor_recover", folder, w.key)
            script.call("clear")
            want = recover(base, w.seed).count if (fault, code) in soft else -fault[3]
            cases.append((number, code, want, before, script.call("fds")))
    session = run.drive(script, files=files)
    for number, code, want, before, after in cases:
        reply = session[number]
        if not reply.faults:
            continue
        met = reply.faults[-1]
        short = met.what != "errno"
        what = f"took {met.value} bytes a call" if short else f"met {errno.errorcode[met.value]}"
        bad = list(wrong_return(run, reply, want, code, f"though {met.call}() {what}"))
        if not bad and want < 0 and reply["wrote"]:
            bad = [run.at_function(Finding("F108", "anchor_recover() failed and wrote *found_out"), reply.call)]
        left = still_open(run, session, session[before], session[after])
        if not bad and left:
            bad = [run.at_fault(Finding("F109", f"{left[0]} stays open though {met.call}() {what}"), met)]
        if bad:
            yield from bad
            return
    long_paths = [("anchor_recover", (w.key,), w.files(2), "head")]
    wrong = list(_a_directory(run)) or list(_without_libcrypto(run))
    wrong = wrong or list(under_long_paths(run, long_paths))
    yield from wrong or _leaks(run, faults)


def _faults():
    """Those that any recovery may meet, and one where the head has to go; with their findings."""
    eio = errno.EIO
    faults = [(("read", n, "errno", eio), "F108") for n in (1, 2, 4)]
    faults += [(("open", n, "errno", eio), "F108") for n in (1, 2, 3, 4, 6)]
    faults += [(("sync", n, "errno", eio), "F104") for n in (1, 2, 3, 4, 5, 6)]
    faults += [(("list", n, "errno", eio), "F108") for n in (1, 2, 4)]
    faults += [(("rename", 1, "errno", eio), "F108"), (("write", 1, "errno", errno.ENOSPC), "F103")]
    # A head.tmp that is not there need not be unlinked with success; the head does.
    unlink = [(("unlink", "1+", "errno", eio), "F108")]
    return faults, unlink


def _without_libcrypto(run: Run):
    """Each call of libcrypto fails once; the next recovery finds all as it was."""
    w, script, cases = world(run), Script(), []
    base = {**w.files(1, 0), "anchor_1.rec": w.records[1].bytes}
    files = {name: data for n in range(1, HASHES_MOST + 1) for name, data in inside(f"h{n}", base).items()}
    for number in range(1, HASHES_MOST + 1):
        cases.append(without_libcrypto(script, number, "anchor_recover", f"h{number}", w.key))
    session = run.drive(script, files=files)
    for number, (failing, again) in enumerate(cases, 1):
        reply, want = session[failing], recover(base, w.seed)
        if not reply.faults or reply["ret"] >= 0 and _report_differs(reply, want) is None:
            continue
        failed = f"{reply.faults[0].call}() failed"
        # The line that called libcrypto is not the one that made this of it.
        bad = list(wrong_return(run, replace(reply, faults=()), -errno.ENOMEM, "F108", f"though {failed}"))
        problem = "anchor_recover() wrote *found_out" if not bad and reply["wrote"] else None
        problem = problem or _report_differs(session[again], want)
        problem = problem or files_differ(standing(session, f"h{number}"), want.files)
        if not bad and problem:
            message = f"{failed}, and anchor_recover() said so; recovered again: {problem}"
            bad = [run.at_function(Finding("F111", message), "anchor_recover")]
        yield from bad
        if bad:
            return


def _leaks(run: Run, faults):
    """What is recovered first has a torn record; what is recovered then is the same again."""
    w = world(run)
    files = inside("log", {**w.files(2, 1), "anchor_2.rec": w.records[2].bytes, "anchor_2.cosig": b"torn"})
    call = ("anchor_recover", "log", w.key)
    steps = [("when it returns 0", call, None)]
    steps += [(f"when {kind} number {n} fails", call, (kind, n, *how))
              for (kind, n, *how), _ in faults if kind in ("open", "read", "sync")]
    yield from leaks(run, steps, files)


def _a_directory(run: Run):
    """A directory can be opened as a file can, also by stdio; each read of it fails. Who
    asks fstat(2) may leave it to a person."""
    w, name = world(run), "anchor_1.rec"
    files = {**inside("log", w.files(1, 0)), f"log/{name}/": b""}
    script = Script()
    number = script.call("anchor_recover", "log", w.key)
    session = run.drive(script, files=files)
    reply = session[number]
    refused = reply["ret"] < 0 or NEXT[reply["next"]] == "ANCHOR_NEXT_BLOCKED"
    problem = "" if refused else f"anchor_recover() returned {reply['ret']}, not an error"
    if name not in session.names("log"):
        problem = "it was renamed"
    if problem:
        message = f"a directory in place of {name}: {problem}"
        yield run.at_function(Finding("F108", message), "anchor_recover")
