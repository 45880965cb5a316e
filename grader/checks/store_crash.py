"""The crash checks of the store: every disk that a power loss could leave, tried."""

from collections.abc import Iterator
from dataclasses import replace

from ..crash import faults, store
from ..crash.explore import students_server
from ..crash.scenario import Scenario, Subject
from ..crash.survive import survive, trace
from ..result import Finding
from ..run import Run
from . import check
from .cas_store import STORE, path_of

OTHER = "other"
THERE = {f"{STORE}/": b""}


def _whole() -> Iterator[Scenario]:
    """What processes do that nobody kills."""
    large, small, left, nothing = map(store.storing, store.OBJECTS)
    put = ("put", path_of(store.LEFT), store.LEFT)
    yield Scenario("a new store", (store.OPEN, large, nothing, large, store.CLOSE))
    other = ("cas_open", 1, OTHER), store.storing(store.SMALL, handle=1)
    yield Scenario(
        "two stores of one process", (store.OPEN, *other, small, store.CLOSE, ("cas_close", 1))
    )
    yield Scenario(
        "a duplicate that another left unsynced", (store.OPEN, put, left, store.CLOSE), THERE
    )
    yield Scenario(
        "a store that another left unsynced",
        (("make", "dir", STORE), put, store.OPEN, small, left, store.CLOSE),
    )
    damaged = {path_of(store.LEFT): store.LEFT[:5], path_of(store.SMALL): store.SMALL + b" and more"}
    yield Scenario("over an object that was torn and one too long",
                   (store.OPEN, left, small, store.CLOSE), damaged)


def _killed(run: Run) -> Iterator[Scenario]:
    """Another process had the store open before, so that no cas_open() syncs for it
    what the killed one left; then it opens it again, and cleans up."""
    first = Scenario("", (store.OPEN, store.storing(store.SMALL)), THERE)
    then = store.storing(store.SMALL), store.OPEN, store.storing(store.LEFT), store.CLOSE
    for scenario in faults.killed(first, then, faults.sites(run, first)):
        yield replace(scenario, calls=(store.OPEN, *scenario.calls))


def _survives(run: Run, subject: Subject) -> Iterator[Finding]:
    traced = trace(run, [*_whole(), *_killed(run)])
    yield from survive(run, students_server(run), subject, traced)


@check("stores-and-loads")
def tells_what_a_crash_tore(run: Run):
    """An acknowledged object survives every crash, a torn one is told.

    Your program runs once, traced. From the trace follows every disk that a power loss
    at any moment could leave; on each of them the store is opened and every object
    loaded. One that cas_store() had acknowledged is there and whole. One that it had not
    may be torn: then cas_load() says so, and storing it again mends it. It runs again and
    is killed at its calls, one after another, while another process goes on.
    """
    yield from _survives(run, store.IN_PLACE)


@check("stores-and-loads")
def store_survives_every_crash(run: Run):
    """No power loss takes an acknowledged object, or leaves a torn one.

    Your program runs once, traced. From the trace follows every disk that a power loss
    at any moment could leave. On none of them does a file that has a hash for its name
    hold other bytes, and whatever cas_store() had acknowledged is there, duplicates
    too. On each the store opens, no leftover stays, and every object can be stored
    again. It runs again and is killed at its calls, one after another, while another
    process goes on. What cas_open() removes, it removes traced, and is crashed in the
    same way.
    """
    yield from _survives(run, store.ATOMIC)


def _then() -> tuple[tuple, ...]:
    """What another process does, once the one is gone in which a call failed."""
    small, left = map(store.storing, (store.SMALL, store.LEFT))
    return store.OPEN, ("stop",), left, small, store.CLOSE, ("resume",)


@check("tells-what-a-crash-tore", "store-survives-every-crash")
def store_survives_every_fault(run: Run):
    """Whatever call fails, nothing that was acknowledged is lost.

    Each call that changes files (open, write, fsync, rename, close and their kin) fails in
    turn: EIO, ENOSPC, EINTR, a short write; once, or with all behind it. A sync that failed
    has lost what it covered. The call is made again, and perhaps by another process. Then
    the power fails, at any moment. What had returned 0 must be there, and no descriptor
    may stay open.
    """
    small, left = map(store.storing, (store.SMALL, store.LEFT))
    session = Scenario(
        "", (store.OPEN, small, ("again",), left, ("again",), store.CLOSE), {path_of(store.LEFT): store.LEFT}
    )
    atomic = "store-survives-every-crash" in run.lesson.checks
    subject = store.ATOMIC if atomic else store.IN_PLACE
    yield from faults.survive_failing(run, students_server(run), subject, [session], _then())
