"""What grading yields: findings, checks, lessons, and the one JSON that holds them."""

import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from functools import cache

from . import sandbox

SCHEMA = "crash-safe-storage-workbook/result/1"

PASSED = "passed"
FAILED = "failed"
WAITING = "waiting"
CANNOT_JUDGE = "cannot judge"
GRADER_ERROR = "grader error"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `code` is explained by `explain CODE`."""

    code: str
    message: str
    file: str | None = None
    line: int | None = None
    excerpt: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file or ""


@dataclass(frozen=True)
class CheckResult:
    id: str
    title: str
    requirement: str
    status: str
    points: int
    max_points: int
    seconds: float
    findings: tuple[Finding, ...] = ()
    waits_for: tuple[str, ...] = ()
    detail: str = ""  # why it cannot be judged, what went wrong in the grader, or how much was tried
    tried: tuple[str, ...] = ()  # the scenarios, and the plan of the faults injected


@dataclass(frozen=True)
class LessonResult:
    id: str
    title: str
    seed: str
    checks: tuple[CheckResult, ...]
    seconds: float
    replaced: tuple[str, ...] = ()  # what is the reference's, of an earlier lesson, and why

    @property
    def points(self) -> int:
        return sum(check.points for check in self.checks)

    @property
    def max_points(self) -> int:
        return sum(check.max_points for check in self.checks)

    @property
    def passed(self) -> bool:
        return all(check.status == PASSED for check in self.checks)


def exit_status(lessons) -> int:
    """0 all passed, 1 something did not, 3 the grader is at fault."""
    statuses = {check.status for lesson in lessons for check in lesson.checks}
    if GRADER_ERROR in statuses:
        return 3
    return 0 if statuses <= {PASSED} else 1


@cache
def tools() -> dict[str, str]:
    """The versions of what a verdict rests on."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    for name in ("gcc", "strace", "bwrap"):
        if shutil.which(name):
            done = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
            found[name] = (done.stdout.splitlines() or ["unknown"])[0]
    return found


def to_json(lessons, seconds: float) -> dict:
    """The result as grader/result.schema.json describes it."""
    level = sandbox.level()
    return {
        "schema": SCHEMA,
        "exit_status": exit_status(lessons),
        "sandbox": {"level": level.name, "reason": level.reason},
        "tools": tools(),
        "seconds": round(seconds, 3),
        "lessons": [_lesson(lesson) for lesson in lessons],
    }


def _lesson(lesson: LessonResult) -> dict:
    return {
        "id": lesson.id, "title": lesson.title, "seed": lesson.seed, "passed": lesson.passed,
        "points": lesson.points, "max_points": lesson.max_points,
        "seconds": round(lesson.seconds, 3), "replaced": list(lesson.replaced),
        "checks": [check_to_json(check) for check in lesson.checks],
    }


def check_to_json(check: CheckResult) -> dict:
    data = asdict(check)
    data["seconds"] = round(check.seconds, 3)
    data["waits_for"], data["tried"] = list(check.waits_for), list(check.tried)
    data["findings"] = [{**f, "excerpt": list(f["excerpt"])} for f in data["findings"]]
    return data


def check_from_json(data: dict) -> CheckResult:
    """The way back, for results that another process of a parallel run sends."""
    findings = tuple(Finding(**{**f, "excerpt": tuple(f["excerpt"])}) for f in data["findings"])
    lists = {key: tuple(data[key]) for key in ("waits_for", "tried")}
    return CheckResult(**{**data, **lists, "findings": findings})
