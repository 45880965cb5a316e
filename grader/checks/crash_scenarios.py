"""Checks of a test of recovery: it passes what is right and catches what is wrong."""

from .. import build
from ..planted import Trial, trials
from ..result import Finding
from ..run import Run
from . import check

FILE = "w10/crash_scenarios.c"
SHOWN = 3


@check("builds")
def passes_every_right_recovery(run: Run):
    """Your test passes every recovery that is right, whatever its shape.

    It ends with status 0 for fourteen of them: they map the log, read it in pieces of any
    size, look through it before they replay, or leave a file beside it. A recovery that only
    returns -ENOSYS does not pass: a test that never finds fault says nothing. Your test stays
    within its time and its memory, AddressSanitizer's eyes included.
    """
    tried = trials(run)
    refused = [trial for trial in tried.of("right") if not trial.passed]
    yield from map(_refused, refused[:SHOWN])
    for trial in [] if refused else tried.of("unwritten"):
        if trial.passed:
            yield _passed(trial, "R602")
    yield from tried.checked()


def _refused(trial: Trial) -> Finding:
    """Why a right recovery did not pass."""
    what = f"with a recovery that is right and {trial.solution.does}"
    if trial.done.stopped:
        stopped = build.stopped_finding(trial.done, f"{what}, the test")
        return Finding(stopped.code, f"{stopped.message}{trial.given}", FILE, excerpt=trial.last_words)
    if trial.done.signal:
        return Finding("S104", f"{what}, {trial.end}", FILE)
    text = (trial.done.stdout + trial.done.stderr).decode(errors="replace")
    said = trial.failures[:SHOWN] or text.splitlines()[-SHOWN:]
    excerpt = tuple(line[:200] for line in said)
    return Finding("R601", f"{what}, {trial.end}", FILE, excerpt=excerpt)


def _missed(run: Run, kind: str, code: str):
    """A finding for each planted bug of a kind that the test did not catch."""
    for trial in trials(run).of(kind):
        if trial.passed:
            yield _passed(trial, code)
        elif not trial.caught:
            message = f"{trial.end}, with a recovery that {trial.solution.does}"
            yield Finding("R611", message, FILE, excerpt=trial.last_words)


def _passed(trial: Trial, code: str) -> Finding:
    printed = ", though it prints FAILED" if trial.failures else ""
    return Finding(code, f"it passes a recovery that {trial.solution.does}{printed}", FILE)


@check("passes-every-right-recovery")
def catches_a_wrong_replay(run: Run):
    """It catches a recovery that replays something else than the log says.

    Nothing happened to the log: deletes, values of any bytes, a log of several buffers
    and one that ends where a block does, the largest record there is. What was in the map
    before stays.
    """
    yield from _missed(run, "replay", "R603")


@check("passes-every-right-recovery")
def catches_a_wrong_cut(run: Run):
    """It catches a recovery that cuts a torn tail in the wrong place.

    A record, or one of two, stops at any of its bytes. What was cut is what the file has
    lost, and what the answer says; and what was not cut stays.
    """
    yield from _missed(run, "torn", "R604")


@check("passes-every-right-recovery")
def catches_zeros_taken_for_something(run: Run):
    """It catches a recovery that is lost where zeros stand for the data.

    The size of the file was on the disk and the data was not: zeros behind any byte, as
    long as what was written, or to the end of the block.
    """
    yield from _missed(run, "zeros", "R605")


@check("passes-every-right-recovery")
def catches_hidden_corruption(run: Run):
    """It catches a recovery that hides corruption, or cuts behind it.

    A flipped bit anywhere, strays of any length, and a whole record of any kind and size
    behind them, near or far, the end torn or not: -EBADMSG, with the offset, nothing in the
    map that does not belong there, and the file stays as it was.
    """
    yield from _missed(run, "corruption", "R606")


@check("passes-every-right-recovery")
def catches_a_lost_next_append(run: Run):
    """It catches a recovery after which the next append is lost."""
    yield from _missed(run, "append", "R607")


@check("passes-every-right-recovery")
def catches_what_works_only_once(run: Run):
    """It catches a recovery that works the first time only.

    A log is recovered again, in the same process, without a crash in between, and after
    it was torn once more.
    """
    yield from _missed(run, "again", "R608")


@check("passes-every-right-recovery")
def catches_a_log_from_nothing(run: Run):
    """It catches a recovery that goes wrong where there is no log.

    It fails, makes one, or leaves the answer unwritten.
    """
    yield from _missed(run, "no-log", "R609")


@check("passes-every-right-recovery")
def names_the_scenario(run: Run):
    """It names the scenario that failed, in a line that begins with FAILED.

    Not the same line for every fault: it is all that somebody has who must mend
    the recovery.
    """
    kinds = ("replay", "torn", "zeros", "corruption", "append", "again", "no-log")
    caught = [trial for kind in kinds for trial in trials(run).of(kind) if trial.caught]
    silent = [trial for trial in caught if not any(line[7:].strip() for line in trial.failures)]
    lines = {tuple(trial.failures) for trial in caught}
    if silent:
        does = silent[0].solution.does
        message = f"it ends with status 1 and names no scenario: a recovery that {does}"
        yield Finding("R610", message, FILE)
    elif len(lines) < 2:
        what = f"the same line for each: {caught[0].failures[0][:80]}" if caught else "no fault at all"
        yield Finding("R610", f"of {len(caught)} planted bugs that it catches it says {what}", FILE)
