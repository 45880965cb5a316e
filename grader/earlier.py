"""What a lesson needs from an earlier one: the student's own if that passes, or the reference's.

One stuck lesson must not end the course. A lesson's front matter names the files that it
takes from earlier lessons (`borrows`); the rest is its own and never replaced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from . import course, result, stage
from .course import HERE, ROOT, Lesson
from .graph import LessonGraph
from .stage import read_regular

Stage = Callable[[Path], None]
PASSED = ROOT / "build" / "passed"


@dataclass(frozen=True)
class Replaced:
    """Files of an earlier lesson that are the reference's, and the check that says why."""

    lesson: str
    files: tuple[str, ...]
    check: str

    def __str__(self) -> str:
        what = "is the reference's" if len(self.files) == 1 else "are the reference's"
        return f"{', '.join(self.files)} {what}: yours do not pass {self.lesson} yet ({self.check})"


class WithEarlier:
    """Stages a tree for `lesson`, with the reference's files where an earlier lesson of
    the tree does not pass. Which those are is found when it is first asked for."""

    def __init__(self, lesson: Lesson, stage_into: Stage):
        self.lesson, self.stage_into = lesson, stage_into

    @cached_property
    def replaced(self) -> tuple[Replaced, ...]:
        found: tuple[Replaced, ...] = ()
        for name in self.lesson.needs:
            earlier = course.lessons().get(name)
            own = set(earlier.files) - set(earlier.borrows) if earlier else set()
            files = tuple(name for name in self.lesson.borrows if name in own)
            failed = files and _first_failure(earlier, _staging(self.stage_into, found))
            found += (Replaced(name, files, failed),) if failed else ()
        return found

    def __call__(self, dest: Path) -> None:
        _staging(self.stage_into, self.replaced)(dest)


def _staging(stage_into: Stage, replaced: tuple[Replaced, ...]) -> Stage:
    def staged(dest: Path) -> None:
        stage_into(dest)
        for name in (name for one in replaced for name in one.files):
            stage.put_reference(dest, name)

    return staged


def _first_failure(lesson: Lesson, stage_into: Stage) -> str | None:
    """The first check of the lesson that does not pass. That it passed is remembered, by
    what was graded and by what graded it."""
    home = stage.workspace()
    try:
        stage_into(home)
        seal = PASSED / _digest(lesson, home)
    finally:
        stage.remove(home)
    if seal.exists():
        return None
    graph = LessonGraph(lesson, stage_into)
    try:
        for name in lesson.checks:
            if graph.result(name).status != result.PASSED:
                return _cause(graph, name)
    finally:
        graph.close()
    _remember(seal)
    return None


def _cause(graph: LessonGraph, check: str) -> str:
    """What a check that waits is waiting for."""
    waits_for = graph.result(check).waits_for
    return _cause(graph, waits_for[0]) if waits_for else check


def _digest(lesson: Lesson, tree: Path) -> str:
    newest = max(path.stat().st_mtime_ns for path in HERE.rglob("*") if "__pycache__" not in path.parts)
    digest = hashlib.sha256(f"{lesson.id} {newest} {lesson.path.stat().st_mtime_ns}".encode())
    for path in sorted(tree.glob(f"{stage.WEEKS}/*")):
        digest.update(f"{path.name} {path.is_symlink()} ".encode() + (read_regular(path) or b""))
    return digest.hexdigest()


def _remember(seal: Path) -> None:
    try:
        seal.parent.mkdir(parents=True, exist_ok=True)
        seal.touch()
    except OSError:
        pass  # a tree that cannot be written to is graded anew each time
