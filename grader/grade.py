"""Grades lessons of a tree through pytest and gathers what the checks found."""

import json
import os
import time
from pathlib import Path

import pytest

from . import plugin
from .course import Lesson
from .errors import GraderError, UsageError
from .result import LessonResult, check_from_json


class _Gatherer:
    """Collects the results that the tests carry, in this process or from workers."""

    def __init__(self):
        self.checks: dict[str, dict] = {}
        self.seeds: dict[str, str] = {}
        self.replaced: dict[str, tuple[str, ...]] = {}
        self.usage: str | None = None
        self.trouble: list[str] = []

    def pytest_runtest_logreport(self, report):
        properties = dict(report.user_properties)
        if plugin.USAGE in properties:
            self.usage = properties[plugin.USAGE]
        elif plugin.PROPERTY in properties:
            data = json.loads(properties[plugin.PROPERTY])
            lesson = data.pop("lesson")
            self.seeds[lesson], self.replaced[lesson] = data.pop("seed"), tuple(data.pop("replaced"))
            self.checks.setdefault(lesson, {})[data["id"]] = check_from_json(data)
        elif report.failed:
            self.trouble.append(f"{report.nodeid}: {report.longreprtext.splitlines()[-1]}")

    def pytest_collectreport(self, report):
        if report.failed:
            self.usage = report.longreprtext

    def pytest_internalerror(self, excrepr):
        self.trouble.append(str(excrepr).splitlines()[-1])
        return True


def grade(
    lessons: list[Lesson], root: Path, *, seed: str | None = None, junit: Path | None = None
) -> tuple[list[LessonResult], float]:
    """Grades `lessons` as they stand in `root`. The results and the seconds it took."""
    started = time.monotonic()
    gatherer = _Gatherer()
    words = [str(lesson.path) for lesson in lessons]
    words += ["-p", "no:terminal", "-p", "no:cacheprovider", f"--graded-root={root}"]
    words += [f"--grader-seed={seed}"] if seed else []
    words += [f"--junitxml={junit}"] if junit else []
    workers = min(len(lessons), len(os.sched_getaffinity(0)))
    if workers > 1:
        words += ["-n", str(workers), "--dist", "loadfile"]
    pytest.main(words, plugins=[gatherer])
    if gatherer.usage:
        raise UsageError(gatherer.usage)
    if gatherer.trouble:
        raise GraderError(gatherer.trouble[0])
    return [_lesson(gatherer, lesson) for lesson in lessons], time.monotonic() - started


def _lesson(gatherer: _Gatherer, lesson: Lesson) -> LessonResult:
    found = gatherer.checks.get(lesson.id, {})
    missing = [name for name in lesson.checks if name not in found]
    if missing:
        raise GraderError(f"{lesson.id}: check {missing[0]} did not run")
    checks = tuple(found[name] for name in lesson.checks)
    return LessonResult(
        lesson.id, lesson.title, gatherer.seeds[lesson.id], checks,
        sum(check.seconds for check in checks), gatherer.replaced[lesson.id],
    )
