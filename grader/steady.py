"""Grades the same submissions again and again, several at once: always the same findings?

What a grader says must not depend on the load of the machine, on the order of what runs
at once, or on chance.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from . import stage
from .mutants import grade_staged, mutants, stage_mutant
from .result import CheckResult

AT_ONCE = 4
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Outcome:
    name: str
    verdicts: Counter  # how often each was seen

    @property
    def is_steady(self) -> bool:
        return len(self.verdicts) == 1


def submissions(lesson_ids) -> list[str]:
    """Of each lesson the reference and one known-bad solution, by their names."""
    bad = {mutant.lesson: mutant.name for mutant in reversed(mutants())}
    return [name for lesson in lesson_ids for name in (lesson, bad.get(lesson)) if name]


def said(check: CheckResult) -> tuple:
    """What is said of a check, but the seconds, and but the numbers: threads take another
    course each time, and leave other numbers of disks and bytes to be counted."""
    findings = (
        (found.code, found.file, found.line, _NUMBER.sub("#", found.message)) for found in check.findings
    )
    return check.id, check.status, _NUMBER.sub("#", check.detail), tuple(findings)


def verdict(name: str) -> tuple:
    """All that is said of a submission."""
    mutant = next((m for m in mutants() if m.name == name), None)
    lesson = mutant.lesson if mutant else name
    into = (lambda dest: stage_mutant(mutant, dest)) if mutant else stage.stage_reference
    return tuple(map(said, grade_staged(lesson, into).checks))


def steady(names: list[str], times: int) -> list[Outcome]:
    """Each of them `times` times, AT_ONCE at once whatever the machine has."""
    with ProcessPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(verdict, [name for _ in range(times) for name in names]))
    return [Outcome(name, Counter(found[i :: len(names)])) for i, name in enumerate(names)]


def differences(outcome: Outcome) -> list[str]:
    """The checks of which not always the same was said."""
    by_check = zip(*outcome.verdicts)
    return [said[0][0] for said in by_check if len(set(said)) > 1]


def report(outcome: Outcome) -> str:
    cpus, times = len(os.sched_getaffinity(0)), sum(outcome.verdicts.values())
    what = f"{len(outcome.verdicts)} verdicts; they differ in {', '.join(differences(outcome))}"
    what = "the same each time" if outcome.is_steady else what
    return f"{outcome.name}: {times} times, {AT_ONCE} at once on {cpus} processors: {what}"
