"""The crash checks of the store: every disk that a power loss could leave, tried."""

from collections.abc import Iterator
from dataclasses import replace

from ..crash import faults
from ..crash.explore import students_server
from ..crash.scenario import Scenario, Subject
from ..crash.store import ATOMIC, CLOSE, IN_PLACE, LARGE, LEFT, NOTHING, OPEN, SMALL, store
from ..crash.survive import survive
from ..result import Finding
from ..run import Run
from . import check
from .cas_store import STORE, path_of

OTHER = "other"
THERE = {f"{STORE}/": b""}
PUT = ("put", path_of(LEFT), LEFT)
WHOLE = (
    Scenario("a new store", (OPEN, store(LARGE), store(NOTHING), store(LARGE), CLOSE)),
    Scenario(
        "two stores of one process",
        (OPEN, ("cas_open", 1, OTHER), store(SMALL, 1), store(SMALL), CLOSE, ("cas_close", 1)),
    ),
    Scenario("a duplicate that another left unsynced", (OPEN, PUT, store(LEFT), CLOSE), THERE),
    Scenario(
        "a store that another left unsynced",
        (("make", "dir", STORE), PUT, OPEN, store(SMALL), store(LEFT), CLOSE),
    ),
    Scenario("a torn object", (OPEN, store(LEFT), CLOSE), {path_of(LEFT): LEFT[:5]}),
)


def _killed(run: Run) -> list[Scenario]:
    """Another process had the store open before, so that no cas_open() syncs for it
    what the killed one left; then it opens it again, and cleans up."""
    first = Scenario("", (OPEN, store(SMALL)), THERE)
    then = (store(SMALL), OPEN, store(LEFT), CLOSE)
    return [
        replace(scenario, calls=(OPEN, *scenario.calls))
        for scenario in faults.killed(first, then, faults.sites(run, first))
    ]


def _survives(run: Run, subject: Subject, check_id: str) -> Iterator[Finding]:
    summary: list[str] = []
    yield from survive(run, students_server(run), subject, [*WHOLE, *_killed(run)], summary)
    run.notes[check_id] = "; ".join(summary)


@check("stores-and-loads")
def tells_what_a_crash_tore(run: Run):
    """No power loss takes an acknowledged object, or passes a torn one for whole.

    Your program runs once, traced. From the trace follows every disk that a power loss
    at any moment could leave; on each of them the store is opened and every object
    loaded. One that cas_store() had acknowledged is there and whole. One that it had not
    may be torn: then cas_load() says so, and storing it again mends it. It runs again and
    is killed at its calls, one after another, while another process goes on.
    """
    yield from _survives(run, IN_PLACE, "tells-what-a-crash-tore")


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
    yield from _survives(run, ATOMIC, "store-survives-every-crash")
