"""What a program does in a directory, what was known when the power failed, and the promises.

A subject (the log, the store, the anchors) has scenarios, a script that recovers, and
promises: all of it data. survive.py holds a student's program to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..run import Reply, Script
from .explore import Tried, finding_of_end

# Calls of the driver, of which nobody promises anything.
OUR_OWN = {"cd", "begin", "end", "put", "make", "cut", "mode", "stat", "limit", "fds", "heap", "look",
           "fault", "meanwhile", "clear", "stop", "resume", "again",
           "together", "apart", "pause", "late"}
ON_DISK, AFTER = "on the disk", "after recovery"


@dataclass(frozen=True)
class Done:
    """A call that had begun. Without a reply, it had not returned."""

    call: tuple  # its name and arguments
    reply: Reply | None

    @property
    def ok(self) -> bool:
        return self.reply is not None and self.reply["ret"] >= 0


@dataclass(frozen=True)
class Scenario:
    """Calls of the driver, from a directory that holds `files`, all of them durable."""

    name: str
    calls: tuple[tuple, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    history: tuple[Done, ...] = ()  # of earlier boots
    group: str = ""  # what it is one of, for a report


@dataclass(frozen=True)
class Case:
    """One disk, and all that was done before the power failed, earlier boots first."""

    scenario: Scenario
    done: tuple[Done, ...]
    tried: Tried

    def of(self, *names: str) -> list[Done]:
        return [done for done in self.done if done.call[0] in names]

    def failed(self, number: int) -> str | None:
        """What is wrong with a call of the recovering script that must succeed."""
        reply = self.tried.replies.get(number)
        if reply is None:
            return f"it {finding_of_end(self.tried) or 'said nothing'}"
        return f"it returned {reply['ret']}" if reply["ret"] < 0 else None


@dataclass(frozen=True)
class Promise:
    """`broken` says how, or None. Promises are held in order, the first broken one
    is reported. `at` is the function at fault where it is not the recovering one."""

    level: str  # ON_DISK, before any recovery, or AFTER
    code: str
    text: str
    broken: Callable[[Case], str | None]
    at: str | None = None


@dataclass(frozen=True)
class Subject:
    """`script` runs on every disk: it recovers, and does so again, with a `look` behind
    each, and goes on. `recover` is recovery alone, which is crashed in its turn."""

    script: Script
    looks: tuple[int, int]  # the numbers of those two calls
    recover: tuple[tuple, ...]
    promises: tuple[Promise, ...]
    recovering: str  # the function that is at fault if recovery is
    promising: tuple[str, ...]  # the functions whose return is a promise
    poisoning: str | None = None  # once it failed, nothing may return 0,
    reopening: tuple[str, ...] = ()  # but these, and what comes behind them

    def broken_promise(self, case: Case) -> tuple[Promise, str] | None:
        for promise in self.promises:
            how = promise.broken(case)
            if how:
                return promise, how
        return None
