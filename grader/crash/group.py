"""What group commit promises across a power loss, as data.

Threads commit at the same time, so there is no one order in which records were
attempted: each thread's stand in its own. The keys of a scenario are all different.
"""

from __future__ import annotations

from functools import cache

from ..checks.batch_format import parse, records_of
from ..checks.wal_format import apply
from ..run import Script
from .log import follows
from .scenario import AFTER, ON_DISK, Case, Promise, Scenario, Subject

LOG = "deep/group.wal"  # not where the program runs: its directory is to be synced
FOLDER = {"deep/": b""}
OPEN, CLOSE = ("wal_group_open", 0, LOG), ("wal_group_close", 0)
RECOVER = ("wal_batch_recover", LOG)


def commit(record, thread: int | None = None) -> tuple:
    return ("wal_group_commit", 0, *record, *([] if thread is None else [f"@{thread}"]))


def together(by_thread) -> tuple[tuple, ...]:
    """The commits of several threads, a list of records for each."""
    calls = [commit(r, t) for t, records in enumerate(by_thread) for r in records]
    return ("together",), *calls, ("apart",)


def scenario(name: str, *calls, files=None) -> Scenario:
    return Scenario(name, calls, FOLDER | (files or {}))


_script = Script()
FIRST = _script.call(*RECOVER)
AFTER_FIRST = _script.call("look")
SECOND = _script.call(*RECOVER)
AFTER_SECOND = _script.call("look")


def promised(case: Case) -> set[tuple]:
    return {done.call[2:5] for done in case.of("wal_group_commit") if done.ok}


def by_thread(case: Case) -> dict[str, list[tuple]]:
    """What each thread had begun to commit, in its order."""
    found: dict[str, list[tuple]] = {}
    for done in case.of("wal_group_commit"):
        found.setdefault(done.call[5] if len(done.call) > 5 else "", []).append(done.call[2:5])
    return found


@cache
def whole(data: bytes) -> tuple[tuple, ...]:
    """The records of the whole batches at the beginning."""
    return tuple(records_of(parse(data)[0]))


def _lost(want: set[tuple], found) -> str | None:
    missing = sorted(want - set(found))
    if not missing:
        return None
    names = ", ".join(record[1].decode(errors="replace") for record in missing[:3])
    return f"{len(want)} records were acknowledged, and {len(missing)} of them are not there ({names})"


def _is_there(case: Case) -> str | None:
    if any(done.ok for done in case.of("wal_group_open")) and LOG not in case.tried.files:
        return f"wal_group_open() had returned 0, and {LOG} is not there"
    return None


def _holds_what_was_promised(case: Case) -> str | None:
    return _lost(promised(case), whole(case.tried.files.get(LOG, b"")))


def _can_be_recovered(case: Case) -> str | None:
    problem = case.failed(FIRST)
    return f"wal_batch_recover(): {problem}, though nothing is damaged" if problem else None


def _kept(case: Case) -> tuple[tuple, ...]:
    _, data = case.tried.looked(AFTER_FIRST).get(LOG, (0, b""))
    return whole(data)


def _loses_nothing(case: Case) -> str | None:
    return _lost(promised(case), _kept(case))


def _is_what_was_committed(case: Case) -> str | None:
    """Of each thread some of its records, in its order, each of them once. All that is
    missing are those of which it was told nothing, or an error."""
    kept, reply = _kept(case), case.tried.replies[FIRST]
    if reply["records"] != len(kept) or reply.pairs != apply(kept):
        return f"recovery found {reply['records']} records, and the log holds {len(kept)}"
    for thread, tried in by_thread(case).items():
        if not follows([record for record in kept if record in tried], tried):
            return f"the log does not hold the records of thread {thread or '@0'} in its order, each once"
    strange = set(kept) - {record for tried in by_thread(case).values() for record in tried} - before(case)
    return f"{len(strange)} records that nobody had committed" if strange else None


def before(case: Case) -> set[tuple]:
    """What stood in the log when the scenario began."""
    return set(whole(case.scenario.files.get(LOG, b"")))


def _changes_nothing_twice(case: Case) -> str | None:
    replies = case.tried.replies
    if case.failed(SECOND) or replies[AFTER_FIRST].words != replies[AFTER_SECOND].words:
        return "a second wal_batch_recover() changed the disk"
    return None


SUBJECT = Subject(
    script=_script,
    looks=(AFTER_FIRST, AFTER_SECOND),
    recover=(RECOVER,),
    recovering="wal_batch_recover",
    poisoning="wal_group_commit",
    reopening=("wal_group_open", "wal_batch_recover"),
    promising=("wal_group_commit", "wal_group_open", "wal_group_close"),
    promises=(
        Promise(ON_DISK, "D301", "a log that was opened keeps its name", _is_there),
        Promise(ON_DISK, "D301", "a record that was acknowledged stands in a whole batch",
                _holds_what_was_promised),
        Promise(AFTER, "D304", "a mark calls synced only what is", _can_be_recovered),
        Promise(AFTER, "D301", "nothing that was acknowledged is lost", _loses_nothing),
        Promise(AFTER, "A301", "the log holds what was committed, each thread's in its order",
                _is_what_was_committed),
        Promise(AFTER, "R503", "recovering again changes nothing", _changes_nothing_twice),
    ),
)
