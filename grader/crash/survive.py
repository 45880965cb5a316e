"""Holds a program to its promises on every disk that a power loss could leave.

Scenarios run traced, all of them in one run, each in a directory of its own. From the
trace follows every disk; on each of them the subject's script recovers. Then recovery is
crashed: on every disk that it changed it runs traced, and the disks that a power loss
could leave then are recovered in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .. import tracing
from ..errors import CannotJudge
from ..result import Finding
from ..run import Reply, Run, Script, parse_replies
from ..trace import Trace
from ..trace.ops import Mark
from . import verdict
from .explore import PROFILES, Exploration, Explored, Server, Tried
from .ops import OpsFile, unquoted, write_ops
from .scenario import OUR_OWN, Case, Done, Promise, Scenario, Subject, is_promise

RETRACED = 5


@dataclass(frozen=True)
class Traced:
    """A scenario as it went: what the driver said, with the positions in the trace."""

    scenario: Scenario
    trace: Trace
    ops: OpsFile
    begun: dict[int, tuple[int, tuple]]  # by the call's number: position and words
    replies: dict[int, tuple[int, Reply]]  # position and reply, the driver's own among them
    known: dict[int, tuple[Done, ...]] = field(default_factory=dict)

    def done_at(self, point: int) -> tuple[Done, ...]:
        """All that had begun when the power failed just after `point`."""
        if point not in self.known:
            self.known[point] = self.scenario.history + tuple(
                Done(call, self._reply(number, point))
                for number, (at, call) in self.begun.items() if at <= point
            )
        return self.known[point]

    def _reply(self, number: int, point: int) -> Reply | None:
        at, reply = self.replies.get(number, (point + 1, None))
        return reply if at <= point else None

    def said(self, call: str) -> list[Reply]:
        return [reply for _, reply in self.replies.values() if reply.call == call]


@dataclass
class Broken:
    """The smallest disk that breaks a promise, and how many there are."""

    tried: Tried | None = None
    promise: Promise | None = None
    how: str = ""
    count: int = 0

    def take(self, tried: Tried, promise: Promise, how: str) -> None:
        self.count += 1
        if self.tried is None or verdict.size(tried) < verdict.size(self.tried):
            self.tried, self.promise, self.how = tried, promise, how


@dataclass
class Changed:
    """A disk that recovery changed, and what could have been known when it came to be."""

    tried: Tried
    histories: dict[tuple[Done, ...], None] = field(default_factory=dict)


@dataclass
class Tally:
    """How much was tried: the sum for a reader, and a line for each kind of scenario."""

    lines: list[str]
    by_profile: dict[str, Exploration] = field(default_factory=dict)
    crashed: tuple[int, int, int] = (0, 0, 0)  # disks that recovery changed, crashed on, states

    def take(self, profile: str, scenarios: list[Scenario], explored: Explored) -> None:
        groups: dict[str, Exploration] = {}
        for scenario, found in zip(scenarios, explored.jobs):
            group = scenario.group or scenario.name
            groups[group] = groups.get(group, Exploration(0, 0, 0)) + found
        for group, found in groups.items():
            self.lines.append(f"{group} ({profile}): {found.summary}")
            self.by_profile[profile] = self.by_profile.get(profile, Exploration(0, 0, 0)) + found

    @property
    def sum(self) -> str:
        said = [f"{profile}: {found.summary}" for profile, found in self.by_profile.items()]
        changed, tried, states = self.crashed
        if changed:
            scope = "all" if tried == changed else f"{tried} of the"
            said.append(f"recovery crashed on {scope} {changed} disks that it changes: {states} states")
        return "; ".join(said)


def survive(
    run: Run, server: Server, subject: Subject, traced: list[Traced],
    profiles: tuple[str, ...] = PROFILES, tally: Tally | None = None,
) -> Iterator[Finding]:
    """The smallest counterexample, if there is one; `run` is told what was tried, beside
    what is in `tally`. Every disk that is possible under one profile is under those behind
    it.

    Where the server runs the reference's recovery, that is not crashed: it is not what is
    judged.
    """
    tally = tally or Tally(run.tried)
    changed: dict[tuple[str, ...], Changed] = {}
    for profile in profiles:
        broken, explored = _explore(server, subject, traced, profile, changed)
        for number, worst in broken.items():
            yield counterexample(run, server, subject, traced[number], profile, worst)
            return
        tally.take(profile, [one.scenario for one in traced], explored)
    if changed and server.sandbox is run.sandbox:
        yield from _crash_recovery(run, server, subject, list(changed.values()), tally)
    run.note = tally.sum


def _explore(server, subject, traced: list[Traced], profile, changed) -> tuple[dict, Explored]:
    """The broken promises by number of the scenario. Gathers in `changed` the disks that
    recovery changed."""
    broken: dict[int, Broken] = {}

    def judge(number: int, tried: Tried) -> None:
        case = Case(traced[number].scenario, traced[number].done_at(tried.point), tried)
        found = subject.broken_promise(case)
        if found:
            broken.setdefault(number, Broken()).take(tried, *found)
        elif tried.looked(subject.looks[0]) != tried.listing:
            same = changed.setdefault(tried.disk, Changed(tried))
            same.histories[case.done] = None

    explored = server.explore([t.ops for t in traced], subject.script, profile, judge)
    return dict(sorted(broken.items())), explored


# --- recovery, crashed ---

def _crash_recovery(run, server, subject: Subject, changed: list[Changed], tally: Tally):
    """Every profile at once: a disk that is possible under `posix` is under `torn512`."""
    whole = [change for change in changed if change.tried.is_shown_whole]
    script = Script()
    calls = {script.call(*call): call for call in subject.recover}
    jobs = [
        _traced(_crashed(subject, change), trace, calls)
        for change, trace in zip(whole, server.traced([c.tried for c in whole], script))
    ]
    broken: dict[tuple[int, tuple], Broken] = {}

    def judge(number: int, tried: Tried) -> None:
        for history in whole[number].histories:
            case = Case(jobs[number].scenario, history + jobs[number].done_at(tried.point), tried)
            found = subject.broken_promise(case)
            if found:
                broken.setdefault((number, history), Broken()).take(tried, *found)

    explored = server.explore([job.ops for job in jobs], subject.script, PROFILES[-1], judge)
    for (number, history), worst in broken.items():
        first = replace(jobs[number], scenario=_crashed(subject, whole[number], history), known={})
        yield counterexample(run, server, subject, first, PROFILES[-1], worst)
        return
    tally.crashed = len(changed), len(whole), sum(found.states for found in explored.jobs)


def _crashed(subject: Subject, change: Changed, history=()) -> Scenario:
    files = change.tried.files | {f"{name}/": b"" for name in change.tried.folders}
    return Scenario("recovery, crashed", subject.recover, files, history)


# --- traces ---

def trace(run: Run, scenarios: list[Scenario], stacks: bool = False) -> list[Traced]:
    """Runs them one after another, each in a directory of its own."""
    script, files, numbers = Script(), {}, []
    for i, scenario in enumerate(scenarios):
        start = script.call("cd", f"@here/{i}")
        calls = {}
        for call in _in_processes(scenario.calls):
            before = calls.get(len(script.lines))
            calls[script.call(*call)] = before if call[0] == "again" else call
        numbers.append((start, calls))
        files[f"{i}/"] = b""
        files |= {f"{i}/{unquoted(name)}": data for name, data in scenario.files.items()}
    session, replayed = tracing.replayed_run(run, script, files, stacks)
    here = f"{run.sandbox.inside}/{session.folder.name}"
    parts = _parts(replayed, [start for start, _ in numbers])
    return [
        _traced(scenario, Trace(part, replayed.processes, replayed.names, f"{here}/{i}"), calls)
        for i, (scenario, part, (_, calls)) in enumerate(zip(scenarios, parts, numbers))
    ]


def _in_processes(calls: tuple[tuple, ...]) -> Iterator[tuple]:
    """What no `begin` and `end` enclose is a process too: a variable of the student's must
    not outlive its scenario, or pass from a process that is killed to the next."""
    enclosed = opened = False
    for call in calls:
        if call[0] == "begin" and opened:
            yield ("end",)
        elif call[0] != "begin" and not enclosed and not opened:
            yield ("begin",)
        opened = call[0] not in ("begin", "end") and not enclosed
        enclosed = call[0] != "end" and (enclosed or call[0] == "begin")
        yield call
    if opened:
        yield ("end",)


def _parts(replayed: Trace, starts: list[int]) -> list[list]:
    """The operations, cut where the calls with these numbers begin."""
    marks = {f"> {number} cd" for number in starts}
    at = [i for i, op in enumerate(replayed.ops) if isinstance(op, Mark) and op.text in marks]
    return [replayed.ops[begin:end] for begin, end in zip(at, [*at[1:], len(replayed.ops)])]


def _traced(scenario: Scenario, trace: Trace, calls: dict[int, tuple]) -> Traced:
    """`calls` are those of the scenario, by their numbers in the script that ran."""
    begun, replies, acks = {}, {}, {}
    for op in trace.ops:
        words = op.text.split() if isinstance(op, Mark) else [""]
        number = int(words[1]) if len(words) > 2 else 0
        if number not in calls:
            continue
        if words[0] == ">" and words[2] not in OUR_OWN:
            begun[number] = op.call.entered, calls[number]
        elif words[0] == "<":
            reply = parse_replies(op.text.encode())[number]
            replies[number] = op.call.entered, reply
            if ("skipped", "1") in reply.words:
                del begun[number]
            elif number in begun and is_promise(reply):
                acks[op.call.entered] = str(number)
    ops = write_ops(
        trace, trace.cwd, {unquoted(name): data for name, data in scenario.files.items()},
        lambda mark: acks.get(mark.call.entered),
    )
    if ops.unseen:
        raise CannotJudge(f"the program used {ops.unseen[0]}, which a trace does not show")
    return Traced(scenario, trace, ops, begun, replies)


def counterexample(
    run: Run, server: Server, subject: Subject, first: Traced, profile: str, worst: Broken
) -> Finding:
    """As a person can follow it, with the line that is to blame."""
    traced, worst, count = _with_stacks(run, server, subject, first, profile, worst)
    message = (
        f"{traced.scenario.name}: {worst.how}. The promise, {worst.promise.level}: "
        f"{worst.promise.text}. The smallest of {worst.count} broken ones among {count}"
    )
    excerpt = tuple(verdict.page(run, traced.trace, traced.ops, profile, worst.tried))
    finding = Finding(worst.promise.code, message, excerpt=excerpt)
    if worst.promise.code.startswith("R") and server.sandbox is run.sandbox:
        return run.at_function(finding, worst.promise.at or subject.recovering)
    met = _at_failure(run, traced, worst.tried.point)
    if met:
        return replace(finding, file=met[0], line=met[1])
    going_on, innocent = _going_on(traced)
    done = traced.done_at(worst.tried.point)
    last = going_on or next((one.call[0] for one in reversed(done) if one.ok), subject.recovering)
    # What a killed process lost was not its to keep; what it left torn or wrong is its doing.
    if not worst.promise.code.startswith("D"):
        innocent = range(0)
    return verdict.at_lost_call(
        run, traced.ops, profile, worst.tried, finding, subject.promising, last, innocent
    )


def _going_on(traced: Traced) -> tuple[str | None, range]:
    """Where a process was killed: the first function that another one called, and the
    positions of the call in which it was killed. That promised nothing, so the other
    should have made good what was lost; none where both are one function, which is then
    looked into."""
    killed, name = range(0), ""
    for op in traced.trace.ops:
        words = op.text.split() if isinstance(op, Mark) else [""]
        if words[0] == "!" and words[3] == "kill" and int(words[1]) in traced.begun:
            at, (name, *_) = traced.begun[int(words[1])]
            killed = range(at, op.call.entered)
    behind = [begun for begun in traced.begun.values() if killed and begun[0] > killed[-1]]
    first = min(behind)[1][0] if behind else None
    return first, range(0) if first == name else killed


def _with_stacks(
    run: Run, server: Server, subject: Subject, first: Traced, profile: str, worst: Broken
) -> tuple[Traced, Broken, str]:
    """The scenario once more, alone and with a stack for every call, so that lines can be
    named, and how much was tried. Threads may take another course: where none breaks a
    promise again, it stays with the first, which has no lines."""
    for _ in range(RETRACED):
        traced = trace(run, [first.scenario], stacks=True)
        broken, explored = _explore(server, subject, traced, profile, {})
        if 0 in broken:
            return traced[0], broken[0], explored.jobs[0].summary
    return first, worst, "those tried"


def _at_failure(run: Run, traced: Traced, point: int) -> tuple[str, int] | None:
    """Where the student's program made the call that was made to fail, if one was."""
    for op in traced.trace.ops:
        is_failure = isinstance(op, Mark) and op.text.startswith("! ") and " kill " not in op.text
        if is_failure and op.call.entered <= point:
            places = [place for _, place in tracing.student_stack(run, op.call)]
            return next(iter(run.own(places)), None)
    return None
