"""The crash and the fault check of the log: every disk that a power loss could leave, tried."""

from dataclasses import replace

from ..course import find
from ..crash import faults, log
from ..crash.explore import Server, reference_server, students_server
from ..crash.scenario import Scenario
from ..crash.survive import survive, trace
from ..run import Run
from . import check
from .wal_format import FOUR, SET, encode

# One that crosses a block boundary, so that its parts can be lost apart, and one behind it.
# A sector of zeros is lost unseen: with five others in its first block there are 32 ways.
LARGE = (SET, b"large", b"\xa5" * 900 + bytes(2000) + b"\x5a" * 1300)
MORE = (SET, b"after", b"all")
NEXT = (SET, b"and", b"on")
NEW = (*FOUR, LARGE, MORE)
TORN = encode(SET, b"torn", b"tail")[:-5]


def _bytes(records, tail=b"") -> bytes:
    return b"".join(encode(*record) for record in records) + tail


def _recovers(run: Run) -> bool:
    return "recovery" in run.lesson.driver


def _server(run: Run) -> Server:
    return students_server(run) if _recovers(run) else reference_server(run, find("w10-l03"))


def _session(run: Run, left=()) -> Scenario:
    """What one process does, in which calls fail or it is killed. `left` is what comes
    before it in place of a log that is durable."""
    if not _recovers(run):
        return log.scenario("appends", log.OPEN, *map(log.append, FOUR[:2]), log.CLOSE)
    files = {} if left else {log.LOG: _bytes(FOUR, TORN)}
    return log.scenario(
        "a torn tail", *left, log.RECOVER, ("stop",), log.OPEN, log.append(MORE), log.CLOSE,
        ("resume",), files=files, history=log.earlier(FOUR, promised=not left),
    )


def _sessions(run: Run) -> list[Scenario]:
    left = ("put", log.LOG, _bytes(FOUR, TORN))
    return [_session(run), _session(run, (left,))] if _recovers(run) else [_session(run)]


def _then(run: Run) -> tuple[tuple, ...]:
    """What another process does, once that one is gone."""
    appends = log.OPEN, log.append(NEXT), log.CLOSE
    return (log.RECOVER, ("stop",), *appends, ("resume",)) if _recovers(run) else ()


def _killed(run: Run) -> list[Scenario]:
    """A lesson without recovery cannot cut what a killed write left: its process is
    killed at the last sync of each function only, where what it wrote is whole."""
    first = _session(run)
    sites = faults.sites(run, first)
    sites = [site for site in sites if _recovers(run) or (site.is_sync and site.is_last)]
    then = _then(run) or (log.OPEN, log.append(NEXT), log.CLOSE)
    return faults.killed(first, then, sites)


def _scenarios(run: Run) -> list[Scenario]:
    found = [log.scenario("a new log", log.OPEN, *map(log.append, NEW), log.CLOSE)]
    if _recovers(run):
        durable, left = _sessions(run)
        found += [durable, replace(left, name="a torn tail that a killed process left")]
    return found + _killed(run)


@check("holds-every-record-appended", "replays-every-record")
def survives_every_crash(run: Run):
    """No power loss, at any moment, takes what was promised.

    Your program runs once, traced. From the trace follows every disk that a power loss
    at any moment could leave; on each of them the log is recovered. What wal_append() had
    acknowledged must be there, what is there must be a prefix of what was appended,
    recovering again must change nothing, and the next append must work. It runs again
    and is killed at its calls, one after another, and another process goes on. Where
    recovery is yours, it is traced and crashed in the same way, on every disk that it
    changed.
    """
    yield from survive(run, _server(run), log.SUBJECT, trace(run, _scenarios(run)))


@check("survives-every-crash")
def survives_every_fault(run: Run):
    """Whatever call fails, nothing that was acknowledged is lost.

    Each call that changes files (write, fsync, open, close and their kin) fails in turn:
    EIO, ENOSPC, EINTR, a short write; once, or with all behind it. A sync that failed has
    lost what it covered. Then the power fails, at any moment. What had returned 0 must be
    there; after a failure no append may return 0 before the log is opened again; no
    descriptor may stay open.
    """
    yield from faults.survive_failing(run, _server(run), log.SUBJECT, _sessions(run), _then(run))
