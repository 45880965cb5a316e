"""The crash check of the log: every disk that a power loss could leave, tried."""

from dataclasses import dataclass
from pathlib import Path

from ..course import find
from ..crash import verdict
from ..crash.explore import PROFILES, Exploration, Tried, reference_server, students_server
from ..crash.log import Case, Promise, Recovering, broken_promise, recovering
from ..crash.ops import OpsFile, write_ops
from ..errors import CannotJudge
from ..result import Finding
from ..run import Run, Script
from ..trace.ops import Mark
from ..tracing import replayed_run
from . import check
from .wal_format import FOUR, SET, encode

LOG = "deep/test.wal"  # not where the program runs: its directory is to be synced
BESIDE = {"deep/other": b""}
# One that crosses a block boundary, so that its parts can be lost apart, and one behind it.
LARGE = (SET, b"large", b"\xa5" * 4200)
MORE = (SET, b"after", b"all")
TORN = encode(SET, b"torn", b"tail")[:-5]


@dataclass(frozen=True)
class Scenario:
    """What a program does, and what each of its calls promises on 0."""

    script: Script
    files: dict[str, bytes]
    attempted: tuple
    promises: dict[int, int]  # by number of the call: records that are then durable
    given: int = 0  # promises of an earlier boot
    folder: str = ""  # below the run's directory


def _scenario(attempted, promised, *calls, files=None) -> Scenario:
    """`calls` are the driver's, or a record to append. `promised` records stand in
    the log when the first call has returned; those in `files` are durable before."""
    script, promises, given = Script(), {}, promised if files else 0
    for call in calls:
        if isinstance(call[0], str):
            number = script.call(*call)
        else:
            number = script.call("wal_append", 0, *call)
            promised += 1
        if call[0] != "put":
            promises[number] = promised
    return Scenario(script, BESIDE | (files or {}), tuple(attempted), promises, given)


def _log(records, tail=b"") -> bytes:
    return b"".join(encode(*record) for record in records) + tail


OPEN, CLOSE, RECOVER = ("wal_open", 0, LOG), ("wal_close", 0), ("wal_recover", LOG)


def _scenarios(recovers: bool):
    """For a lesson that `recovers`, what recovery does is tried as well."""
    new = (*FOUR, LARGE, MORE)
    yield "a new log", _scenario(new, 0, OPEN, *new, CLOSE)
    if not recovers:
        left = FOUR[:2]
        yield "a log that a killed process left", _scenario(
            (*left, *FOUR[2:]), 0, ("put", LOG, _log(left)), OPEN, *FOUR[2:], CLOSE
        )
        return
    torn = _log(FOUR, TORN)
    yield "a torn tail", _scenario(
        (*FOUR, MORE), 4, RECOVER, OPEN, MORE, CLOSE, files={LOG: torn}
    )
    yield "a torn tail that a killed process left", _scenario(
        (*FOUR, MORE), 4, ("put", LOG, torn), RECOVER, OPEN, MORE, CLOSE
    )


# A writer that makes a call for each byte is slow and may be right: it is tried on
# small records, where its calls can all be tried.
CALLS_MAX = 1000
SMALL = _scenario((*FOUR, MORE), 0, OPEN, *FOUR, MORE, CLOSE)


@check("holds-every-record-appended", "replays-every-record")
def survives_every_crash(run: Run):
    """No power loss, at any moment, takes what was promised.

    Your program runs once, traced. From the trace follows every disk that a power loss
    at any moment could leave; on each of them the log is recovered. What wal_append() had
    acknowledged must be there, what is there must be a prefix of what was appended,
    recovering again must change nothing, and the next append must work. Where recovery is
    yours, it is traced and crashed in the same way, on every disk that it changed.
    """
    recovers = "recovery" in run.lesson.driver
    server = students_server(run) if recovers else reference_server(run, find("w10-l03"))
    calls, summary, changed = recovering(LOG), [], {}
    for name, scenario in _scenarios(recovers):
        _, ops_file = _traced(run, [scenario])[0]
        if len(ops_file.calls) > CALLS_MAX:
            name, scenario = f"{name}, small records only", SMALL
            _, ops_file = _traced(run, [scenario])[0]
        for profile in PROFILES:
            explored = server.explore(ops_file, calls.script, profile)
            if _broken(scenario, ops_file, explored, calls):
                yield _counterexample(run, server, [scenario], 0, profile, calls, name)
                return
            summary.append(f"{name} ({profile}): {explored.summary}")
        if recovers:
            changed |= _changed_disks(scenario, ops_file, explored, calls)
    again = _recoveries(changed)
    traced = _traced(run, again) if again else []
    found = []
    for i, (_, ops_file) in enumerate(traced):
        explored = server.explore(ops_file, calls.script, "posix")
        found.append(explored)
        if _broken(again[i], ops_file, explored, calls):
            yield _counterexample(run, server, again, i, "posix", calls, "recovery, crashed")
            return
    if again:
        states = sum(len(explored.tried) for explored in found)
        scope = "" if len(again) == len(changed) else f" of {len(changed)}"
        summary.append(f"recovery crashed on {len(again)}{scope} disks that it changes: {states} states")
    run.notes["survives-every-crash"] = "; ".join(summary)


# A disk that recovery changes is where recovery can be crashed.
RECOVERIES_MAX = 16


def _changed_disks(scenario, ops_file, explored: Exploration, calls) -> dict:
    """By what the log holds: the records attempted and the promises given."""
    found = {}
    for tried in explored.tried:
        before = tried.file(LOG)
        if before is not None and before != tried.looked(calls.after_first).get(LOG):
            case = _case(scenario, ops_file, tried, calls)
            found[before] = scenario.attempted, max(case.promised, found.get(before, ((), 0))[1])
    return found


def _recoveries(changed: dict) -> list[Scenario]:
    """Recovery alone, on each of these disks (where there are many: on some, evenly
    chosen), in directories of one run."""
    step = -(-len(changed) // RECOVERIES_MAX) or 1
    script, found = Script(), []
    for i, (data, (attempted, given)) in enumerate(sorted(changed.items())[::step]):
        number = script.call("wal_recover", f"{i}/{LOG}")
        found.append(Scenario(script, {LOG: data}, attempted, {number: given}, given, str(i)))
    return found


def _traced(run: Run, scenarios: list[Scenario], stacks=False) -> list[tuple]:
    """Scenarios of one script: the trace, and the operations of each of them."""
    files = {str(Path(s.folder, name)): data for s in scenarios for name, data in s.files.items()}
    session, replayed = replayed_run(run, scenarios[0].script, files, stacks)
    found = []
    for scenario in scenarios:
        root = str(Path(run.sandbox.inside, session.folder.name, scenario.folder))
        ops_file = write_ops(
            replayed, root, scenario.files, lambda mark, s=scenario: _promise(s, mark)
        )
        if ops_file.unseen:
            raise CannotJudge(f"the program used {ops_file.unseen[0]}, which a trace does not show")
        found.append((replayed, ops_file))
    return found


def _promise(scenario: Scenario, mark: Mark) -> str | None:
    """The number of the call, if the mark says that it returned 0 and promises."""
    words = mark.text.split()
    if words[0] == "<" and "ret=0" in words and int(words[1]) in scenario.promises:
        return words[1]
    return None


def _case(scenario: Scenario, ops_file: OpsFile, tried: Tried, calls: Recovering) -> Case:
    acknowledged = [
        scenario.promises[int(op.text.split()[1])] for op in ops_file.calls.values()
        if isinstance(op, Mark) and op.call.entered <= tried.point
    ]
    promised = max([scenario.given, *acknowledged])
    named = bool(acknowledged or LOG in scenario.files)
    return Case(LOG, scenario.attempted, promised, named, tried, calls)


def _broken(scenario, ops_file, explored: Exploration, calls) -> list[tuple[Tried, Promise, str]]:
    found = []
    for tried in explored.tried:
        broken = broken_promise(_case(scenario, ops_file, tried, calls))
        if broken:
            found.append((tried, *broken))
    return found


def _counterexample(run, server, scenarios, which, profile, calls, name) -> Finding:
    """Once more, with a stack for every call, so that lines can be named."""
    scenario = scenarios[which]
    replayed, ops_file = _traced(run, scenarios, stacks=True)[which]
    explored = server.explore(ops_file, calls.script, profile)
    broken = {tried: (promise, how) for tried, promise, how in
              _broken(scenario, ops_file, explored, calls)}
    tried = verdict.smallest(list(broken))
    promise, how = broken[tried]
    message = (
        f"{name}: {how}. The promise, {promise.level}: {promise.text}. The smallest of "
        f"{len(broken)} broken ones among {explored.summary}"
    )
    excerpt = tuple(verdict.page(run, replayed, ops_file, profile, tried))
    finding = Finding(promise.code, message, excerpt=excerpt)
    if promise.code.startswith("R"):
        return run.at_function(finding, "wal_recover")
    return verdict.at_lost_call(run, ops_file, profile, tried, finding, "wal_append")
