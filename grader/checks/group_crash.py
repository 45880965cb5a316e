"""Checks that a power loss takes nothing that group commit acknowledged to any thread."""

from ..course import find
from ..crash import faults, group
from ..crash.explore import Server, reference_server
from ..crash.group import CLOSE, OPEN, commit, together
from ..crash.survive import survive, trace
from ..run import Run
from . import check
from .group_commit import FIRST, OLD, SECOND, THIRD, per_thread, slow_calls
from .wal_format import SET

LONG = (SET, b"0.1", b"\xa5" * 200)


def _among_threads() -> list:
    """Slow syncs let others join meanwhile; slow writes let a sync overtake them."""
    many = per_thread(4, 3)
    many[0][1] = LONG
    few = per_thread(3, 2)
    calls = {
        "threads, syncs being slow": (slow_calls("sync"), many),
        "threads, writes being slow": (slow_calls("write"), few),
        "threads, nothing being slow": (("clear",), few),
    }
    return [
        group.scenario(name, OPEN, first, *together(records), ("clear",), CLOSE, files=OLD)
        for name, (first, records) in calls.items()
    ]


def _session(second=SECOND, files=None) -> group.Scenario:
    return group.scenario("commits", OPEN, commit(FIRST), commit(second), CLOSE, files=files)


def _killed(run: Run) -> list:
    """The next process recovers first; or it opens the log as it is, where that was
    killed at its last sync but one: all of the last batch stands in the page cache."""
    then = OPEN, commit(THIRD), CLOSE
    long = _session(LONG, OLD)
    synced = [site for site in faults.sites(run, long) if site.is_sync]
    return faults.killed(long, then, synced[-2:-1]) + \
        faults.killed(_session(), (group.RECOVER, *then), faults.sites(run, _session()))


def _recovery(run: Run) -> Server:
    """Recovery is given. All of the group's struct is the student's, so no reference of
    group commit is built with it."""
    return reference_server(run, find(run.lesson.id).without("w10/group_commit.c", ("batch",)))


@check("holds-every-record-committed")
def survives_a_crash_among_threads(run: Run):
    """No power loss, at any moment, takes what any thread was promised.

    Threads commit, traced, with slow syncs, with slow writes, and as fast as it goes. On
    every disk that a power loss at any moment could leave, what had been acknowledged by
    then must be there, and the log must hold each thread's records in its order, and no
    others. A process is killed at each of its calls, and another goes on.
    """
    traced = trace(run, _among_threads() + _killed(run))
    for finding in survive(run, _recovery(run), group.SUBJECT, traced):
        lost = any(line.startswith(("lost", "torn")) for line in finding.excerpt)
        # A record that was not even written: nothing that was called is to blame.
        yield finding if lost else run.at_function(finding, "wal_group_commit")


@check("survives-a-crash-among-threads", "stops-after-a-failed-flush")
def survives_every_fault_of_a_flush(run: Run):
    """Whatever call fails, nothing that was acknowledged is lost.

    Each call that changes files fails in turn, once or with all behind it, and then the
    power fails at any moment.
    """
    then = group.RECOVER, ("stop",), OPEN, commit(THIRD), CLOSE, ("resume",)
    server = _recovery(run)
    yield from faults.survive_failing(run, server, group.SUBJECT, [_session()], then)
