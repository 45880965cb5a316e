"""The smallest counterexample, as a page that a person can follow."""

from __future__ import annotations

import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from ..course import ROOT
from ..errors import GraderError
from ..result import Finding
from ..run import Run
from ..shown import errno_name, word
from ..trace import ops
from ..tracing import readable, student_stack
from . import lab
from .explore import Tried
from .ops import OpsFile
from .scenario import OUR_OWN

SHOWN_BYTES = 24
LEGEND = "persisted, torn, lost: all of it, a part, nothing is on this disk; synced: a sync that returned"


def size(tried: Tried) -> tuple[int, int, int]:
    """The smallest has the earliest crash point and, there, lost least."""
    return tried.point, tried.lost, tried.number


def page(run: Run, replayed, ops_file: OpsFile, profile: str, tried: Tried) -> list[str]:
    """The calls and what became of each, the disk, what was said of it."""
    path, fates = _fates(run, ops_file, profile, tried)
    lines = list(_timeline(run, replayed, fates, tried.point))
    lines += ["           *** the power fails here ***", "", LEGEND, "", "on the disk:"]
    lines += _disk(tried.disk)
    lines += ["", "then:", *_said(tried)]
    lines += ["", f"to have this disk:  build/crashlab show {path} --state {tried.number} "
                  f"--profile {profile} DIR"]
    return lines


def at_lost_call(run: Run, ops_file: OpsFile, profile: str, tried: Tried, finding: Finding,
                 promising: tuple[str, ...], last: str, innocent: range = range(0)) -> Finding:
    """Points at the first call that the disk did not get, in the function that
    promised if that made it; where the disk got all of them, at the last, which did the
    harm, or at the line of a main() that brought it about. Where it was not the student's
    call, or made at a position that is `innocent`, it is the `last` function that returned
    which should have made it good."""
    _, fates = _fates(run, ops_file, profile, tried)
    made = [op for op in ops_file.calls.values() if op.call.entered <= tried.point]
    missing = [op for op in made if fates.get(op.call.entered) in ("lost", "torn")]
    harmful = [op for op in made if fates.get(op.call.entered) == "persisted"][-1:]
    for op in missing or harmful:
        if op.call.entered in innocent:
            continue
        stack = student_stack(run, op.call)
        blamed = promising if missing else {"main"} & set(promising)
        places = [place for symbol, place in stack if symbol in blamed]
        places += run.own([place for _, place in stack])
        if places:
            return Finding(finding.code, finding.message, *places[0], finding.excerpt)
    return run.at_function(finding, last)


def _fates(run: Run, ops_file: OpsFile, profile: str, tried: Tried) -> tuple[str, dict[int, str]]:
    """What became of each call, by its position. The operations are kept, so that
    the state can be rebuilt."""
    kept = ROOT / "build" / "crash" / f"{run.lesson.id}-{run.seed}.ops"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(ops_file.text)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [lab.program(), "show", kept, "--state", str(tried.number), "--profile", profile,
             Path(folder, "disk")],
            capture_output=True, text=True, check=False,
        )
    if done.returncode:
        raise GraderError(f"crashlab show: {done.stderr.strip()}")
    words = defaultdict(list)
    for line in done.stdout.splitlines():
        if line.startswith("  op "):
            _, number, fate, _ = line.split()
            words[ops_file.calls[int(number)].call.entered].append(fate)
    shown = kept.relative_to(ROOT)
    return str(shown), {at: _fate(of_steps) for at, of_steps in words.items()}


def _fate(of_steps: list[str]) -> str:
    if of_steps[0] in ("pins", "runs"):
        return {"pins": "synced", "runs": "cut off"}[of_steps[0]]
    kept, total = (sum(int(n) for n in column) for column in zip(*(f.split("/") for f in of_steps)))
    return "" if total == 0 else "persisted" if kept == total else "torn" if kept else "lost"


def _timeline(run: Run, replayed, fates: dict[int, str], point: int):
    told = set()
    for op in replayed.ops:
        at = op.call.entered
        if at > point:
            continue
        if isinstance(op, ops.Mark):
            told.add(at)  # a sync that the driver made to fail stands at its mark
            yield from (f"{'':10} {text}" for text in _of_mark(op.text.split(), replayed, op))
        elif at in fates and at not in told:
            told.add(at)
            yield f"{fates[at]:10} {_short(readable(op, replayed.cwd))}{_where(run, op)}"


def _where(run: Run, op) -> str:
    """The student's call, and what called that where it is an earlier lesson's."""
    places = [place for _, place in student_stack(run, op.call)]
    shown = dict.fromkeys(places[:1] + run.own(places)[:1])
    return "".join(f"{' < ' if i else '   '}{file}:{line}" for i, (file, line) in enumerate(shown))


def _of_mark(words: list[str], replayed, op):
    """What a mark of the driver says of the student's program, if anything."""
    if words[0] == "!" and words[3] == "kill":
        yield f"-- the process is killed as it calls {words[2]}()"
    elif words[0] == "!" or words[2] not in OUR_OWN:
        yield readable(op, replayed.cwd)
    elif words[:1] + words[2:] == [">", "begin"]:
        yield "-- a process begins"


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def _disk(lines) -> list[str]:
    shown = []
    for line in lines:
        kind, name, *rest = line.split(" ")
        if kind == "d":
            shown.append(f"  {name}/")
            continue
        data = bytes.fromhex(rest[1][1:])
        more = " ..." if len(data) > SHOWN_BYTES else ""
        zeros = "" if int(rest[0]) == len(data) else ", zeros from there on" if data else "zeros"
        shown.append(f"  {name}  {rest[0]} bytes: {data[:SHOWN_BYTES].hex(' ')}{more}{zeros}")
    return shown or ["  nothing"]


def _said(tried: Tried) -> list[str]:
    shown = []
    for reply in tried.replies.values():
        if reply.call == "look":
            files = [value for key, value in reply.words if key == "f"]
            sizes = [value for key, value in reply.words if key == "size"]
            text = ", ".join(f"{name} {size} bytes" for name, size in zip(files, sizes)) or "nothing"
            shown.append(f"  the directory holds: {text}")
        else:
            words = [f"{k}={_value(k, v)}" for k, v in reply.words if not (k in "kv" and len(v) > 40)]
            shown.append(f"  {reply.call}() {' '.join(words)}"[:100])
    return [*shown, f"  the end: {tried.end}"] if tried.end != "exit 0" else shown


def _value(name: str, said: str) -> str:
    return errno_name(int(said)) if name == "ret" else word(said)
