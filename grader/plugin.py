"""The pytest plugin for which a lesson file is a test file.

    python3 -m pytest lessons/w10-l02-append-discipline.md -k sync --junitxml=out.xml

Each check of the lesson is a test that bears its name. A check that waits for another
is skipped. What a check found travels in the test's user properties, so that a
parallel run (pytest-xdist, --dist loadfile: the checks of a lesson share a build)
yields the same result as any other.
"""

import json
from pathlib import Path

import pytest

from . import report, result, stage
from .course import ROOT, load_lesson
from .earlier import WithEarlier
from .errors import UsageError
from .graph import LessonGraph

PROPERTY = "check"
USAGE = "usage"


class CheckDidNotPass(Exception):
    """Carries the result of a check to the report."""


def pytest_addoption(parser):
    group = parser.getgroup("grader")
    group.addoption("--graded-root", default=str(ROOT), help="the tree whose lessons are graded")
    group.addoption("--grader-seed", default=None, help="repeat the random values of a run")


def pytest_collect_file(file_path: Path, parent):
    if file_path.suffix == ".md" and file_path.parent == ROOT / "lessons":
        return LessonFile.from_parent(parent, path=file_path)
    return None


class LessonFile(pytest.File):
    def collect(self):
        try:
            lesson = load_lesson(self.path)
            root = Path(self.config.getoption("--graded-root"))
            self.staged = WithEarlier(lesson, lambda dest: stage.stage_submission(root, dest))
            self.graph = LessonGraph(lesson, self.staged, self.config.getoption("--grader-seed"))
        except UsageError as error:
            raise self.CollectError(str(error)) from None
        for check_id in lesson.checks:
            yield CheckItem.from_parent(self, name=check_id)

    def teardown(self):
        self.graph.close()


class CheckItem(pytest.Item):
    def runtest(self):
        graph = self.parent.graph
        try:
            found = graph.result(self.name)
            seed = graph.run.seed
        except UsageError as error:
            self.user_properties.append((USAGE, str(error)))
            raise
        data = {**result.check_to_json(found), "lesson": graph.lesson.id, "seed": seed,
                "replaced": list(map(str, self.parent.staged.replaced))}
        self.user_properties.append((PROPERTY, json.dumps(data)))
        if found.status == result.WAITING:
            pytest.skip(f"waits for: {', '.join(found.waits_for)}")
        if found.status != result.PASSED:
            raise CheckDidNotPass(found)

    def repr_failure(self, excinfo):
        if isinstance(excinfo.value, CheckDidNotPass):
            return "\n".join(report.check_lines(excinfo.value.args[0], self.parent.graph.lesson.id))
        if isinstance(excinfo.value, UsageError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, None, f"{self.parent.graph.lesson.id} {self.name}"
