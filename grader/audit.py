"""Grades the grader: every known-bad solution, every odd but right one, in one table.

Beside the grader's verdict stand those of two plain checks, such as a course might make
do with: does the lesson's program print what the lesson shows, and does an fsync stand
before each rename in its strace log.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import course, result
from .build import run_commands
from .errors import GraderError
from .graph import LessonGraph
from .mutants import Mutant, mutants, stage_mutant, stage_variant, variants
from .result import CheckResult, Finding
from .run import Run
from .stage import read_regular

BEGIN = "<!-- audit: written by make grade-the-grader -->\n"
END = "<!-- /audit -->"
PLAIN_OUTPUT = ("builds", "prints-what-the-lesson-shows")


@dataclass(frozen=True)
class Outcome:
    """What became of one solution. `caught` is how: right, other, missed, error;
    for a variant passed, failed or error."""

    name: str
    lesson: str
    caught: str
    by_output: bool
    by_fsync_before_rename: bool
    detail: str = ""


def _plain_trace(run: Run) -> bool:
    """Whether a rename in the strace log of the lesson's program lacks an fsync before it."""
    for command in run_commands(run.lesson):
        if not command.startswith("./") or b"rename" not in _program(run, command):
            continue
        traced = f"strace -f -qq -o plain.log -e trace=fsync,fdatasync,rename,renameat,renameat2 {command}"
        run.sandbox.run(["sh", "-c", f"{traced}; cat plain.log >&2"], cwd="lesson")
        log = (run.sandbox.tree / "lesson" / "plain.log")
        synced = False
        for line in log.read_text(errors="replace").splitlines() if log.is_file() else []:
            if re.search(r"\bf(data)?sync\(", line):
                synced = True
            elif "rename" in line:
                if not synced:
                    return True
                synced = False
    return False


def _program(run: Run, command: str) -> bytes:
    return read_regular(run.sandbox.tree / "lesson" / command.split()[0]) or b""


@contextmanager
def _graph(lesson_id: str, stage_into, **options) -> Iterator[LessonGraph]:
    graph = LessonGraph(course.find(lesson_id), stage_into, **options)
    try:
        yield graph
    finally:
        graph.close()


def _plain(graph: LessonGraph) -> tuple[bool, bool]:
    """Whether each of the plain checks would have seen something."""
    plain = [name for name in PLAIN_OUTPUT if name in graph.lesson.checks]
    by_output = any(graph.result(name).status != result.PASSED for name in plain)
    is_built = graph.result("builds").status == result.PASSED
    return by_output, is_built and _plain_trace(graph.run)


def _source_line(run: Run, finding: Finding) -> str:
    source = read_regular(run.sandbox.tree / "lesson" / finding.file) if finding.line else None
    return source.decode(errors="replace").splitlines()[finding.line - 1] if source else ""


def _errors(checks: Iterable[CheckResult]) -> list[str]:
    return [check.detail for check in checks if check.status == result.GRADER_ERROR]


def audit_mutant(mutant: Mutant) -> Outcome:
    """Caught is caught by its check with its finding, and in its line where the mutant
    names one. Where that fails, every check says what it found instead."""
    def is_right(found: Finding) -> bool:
        in_line = not mutant.line or mutant.line in _source_line(graph.run, found)
        return found.code == mutant.finding and in_line

    # One check does not need all that is built for all of them.
    with _graph(
        mutant.lesson, lambda dest: stage_mutant(mutant, dest), builds=("lesson",), enough=is_right
    ) as graph:
        if mutant.check not in graph.lesson.checks:
            raise GraderError(f"{mutant.path}: {mutant.lesson} has no check {mutant.check}")
        checks = (graph.result(mutant.check),)
        right = any(map(is_right, checks[0].findings))
        if not right:
            checks = graph.all().checks
        lines = [(f"{c.id}: {f.code}", _source_line(graph.run, f)) for c in checks for f in c.findings]
        errors = _errors(checks)
        caught = "error" if errors else "right" if right else "other" if lines else "missed"
        detail = "; ".join(errors or [f"{code} in: {line.strip()}" for code, line in lines])
        return Outcome(mutant.name, mutant.lesson, caught, *_plain(graph), detail)


def audit_variant(path: Path) -> Outcome:
    """Passed is every check passed, and so every point."""
    lesson = path.parent.name
    with _graph(lesson, lambda dest: stage_variant(path, dest)) as graph:
        checks = graph.all().checks
        wrong = [check for check in checks if check.status != result.PASSED]
        errors = _errors(checks)
        caught = "error" if errors else "failed" if wrong else "passed"
        found = [f.code for check in wrong for f in check.findings]
        detail = "; ".join(errors or [*(check.id for check in wrong), *found])
        return Outcome(f"{lesson}/{path.stem}", lesson, caught, *_plain(graph), detail)


def audit(only=()) -> tuple[list[Outcome], list[Outcome]]:
    """The outcomes of all mutants and all variants, of the lessons in `only` if given."""
    bad = [m for m in mutants() if not only or m.lesson in only]
    good = [path for path in variants() if not only or path.parent.name in only]
    # Grading waits for programs most of the time: twice as many at once as processors.
    with ProcessPoolExecutor(2 * len(os.sched_getaffinity(0))) as pool:
        passed = pool.map(audit_variant, good)  # they take longest, so they come first
        caught = pool.map(audit_mutant, bad)
        return list(caught), list(passed)


def table(bad: list[Outcome], good: list[Outcome]) -> str:
    """The table in Markdown, a row a lesson and one for all."""
    lines = [
        "| lesson | known bad | caught with its finding | with another | missed "
        "| odd but right | full points | caught by output alone | by fsync before rename |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    graded = {o.lesson for o in bad + good}
    for lesson in [*(name for name in course.lessons() if name in graded), "all"]:
        ours = [o for o in bad if lesson in (o.lesson, "all")]
        right = [o for o in good if lesson in (o.lesson, "all")]
        count = Counter(o.caught for o in ours)
        cells = (
            lesson, len(ours), count["right"], count["other"], count["missed"], len(right),
            sum(o.caught == "passed" for o in right), sum(o.by_output for o in ours),
            sum(o.by_fsync_before_rename for o in ours),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def troubles(bad: list[Outcome], good: list[Outcome]) -> list[str]:
    """Whatever keeps the table from 100 % and 0."""
    wrong = [o for o in bad if o.caught != "right"] + [o for o in good if o.caught != "passed"]
    return [f"{o.name}: {o.caught}: {o.detail or 'nothing was found'}" for o in wrong]


def write_readme(page: str, begin: str = BEGIN, end: str = END) -> None:
    """Puts the page between two marks of README.md."""
    path = course.ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(begin)
    path.write_text(f"{before}{begin}{page}\n{end}{rest.split(end)[1]}", encoding="utf-8")
