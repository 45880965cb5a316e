"""Traces any program: what a power loss could take of what it said it had done.

Every line that the program prints on standard output is taken for a promise: all that it
changed below the directory until then is durable. The operations can be written to a
file for the crash lab, which works out every disk that a power loss could leave.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from . import tracing
from .crash.ops import OpsFile, write_ops
from .errors import UsageError
from .trace import KernelModelError, Promise, Trace, TraceSyntaxError, ordering, parse, replay
from .trace.durability import Durability
from .trace.ops import Mark, Op
from .trace.strace import Syscall

STDOUT = 1
SNAPSHOT_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Traced:
    status: int  # as subprocess has it
    violations: tuple[ordering.Violation | ordering.CannotJudge, ...]
    ops: OpsFile


def run(argv: list[str], directory: Path) -> Traced:
    """Runs the program in `directory`; its output goes where ours goes."""
    program = shutil.which(argv[0], path=f"{os.environ.get('PATH', '')}:{directory}")
    if program is None:
        raise UsageError(f"{argv[0]}: no such program")
    files = snapshot(directory)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "strace.log")
        words = tracing.strace(log, stacks=True)
        done = subprocess.run(
            [*words, program, *argv[1:]], cwd=directory, stdout=subprocess.PIPE, check=False
        )
        os.write(STDOUT, done.stdout)
        trace = replayed(log, program, directory, files)
    ops = write_ops(trace, str(directory), files, lambda mark: mark.text or "(an empty line)")
    found = violations(trace, directory, Path(program).name)
    return Traced(done.returncode, tuple(found), ops)


def snapshot(directory: Path) -> dict[str, bytes]:
    """What stands there before; a directory's name ends with a slash."""
    files, total = {}, 0
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_dir() and not path.is_symlink():
            files[f"{name}/"] = b""
        elif path.is_file() and not path.is_symlink():
            total += path.stat().st_size
            if total > SNAPSHOT_MAX_BYTES:
                raise UsageError(f"{directory}: more than {SNAPSHOT_MAX_BYTES >> 20} MiB stand in it")
            files[name] = path.read_bytes()
    return files


def replayed(log: Path, program: str, directory: Path, files: dict[str, bytes]) -> Trace:
    initial = {str(directory): None} | {
        f"{directory}/{name.rstrip('/')}": None if name.endswith("/") else len(data)
        for name, data in files.items()
    }
    try:
        with log.open(encoding="ascii", errors="backslashreplace") as lines:
            return replay(
                parse(lines, log.name), program=program, cwd=str(directory), initial=initial,
                marks_fd=STDOUT,
            )
    except (OSError, TraceSyntaxError, KernelModelError) as error:
        raise UsageError(f"the trace of {program} is not understood: {error}") from None


# --- promises ---

def violations(trace: Trace, directory: Path, name: str) -> list:
    """What was not durable yet when a line was printed, and the other rules."""
    lines = [op for op in trace.ops if isinstance(op, Mark)]
    durable = Durability(trace)
    promises = {
        str(i): list(promised(durable, directory, line.call.entered)) for i, line in enumerate(lines)
    }
    return ordering.check(_in_spans(trace, name), promises)


def promised(durable: Durability, directory: Path, at: int) -> Iterator[Promise]:
    """Every name below the directory that was changed by then, and every file."""
    path_of = durable.trace.names.path
    below = f"{directory}/"
    told = set()
    for folder, name in durable.changes:
        path = f"{path_of(folder)}/{name}"
        change = durable.last_change(folder, name, at)
        if change is None or not path.startswith(below):
            continue
        told.add(change.after)
        if change.after is not None:
            yield Promise(path, "both" if change.after.kind == "file" else "name")
        elif durable.changes[folder, name][0].before is not None:
            yield Promise(path, "gone")
    begun_as = {  # files may have another name by the end, or none
        changes[0].before: f"{path_of(folder)}/{name}"
        for (folder, name), changes in durable.changes.items()
    }
    for inode in durable.data:
        path = begun_as.get(inode, path_of(inode))
        way = durable.walk(path, at)
        if path.startswith(below) and inode not in told and way and way[-1][2] is inode:
            yield Promise(path, "file")


def _in_spans(trace: Trace, name: str) -> Trace:
    """Each line of output ends a call that began with the one before."""
    ops: list[Op] = []
    before = Syscall(0, 0, 0, "", (), 0)

    def add(op: Op, **other) -> None:
        ops.append(replace(op, index=len(ops), **other))

    for op in trace.ops:
        if not isinstance(op, Mark):
            add(op)
    marks = [op for op in trace.ops if isinstance(op, Mark)]
    for number, op in enumerate(marks):
        add(op, call=before, text=f"> {number} {name}")
        add(op, text=f"< {number} {name} 0")
        before = op.call
    ops.sort(key=lambda op: op.call.entered)
    return Trace([replace(op, index=i) for i, op in enumerate(ops)], trace.processes, trace.names, trace.cwd)


# --- what is said of it ---

def said(found, directory: Path) -> Iterator[str]:
    if isinstance(found, ordering.CannotJudge):
        yield f"cannot judge: it used {found.what}, which a trace does not show"
        return
    where = next(_lines(found.culprit.call), "")
    why = found.explanation.replace(f"{directory}/", "")
    yield f"{found.code}{where}: {why.replace(f'{found.call_name}() returns', 'it prints')}"
    yield f"    {found.culprit.call.text.replace(f'{directory}/', '')}"
    if found.count > 1:
        yield f"    and {found.count - 1} more like it"
    if found.mark:
        yield f"    and then: {found.mark.call.text}"


def _lines(call) -> Iterator[str]:
    """Places in sources, for frames in programs that were built with -g."""
    for frame in call.stack:
        if frame.address is None or not os.path.isfile(frame.file):
            continue
        done = subprocess.run(
            ["addr2line", "-e", frame.file, hex(frame.address - 1)],
            capture_output=True, text=True, check=False,
        )
        file, _, line = done.stdout.split(" ")[0].strip().rpartition(":")
        if line.isdigit() and os.path.isfile(file):
            yield f" {os.path.relpath(file)}:{line}"
