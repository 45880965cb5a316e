"""Checks of what is kept on a bad day: the calls below fail, or do less than they were asked."""

import errno
from dataclasses import replace

from ..result import Finding
from ..run import Run, Script
from ..tracing import Promise, trace
from . import check
from .anchor_storage import HASHES_MOST, World, each_call, files_differ, inside, standing, world
from .returns import (
    errno_name, if_it_never_returns, interrupted_syncs, leaks, still_open, without_libcrypto,
    wrong_return,
)

EIO, ENOSPC = errno.EIO, errno.ENOSPC
FAULTS = (
    ("write", 1, "errno", ENOSPC, "F103"), ("write", 1, "errno", EIO, "F103"),
    ("sync", 1, "errno", EIO, "F104"), ("sync", 2, "errno", EIO, "F104"),
    *(("open", number, "errno", EIO, "F108") for number in (1, 2, 3, 4)),
    ("read", 1, "errno", EIO, "F108"),
    ("close", "1+", "errno", EIO, "F108"), ("rename", 1, "errno", EIO, "F108"),
)
# Of a directory too: a file system that cannot sync one keeps no promise.
UNABLE = tuple(("sync", number, "errno", value, "F104") for number in (1, 2)
               for value in (errno.EINVAL, errno.ENOTSUP, errno.EROFS))
LEAKING = [fault for fault in FAULTS if fault[:2] not in (("open", 1), ("open", 4), ("close", "1+"))]


def _calls_again(w: World):
    """The same where the file stands there already."""
    for call, args, before, name in each_call(w):
        if name:
            yield call, args, before | {name: w.files(2)[name]}, name


def _faulty(run: Run, calls, faults):
    """Each of these calls under each fault: what came of it."""
    script, files, cases = Script(), {}, []
    for call, args, before, name in calls:
        for *fault, code in faults:
            if fault[0] == "close" and name in before:
                continue  # what is closed may be another file, which was made in vain
            folder = f"f{len(cases)}"
            files |= inside(folder, before)
            open_before = script.call("fds")
            script.call("fault", *fault)
            failing = script.call(call, folder, *args)
            script.call("clear")
            open_after = script.call("fds")
            cases.append((folder, code, fault, before, name, args, failing, open_before, open_after))
    return run.drive(script, files=files), cases


@check("keeps-anchors-under-their-names")
def takes_back_what_failed(run: Run):
    """A call that fails says so, and leaves nothing to be believed later.

    A write (ENOSPC, EIO), a sync of file or directory, a close, a rename, an open: the
    errno comes back (-ENOMEM from libcrypto), and the file that was made is unlinked, since
    its pages may be gone though they can still be read. What stood there before is not the
    call's to unlink, and the old head stays whole. No descriptor stays open and no memory allocated.
    """
    w = world(run)
    calls = [*each_call(w), *_calls_again(w)]
    session, cases = _faulty(run, calls, FAULTS + UNABLE)
    for folder, code, fault, before, name, args, failing, open_before, open_after in cases:
        reply = session[failing]
        if not reply.faults:
            continue  # the program does not use that call: there is nothing to fail
        met = reply.faults[-1]
        when = f"though {met.call}() failed ({errno.errorcode[met.value]})"
        bad = list(wrong_return(run, reply, -fault[3], code, when))
        may_do_without = fault[0] in ("open", "read") and reply["ret"] == 0
        if may_do_without and _did_without(run, ("fault", *fault), reply.call, args, before, name):
            continue
        there = standing(session, folder)
        left = still_open(run, session, session[open_before], session[open_after])
        if not bad and there.get(name) != before.get(name):
            code, what = ("A110", "was there, and is not any more") if name in before else ("F111", "is left")
            message = f"{name} {what} after {reply.call}() failed, {when}"
            bad = [run.at_fault(Finding(code, message), met)]
        if not bad and there.get("head") not in (before["head"], b"1\n"):
            bad = [run.at_fault(Finding("A104", f"head is not whole {when}"), met)]
        if not bad and left:
            bad = [run.at_fault(Finding("F109", f"{reply.call}() leaves {left[0]} open {when}"), met)]
        if bad:
            yield from bad
            return
    wrong = list(_interrupted_closes(run)) or list(_without_libcrypto(run))
    yield from wrong or _leaks(run, calls)


def _interrupted_closes(run: Run):
    """A close that is interrupted (EINTR) has closed on Linux. That may be said or not."""
    faults = [(kind, "1+", "errno", errno.EINTR, "F108") for kind in ("close", "leave")]
    session, cases = _faulty(run, each_call(world(run)), faults)
    for *_, failing, _, _ in cases:
        reply = session[failing]
        again = [fault for fault in reply.faults if fault.value == errno.EBADF]
        if again:
            message = f"close() was interrupted and had closed; {reply.call}() closed that descriptor again"
            yield run.at_fault(Finding("F108", message), again[0])
            return
        if reply.faults and reply["ret"] not in (0, -errno.EINTR):
            yield from wrong_return(run, reply, 0, "F108", "though close() was only interrupted (EINTR)")
            return


def _without_libcrypto(run: Run):
    """Each call of libcrypto fails once: -ENOMEM, and nothing in the way of the next try."""
    script, files, cases = Script(), {}, []
    for call, args, before, name in each_call(world(run)):
        for number in range(1, HASHES_MOST + 1) if name else ():
            folder = f"h{len(cases)}"
            files |= inside(folder, before)
            made = without_libcrypto(script, number, call, folder, *args)
            cases.append((*made, ("libcrypto_fails", number), (call, args, before, name)))
    session = run.drive(script, files=files)
    for failing, again, failure, of in cases:
        reply = session[failing]
        if not reply.faults or reply["ret"] == 0 and _did_without(run, failure, *of):
            continue
        failed = replace(reply, faults=())  # what called libcrypto is not what made this of it
        when = f"though {reply.faults[0].call}() failed"
        bad = list(wrong_return(run, failed, -errno.ENOMEM, "F108", when))
        bad = bad or list(wrong_return(run, session[again], 0, "F111", f"behind a call that failed, {when},"))
        yield from bad
        if bad:
            return


def _did_without(run: Run, failure, call: str, args, before, name: str | None) -> bool:
    """What could not be opened, read or verified may only have been looked at: is what the
    call promises durable all the same? `failure` are the words that bring it about."""
    made, script = name or "head", Script()
    if made in before and name:
        script.call("put", f"log/{made}", before[made])
    script.call(*failure)
    number = script.call(call, "log", *args)
    files = inside("log", {there: data for there, data in before.items() if there != name})
    _, found = trace(run, script, files=files, promises={number: [Promise(f"log/{made}", "both")]})
    return not found


def _leaks(run: Run, calls):
    files, steps = {}, []
    for call, args, before, _ in calls:
        for kind, *fault, _ in LEAKING:
            folder = f"f{len(steps)}"
            files |= inside(folder, before)
            steps.append((f"when the {kind} fails", (call, folder, *args), (kind, *fault)))
    yield from leaks(run, steps, files)


@check("takes-back-what-failed")
def survives_a_full_disk(run: Run):
    """On a full disk every call fails, and nothing half-made stays.

    A limit on the size of files: the kernel writes what fits, then fails with EFBIG,
    which the call returns.
    What was kept before stays, and recovery finds it.
    """
    w = world(run)
    for call, args, before, name in each_call(w):
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
    session, cases = _faulty(run, each_call(world(run)), faults)
    want = world(run).files(2, head=1)
    for folder, code, fault, before, name, _, failing, *_ in cases:
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
    for call, args, before, name in each_call(world(run)):
        promises = [Promise(f"log/{name or 'head'}", "both")]
        words = (call, "log", *args)
        yield from interrupted_syncs(run, [], words, promises, inside("log", before))


def _zero_write(run: Run):
    with if_it_never_returns("F106", "a call never returns when write() keeps returning 0"):
        session, cases = _faulty(run, each_call(world(run)), [("write", "1+", "zero", 0, "F106")])
    for *_, failing, _, _ in cases:
        reply = session[failing]
        if reply.faults and reply["ret"] >= 0:
            message = f"{reply.call}() returned 0 though write() took no byte"
            yield run.at_fault(Finding("F106", message), reply.faults[0])
            return
