"""Checks of how often group commit syncs, and for how long. Syncs are slow, as on a disk."""

from ..crash import group
from ..crash.group import CLOSE, LOG, OPEN, commit, together
from ..result import Finding
from ..run import Run
from ..trace import ops
from ..tracing import replayed_run
from . import check
from .batch_format import parse
from .group_commit import BAD, LARGEST, NEXT, SLOW, TRIES, per_thread, scripted, slow_calls
from .wal_format import FOUR


COMPANY = 25_000  # microseconds; the 50 that are allowed take longer on a busy machine
ROUNDS = 10

# When a commit comes, the records of three, which of them it is, the most that it waits for, and
# what is slow. (Not the writes of what takes thousands, where somebody writes a few bytes at a time.)
_THREE = (
    ("nobody was flushing when a commit came", FOUR[:3], 0, 1, ("sync", "write")),
    ("there was room in the batch when a commit came", [FOUR[0], LARGEST, FOUR[1]], 2, 2, ("sync",)),
    ("a commit came with a record that has no encoding", [FOUR[0], FOUR[1], BAD], 2, 0, ("sync", "write")),
)


def _flushes(replayed) -> list:
    """The syncs behind which something had been written: another one right after costs
    a trip, and shares nothing less."""
    found, is_new = [], False
    for op in replayed.ops:
        is_new = is_new or isinstance(op, ops.Write)
        if is_new and _syncs(op):
            found.append(op)
            is_new = False
    return found


def _syncs(op) -> bool:
    """Is it a sync of the log, or a write that is one?"""
    return isinstance(op, (ops.Sync, ops.SyncAll)) and getattr(op, "ok", True) \
        or isinstance(op, ops.Write) and op.dsync


def _marks(replayed, begin: str) -> dict[int, int]:
    """Where in the trace the calls with these numbers began (>) or had returned (<)."""
    words = [(op, op.text.split()) for op in replayed.ops if isinstance(op, ops.Mark)]
    return {int(w[1]): op.call.entered for op, w in words if w[0] == begin and len(w) > 2}


def _eight(run: Run, slow: str) -> tuple[int, int]:
    """Eight threads, four commits each: the syncs, and the most that a commit waited for."""
    script, calls = scripted(OPEN, slow_calls(slow), *together(per_thread(8, 4)), ("clear",), CLOSE)
    session, replayed = replayed_run(run, script, group.FOLDER, stacks=False)
    begun, ended = _marks(replayed, ">"), _marks(replayed, "<")
    numbers = [n for n, call in calls.items() if call[0] == "wal_group_commit"]
    first, last = min(begun[n] for n in numbers), max(ended[n] for n in numbers)
    flushes = [op for op in _flushes(replayed) if first < op.call.entered < last]
    if slow == "sync" and all(isinstance(op, ops.Write) for op in flushes):
        return _eight(run, "write")  # it has no syncs but those that its writes are
    waited = (sum(begun[n] < op.call.exited < ended[n] for op in flushes) for n in numbers)
    return len(flushes), max(waited)


def _best_of(run: Run, which: int, enough: int) -> int:
    """The least of a few runs: any one may have been disturbed."""
    tried = run.memo.setdefault("eight", [])
    while len(tried) < TRIES and not any(one[which] <= enough for one in tried):
        tried.append(_eight(run, "sync"))
    return min(one[which] for one in tried)


@check("holds-every-record-committed")
def shares_its_syncs(run: Run):
    """Eight threads need fewer than half as many syncs as commits.

    Every sync is made to take four milliseconds longer, as on a disk, so that the other
    threads have time to join the next batch.
    """
    syncs = _best_of(run, 0, 15)
    if syncs > 15:
        message = f"eight threads made 32 commits, and {syncs} syncs"
        yield run.at_function(Finding("D109", message), "wal_group_commit")


@check("shares-its-syncs")
def waits_for_two_flushes_at_most(run: Run):
    """No commit waits for more than two flushes.

    The one that is going on when it comes, and its own. Nobody is passed over, and who
    comes when none is going on waits for its own alone: no leader stays for the others.
    A record that finds room goes into the batch, and one without an encoding waits for none.
    Who flushes waits for company for 50 microseconds at most, and not for milliseconds.
    """
    waited = _best_of(run, 1, 2)
    if waited > 2:
        message = f"a commit waited until {waited} flushes had ended"
        yield run.at_function(Finding("D110", message), "wal_group_commit")
        return
    for when, records, which, most, slow in _THREE:
        waited = 0
        for _ in range(TRIES):  # any one may have been disturbed
            waited = _one_of_three(run, records, which, slow)
            if waited <= most:
                break
        else:
            many = "a flush" if waited == 1 else f"{waited} flushes"
            message = f"{when}, and it waited until {many} had ended"
            yield run.at_function(Finding("D110", message), "wal_group_commit")
            return
    yield from _waits_for_company(run)


def _waits_for_company(run: Run):
    """The best of many rounds, of which enough could be judged; no more if none can be."""
    rounds: list[bool | None] = []
    while len(rounds) < ROUNDS and True not in rounds and rounds != [None] * TRIES:
        rounds.append(_is_written_at_once(run))
    if True not in rounds and rounds.count(False) > ROUNDS // 2:
        waited = f"was not written for {COMPANY // 1000} ms"
        message = f"after a flush of several records, one that came alone {waited}"
        yield run.at_function(Finding("D110", message), "wal_group_commit")


def _is_written_at_once(run: Run) -> bool | None:
    """Several records share a flush, and then one comes alone: whether it is written before
    a thread wakes that was asleep when it came. How slow the disk is does not matter. None
    where no flush was shared, no write is seen, or that thread was not asleep or overslept."""
    begin, *commits, end = together([[record] for record in FOUR])
    joined = [("pause", SLOW, f"@{thread}") for thread in (1, 2, 3)]
    asleep, alone = ("pause", COMPANY, "@0"), commit(NEXT, 1)
    script, calls = scripted(
        OPEN, slow_calls("sync", 3), begin, *joined, *commits, end, ("clear",),
        ("fault", "write", 1, "watch"), begin, asleep, ("pause", SLOW // 4, "@1"), alone, end, CLOSE,
    )
    session = run.drive(script, files=group.FOLDER)
    sleeper, comer = (next(n for n, call in calls.items() if call == one) for one in (asleep, alone))
    found = parse(session.file(LOG) or b"")[0]
    marks = session.done.marks.decode()
    written, wakes = marks.find("! "), marks.find(f"< {sleeper} ")
    if len(found) < 2 or len(found[-2].records) < 2 or written < 0:
        return None
    if wakes < written:
        return False
    was_asleep = marks.find(f"> {sleeper} ") < marks.find(f"> {comer} ")
    return True if was_asleep and session[sleeper]["us"] < COMPANY * 3 // 2 else None


def _one_of_three(run: Run, records, which: int, slow) -> int:
    """How many flushes one commit waits for; the second and the third come during the
    flush of the first."""
    begin, *commits, end = together([[record] for record in records])
    pauses = [("pause", thread * SLOW, f"@{thread}") for thread in (1, 2)]
    script, calls = scripted(
        OPEN, *(slow_calls(kind, 4) for kind in slow), begin, *pauses, *commits, end, ("clear",), CLOSE,
    )
    _, replayed = replayed_run(run, script, group.FOLDER, stacks=False)
    number = next(n for n, call in calls.items() if call == commits[which])
    begun, ended = _marks(replayed, ">")[number], _marks(replayed, "<")[number]
    return sum(begun < op.call.exited < ended for op in _flushes(replayed))
