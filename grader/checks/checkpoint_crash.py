"""The crash and the fault check of checkpoints: every disk that a power loss could leave."""

from ..crash import checkpoint as subject
from ..crash import faults
from ..crash.checkpoint import CHECKPOINT, CLOSE, OPEN, append, scenario
from ..crash.explore import students_server
from ..crash.scenario import Scenario
from ..crash.survive import survive, trace
from ..run import Run
from . import check
from . import checkpoint_format as form
from .wal_format import DEL, SET, apply, encode

FOO, NAME = (SET, b"foo", b"bar"), (SET, b"name", b"alice")
NEW_FOO, NO_NAME = (SET, b"foo", b"new"), (DEL, b"name", b"")
COUNT, COUNTED = (SET, b"count", b"42"), (SET, b"count", b"43")
TORN = encode(SET, b"torn", b"tail")[:-5]


def _cut_short() -> dict[str, bytes]:
    """What a checkpoint leaves that did not come to its rename. Replaying the first
    segment alone on top of the whole map would bring `name` back."""
    return {
        form.segment(1): form.log([FOO, NAME]), form.segment(2): form.log([NEW_FOO, NO_NAME]),
        form.TEMP: b"torn",
    }


def _sessions() -> list[Scenario]:
    durable = {
        form.SNAPSHOT: form.snapshot(apply([FOO, NAME]), 3), form.segment(1): form.log([NAME]),
        form.segment(3): form.log([NEW_FOO, NO_NAME], TORN), form.TEMP: b"torn",
    }
    return [
        scenario("a new log", OPEN, append(FOO), append(NAME), CHECKPOINT, append(NEW_FOO),
                 append(NO_NAME), CHECKPOINT, append(COUNT), CLOSE),
        scenario("a log with leftovers and a torn tail", OPEN, CHECKPOINT, append(COUNT), CLOSE,
                 files=durable, history=subject.earlier([FOO, NAME, NEW_FOO, NO_NAME])),
        scenario("a checkpoint that another cut short", OPEN, CHECKPOINT, append(COUNT), CLOSE,
                 files=_cut_short(), history=subject.earlier([FOO, NAME, NEW_FOO, NO_NAME])),
    ]


def _session(*calls) -> Scenario:
    """What one process does, in which calls fail or it is killed."""
    files = {form.segment(1): form.log([FOO, NAME])}
    return scenario("", *calls, files=files, history=subject.earlier([FOO, NAME]))


def _killed(run: Run) -> list[Scenario]:
    """At every call but those that open: nothing changes between such a one and the
    next, or what it makes is there when that is reached."""
    first = _session(OPEN, append(NEW_FOO), CHECKPOINT, append(NO_NAME), CLOSE)
    then = OPEN, append(COUNT), CHECKPOINT, append(COUNTED), CLOSE
    sites = [site for site in faults.sites(run, first) if not site.call.startswith("open")]
    return faults.killed(first, then, sites)


@check("keeps-the-map")
def checkpoints_survive_every_crash(run: Run):
    """No power loss takes what was acknowledged, at any step of a checkpoint.

    Your program runs once, traced. From the trace follows every disk that a power loss
    at any moment could leave. On each, whatever is called snapshot is whole, and it and
    the segments behind it hold all that kv_log_append() had acknowledged: the old
    snapshot with its segments or the new one with those that follow. Then the log is
    opened, opened again, appended to, and another checkpoint is made. The program runs
    again and is killed at its calls, one after another, while another process goes on;
    and recovery is traced and crashed on every disk that it changed.
    """
    traced = trace(run, [*_sessions(), *_killed(run)])
    yield from survive(run, students_server(run), subject.SUBJECT, traced)


@check("checkpoints-survive-every-crash")
def checkpoints_survive_every_fault(run: Run):
    """Whatever call fails, nothing that was acknowledged is lost.

    Each call that changes files (write, fsync, open, close, rename, unlink and their
    kin) fails in turn: EIO, ENOSPC, EINTR, a short write; once, or with all behind it. A
    sync that failed has lost what it covered. Then the power fails, at any moment. What
    had returned 0 must be there; after a failed append none may return 0; no descriptor
    may stay open.
    """
    session = _session(OPEN, CHECKPOINT, append(NEW_FOO), CLOSE)
    yield from faults.survive_failing(
        run, students_server(run), subject.SUBJECT, [session], (OPEN, CHECKPOINT)
    )
