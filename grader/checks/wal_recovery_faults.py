"""Checks of recovery on a bad day: calls that fail, and a map that finds no room."""

import errno

from ..result import Finding
from ..run import Run, Script
from . import check
from .returns import if_it_never_returns
from .wal_format import FOUR, SET, encode
from .wal_recovery import LOG, differs, far, left_open, log_of


@check("cuts-a-torn-tail")
def reports_what_fails(run: Run):
    """A call that fails ends recovery with its errno.

    Nothing is believed of a log that could not be read to its end, and nothing promised
    of one that could not be synced. A read that is short or interrupted is no failure. A
    log that cannot be read, or whose map does not fit into memory, is not cut.
    """
    wrong = list(_nothing_fails(run))
    if wrong:
        yield from wrong
        return
    torn = log_of(FOUR) + encode(*FOUR[1])[:-3]
    eio, emfile, enospc, estale = errno.EIO, errno.EMFILE, errno.ENOSPC, errno.ESTALE
    for fault, data, code, want in (
        (("open", 1, "errno", emfile), torn, "F108", -emfile),
        (("read", 1, "errno", estale), torn, "F108", -estale),
        (("read", 2, "errno", eio), torn, "F108", -eio),
        (("read", 2, "errno", eio), far(), "F108", -eio),
        (("truncate", 1, "errno", eio), torn, "F108", -eio),
        (("close", "1+", "errno", eio), torn, "F108", -eio),
        (("sync", 1, "errno", eio), torn, "F104", -eio),
        (("sync", 2, "errno", eio), torn, "F104", -eio),
        (("sync", 1, "errno", enospc), torn, "F104", -enospc),
        (("read", "1+", "short", 7), torn, "F101", 0),
        (("read", 1, "errno", errno.EINTR), torn, "F102", 0),
    ):
        found = list(_under_fault(run, fault, data, code, want))
        if found:
            yield from found
            return
    yield from _a_directory(run)
    yield from _locked_away(run)
    yield from _full_map(run)
    yield from _no_room(run)


def _under_fault(run: Run, fault, data: bytes, code: str, want: int):
    script = Script()
    script.call("fault", *fault)
    script.call("fault", "any", "1+", "watch")
    number = script.call("wal_recover", LOG)
    effect = errno.errorcode[fault[3]] if fault[2] == "errno" else f"a limit of {fault[3]} bytes a call"
    with if_it_never_returns(code, f"a {fault[0]} met {effect}, and wal_recover() never returns"):
        session = run.drive(script, files={LOG: data})
    reply = session[number]
    if any(met.what != "watch" for met in reply.faults):
        yield from _wrong_after(run, session, reply, data, code, want)


def _nothing_fails(run: Run):
    """What an earlier call left in errno says nothing of this one, and descriptor 0 is one
    like any other: a server may have closed its standard input."""
    for error in (errno.ENOENT, errno.EINTR):
        when = f"errno was {errno.errorcode[error]} before the call"
        script = Script()
        script.call("errno", error)
        number = script.call("wal_recover", LOG)
        with if_it_never_returns("O107", f"{when}, and wal_recover() never returns"):
            session = run.drive(script, files={LOG: log_of(FOUR)})
        yield from differs(run, session[number], FOUR, 0, "O107", when)
    script = Script()
    script.call("free0")
    before = script.call("fds")
    number = script.call("wal_recover", LOG)
    after = script.call("fds")
    session = run.drive(script, files={LOG: log_of(FOUR)})
    when = "where descriptor 0 is free"
    yield from differs(run, session[number], FOUR, 0, "R101", when)
    yield from left_open(run, session[before], session[after], f"{when}, ")


def _locked_away(run: Run):
    """A log in a directory that may not be searched may well be there."""
    script = Script()
    script.call("mode", "deep", 0)
    number = script.call("wal_recover", "deep/test.wal")
    script.call("mode", "deep", 0o755)
    got = run.drive(script, files={"deep/test.wal": log_of(FOUR)})[number]["ret"]
    if got != -errno.EACCES:
        message = f"a log in a directory without permissions: wal_recover() returned {got}, not -EACCES"
        yield run.at_function(Finding("F108", f"{message} ({-errno.EACCES})"), "wal_recover")


def _no_room(run: Run):
    """No memory but what malloc(3) has left over."""
    script = Script()
    script.call("limit", "data", 4096)
    before = script.call("fds")
    number = script.call("wal_recover", LOG)
    after = script.call("fds")
    session = run.drive(script, files={LOG: log_of(FOUR)}, variant="plain")
    got, what = session[number]["ret"], "no memory for a buffer"
    if got not in (0, -errno.ENOMEM):
        message = f"{what}: wal_recover() returned {got} and not -ENOMEM ({-errno.ENOMEM})"
        yield run.at_function(Finding("F108", message), "wal_recover")
    yield from left_open(run, session[before], session[after], f"{what}: ")


def _a_directory(run: Run):
    """A directory can be opened for reading, also by stdio; each read of it fails. A file in
    place of the log's directory cannot be gone through: that is not ENOENT."""
    script = Script()
    made = {
        "a directory in place of the log": script.call("wal_recover", "deep"),
        "a file in place of its directory": script.call("wal_recover", f"deep/x/{LOG}"),
    }
    session = run.drive(script, files={"deep/x": b""})
    for what, number in made.items():
        if session[number]["ret"] >= 0:
            message = f"{what}: wal_recover() returned {session[number]['ret']}, not an error"
            yield run.at_function(Finding("F108", message), "wal_recover")


def _wrong_after(run: Run, session, reply, data: bytes, code: str, want: int):
    """The answer to a call that met a fault, and what it did to the log."""
    met = next(fault for fault in reply.faults if fault.what != "watch")
    what = f"{met.call}() met {_fault_name(met)}"
    if reply["ret"] != want:
        again = _sync_again(reply.faults, met)
        what += " and was called again," if again else ""
        message = f"{what} and wal_recover() returned {reply['ret']}, not {want}"
        yield run.at_fault(Finding(code, message), again or met)
    elif want == 0:
        for bad in differs(run, reply, FOUR, 24, code, what):
            yield run.at_fault(bad, met)
    elif met.call in ("read", "pread", "pread64") and session.file(LOG) != data:
        yield run.at_fault(Finding(code, f"{what} and wal_recover() changed the log"), met)


def _sync_again(faults, met):
    """The next sync of the descriptor whose sync failed, if it is not closed before."""
    later = faults[faults.index(met) + 1:]
    same = (fault for fault in later if fault.fd == met.fd and "sync" in met.call)
    first = next((fault for fault in same if "sync" in fault.call or fault.call == "close"), None)
    return first if first and first.call != "close" else None


def _full_map(run: Run):
    """A map that does not fit into memory."""
    rng = run.rng("full")
    data = log_of((SET, b"%d" % i, rng.randbytes(60_000)) for i in range(140))
    script = Script()
    script.call("limit", "data", 6 << 20)
    before = script.call("fds")
    number = script.call("wal_recover", LOG)
    after = script.call("fds")
    session = run.drive(script, files={LOG: data}, variant="plain")
    got = session[number]["ret"]
    problem = "" if got == -errno.ENOMEM else f"returned {got} and not -ENOMEM ({-errno.ENOMEM})"
    if session.file(LOG) != data:
        problem = "changed the log"
    what = "a map of 8 MiB and 6 MiB of memory: "
    if problem:
        yield run.at_function(Finding("F108", f"{what}wal_recover() {problem}"), "wal_recover")
    yield from left_open(run, session[before], session[after], what)


def _fault_name(fault) -> str:
    if fault.what == "errno":
        return errno.errorcode[fault.value]
    return f"a limit of {fault.value} bytes a call"
