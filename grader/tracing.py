"""Runs a script under strace and turns what the trace shows into findings.

The first run is traced plainly. Only where it shows something wrong a second one
follows with a stack for every call (-k, twenty times as slow), to name the lines.
"""

import errno
import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

from .errors import CannotJudge, GraderError
from .result import Finding
from .run import Run, Script, Session
from .sandbox import Sandbox
from .trace import (
    TRACED, KernelModelError, Promise, Trace, TraceSyntaxError, ordering, parse, replay,
    replay_children,
)
from .trace.ops import Mark, Write

__all__ = ["Promise", "pinned", "read_ends", "readable", "replayed_children", "replayed_run", "strace",
           "strace_log", "student_stack", "trace"]

STRING_MAX_BYTES = 2 << 20
EXCERPT_LINES = 9
_READS = r"\b(read|pread64|lseek)\(\d+<[^>]*/%s>.*?(\d+|SEEK_\w+)\) += (\d+)"
_FORKS = re.compile(r"fork|clone|\+\+\+")
# What should stand in front of the return.
MISSING = {
    "D101": "a sync of that file", "D102": "a sync of that file", "D104": "a sync of that file",
    "D107": "a sync of that file", "D201": "a sync of the directory",
    "D204": "a sync of the directory", "D205": "a sync of the directory",
    "D207": "a sync of the directory",
}
# The driver's own calls that change files, as a student can read them.
OTHERS = {
    "put": "another program makes a file", "make": "another program makes something",
    "age": "the file's times are set back", "cut": "another program cuts or grows a file",
    "unlink": "another program removes a file", "cd": "the program goes to another directory",
}


def trace(
    run: Run, script: Script, *, files=None, promises=None, append_only=(), must_sync_in=(),
    syncs_at_most=None, in_one_step=(), always_there=(), rests_on=None, changes_nothing=(),
) -> tuple[Session, list[Finding]]:
    """Runs the script traced; the session, and what the rules of trace.ordering found.

    `promises`  for the number of a call, what must be durable when it returns 0
    `changes_nothing`  the numbers of calls that find done what they are asked to do
    Raises CannotJudge where the program changed a file in a way that no trace shows.
    """
    rules = {
        "promises": {str(number): given for number, given in (promises or {}).items()},
        "append_only": append_only, "must_sync_in": must_sync_in, "sync_bound": syncs_at_most,
        "in_one_step": in_one_step, "always_there": always_there, "rests_on": rests_on,
        "changes_nothing": list(map(str, changes_nothing)),
    }
    session, replayed, found = _judge(run, script, files, rules, stacks=False)
    if found:
        again = _judge(run, script, files, rules, stacks=True)
        session, replayed, found = again if again[2] else (session, replayed, found)
    for item in found:
        if isinstance(item, ordering.CannotJudge):
            name = item.inode.name if item.inode else "a file"
            raise CannotJudge(f"the program used {item.what} on {name}, which a trace does not show")
    return session, [_finding(run, replayed, violation) for violation in found]


def _judge(run: Run, script: Script, files, rules, stacks: bool):
    session, replayed = replayed_run(run, script, files, stacks)
    return session, replayed, ordering.check(replayed, **rules)


def replayed_run(run: Run, script: Script, files, stacks: bool):
    """Runs the script traced; the session, and what the trace says of files."""
    with strace_log(run.sandbox) as log:
        session = run.drive(
            script, files=files, variant="plain", seconds=60 if stacks else 20,
            outside=strace(log, stacks),
        )
        inside = f"{run.sandbox.inside}/{session.folder.name}"
        replayed = _understood(
            log, replay, program=f"{run.sandbox.inside}/plain/driver", cwd=inside,
            initial=_initial(inside, files or {}), marks_fd=session.done.marks_fd,
        )
    if not any(isinstance(op, Mark) for op in replayed.ops):
        raise GraderError("the trace does not show the driver's marks")
    return session, replayed


def replayed_children(log: Path, program: str, cwd: str, initials, marks_fd: int) -> list[Trace]:
    """What the children of a fork server did, each of which found another directory."""
    return _understood(
        log, replay_children, _of_children(program), program=program, cwd=cwd,
        initials=initials, marks_fd=marks_fd,
    )


def _of_children(program: str):
    """Most of such a log is the server making disks: of its own calls only the forks are
    worth parsing."""
    begin = 'execve("' + "".join(f"\\x{byte:02x}" for byte in os.fsencode(program)) + '"'

    def of_children(lines):
        server = None
        for line in lines:
            if server is None:
                server = line.split(" ")[0] + " " if begin in line else None
            elif line.startswith(server) and not _FORKS.search(line, 0, 40):
                continue
            yield line

    return of_children


def _understood(log: Path, replaying, worth=iter, **what):
    try:
        with log.open(encoding="ascii", errors="backslashreplace") as lines:
            return replaying(parse(worth(lines), log.name), **what)
    except (TraceSyntaxError, KernelModelError) as error:
        raise GraderError(f"the trace is not understood: {error}") from None


@contextmanager
def strace_log(sandbox: Sandbox):
    """A file for strace to write to, as the user whom it runs as."""
    handle, name = tempfile.mkstemp(prefix="strace-", dir=sandbox.home)
    os.close(handle)
    sandbox.hand_over_file(Path(name))
    try:
        yield Path(name)
    finally:
        os.unlink(name)


def pinned(cpu: int | None = None) -> list[str]:
    """Keeps a command and all that it forks on one processor, where they wake each other
    faster."""
    cpus = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cpus[os.getpid() % len(cpus)] if cpu is None else cpu)]


def strace(log: Path, stacks: bool, pin=()) -> list[str]:
    """The words in front of a command that is traced."""
    words = [*(pin or pinned()), "strace", "-f", "-y", "-xx"]
    words += ["-s", str(STRING_MAX_BYTES), "--seccomp-bpf", "--decode-pids=pidns"]
    words += ["-e", f"trace={TRACED}", "-o", str(log)]
    return words + (["-k"] if stacks else [])


def read_ends(run: Run, script: Script, files, name: str) -> list[int]:
    """Where in the file each read of it ended that was followed by one of another place;
    if none was, where each read ended."""
    with strace_log(run.sandbox) as log:
        words = [*pinned(), "strace", "-f", "-y", "-s", "0", "--seccomp-bpf", "-o", str(log)]
        words += ["-e", "trace=read,pread64,lseek"]
        run.drive(script, files=files, variant="plain", outside=words)
        calls = re.findall(_READS % re.escape(name), log.read_text(errors="replace"))
    spans, at = [], 0
    for call, offset, moved in calls:
        begin = int(offset) if call == "pread64" else at
        at = int(moved) if call == "lseek" else at + int(moved) if call == "read" else at
        if call != "lseek" and moved != "0":
            spans.append((begin, begin + int(moved)))
    jumps = [end for (_, end), (begin, _) in zip(spans, spans[1:]) if begin != end]
    return jumps or [end for _, end in spans]


def _initial(folder: str, files) -> dict[str, int | None]:
    """What stood in the run's directory: sizes, and None for directories."""
    found: dict[str, int | None] = {folder: None}
    for name, data in files.items():
        for parent in list(Path(name).parents)[:-1]:
            found[f"{folder}/{parent}"] = None
        found[f"{folder}/{name.rstrip('/')}"] = None if name.endswith("/") else len(data)
    return found


def _finding(run: Run, replayed, violation) -> Finding:
    message = violation.explanation.replace(f"{replayed.cwd}/", "")
    message = re.sub(rf"\b{Path(replayed.cwd).name}\b", ".", message)
    if violation.count > 1:
        message += f" (and {violation.count - 1} more like it)"
    excerpt = tuple(_excerpt(replayed, violation))
    finding = Finding(violation.code, message, excerpt=excerpt)
    stack = student_stack(run, violation.culprit.call)
    if not stack:
        # What is not durable was left by another: it is the one who promises that must sync.
        promising = violation.mark.text.split()[2] if violation.mark else violation.call_name
        return run.at_function(finding, promising or "main")
    # A sync that is missing after a write belongs into the function that promises,
    # behind the call that it made: not into a helper that only writes. So does an order
    # that is wrong. A write to a place where nothing may be written is wrong by itself.
    promising = [place for symbol, place in stack if symbol == violation.call_name]
    written = isinstance(violation.culprit, Write) and violation.rule != "append-only"
    ordered = written or violation.rule == "rests-on"
    file, line = promising[-1] if promising and ordered else run.own([at for _, at in stack])[0]
    path = " < ".join(f"{symbol}() {place[0]}:{place[1]}" for symbol, place in stack)
    return Finding(finding.code, message, file, line, (*excerpt, f"         called by {path}"))


def student_stack(run: Run, call) -> list[tuple[str, tuple[str, int]]]:
    """(function, (file, line)) of a traced call, as far as the student's files go;
    the innermost first."""
    frames = [frame for frame in call.stack if frame.file.endswith("/plain/driver")]
    places = run.lines_of([frame.address - 1 for frame in frames], "plain")
    return [(frame.symbol, places[frame.address - 1]) for frame in frames
            if frame.address - 1 in places]


def _excerpt(replayed, violation):
    """The calls from the culprit's function, or around it, marked; newest last."""
    calls, seen = [], set()
    begin, end = _bounds(replayed.ops, violation)
    for op in replayed.ops[begin : end + 1]:
        if op.call.entered not in seen:
            seen.add(op.call.entered)
            calls.append(op)
    bad = {violation.culprit.call.entered}
    missing = MISSING.get(violation.code)
    for op in calls[-EXCERPT_LINES:]:
        if missing and op is violation.mark:
            yield f"MISSING  {missing}"
        text = readable(op, replayed.cwd)
        yield f"{'BAD      ' if op.call.entered in bad else '         '}{text}"


def _bounds(ops, violation) -> tuple[int, int]:
    """From the mark that began the call to the mark of the broken promise."""
    at = violation.culprit.index
    end = violation.mark.index if violation.mark else at
    begin = min(at, end)
    while begin > 0 and not (isinstance(ops[begin], Mark) and ops[begin].text.startswith(">")):
        begin -= 1
    return begin, max(at, end)


def readable(op, cwd: str) -> str:
    if isinstance(op, Mark):
        words = op.text.split()
        if words[2:3] and words[2] in OTHERS:
            return f"-- {OTHERS[words[2]]}{'' if words[0] == '>' else ': done'}"
        if words[0] == ">":
            return f"-- {words[2]}() begins"
        if words[0] == "!":
            what = errno.errorcode.get(int(words[4])) if words[3] == "errno" else f"{words[3]} {words[4]}"
            return f"-- {words[2]}() is made to end with {what}"
        return f"-- {words[2]}() has returned {words[3].removeprefix('ret=')}" if len(words) > 3 else op.text
    return op.call.text.replace(f"{cwd}/", "").replace(cwd, ".")
