"""Known-bad solutions, as patches on the reference, and correct ones that look different.

A mutant is grader/mutants/LESSON/NAME.patch: a few lines of YAML, then a unified diff
against the staged reference:

    check: syncs-before-it-returns
    finding: D101
    row: Skipping fsync
    line: err = write_full(
    --- a/w10/wal_writer.c
    +++ b/w10/wal_writer.c

`check`  the check that must catch it, `finding`  with which code; `row`  the row of the
lesson's Common-mistakes table that warns of it, if one does; `line`  a text that stands
in the line at which the finding points; left out where no line can be named.

A variant is a directory grader/variants/LESSON/NAME with files that take the place of
the reference's; x.cpp takes that of x.c. Or it is NAME.patch, a diff against the staged
reference. It must get every point.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from . import stage
from .course import HERE, find
from .errors import GraderError
from .result import LessonResult


@dataclass(frozen=True)
class Mutant:
    path: Path
    lesson: str
    check: str
    finding: str
    row: str | None
    line: str | None
    patch: str

    @property
    def name(self) -> str:
        return f"{self.lesson}/{self.path.stem}"


def mutants() -> list[Mutant]:
    return [_load(path) for path in sorted((HERE / "mutants").glob("*/*.patch"))]


def _load(path: Path) -> Mutant:
    text = path.read_text(encoding="utf-8")
    diff = re.search("^(--- a/|diff --git )", text, re.M)
    try:
        if diff is None:
            raise ValueError("no diff")
        at = diff.start()
        head = yaml.safe_load(text[:at])
        unknown = set(head) - {"check", "finding", "row", "line"}
        if unknown:
            raise ValueError(f"unknown: {unknown}")
        return Mutant(
            path, path.parent.name, head["check"], head["finding"], head.get("row"),
            head.get("line"), text[at:],
        )
    except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise GraderError(f"{path}: {error!r}") from None


def stage_mutant(mutant: Mutant, dest: Path) -> None:
    _stage_patched(mutant.name, mutant.patch, dest)


def _stage_patched(name: str, patch: str, dest: Path) -> None:
    stage.stage_reference(dest)
    done = subprocess.run(
        ["git", "apply", "-p1", "-"], cwd=dest, input=patch, text=True,
        capture_output=True, check=False,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(dest.parent)},
    )
    if done.returncode != 0:
        raise GraderError(f"{name}: the patch does not apply: {done.stderr.strip()}")


def variants() -> list[Path]:
    return sorted((HERE / "variants").glob("*/*"))


def stage_variant(variant: Path, dest: Path) -> None:
    if variant.suffix == ".patch":
        _stage_patched(variant.stem, variant.read_text(encoding="utf-8"), dest)
        return
    stage.stage_reference(dest)
    for path in variant.rglob("*.cpp"):
        (dest / path.relative_to(variant)).with_suffix(".c").unlink(missing_ok=True)
    shutil.copytree(variant, dest, dirs_exist_ok=True)


def grade_staged(lesson_id: str, stage_into) -> LessonResult:
    from .graph import LessonGraph  # here, since a check may use mutants: see planted.py

    graph = LessonGraph(find(lesson_id), stage_into)
    try:
        return graph.all()
    finally:
        graph.close()
