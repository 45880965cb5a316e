"""What a log with checkpoints promises across a power loss, as data."""

from __future__ import annotations

from functools import cache

from ..checks import checkpoint_format as form
from ..checks.wal_format import DEL, SET, apply
from ..run import Reply, Script
from .scenario import AFTER, ON_DISK, Case, Done, Promise, Scenario, Subject

DIR = "deep/kv"  # not where the program runs: the directory above it is to be synced
HERE = {"deep/": b""}
THERE = HERE | {f"{DIR}/": b""}
OPEN, CLOSE = ("kv_log_open", 0, DIR), ("kv_log_close", 0)
CHECKPOINT = ("kv_log_checkpoint", 0)
NEXT, LATER = (SET, b"next", b"one"), (DEL, b"next", b"")


def append(record) -> tuple:
    return ("kv_log_append", 0, *record)


def earlier(records) -> tuple[Done, ...]:
    """The history of a log in which these records stand."""
    reply = Reply(0, "kv_log_append", (("ret", "0"),), ())
    return tuple(Done(append(record), reply) for record in records)


def scenario(name: str, *calls, files=None, history=()) -> Scenario:
    """`files` stand in the log's directory, which is not there if they are None."""
    there = HERE if files is None else THERE | {f"{DIR}/{n}": data for n, data in files.items()}
    return Scenario(name, calls, there, history)


# --- recovery ---

_script = Script()
FIRST = _script.call(*OPEN)
_script.call(*CLOSE)
AFTER_FIRST = _script.call("look")
SECOND = _script.call(*OPEN)
_script.call(*CLOSE)
AFTER_SECOND = _script.call("look")
_goes_on = [_script.call(*call) for call in (
    OPEN, append(NEXT), CHECKPOINT, append(LATER), append(NEXT), CLOSE
)]
LAST = _script.call(*OPEN)


# --- what may have happened ---

History = tuple[tuple, ...]


@cache
def histories(done: tuple[Done, ...]) -> tuple[frozenset[History], int]:
    """The sequences of records that the log may hold, and how many records at least the
    last snapshot that was acknowledged covers.

    An append that returned 0 is in each of them. One that did not is or is not, until an
    open shows which: what it handed out has to stay, and what it cut to stay away.
    """
    possible, covered = {()}, -1
    for one in done:
        name = one.call[0]
        if name == "kv_log_append":
            longer = {(*history, one.call[2:]) for history in possible}
            possible = longer if one.ok else possible | longer
        elif name == "kv_log_open" and one.ok:
            shown = one.reply.pairs
            possible = {h for h in possible if apply(h) == shown} or possible
        elif name == "kv_log_checkpoint" and one.ok:
            covered = min(map(len, possible))
    return frozenset(possible), covered


def _may_be(pairs: dict[bytes, bytes], case: Case) -> bool:
    possible, _ = histories(case.done)
    return any(apply(history) == pairs for history in possible)


def _in_dir(files) -> dict[str, bytes]:
    head = f"{DIR}/"
    return {name[len(head):]: data for name, data in files.items() if name.startswith(head)}


def _said(pairs: dict[bytes, bytes]) -> str:
    shown = [f"{_short(key)}={_short(value)}" for key, value in sorted(pairs.items())]
    return " ".join(shown) or "nothing"


def _short(data: bytes) -> str:
    return data[:12].decode(errors="replace") + "..." * (len(data) > 12)


def _wanted(case: Case) -> str:
    possible, _ = histories(case.done)
    return " or ".join(sorted({_said(apply(history)) for history in possible}))


# --- promises ---

def _whole_if_named(case: Case) -> str | None:
    data = _in_dir(case.tried.files).get(form.SNAPSHOT)
    if data is None or form.parse_snapshot(data):
        return None
    return f"{form.SNAPSHOT} has {len(data)} bytes and is not whole"


def _snapshot_stands(case: Case) -> str | None:
    possible, covered = histories(case.done)
    if covered < 0:
        return None
    data = _in_dir(case.tried.files).get(form.SNAPSHOT)
    if data is None:
        return "kv_log_checkpoint() had returned 0, and there is no snapshot"
    pairs = form.parse_snapshot(data).pairs
    if any(apply(h[:n]) == pairs for h in possible for n in range(covered, len(h) + 1)):
        return None
    return "kv_log_checkpoint() had returned 0, and the snapshot is an older one"


def _holds_the_map(case: Case) -> str | None:
    found = form.content(_in_dir(case.tried.files))
    if isinstance(found, str):
        return found
    if _may_be(found, case):
        return None
    return f"snapshot and segments hold {_said(found)}, and not {_wanted(case)}"


def _recovers(case: Case) -> str | None:
    problem = case.failed(FIRST)
    return f"kv_log_open(): {problem}" if problem else None


def _loses_nothing(case: Case) -> str | None:
    found = case.tried.replies[FIRST].pairs
    if _may_be(found, case):
        return None
    return f"kv_log_open() found {_said(found)}, and not {_wanted(case)}"


def _leaves_no_leftovers(case: Case) -> str | None:
    files = _in_dir({n: data for n, (_, data) in case.tried.looked(AFTER_FIRST).items()})
    base = form.parse_snapshot(files.get(form.SNAPSHOT, b""))
    numbers = {name: form.number_of(name) for name in files}
    old = [name for name, n in numbers.items() if n is not None and base and n < base.first]
    left = old + [name for name in files if name != form.SNAPSHOT and numbers[name] is None]
    return f"kv_log_open() left {', '.join(sorted(left))}" if left else None


def _finds_the_same_twice(case: Case) -> str | None:
    replies = case.tried.replies
    problem = case.failed(SECOND)
    if problem:
        return f"a second kv_log_open(): {problem}"
    if replies[FIRST].pairs != replies[SECOND].pairs:
        return "a second kv_log_open() found something else than the first"
    return None


def _goes_on_well(case: Case) -> str | None:
    for number in (*_goes_on, LAST):
        problem = case.failed(number)
        if problem:
            return f"then {_script.lines[number - 1].split()[1]}(): {problem}"
    want = case.tried.replies[FIRST].pairs | {NEXT[1]: NEXT[2]}
    found = case.tried.replies[LAST].pairs
    if found == want:
        return None
    return f"after another checkpoint and appends there is {_said(found)}, and not {_said(want)}"


SUBJECT = Subject(
    script=_script,
    looks=(AFTER_FIRST, AFTER_SECOND),
    recover=(OPEN, CLOSE),
    recovering="kv_log_open",
    poisoning="kv_log_append",
    reopening=("kv_log_open",),
    promising=("kv_log_open", "kv_log_append", "kv_log_checkpoint", "kv_log_close"),
    promises=(
        Promise(ON_DISK, "A305", "what is called snapshot is whole", _whole_if_named),
        Promise(ON_DISK, "D305", "an acknowledged checkpoint has its snapshot", _snapshot_stands),
        Promise(ON_DISK, "D305", "the snapshot and the segments behind it hold all that was "
                "acknowledged", _holds_the_map),
        Promise(AFTER, "R521", "recovery copes with every disk", _recovers),
        Promise(AFTER, "D305", "nothing that was acknowledged is lost", _loses_nothing),
        Promise(AFTER, "R523", "recovering again finds the same", _finds_the_same_twice),
        Promise(AFTER, "R524", "appends and checkpoints go on", _goes_on_well),
        Promise(AFTER, "R522", "leftovers go", _leaves_no_leftovers),
    ),
)
