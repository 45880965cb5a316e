"""The crash check of the anchors: every disk that a power loss could leave, tried."""

from ..crash import anchors, faults
from ..crash.explore import students_server
from ..crash.scenario import Scenario
from ..crash.survive import Tally, survive, trace
from ..run import Run
from . import check


def _killed(sync: int, *calls) -> tuple[tuple, ...]:
    """These calls in another process, which is killed as it enters its nth sync."""
    return ("begin",), ("fault", "sync", sync, "kill"), *calls, ("end",)


def _scenarios(run: Run) -> list[Scenario]:
    scenario, publish = anchors.scenario, anchors.publish
    persist, prove, advance = publish(0)
    first = scenario("an anchor", *publish(0))
    return [
        scenario("a new log", *publish(0), *publish(1)),
        scenario("a process killed in anchor_persist_record(), another taking the record up",
                 *_killed(1, persist), *publish(0)),
        scenario("a process killed in anchor_persist_cosignature(), another taking it up",
                 persist, *_killed(2, prove), prove, advance),
        *faults.killed(first, (anchors.RECOVER, *publish(0)), faults.sites(run, first)),
        *_left_behind(),
    ]


def _left_behind() -> list[Scenario]:
    """Of what a right program leaves, no more than one file is not durable: the one put."""
    scenario, complete, recover = anchors.scenario, anchors.complete, anchors.RECOVER
    record, proof = anchors.RECORDS[1].bytes, anchors.COSIGNATURES[0].bytes
    pending, name = {anchors.name_of(1, "rec"): record}, anchors.name_of
    history = anchors.published(1)
    return [
        scenario("a cosignature that nobody synced", ("put", name(0, "cosig"), proof), recover,
                 files={name(0, "rec"): anchors.RECORDS[0].bytes}),
        scenario("a pending record that nobody synced", ("put", name(1, "rec"), record), recover,
                 *anchors.publish(1), files=complete(1, head=0), history=history),
        scenario("a torn record", recover, *anchors.publish(1),
                 files=complete(1, head=0) | {name(1, "rec"): record[:60]}, history=history),
        scenario("a head beyond the anchors", recover, files=complete(1, head=2) | pending),
        scenario("a head without an anchor", recover, files={anchors.HEAD: b"0\n"}),
    ]


def _main() -> Scenario:
    return Scenario("your main()", (("main", anchors.FOLDER),), {f"{anchors.FOLDER}/": b""})


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
    tally, server = Tally(run.tried), students_server(run)
    traced = trace(run, _scenarios(run))
    broken = list(survive(run, server, anchors.SUBJECT, traced, tally=tally))
    yield from broken or survive(run, server, anchors.MAIN, trace(run, [_main()]), tally=tally)


def _sessions() -> list[Scenario]:
    """What one process does, in which a call fails: each function is called again, and the
    process goes on only if that succeeds. Then a recovery, likewise."""
    calls = [word for call in anchors.publish(0) for word in (call, ("again",), ("stop",))]
    torn = {anchors.name_of(1, "rec"): anchors.RECORDS[1].bytes[:60]}
    recover = (anchors.RECOVER, ("again",), ("stop",), anchors.persist(1), ("resume",))
    return [
        anchors.scenario("", *calls, ("resume",)),
        anchors.scenario("", *recover, files=anchors.complete(1, head=2) | torn),
    ]


@check("loses-no-anchor-in-any-crash")
def loses_no_anchor_when_calls_fail(run: Run):
    """Whatever call fails, nothing that was promised is lost.

    Each call that changes files (open, write, fsync, rename, unlink, close and their kin)
    fails in turn: EIO, ENOSPC, EINTR, a short write; once, or with all behind it. A sync
    that failed has lost what it covered. A function that failed is called again, then another
    process recovers and goes on. Then the power fails, at any moment. What returned 0 has
    to hold, and no descriptor may stay open.
    """
    recovery = (anchors.RECOVER,)
    yield from faults.survive_failing(
        run, students_server(run), anchors.SUBJECT, _sessions(), recovery
    )
