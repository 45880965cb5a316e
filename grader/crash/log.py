"""What the log promises across a power loss, as data, and the judge that holds it to it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from ..checks.wal_format import SET, apply, encode
from ..run import Script
from .explore import Tried, finding_of_end

LOG = "test.wal"
NEXT = (SET, b"next", b"one")


@dataclass(frozen=True)
class Recovering:
    """The script that runs on every disk, and the numbers of its calls."""

    script: Script
    first: int
    after_first: int
    second: int
    after_second: int
    opened: int
    appended: int
    last: int


def recovering(name: str) -> Recovering:
    """Recover twice, append one record more, recover again."""
    script = Script()
    first = script.call("wal_recover", name)
    after_first = script.call("look")
    second = script.call("wal_recover", name)
    after_second = script.call("look")
    opened = script.call("wal_open", 0, name)
    appended = script.call("wal_append", 0, *NEXT)
    script.call("wal_close", 0)
    last = script.call("wal_recover", name)
    return Recovering(script, first, after_first, second, after_second, opened, appended, last)


@dataclass(frozen=True)
class Case:
    """One disk with what is known of it: what was attempted and what was promised."""

    name: str
    attempted: tuple
    promised: int  # records acknowledged
    named: bool  # wal_open() or a recovery had returned
    tried: Tried
    calls: Recovering

    def found(self, number: int) -> str | None:
        """What is wrong with a recovery that must find what was attempted so far."""
        reply = self.tried.replies.get(number)
        if reply is None:
            return f"it {finding_of_end(self.tried) or 'said nothing'}"
        if reply["ret"] != 0:
            return f"it returned {_name(reply['ret'])}"
        return None

    @property
    def records(self) -> int:
        return self.tried.replies[self.calls.first]["records"]


@dataclass(frozen=True)
class Promise:
    """`broken` says how, or None. Promises are held in order, the first broken one
    is reported."""

    level: str  # "on the disk" before any recovery, or "after recovery"
    code: str
    text: str
    broken: Callable[[Case], str | None]


def _name(error: int) -> str:
    return f"{error} (-{errno.errorcode[-error]})" if -error in errno.errorcode else str(error)


def _bytes(records) -> bytes:
    return b"".join(encode(*record) for record in records)


def _is_there(case: Case) -> str | None:
    if case.named and case.tried.file(case.name) is None:
        return f"wal_open() had returned 0, and {case.name} is not there"
    return None


def _holds_what_was_promised(case: Case) -> str | None:
    want = _bytes(case.attempted[: case.promised])
    got = case.tried.file(case.name) or b""
    if got.startswith(want):
        return None
    whole = 0
    while got.startswith(_bytes(case.attempted[: whole + 1])):
        whole += 1
    return f"{_records(case.promised)} acknowledged, and {whole} whole on the disk"


def _records(count: int) -> str:
    return f"{count} record was" if count == 1 else f"{count} records were"


def _recovers(case: Case) -> str | None:
    problem = case.found(case.calls.first)
    return f"wal_recover(): {problem}" if problem else None


def _loses_nothing(case: Case) -> str | None:
    if case.records < case.promised:
        return f"{_records(case.promised)} acknowledged, and recovery found {case.records}"
    return None


def _is_a_prefix(case: Case) -> str | None:
    reply = case.tried.replies[case.calls.first]
    pairs = dict(zip(reply.all_bytes("k"), reply.all_bytes("v")))
    prefix = case.attempted[: case.records]
    if case.records <= len(case.attempted) and pairs == apply(prefix):
        return None
    return f"recovery found {case.records} records, and they are not the first {case.records} appended"


def _changes_nothing_twice(case: Case) -> str | None:
    calls, replies = case.calls, case.tried.replies
    problem = case.found(calls.second)
    if problem:
        return f"a second wal_recover(): {problem}"
    first, second = (dict(replies[n].words) | {"cut": ""} for n in (calls.first, calls.second))
    if first != second:
        return "a second wal_recover() found something else than the first"
    if replies[calls.after_first].words != replies[calls.after_second].words:
        return "a second wal_recover() changed the disk"
    return None


def _takes_the_next(case: Case) -> str | None:
    calls, replies = case.calls, case.tried.replies
    for number in (calls.opened, calls.appended, calls.last):
        problem = case.found(number)
        if problem:
            return f"the next {calls.script.lines[number - 1].split()[1]}(): {problem}"
    want = (*case.attempted[: case.records], NEXT)
    reply = replies[calls.last]
    pairs = dict(zip(reply.all_bytes("k"), reply.all_bytes("v")))
    if reply["records"] == len(want) and pairs == apply(want):
        return None
    return f"after the next append recovery finds {reply['records']} records, not {len(want)}"


ON_DISK, AFTER = "on the disk", "after recovery"

PROMISES = (
    Promise(ON_DISK, "D301", "a log that was opened keeps its name", _is_there),
    Promise(ON_DISK, "D301", "an acknowledged record is whole in the log", _holds_what_was_promised),
    Promise(AFTER, "R501", "recovery copes with every disk", _recovers),
    Promise(AFTER, "D301", "nothing that was acknowledged is lost", _loses_nothing),
    Promise(AFTER, "A301", "the log is a prefix of what was appended", _is_a_prefix),
    Promise(AFTER, "R503", "recovering again changes nothing", _changes_nothing_twice),
    Promise(AFTER, "R502", "the next append works", _takes_the_next),
)


def broken_promise(case: Case) -> tuple[Promise, str] | None:
    """The first promise that this disk breaks, and how."""
    for promise in PROMISES:
        how = promise.broken(case)
        if how:
            return promise, how
    return None
