"""Runs the checks of one lesson as a graph: what a check needs comes first.

Each check runs once. One that needs a failed check waits: it is not failed itself.
"""

import time
import traceback
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from . import result
from .checks import REGISTRY, Check
from .course import Lesson
from .errors import CannotJudge, GraderError, UsageError
from .result import CheckResult, Finding, LessonResult
from .run import Failed, Run


class LessonGraph:
    """The checks of a lesson on one tree. `run` is made by the first that needs it.
    A check goes on behind a finding, unless that is `enough`."""

    def __init__(
        self, lesson: Lesson, stage_into: Callable[[Path], None], seed=None, builds=(),
        enough: Callable[[Finding], bool] = lambda finding: False,
    ):
        self.lesson, self._enough = lesson, enough
        self._stage_into, self._seed, self._builds = stage_into, seed, builds
        self._results: dict[str, CheckResult] = {}
        unknown = [name for name in lesson.checks if name not in REGISTRY]
        if unknown:
            raise UsageError(f"{lesson.path.name}: front matter: no check is called {unknown[0]}")

    @cached_property
    def run(self) -> Run:
        return Run(self.lesson, self._stage_into, self._seed, self._builds)

    def close(self):
        if "run" in self.__dict__:
            self.run.close()

    def result(self, check_id: str) -> CheckResult:
        if check_id not in self._results:
            self._results[check_id] = self._evaluate(REGISTRY[check_id])
        return self._results[check_id]

    def _evaluate(self, check: Check) -> CheckResult:
        needs = [name for name in check.needs if name in self.lesson.checks]
        waits = tuple(name for name in needs if self.result(name).status != result.PASSED)
        started = time.monotonic()
        status, findings, detail, tried = result.WAITING, (), "", ()
        if not waits:
            status, findings, detail, tried = self._judge(check)
        points = self.lesson.checks[check.id]
        return CheckResult(
            id=check.id, title=check.title, requirement=check.requirement, status=status,
            points=points if status == result.PASSED else 0, max_points=points,
            seconds=time.monotonic() - started, findings=findings, waits_for=waits,
            detail=detail, tried=tried,
        )

    def _judge(self, check: Check):
        """Its status, findings, a detail, and what was tried. What ends the check early
        takes back nothing that it had found."""
        findings: list[Finding] = []
        try:
            run = self.run
            run.tried, run.note = [], ""
            for found in check.run(run):
                findings.append(found)
                if self._enough(found):
                    break
        except Failed as failed:
            findings.extend(failed.findings)
        except CannotJudge as reason:
            if not findings:
                return result.CANNOT_JUDGE, (), str(reason), tuple(run.tried)
        except UsageError:
            raise
        except GraderError as error:
            return result.GRADER_ERROR, (), str(error), ()
        except Exception as error:  # a bug of ours must not look like one of the student's
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            return result.GRADER_ERROR, (), f"{type(error).__name__} at {where}: {error}", ()
        if findings:
            return result.FAILED, tuple(findings), "", tuple(run.tried)
        return result.PASSED, (), run.note, tuple(run.tried)

    def all(self) -> LessonResult:
        started = time.monotonic()
        checks = tuple(self.result(name) for name in self.lesson.checks)
        return LessonResult(
            self.lesson.id, self.lesson.title, self.run.seed, checks, time.monotonic() - started
        )
