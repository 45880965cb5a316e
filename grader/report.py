"""The verdict for the terminal, made from results alone."""

import textwrap
from collections.abc import Sequence

from . import findings as catalogue
from . import result
from .result import CheckResult, Finding, LessonResult

_WORDS = {
    result.PASSED: "ok", result.FAILED: "FAILED", result.WAITING: "waits",
    result.CANNOT_JUDGE: "UNSEEN", result.GRADER_ERROR: "OUR BUG",
}
# What to read about last: what is printed is wrong because something else is, and a
# warning is no more than that.
LATER = {"O101": 1, "B103": 2}


def lesson_text(lesson: LessonResult) -> str:
    """A lesson's verdict: every check, and under those that failed what to look at."""
    lines = [f"{lesson.id}  {lesson.title}", ""]
    lines += [line for said in lesson.replaced for line in _wrapped(said, 2)] + [""] * bool(lesson.replaced)
    for check in lesson.checks:
        lines += check_lines(check, lesson.id)
    lines += ["", f"  {lesson.points} of {lesson.max_points} points{_ending(lesson)}"]
    return "\n".join(lines)


def _ending(lesson: LessonResult) -> str:
    if lesson.passed:
        return ": every check passed"
    codes = [f.code for check in lesson.checks for f in check.findings]
    first = min(codes, key=lambda code: LATER.get(code, 0), default=None)
    though = ", though not every check passed" if lesson.points == lesson.max_points else ""
    return f"{though}; to begin with: make explain CODE={first}" if first else though


def check_lines(check: CheckResult, lesson: str) -> list[str]:
    points = f"{check.points:3}/{check.max_points}" if check.max_points else ""
    lines = [(f"  {_WORDS[check.status]:8}{check.title}".ljust(82) + points).rstrip()]
    if check.status == result.WAITING:
        lines.append(f"          for: {', '.join(check.waits_for)}")
    if check.detail:
        lines += _wrapped(check.detail, 10)
    if check.status == result.GRADER_ERROR:
        lines.append("          This is a fault of the grader, not of your code. Please report it.")
    return lines + findings_lines(check.findings, lesson)


def findings_lines(findings: Sequence[Finding], lesson: str) -> list[str]:
    """What to read again stands once behind those for which it is the same."""
    lines = []
    sections = [catalogue.section(finding.code, lesson) for finding in findings]
    for finding, section, following in zip(findings, sections, [*sections[1:], None]):
        where = f" {finding.where}:" if finding.where else ""
        lines += _wrapped(f"{finding.code}{where} {finding.message}", 10)
        lines += [f"          | {line}" for line in finding.excerpt]
        if section != following:
            lines.append(f"          read again: {section}")
    return lines


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text, 96, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2),
        break_long_words=False, break_on_hyphens=False,
    )


def closing(lessons, level) -> str:
    """The lines under all verdicts: the sum, and what the sandbox could not do."""
    lines = []
    if len(lessons) > 1:
        points = sum(lesson.points for lesson in lessons)
        most = sum(lesson.max_points for lesson in lessons)
        lines.append(f"{points} of {most} points in {len(lessons)} lessons")
    if level.reason:
        lines.append(f"Sandbox level {level.name!r}: {level.reason}. See: make doctor")
    return "\n".join(lines)
