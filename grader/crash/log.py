"""What the log promises across a power loss, as data."""

from __future__ import annotations

from functools import cache
from itertools import combinations

from ..checks.wal_format import DEL, SET, apply, encode
from ..run import Reply, Script
from .scenario import AFTER, ON_DISK, Case, Done, Promise, Scenario, Subject

LOG = "deep/test.wal"  # not where the program runs: its directory is to be synced
FOLDER = {"deep/": b""}
NEXT = (SET, b"next", b"one")
OPEN, CLOSE, RECOVER = ("wal_open", 0, LOG), ("wal_close", 0), ("wal_recover", LOG)


def append(record) -> tuple:
    return ("wal_append", 0, *record)


def earlier(records, promised: bool) -> tuple[Done, ...]:
    """The history of a log to which these records were appended."""
    reply = Reply(0, "wal_append", (("ret", "0"),), ()) if promised else None
    return tuple(Done(append(record), reply) for record in records)


def scenario(name: str, *calls, files=None, history=()) -> Scenario:
    return Scenario(name, calls, FOLDER | (files or {}), history)


# --- recovery ---

_script = Script()
FIRST = _script.call(*RECOVER)
AFTER_FIRST = _script.call("look")
SECOND = _script.call(*RECOVER)
AFTER_SECOND = _script.call("look")
OPENED = _script.call(*OPEN)
APPENDED = _script.call(*append(NEXT))
_script.call(*CLOSE)
LAST = _script.call(*RECOVER)


# --- promises ---

def attempted(case: Case) -> tuple[tuple, ...]:
    return tuple(done.call[2:] for done in case.of("wal_append"))


def promised(case: Case) -> list[tuple]:
    """What wal_append() acknowledged, and what wal_recover() had replayed."""
    tried: list[tuple] = []
    kept: list[int] = []  # their places in `tried`: two records may be equal
    for done in case.of("wal_append", "wal_recover"):
        if done.call[0] == "wal_append":
            kept += [len(tried)] * done.ok
            tried.append(done.call[2:])
        elif done.ok:
            kept = _replayed(tried, kept, done.reply)
    return [tried[i] for i in kept]


def _replayed(tried: list[tuple], kept: list[int], reply: Reply) -> list[int]:
    """Which of the records tried it found, those that were kept among them."""
    others = [i for i in range(len(tried)) if i not in kept]
    for more in combinations(others, max(0, reply["records"] - len(kept))):
        found = sorted((*kept, *more))
        if apply([tried[i] for i in found]) == reply.pairs:
            return found
    return kept


@cache
def whole_records(data: bytes, known: tuple[tuple, ...]) -> tuple[tuple, ...]:
    """The records at the beginning of `data`, as far as they are known ones."""
    found, at = [], 0
    while at < len(data):
        record = next((r for r in known if data.startswith(encode(*r), at)), None)
        if record is None:
            break
        found.append(record)
        at += len(encode(*record))
    return tuple(found)


def follows(found, history) -> bool:
    """Is it made of attempted records, in their order?"""
    rest = iter(history)
    return all(record in rest for record in found)


def _count(records) -> str:
    return "1 record was" if len(records) == 1 else f"{len(records)} records were"


def _named(record: tuple) -> str:
    kind = {SET: "SET", DEL: "DEL"}.get(record[0], record[0])
    return f"{kind} {record[1].decode(errors='replace')}"


def _is_there(case: Case) -> str | None:
    named = any(done.ok for done in case.of("wal_open", "wal_append"))
    if named and LOG not in case.tried.files:
        return f"wal_open() had returned 0, and {LOG} is not there"
    return None


def _holds_what_was_promised(case: Case) -> str | None:
    want = promised(case)
    whole = whole_records(case.tried.files.get(LOG, b""), attempted(case))
    if follows(want, whole):
        return None
    rest = iter(whole)
    missing = next(record for record in want if record not in rest)
    return f"{_count(want)} acknowledged, and {len(whole)} whole on the disk, without {_named(missing)}"


def _recovers(case: Case) -> str | None:
    problem = case.failed(FIRST)
    return f"wal_recover(): {problem}" if problem else None


def _kept(case: Case) -> tuple[tuple, ...]:
    """The records in the log as recovery left it."""
    _, data = case.tried.looked(AFTER_FIRST).get(LOG, (0, b""))
    return whole_records(data, attempted(case))


def _loses_nothing(case: Case) -> str | None:
    want, count = promised(case), case.tried.replies[FIRST]["records"]
    if count < len(want) or not follows(want, _kept(case)):
        return f"{_count(want)} acknowledged, and recovery found {count}"
    return None


def _is_what_was_appended(case: Case) -> str | None:
    reply, kept = case.tried.replies[FIRST], _kept(case)
    if ("unwritten", "1") in reply.words:
        return "recovery returned 0, and did not write *found_out, in which 99 stood before"
    if reply["records"] == len(kept) and reply.pairs == apply(kept) and follows(kept, attempted(case)):
        return None
    return f"recovery found {reply['records']} records, and they are not the first of those appended"


def _changes_nothing_twice(case: Case) -> str | None:
    replies = case.tried.replies
    problem = case.failed(SECOND)
    if problem:
        return f"a second wal_recover(): {problem}"
    first, second = (dict(replies[n].words) | {"cut": ""} for n in (FIRST, SECOND))
    if first != second:
        return "a second wal_recover() found something else than the first"
    if replies[AFTER_FIRST].words != replies[AFTER_SECOND].words:
        return "a second wal_recover() changed the disk"
    return None


def _takes_the_next(case: Case) -> str | None:
    for number in (OPENED, APPENDED, LAST):
        problem = case.failed(number)
        if problem:
            return f"the next {_script.lines[number - 1].split()[1]}(): {problem}"
    want = (*_kept(case), NEXT)
    reply = case.tried.replies[LAST]
    if reply["records"] == len(want) and reply.pairs == apply(want):
        return None
    return f"after the next append recovery finds {reply['records']} records, not {len(want)}"


SUBJECT = Subject(
    script=_script,
    looks=(AFTER_FIRST, AFTER_SECOND),
    recover=(RECOVER,),
    recovering="wal_recover",
    poisoning="wal_append",
    reopening=("wal_open", "wal_recover"),
    promising=("wal_append", "wal_open", "wal_recover", "wal_close"),
    promises=(
        Promise(ON_DISK, "D301", "a log that was opened keeps its name", _is_there),
        Promise(ON_DISK, "D301", "an acknowledged record is whole in the log",
                _holds_what_was_promised),
        Promise(AFTER, "R501", "recovery copes with every disk", _recovers),
        Promise(AFTER, "D301", "nothing that was acknowledged is lost", _loses_nothing),
        Promise(AFTER, "A301", "the log is a prefix of what was appended", _is_what_was_appended),
        Promise(AFTER, "R503", "recovering again changes nothing", _changes_nothing_twice),
        Promise(AFTER, "R502", "the next append works", _takes_the_next),
    ),
)
