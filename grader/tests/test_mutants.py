"""Known-bad solutions are caught with their finding; correct ones get every point."""

import pytest

from grader import findings, result
from grader.course import lessons
from grader.mutants import grade_staged, mutants, stage_mutant, stage_variant, variants


def _source_line(mutant, finding, tmp_path) -> str:
    stage_mutant(mutant, tmp_path)
    return (tmp_path / finding.file).read_text().splitlines()[finding.line - 1]


@pytest.mark.parametrize("mutant", mutants(), ids=lambda m: m.name)
def test_a_mutant_is_caught_with_its_finding(mutant, tmp_path):
    graded = grade_staged(mutant.lesson, lambda dest: stage_mutant(mutant, dest))
    assert not [c.detail for c in graded.checks if c.status == result.GRADER_ERROR]
    found = [f for check in graded.checks for f in check.findings]
    named = [f for f in found if f.code == mutant.finding]
    assert named, [f"{f.code} {f.where} {f.message}" for f in found] or "nothing was found"
    if mutant.line:
        lines = [_source_line(mutant, f, tmp_path) for f in named if f.line]
        assert any(mutant.line in line for line in lines), lines


@pytest.mark.parametrize("variant", variants(), ids=[f"{p.parent.name}/{p.name}" for p in variants()])
def test_a_variant_gets_every_point(variant):
    graded = grade_staged(variant.parent.name, lambda dest: stage_variant(variant, dest))
    wrong = [
        (check.id, check.detail, [f"{f.code} {f.where} {f.message}" for f in check.findings])
        for check in graded.checks if check.status != result.PASSED
    ]
    assert wrong == []
    assert graded.points == graded.max_points == lessons()[variant.parent.name].xp


def test_every_finding_of_a_mutant_is_in_the_catalogue():
    for mutant in mutants():
        assert findings.entry(mutant.finding)


def _rows(lesson) -> dict[str, str]:
    """The rows of the Common-mistakes table: the mistake, and the last cell."""
    _, _, table = lesson.path.read_text(encoding="utf-8").partition("\n## Common mistakes\n")
    rows = [line.strip("| ").split(" | ") for line in table.split("\n## ")[0].splitlines()
            if line.startswith("| ")]
    return {row[0].replace("`", ""): row[-1] for row in rows[1:]}


@pytest.mark.parametrize("lesson", lessons().values(), ids=lambda lesson: lesson.id)
def test_every_common_mistake_is_caught_as_its_row_says(lesson):
    backed = {(m.row, m.finding) for m in mutants() if m.lesson == lesson.id}
    rows = _rows(lesson)
    for row, codes in rows.items():
        assert any((row, code.strip("`")) in backed for code in codes.split(", ")), row
    assert {row for row, _ in backed if row} <= set(rows)
