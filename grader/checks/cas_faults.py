"""Checks of the store on a bad day: the calls below it fail, or do less than they were asked."""

import errno

from ..result import Finding
from ..run import Run, Script
from ..tracing import Promise
from . import check
from .cas_atomic import LARGE, temps
from .cas_store import HELLO, OBJECT_MAX_BYTES, OK, STORE, name_of, path_of, wrong_store
from .returns import errno_name, if_it_never_returns, interrupted_syncs, sync_tried_again, wrong_return


@check("stores-and-loads")
def writes_every_byte(run: Run):
    """A write that stops half way is continued.

    One that is interrupted is tried again. One that takes no byte at all ends in an
    error, not in an endless loop. A sync that is interrupted has not synced.
    """
    cases = (
        ("1 short 1", "F101", "took 1 byte"), ("1+ short 700", "F101", "took 700 bytes at a time"),
        (f"1 errno {errno.EINTR}", "F102", "was interrupted (EINTR)"),
    )
    script, calls = Script(), []
    for i, (fault, code, what) in enumerate(cases):
        script.call("cas_open", i, f"store-{i}")
        script.call("fault", "write", *fault.split())
        calls.append((script.call("cas_store", i, LARGE), code, what))
        script.call("clear")
    session = run.drive(script)
    for i, (number, code, what) in enumerate(calls):
        for fault in session[number].faults[:1]:
            when = f"though {fault.call}() {what}"
            found = wrong_store(run, session, number, LARGE, code, when, f"store-{i}")
            yield from (run.at_fault(finding, fault) for finding in found)
    yield from _zero_write(run)
    opened, stored = ("cas_open", 0, STORE), ("cas_store", 0, LARGE)
    yield from interrupted_syncs(run, [opened], stored, [Promise(path_of(LARGE), "both")])


def _zero_write(run: Run):
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("fault", "write", "1+", "zero")
    stored = script.call("cas_store", 0, LARGE)
    with if_it_never_returns("F106", "cas_store() never returns when write() keeps returning 0"):
        session = run.drive(script, seconds=5)
    if session[stored].faults and session[stored]["ret"] >= 0:
        message = "cas_store() returned 0 though write() took no byte"
        yield run.at_fault(Finding("F106", message), session[stored].faults[0])


TEMP_FAULTS = (
    ("write", "1", errno.ENOSPC, "F103"), ("write", "1+", errno.EIO, "F103"),
    ("sync", "1", errno.EIO, "F104"),  # where another sync follows, that of the name
    ("close", "1", errno.EIO, "F108"),
    # Every one: what link(2) cannot do, rename(2) may do in its place.
    ("rename", "1+", errno.EIO, "F108"), ("create", "1", errno.ENOSPC, "F108"),
)


@check("stores-and-loads")
def leaves_nothing_after_a_failure(run: Run):
    """A temp file that fails is reported and removed, and that is all.

    A full disk, a write, a sync, a close or a rename that fails: the call returns that
    errno, gives no name, leaves no .tmp- file, and the next call works.
    """
    script, calls = Script(), []
    script.call("cas_open", 15, "warm-up")
    script.call("cas_store", 15, HELLO)
    before = script.call("fds")
    faults = [fault for fault in TEMP_FAULTS if fault[0] != "sync" or _syncs(run) > 1]
    for i, (kind, at, error, code) in enumerate(faults):
        script.call("cas_open", i, f"store-{i}")
        script.call("fault", kind, at, "errno", error)
        failed = script.call("cas_store", i, LARGE)
        script.call("clear")
        again = script.call("cas_store", i, LARGE)
        closed = script.call("cas_close", i)
        calls.append((f"store-{i}", failed, again, closed, error, code))
    after = script.call("fds")
    session = run.drive(script)
    for case in calls:
        if session[case[1]].faults:
            yield from _after_failure(run, session, *case)
    if session[after]["open"] > session[before]["open"]:
        message = "a cas_store() that fails leaves a descriptor open"
        yield run.at_function(Finding("F109", message), "cas_store")
    yield from _not_removed_either(run)
    yield from _taken_back(run, "close", 1, "close() failed (EIO)")
    yield from _real_limit(run)


def _not_removed_either(run: Run):
    """The write fails, and so does removing what it left: the first error is the one."""
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("fault", "write", 1, "errno", errno.ENOSPC)
    script.call("fault", "unlink", 1, "errno", errno.EACCES)
    failed = script.call("cas_store", 0, LARGE)
    reply = run.drive(script)[failed]
    if len(reply.faults) == 2:
        when = "though write() failed (ENOSPC), and then unlink() (EACCES)"
        yield from wrong_return(run, reply, -errno.ENOSPC, "F103", when)


def _after_failure(run: Run, session, store, failed, again, closed, error, code):
    reply, fault = session[failed], session[failed].faults[-1]
    what = f"{fault.call}() failed ({errno.errorcode[error]})"
    found = list(wrong_return(run, reply, -error, code, f"though {what}"))
    if not found and reply.bytes("name") != b"untouched":
        found = [run.at_fault(Finding("O304", f"cas_store() gave a name though {what}"), fault)]
    if not found and temps(session, store):
        message = f"{what}, and {temps(session, store)[0]} is still there"
        found = [run.at_fault(Finding("F121", message), fault)]
    # What was synced with everything else cannot be told from the temp file alone.
    if not found and fault.call not in ("sync", "syncfs"):
        found = list(wrong_store(run, session, again, LARGE, "F122", f"after {what}", store))
        found = found or list(wrong_return(run, session[closed], 0, "F122", f"after {what}"))
    yield from found[:1]


def _real_limit(run: Run):
    """A limit on a file's size: the kernel writes what fits, then fails with EFBIG.

    It reaches programs whose writes pass through stdio or a C++ stream as well.
    """
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("limit", "fsize", 1000)
    failed = script.call("cas_store", 0, LARGE)
    good = script.call("cas_store", 0, HELLO)
    # Not the checked build: the sanitizers write files of their own.
    session = run.drive(script, variant="plain")
    when = "where a write was cut short by a full disk and then failed (EFBIG)"
    if session[failed]["ret"] >= 0:
        yield from wrong_return(run, session[failed], -errno.EFBIG, "F103", when)
    elif temps(session, STORE):
        message = f"{temps(session, STORE)[0]} is still there, {when}"
        yield run.at_function(Finding("F121", message), "cas_store")
    else:
        yield from wrong_store(run, session, good, HELLO, "F122", f"after a failure, {when}")


def _taken_back(run: Run, kind: str, number: int, what: str):
    """The call fails when its object has its name. If it then removes something, another
    process has stored the same bytes just before: its object must stay."""
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("cas_open", 1, STORE)
    script.call("fault", kind, number, "errno", errno.EIO)
    other = script.call("meanwhile", "unlink", 1, "cas_store", 1, LARGE)
    failed = script.call("cas_store", 0, LARGE)
    session = run.drive(script)
    fault = next((fault for fault in session[failed].faults if fault.what == "meanwhile"), None)
    if fault and session[other]["ret"] == 0 and session.file(path_of(LARGE)) != LARGE:
        message = f"{what}, another process stored the same bytes, and {fault.call}() took the object away"
        yield run.at_fault(Finding("F123", message), fault)


SYNC_ERRORS = errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINVAL


def _syncs(run: Run) -> int:
    """How many syncs storing a new object makes: the last is that of its name."""
    if "syncs" not in run.memo:
        script = Script()
        script.call("cas_open", 0, STORE)
        script.call("fault", "sync", "1+", "watch")
        stored = script.call("cas_store", 0, LARGE)
        run.memo["syncs"] = len(run.drive(script)[stored].faults)
    return run.memo["syncs"]


@check("stores-and-loads")
def stops_after_a_failed_directory_sync(run: Run):
    """A failed sync of what has its name poisons the store.

    The directory, or an object that was already there: what the disk now holds, nobody
    knows, and the next sync may return 0 all the same. Every later call returns that
    first error, until the store is closed and opened again. Other stores go on.
    """
    opened = ("cas_open", 0, STORE), ("cas_store", 0, HELLO)
    again = list(sync_tried_again(run, opened, ("cas_store", 0, b"new"), "D206", _syncs(run)))
    if again:
        yield from again
        return
    if _syncs(run):
        yield from _taken_back(run, "sync", _syncs(run), "the sync of the directory failed (EIO)")
    # Any error of the last sync of a new object, and of any that a duplicate gets.
    cases = [("a new object", b"new", _syncs(run), error) for error in SYNC_ERRORS if _syncs(run)]
    cases += [("an object that was there", HELLO, "1+", error) for error in SYNC_ERRORS]
    cases += [("an object that was there", HELLO, at, errno.EIO) for at in (1, 2)]
    for what, data, at, error in cases:
        script = Script()
        script.call("cas_open", 0, STORE)
        script.call("cas_store", 0, HELLO)
        script.call("fault", "sync", at, "errno", error)
        failed = script.call("cas_store", 0, data)
        script.call("clear")
        script.call("cas_open", 1, "other")
        other = script.call("cas_store", 1, HELLO)
        later = [
            script.call("cas_store", 0, HELLO), script.call("cas_store", 0, data),
            script.call("cas_load", 0, name_of(HELLO).encode()),
            script.call("cas_load", 0, b"no name"),
            script.call("cas_store_zeros", 0, OBJECT_MAX_BYTES + 1),
        ]
        # The close fails as well, with an error of its own: the first is the one.
        script.call("fault", "leave", "1+", "errno", errno.EINTR)
        later.append(script.call("cas_close", 0))
        script.call("clear")
        script.call("cas_open", 0, STORE)
        kept = script.call("cas_load", 0, name_of(HELLO).encode())
        again = script.call("cas_store", 0, data)
        session = run.drive(script)
        found = list(_poisoned(run, session, failed, later, what, -error))
        when = f"in another store, when the sync of {what} had failed"
        found = found or list(wrong_return(run, session[other], 0, "F105", when))
        if not found and session[kept]["ret"] != OK:
            message = f"the sync of {what} failed, and then one that had been stored before is gone"
            found = [run.at_function(Finding("F123", message), "cas_store")]
        found = found or list(wrong_store(run, session, again, data, "F105", "after it was opened again"))
        if found:
            yield from found
            return


def _poisoned(run: Run, session, failed, later, what: str, want: int):
    reply = session[failed]
    if not reply.faults:
        return
    when = f"though the sync of {what} failed ({errno.errorcode[-want]})"
    found = list(wrong_return(run, reply, want, "F104", when))
    if found:
        yield from found
        return
    for number in later:
        got = session[number]["ret"]
        if got != want:
            name = session[number].call.removesuffix("_zeros")
            too = [f", whose {fault.call}() failed too," for fault in session[number].faults[:1]]
            message = (
                f"the sync of {what} failed; a later {name}(){''.join(too)} returned "
                f"{errno_name(got)} and not that first error, {errno_name(want)}"
            )
            yield run.at_function(Finding("F105", message), name)
            return
