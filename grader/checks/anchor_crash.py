"""The crash check of the anchors: every disk that a power loss could leave, tried."""

from collections.abc import Iterator

from ..crash import anchors
from ..crash.anchors import COSIGNATURES, HEAD, ON_ITS_WAY, RECORDS, RECOVER, advance, name_of, persist, prove
from ..crash.explore import students_server
from ..crash.scenario import Scenario
from ..crash.survive import survive
from ..run import Run
from . import check


def _put(files: dict[str, bytes]) -> tuple[tuple, ...]:
    """As a process leaves them that is killed before it synced anything."""
    return tuple(("put", name, data) for name, data in files.items())


def _killed(sync: int, *calls) -> tuple[tuple, ...]:
    """These calls in another process, which is killed as it enters its nth sync."""
    return ("begin",), ("fault", "sync", sync, "kill"), *calls, ("end",)


def scenarios() -> Iterator[Scenario]:
    scenario, publish, complete = anchors.scenario, anchors.publish, anchors.complete
    yield scenario("a new log", *publish(0), *publish(1))
    yield scenario("a process killed in anchor_persist_record(), another going on",
                   *_killed(1, persist(0)), *publish(0))
    yield scenario("a process killed in anchor_persist_cosignature(), another going on",
                   persist(0), *_killed(2, prove(0)), prove(0), advance(0))
    yield scenario("a process killed in anchor_atomic_advance(), another recovering",
                   persist(0), prove(0), *_killed(2, advance(0)), RECOVER, persist(1))
    # Of what a right program leaves, no more than one file is not durable.
    pending = {name_of(1, "rec"): RECORDS[1].bytes}
    proof = {name_of(0, "cosig"): COSIGNATURES[0].bytes}
    yield scenario("a cosignature that nobody synced", *_put(proof), RECOVER,
                   files={name_of(0, "rec"): RECORDS[0].bytes})
    yield scenario("a pending record that nobody synced", *_put(pending), RECOVER, *publish(1),
                   files=complete(1, head=0) | {ON_ITS_WAY: b"7"}, history=anchors.published(1))
    torn = {name_of(1, "rec"): RECORDS[1].bytes[:60]}
    yield scenario("a torn record", RECOVER, *publish(1),
                   files=complete(1, head=0) | torn, history=anchors.published(1))
    yield scenario("a head beyond the anchors", RECOVER, files=complete(1, head=1) | pending)
    yield scenario("a head without an anchor", RECOVER, files={HEAD: b"0\n"})


def mains() -> Iterator[Scenario]:
    yield Scenario("your main()", (("main", anchors.FOLDER),), {f"{anchors.FOLDER}/": b""})


@check("keeps-anchors-under-their-names", "finds-the-complete-anchors")
def loses_no_anchor_in_any_crash(run: Run):
    """No power loss, at any moment, takes what was promised.

    Your program runs once, traced. From the trace follows every disk that a power loss at
    any moment could leave. On the disk as it is, what a call promised before it returned
    must be there, and `head` must name only anchors whose record and cosignature are
    whole, also in your main(). Then anchor_recover() runs on it: no anchor may be lost
    whose receipt was given, every complete one counts, a pending record stays, recovering
    again changes nothing, and the next anchor can be kept. Recovery is traced and crashed
    in the same way, on every disk that it changed.
    """
    server = students_server(run)
    summary: list[str] = []
    broken = list(survive(run, server, anchors.SUBJECT, list(scenarios()), summary))
    yield from broken or survive(run, server, anchors.MAIN, list(mains()), summary)
    run.notes["loses-no-anchor-in-any-crash"] = "; ".join(summary)
