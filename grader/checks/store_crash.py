"""The crash checks of the store: every disk that a power loss could leave, tried."""

from collections.abc import Iterator

from ..crash.explore import students_server
from ..crash.scenario import Scenario, Subject
from ..crash.store import (
    ATOMIC, CLOSE, IN_PLACE, LARGE, LEFT, NOTHING, OPEN, SMALL, store,
)
from ..crash.survive import survive
from ..result import Finding
from ..run import Run
from . import check
from .cas_store import STORE, path_of

OTHER = "other"
THERE = {f"{STORE}/": b""}
PUT = ("put", path_of(LEFT), LEFT)


def scenarios() -> Iterator[Scenario]:
    yield Scenario(
        "a new store",
        (OPEN, store(LARGE), store(NOTHING), store(LARGE), CLOSE),
    )
    yield Scenario(
        "two stores of one process",
        (OPEN, ("cas_open", 1, OTHER), store(SMALL, 1), store(SMALL), CLOSE, ("cas_close", 1)),
    )
    yield Scenario("a duplicate that another process left unsynced", (OPEN, PUT, store(LEFT), CLOSE), THERE)
    yield Scenario(
        "a store that another process left unsynced",
        (("make", "dir", STORE), PUT, OPEN, store(SMALL), store(LEFT), CLOSE),
    )
    yield Scenario("a torn object", (OPEN, store(LEFT), CLOSE), {path_of(LEFT): LEFT[:5]})
    for kind, number in (("sync", 1), ("rename", 1), ("sync", 2)):
        killed = (("begin",), ("fault", kind, number, "kill"), store(SMALL), ("end",))
        yield Scenario(
            f"a process killed at {kind} {number} of a cas_store(), another going on",
            (OPEN, *killed, store(SMALL), OPEN, store(LEFT), CLOSE), THERE,
        )


def _survives(run: Run, subject: Subject, check_id: str) -> Iterator[Finding]:
    summary: list[str] = []
    yield from survive(run, students_server(run), subject, list(scenarios()), summary)
    run.notes[check_id] = "; ".join(summary)


@check("stores-and-loads")
def tells_what_a_crash_tore(run: Run):
    """No power loss takes an acknowledged object, or passes a torn one for whole.

    Your program runs once, traced. From the trace follows every disk that a power loss
    at any moment could leave; on each of them the store is opened and every object
    loaded. One that cas_store() had acknowledged is there and whole. One that it had not
    may be torn: then cas_load() says so, and storing it again mends it.
    """
    yield from _survives(run, IN_PLACE, "tells-what-a-crash-tore")


@check("stores-and-loads")
def store_survives_every_crash(run: Run):
    """No power loss, at any moment, takes an acknowledged object or leaves a torn one.

    Your program runs once, traced. From the trace follows every disk that a power loss
    at any moment could leave. On none of them does a file that has a hash for its name
    hold other bytes, and whatever cas_store() had acknowledged is there, duplicates
    too. On each the store opens, no leftover stays, and every object can be stored
    again. What cas_open() removes, it removes traced, and is crashed in the same way.
    """
    yield from _survives(run, ATOMIC, "store-survives-every-crash")
