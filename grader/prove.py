"""Holds a lesson's proof patterns against its real run, or against a pasted text.

A pattern that is found in a paste shows what somebody saw, not what a program does:
the points come from grading alone.
"""

import re
from pathlib import Path

from . import report, stage
from .build import listed_commands, run_commands
from .course import Lesson
from .errors import UsageError
from .run import Run

PASTE_MAX_BYTES = 1 << 20


def prove(lesson: Lesson, root: Path, paste: Path | None = None) -> bool:
    """Prints which patterns are there. True if all of them are."""
    text = _ran(lesson, root) if paste is None else _pasted(paste)
    if text is None:
        return False
    patterns = lesson.proof["regex_patterns"]
    found = [re.search(pattern, text, re.MULTILINE) is not None for pattern in patterns]
    print(f"{lesson.id}  {lesson.proof['instructions']}\n")
    for there, pattern in zip(found, patterns):
        print(f"  {'found' if there else 'MISSING':8}{pattern}")
    where = "what your program printed" if paste is None else str(paste)
    print(f"\n  {sum(found)} of {len(found)} patterns found in {where}")
    if paste is not None:
        print(f"  A paste earns no points; those come from: make {lesson.id}")
    return all(found)


def _pasted(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(PASTE_MAX_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"--paste: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--paste: {path} is not text") from None
    if len(data) > PASTE_MAX_BYTES:
        raise UsageError(f"--paste: {path} is larger than {PASTE_MAX_BYTES >> 20} MiB")
    if "\0" in text:
        raise UsageError(f"--paste: {path} is not text")
    return text


def _ran(lesson: Lesson, root: Path) -> str | None:
    """What the lesson's own commands print, or None if they cannot be run."""
    run = Run(lesson, lambda dest: stage.stage_submission(root, dest))
    try:
        troubles = run.build("lesson").findings
        if troubles:
            print("\n".join(report.findings_lines(troubles, lesson.id)))
            return None
        shown = []
        for command in run_commands(lesson) + listed_commands(lesson):
            done = run.sandbox.run(["sh", "-c", f"exec 2>&1\n{command}"], cwd="lesson")
            shown.append(done.stdout.decode(errors="replace"))
        return "".join(shown)
    finally:
        run.close()
