"""A lesson that has no storage of its own, held to the crash check of one that has.

The reference of the other lesson, with the student's files of this one laid over it, is
traced and recovers; what goes wrong is then the doing of those files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .. import stage
from ..course import find
from ..result import Finding
from ..run import Run
from ..stage import read_regular
from ..sandbox import Sandbox
from .explore import Server
from .scenario import Scenario, Subject
from .survive import survive, trace


def survive_borrowed(
    run: Run, lesson_id: str, subject: Subject, scenarios: list[Scenario], at_fault: str
) -> Iterator[Finding]:
    """Findings point at the student's function `at_fault`."""

    def stage_into(tree: Path) -> None:
        stage.stage_reference(tree)
        for name in run.lesson.files:
            data = read_regular(run.sandbox.tree / "lesson" / name)
            if data is not None:
                (tree / name).write_bytes(data)

    other = Run(find(lesson_id), stage_into, run.seed, builds=("plain",))
    try:
        home = other.home / "server"
        home.mkdir(mode=0o711)
        other.start_builds()
        # Not the run's own sandbox: what recovers is given, and need not be crashed.
        server = Server(other.lesson, Sandbox(home), stage_into)
        for finding in survive(other, server, subject, trace(other, scenarios)):
            message = f"below the reference of {lesson_id}: {finding.message}"
            yield other.at_function(replace(finding, message=message), at_fault)
        run.tried, run.note = other.tried, other.note
    finally:
        other.close()
