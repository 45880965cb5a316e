"""The tree itself: skeletons in step and unsolved, texts true, nothing out of place."""

import re
import subprocess

import pytest

from grader import findings, result, stage, text
from grader.checks import REGISTRY
from grader.course import HERE, ROOT, lessons
from grader.demo import write_readme
from grader.graph import LessonGraph
from grader.mutants import grade_staged, mutants
from grader.render import render_file

TOP = {"LICENSE", "Makefile", "README.md", "grader", "lessons", "w10", "w13", "w18", "weeks"}
LESSONS = list(lessons().values())


def by_id(lesson):
    return lesson.id


def skeletons(lesson, dest):
    stage.stage_reference(dest)
    for solution in stage.solutions():
        path = dest / stage.skeleton_of(solution).relative_to(ROOT)
        path.write_text(render_file(solution, "skeleton"))


def test_the_top_level_holds_the_architecture_and_nothing_else():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} == TOP


@pytest.mark.parametrize("solution", stage.solutions(), ids=lambda p: p.name)
@pytest.mark.parametrize("standard", ["c11", "gnu17", "c2x"])
def test_reference_and_skeleton_build_without_a_warning(solution, standard, tmp_path):
    for role in ("reference", "skeleton"):
        source = tmp_path / f"{role}.c"
        source.write_text(render_file(solution, role))
        for macros in ([], ["-DSELF_TEST"], ["-DNO_SELF_TEST"]):
            done = subprocess.run(
                ["gcc", f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-O2", *macros,
                 f"-I{solution.parent.parent}", "-c", source, "-o", "/dev/null"],
                capture_output=True, text=True, check=False,
            )
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("lesson", LESSONS, ids=by_id)
def test_an_untouched_lesson_earns_nothing(lesson):
    graded = grade_staged(lesson.id, lambda dest: skeletons(lesson, dest))
    assert not [c.detail for c in graded.checks if c.status == result.GRADER_ERROR]
    assert graded.points == 0 and not graded.passed
    assert graded.checks[0].status == result.PASSED, "a skeleton has to build"


@pytest.mark.parametrize("lesson", LESSONS, ids=by_id)
def test_the_text_is_in_step_with_the_tree(lesson):
    assert text.refresh(lesson.path, check=True) == []
    assert text.run_blocks(lesson) == []


def test_the_readme_shows_what_the_grader_prints():
    assert write_readme(check=True)


def headings(path):
    return {line.lstrip("#").strip() for line in path.read_text().splitlines() if line.startswith("#")}


@pytest.mark.parametrize("code", list(findings.catalogue()))
def test_a_finding_says_where_to_read_on(code):
    entry = findings.entry(code)
    assert {"title", "why", "section", "systems"} == set(entry) - {"in"}
    assert code[0] in findings.KINDS and findings.explain(code)
    for section in (entry["section"], *(findings.section(code, lesson) for lesson in entry.get("in", ()))):
        lesson, _, heading = section.partition(", ")
        if lesson in lessons():
            assert heading in headings(lessons()[lesson].path), section
        elif lesson == "the lesson's Your turn":
            assert all("Your turn" in headings(each.path) for each in LESSONS)


def test_every_code_that_is_used_is_in_the_catalogue_and_the_reverse():
    sources = [*HERE.glob("*.py"), *HERE.glob("checks/*.py"), *HERE.glob("trace/*.py"), *HERE.glob("crash/*.py")]
    used = set(re.findall(r'"([DAFRBOS][0-9]{3})"', "".join(p.read_text() for p in sources)))
    assert used == set(findings.catalogue())


def mistakes(path):
    """The cells of a Common-mistakes table: what is done wrong, and the finding."""
    rows, inside = {}, False
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            inside = line.lstrip("#").strip() == "Common mistakes"
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if inside and line.startswith("|") and not set(cells[0]) <= set("-: ") and cells[0] != "Mistake":
            rows[cells[0]] = cells[-1]
    return rows


@pytest.mark.parametrize("lesson", LESSONS, ids=by_id)
def test_every_common_mistake_is_one_that_the_grader_finds(lesson):
    rows = mistakes(lesson.path)
    assert rows
    planted = {(m.row, m.finding) for m in mutants() if m.lesson == lesson.id and m.row}
    listed = {(row, code) for row, codes in rows.items() for code in codes.split(", ")}
    assert listed == planted


@pytest.mark.parametrize("check", REGISTRY.values(), ids=lambda c: c.id)
def test_a_title_fits_on_its_line(check):
    assert 10 < len(check.title) <= 72


def test_the_map_knows_which_lessons_exist():
    page = (ROOT / "weeks" / "README.md").read_text()
    mapped = set(re.findall(r"\bw\d\d-l\d\d\b", page))
    assert len(mapped) == 14 and set(lessons()) <= mapped
    linked = set(re.findall(r"lessons/(w\d\d-l\d\d)", page))
    assert linked == set(lessons())


@pytest.mark.parametrize("lesson", LESSONS, ids=by_id)
def test_the_week_names_every_check(lesson):
    page = (ROOT / "weeks" / f"{lesson.part}.md").read_text()
    for name, points in lesson.checks.items():
        assert f"| {name} | {points} | {REGISTRY[name].title} |" in page


def test_checks_that_are_written_are_used():
    used = {name for lesson in LESSONS for name in lesson.checks}
    assert set(REGISTRY) == used


def test_a_lesson_with_an_unknown_check_is_refused():
    import dataclasses

    from grader.errors import UsageError

    lesson = dataclasses.replace(LESSONS[0], checks={"no-such-check": 1})
    with pytest.raises(UsageError, match="no check is called no-such-check"):
        LessonGraph(lesson, stage.stage_reference)
