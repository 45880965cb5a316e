"""What a call returned, held against what it should return."""

import errno
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ..result import Finding
from ..run import Failed, Reply, Run, Script, Session
from ..shown import errno_name
from ..tracing import trace

SYNCS_MOST = 4  # in one call
LEFT_OPEN = "left open"  # in run.memo: descriptors that stay open where nothing fails
ROUNDS, WARM = 5, 2  # of the same calls; caches are filled in the first ones


def together(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The first of those that differ only in the errors that were returned."""
    alike: dict[tuple, list[Finding]] = {}
    for found in findings:
        words = re.sub(r"-\d+ \(-E\w+\)", "", found.message)
        alike.setdefault((found.code, found.where, words), []).append(found)
    for first, *more in alike.values():
        many = f" (and {len(more)} more like it)" if more else ""
        yield replace(first, message=first.message + many)


def wrong_return(run: Run, reply: Reply, want: int, code: str, when: str):
    """Yields a finding, at the fault that the call met if it met one."""
    if ("skipped", "1") in reply.words:
        message = f"{reply.call}() could not be called {when}: the handle had not been opened"
        yield run.at_function(Finding(code, message), reply.call)
        return
    got = reply["ret"]
    if got != want:
        message = f"{reply.call}() returned {errno_name(got)} {when}, and should return {errno_name(want)}"
        finding = Finding(code, message)
        if reply.faults:
            yield run.at_fault(finding, reply.faults[-1])
        else:
            yield run.at_function(finding, reply.call)


@contextmanager
def if_it_never_returns(code: str, message: str) -> Iterator[None]:
    """Around a drive: what runs on for ever, or prints for ever, is this finding."""
    try:
        yield
    except Failed as failed:
        endless = failed.findings[0]
        if endless.code not in ("S101", "S102"):
            raise
        raise Failed(replace(endless, code=code, message=message)) from None


def still_open(run: Run, session: Session, before: Reply, after: Reply) -> list[str]:
    """What two calls of `fds` tell of the descriptors that came and stayed: their paths,
    from where the program ran."""
    here = f"{run.sandbox.inside}/{session.folder.name}"
    left = Counter(after.all_bytes("path")) - Counter(before.all_bytes("path"))
    found = []
    for path in (path.decode(errors="replace") for path in left.elements()):
        name = os.path.relpath(path, here) if path.startswith("/") else path
        found.append(f"the directory {name}" if (session.folder / name).is_dir() else name)
    return found


def without_libcrypto(script: Script, number: int, *words, told: str = "") -> tuple[int, int]:
    """A call that is made twice: its numbers, where call `number` that it makes of
    libcrypto fails, and where none does."""
    script.call("libcrypto_fails", number)
    failing = script.call(*words, told=told)
    script.call("libcrypto_fails", 0)
    return failing, script.call(*words)


def sync_tried_again(run: Run, before, call, code: str, number: int = 1, files=None):
    """Fails (EIO) one sync of a call. `code` where the call syncs the same descriptor
    again, and then returns 0: the second sync has nothing to do, and proves nothing.

    `before`  calls that come first, `call` the one, each a tuple of words
    """
    script = Script()
    for words in before:
        script.call(*words)
    script.call("fault", "any", "1+", "watch")
    script.call("fault", "sync", number, "errno", errno.EIO)
    made = script.call(*call)
    reply = run.drive(script, files=files)[made]
    failed = next((fault for fault in reply.faults if fault.what == "errno"), None)
    if failed is None or reply["ret"] < 0:
        return
    behind = reply.faults[reply.faults.index(failed) + 1 :]
    again = [fault for fault in behind if fault.call == failed.call and fault.fd == failed.fd]
    if again:
        message = f"{failed.call}() failed (EIO), was called again, and {reply.call}() returned 0"
        yield run.at_fault(Finding(code, message), again[0])


def interrupted_syncs(run: Run, before, call, promises, files=None):
    """Interrupts (EINTR) each sync of a call in turn. F104 where it then returns 0 and
    what it promises is not durable: a sync that is interrupted has not synced. What is
    found where none is interrupted too has another reason, and is not said here.

    `before`    calls that come first, `call` the one, each a tuple of words
    `promises`  what `call` promises by returning 0
    """
    for number in range(1, SYNCS_MOST + 1):
        reply, findings = _with_a_sync_interrupted(run, number, before, call, promises, files)
        if not reply.faults:
            return
        if reply["ret"] != 0 or not findings:
            continue
        _, always = _with_a_sync_interrupted(run, 0, before, call, promises, files)
        known = {finding.code for finding in always}
        for where in [finding for finding in findings if finding.code not in known][:1]:
            message = f"a sync was interrupted (EINTR), and {call[0]}() returned 0 without another"
            yield Finding("F104", message, where.file, where.line, where.excerpt)
            return


def _with_a_sync_interrupted(run: Run, number: int, before, call, promises, files):
    """The reply and the trace's findings; with 0 for `number` none is interrupted."""
    script = Script()
    for words in before:
        script.call(*words)
    if number:
        script.call("fault", "sync", number, "errno", errno.EINTR)
    made = script.call(*call)
    session, findings = trace(run, script, files=files, promises={made: promises})
    return session[made], findings


def leaks(run: Run, steps, files=None, before=()):
    """Makes the same calls, round for round. F113 where one has more memory allocated
    behind it than before it, every time, and so has the round: what is kept and used again
    is no leak, nor what another call of the round gives back.

    `before`  calls that come first, once, each a tuple of words
    `steps`   each when it is, the words of the call, and those of a fault or None
    """
    script, made = Script(), []
    for words in before:
        script.call(*words)
    for _ in range(ROUNDS):
        for when, words, fault in steps:
            start = script.call("heap")
            if fault:
                script.call("fault", *fault)
            script.call(*words)
            script.call("clear")
            made.append((start, script.call("heap")))
    session = run.drive(script, files=files)
    grown = [session[after]["used"] - session[start]["used"] for start, after in made]
    rounds = [grown[i : i + len(steps)] for i in range(WARM * len(steps), len(grown), len(steps))]
    if min(map(sum, rounds)) <= 0:
        return
    for (when, words, _), each in zip(steps, zip(*rounds)):
        least = min(each)
        if least > 0:
            message = f"{when}, {words[0]}() leaves {least} bytes allocated each time"
            yield run.at_function(Finding("F113", message), words[0])
            return
