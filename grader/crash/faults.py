"""Every call that a program makes fails in turn, or is the one at which it is killed.

What a program calls is found by watching it. Each of its calls that change files (write,
fsync, open, close, rename, unlink, truncate and their kin) then has a scenario for each
way in which it may fail: the calls around it in the script are the same.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from ..result import Finding
from ..run import Run, Script, Session
from .explore import PROFILES as EVERY_PROFILE
from .explore import Server
from .scenario import Scenario, Subject
from .survive import Traced, survive, trace

PROFILES = EVERY_PROFILE[-1:]  # the one that holds all the others
SHORT_BYTES = 5
SITES_MAX = 60
AT_END = 1 << 62  # a position behind all others


@dataclass(frozen=True)
class Site:
    """The `number`th of the calls that change files."""

    number: int
    call: str
    is_last: bool  # of its name, in one call of the student's function

    @property
    def is_sync(self) -> bool:
        return "sync" in self.call

    @property
    def ways(self) -> tuple[str, ...]:
        """In which it may fail, each as one call; + when all behind it fail too."""
        if "write" in self.call:
            return "short", "EINTR", "ENOSPC", "EIO", "EIO+"
        if self.is_sync:
            return "EINTR", "EIO", "ENOSPC", "EIO+"
        return "EACCES" if "open" in self.call else "EIO", "EIO+"

    def loses(self, way: str) -> bool:
        """Does a sync fail, and drop what it covered?"""
        return way == "EIO+" or (self.is_sync and way != "EINTR")

    def fault(self, way: str) -> tuple:
        """The words of the script that bring it about."""
        number = f"{self.number}{'+' if way.endswith('+') else ''}"
        if way == "short":
            return "fault", "any", number, "short", SHORT_BYTES
        return "fault", "any", number, "errno", getattr(errno, way.rstrip("+"))


def sites(run: Run, scenario: Scenario) -> list[Site]:
    """What the scenario's calls call, in order; where that is very much, some of it,
    evenly chosen."""
    script = Script()
    script.call("cd", "@here/0")
    script.call("fault", "any", "1+", "watch")
    for call in scenario.calls:
        script.call(*call)
    script.call("clear")
    files = {"0/": b""} | {f"0/{name}": data for name, data in scenario.files.items()}
    session = run.drive(script, files=files, variant="plain")
    found = _sites(session)
    return found[:: -(-len(found) // SITES_MAX)] if found else []


def _sites(session: Session) -> list[Site]:
    met = [[fault.call for fault in session[n].faults] for n in sorted(session.replies)]
    names = [(name, name not in rest[i:]) for rest in met for i, name in enumerate(rest, 1)]
    return [Site(number, name, last) for number, (name, last) in enumerate(names, 1)]


def killed(first: Scenario, then: tuple[tuple, ...], at: list[Site]) -> list[Scenario]:
    """A process makes the calls of `first` and is killed at each call in turn; another
    one makes those of `then`."""
    return [
        replace(
            first, name=f"a process killed at call {site.number}, {site.call}(), another going on",
            group="a process killed at each of its calls, another going on",
            calls=(("begin",), ("fault", "any", site.number, "kill"), *first.calls, ("end",), *then),
        )
        for site in at
    ]


def failing(first: Scenario, then: tuple[tuple, ...], at: list[Site]) -> list[Scenario]:
    """Each call of `first` fails in turn, in each way; then another process goes on.

    Not where a sync lost something: what the page cache shows the disk may never have
    got, and only a new boot would tell. Of the next process nothing is asked then.
    """
    return [
        replace(
            first, name=f"call {site.number}, {site.call}(), {_said(way)}",
            group="each call failing in turn",
            calls=(("begin",), ("fds",), site.fault(way), *_counted(first.calls), ("clear",), ("end",),
                   *(() if site.loses(way) else then)),
        )
        for site in at for way in site.ways
    ]


def _counted(calls: tuple[tuple, ...]) -> Iterator[tuple]:
    """With the open descriptors counted behind each call, and behind what makes it again."""
    for call, behind in zip(calls, (*calls[1:], None)):
        yield call
        if behind != ("again",):
            yield ("fds",)


def _said(way: str) -> str:
    if way == "short":
        return f"moves {SHORT_BYTES} bytes"
    return f"fails with {way.rstrip('+')}" + ", as do all behind it" * way.endswith("+")


def plan(at: list[Site]) -> str:
    """What was injected, as a report records it."""
    return "calls " + "; ".join(f"{site.number} {site.call} {' '.join(site.ways)}" for site in at)


def survive_failing(
    run: Run, server: Server, subject: Subject, sessions: list[Scenario], then: tuple[tuple, ...]
) -> Iterator[Finding]:
    """Each call of the sessions fails in turn, and another process makes the calls of
    `then`: what returned 0 holds on every disk, after a failure nothing returns 0 that
    must not, and no descriptor stays open."""
    scenarios = []
    for session in sessions:
        found = sites(run, session)
        scenarios += failing(session, then, found)
        run.tried.append(plan(found))
    traced = trace(run, scenarios)
    yield from islice((found for one in traced for found in _leaks(run, one)), 1)
    yield from islice((found for one in traced for found in _goes_on(run, subject, one)), 1)
    yield from survive(run, server, subject, traced, PROFILES)


def _leaks(run: Run, traced: Traced) -> Iterator[Finding]:
    """More descriptors are open at its end than before."""
    counts = [reply["open"] for reply in traced.said("fds")]
    if counts and counts[-1] > counts[0]:
        name = _that_left_it(traced)
        finding = Finding("F109", f"{traced.scenario.name}: behind {name}() a descriptor stays open")
        yield run.at_function(finding, name)


def _that_left_it(traced: Traced) -> str:
    """The first call that opened more than it closed, unless it was to open something;
    where there is none, the last, which should have closed that."""
    name, ok, before = "main", True, None
    for number, (_, reply) in sorted(traced.replies.items()):
        if number in traced.begun:
            name, ok = reply.call, reply["ret"] >= 0
        elif reply.call == "fds":
            grown = before is not None and reply["open"] > before
            if grown and not (ok and name.endswith("_open")):
                return name
            before = reply["open"]
    return name


def _goes_on(run: Run, subject: Subject, traced: Traced) -> Iterator[Finding]:
    """What returns 0 on a handle that should be poisoned."""
    failed = False
    for done in traced.done_at(AT_END)[len(traced.scenario.history):]:
        name = done.call[0]
        if name in subject.reopening:
            failed = False
        elif failed and done.ok:
            message = f"{traced.scenario.name}: {subject.poisoning}() failed, and {name}() then returned 0"
            yield run.at_function(Finding("F105", message), name)
        elif name == subject.poisoning and done.reply and not done.ok:
            failed = True
