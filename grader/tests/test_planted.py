"""A test is tried on what planted.yaml lists: all of it reachable, and none of it loud."""

import re
import subprocess
from pathlib import Path

import pytest

from grader import planted, stage
from grader.checks.crash_scenarios import passes_every_right_recovery
from grader.course import ROOT, lessons
from grader.mutants import mutants, variants
from grader.run import Failed, Run

LESSONS = ["w10-l04"]
KINDS = list(planted.plan("w10-l04")["planted"])


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_solution_of_the_earlier_lesson_is_used_or_left_out_with_a_reason(lesson):
    plan = planted.plan(lesson)
    used = [name for kind in plan["planted"].values() for name in kind]
    left_out = [name for entry in plan["left_out"] for name in entry["mutants"]]
    there = [m.path.stem for m in mutants() if m.lesson == plan["of"]]
    assert sorted(used + left_out) == sorted(there)
    right = [path.stem for path in variants() if path.parent.name == plan["of"]]
    assert sorted(plan["right"]) == sorted(right)
    assert all(entry["why"] for entry in plan["left_out"])


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_lesson_says_how_many_there_are(lesson):
    text = lessons()[lesson].path.read_text()
    bad = sum(len(kind) for kind in planted.plan(lesson)["planted"].values())
    right = len(planted.solutions(lesson, "right"))
    assert f"the {right} recoveries that are right and catches the {bad} that have a bug" in text
    week = (ROOT / "weeks" / f"{lessons()[lesson].part}.md").read_text()
    assert f"{right} recoveries that are right have to pass, {bad} with a bug" in week
    assert right == 14 and "status 0 for fourteen of them" in passes_every_right_recovery.__doc__


@pytest.fixture(scope="module", params=LESSONS)
def bench(request):
    """The lesson, a directory in memory, and there all but the solution compiled for the
    sanitizers."""
    lesson, tree = request.param, stage.workspace()
    stage.stage_reference(tree)
    sources = [planted.plan(lesson)["program"], *planted._others(lesson)]
    gcc(tree, "-c", *sources)
    yield lesson, tree, [str(tree / Path(source).with_suffix(".o").name) for source in sources]
    stage.remove(tree)


def gcc(tree, *words):
    subprocess.run(["gcc", *planted.CHECKED, "-DNO_SELF_TEST", *words], cwd=tree, check=True)


def outcomes(bench, kind):
    """Each solution of a kind with what the reference test says of it."""
    lesson, folder, objects = bench
    for solution in planted.solutions(lesson, kind):
        tree = folder / solution.name
        planted._stage(lesson, solution, tree)
        gcc(tree, planted.plan(lesson)["file"], *objects, "-o", "test")
        yield solution.name, subprocess.run(
            ["./test"], cwd=tree, capture_output=True, text=True, timeout=60, check=False,
            env={"ASAN_OPTIONS": "detect_leaks=0"},
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_bug_is_seen_through_the_interface_and_is_nothing_worse(bench, kind):
    for name, done in outcomes(bench, kind):
        assert done.returncode == 1, (name, done.stdout, done.stderr)
        assert done.stderr == "" and done.stdout.splitlines()[-1].startswith("FAILED ")


def run_of(source):
    """A run of w10-l04 with this text as the student's test."""
    def into(dest):
        stage.stage_reference(dest)
        (dest / "w10" / "crash_scenarios.c").write_text(source)
    return Run(lessons()["w10-l04"], into)


def findings_of(source):
    run = run_of(source)
    try:
        return list(passes_every_right_recovery(run))
    except Failed as failed:
        return list(failed.findings)
    finally:
        run.close()


LOOKS_AROUND = r"""
#include <dirent.h>
#include <stdio.h>
#include "wal_recovery.h"
static int entries(const char *path)
{
    DIR *dir = opendir(path);
    int n = -2;
    while (dir && readdir(dir))
        n++;
    return n;
}
int main(void)
{
    /* What a trial can see: itself, the library that it is linked with and an
       empty directory, and an empty /tmp. */
    int here = entries("."), above = entries(".."), tmp = entries("/tmp");
    FILE *mark = fopen("/tmp/mark", "w");
    struct kv kv;
    struct wal_recovery found;
    kv_init(&kv);
    printf("FAILED %d %d %d %d\n", here, above, tmp, mark != NULL);
    return wal_recover("no.wal", &kv, &found) != 0 || here != 0 || above != 3 || tmp != 0;
}
"""


def test_a_trial_sees_nothing_of_another():
    if not run_level_is_best():
        pytest.skip("trials can see each other without namespaces")
    assert findings_of(LOOKS_AROUND) == []


def run_level_is_best():
    from grader import sandbox

    return sandbox.level().name == "namespaces"


@pytest.mark.parametrize("body, code, says", [
    ("for (;;) {}", "S101", "still running after 2 seconds; the contract gives it ten"),
    ("__builtin_trap();", "S104", "killed by signal"),
    ("for (;;) puts(\"and so on\");", "S102", "printed more"),
    ("return 2;", "R601", "ended with status 2"),
    ("return 0;", "R602", "returns -ENOSYS"),
    ("puts(\"FAILED torn\"); return 0;", "R602", "though it prints FAILED"),
])
def test_how_a_test_ends_on_a_right_recovery(body, code, says, monkeypatch):
    monkeypatch.setattr(planted, "SECONDS", 2)
    found = findings_of(f"#include <stdio.h>\nint main(void) {{ {body} }}\n")
    assert {f.code for f in found} == {code}
    assert says in found[0].message and found[0].file == "w10/crash_scenarios.c"


@pytest.mark.parametrize("body, says", [
    ("puts(\"torn after 7 bytes\"); fflush(stdout); for (;;) {}", "printed: torn after 7 bytes"),
    ("puts(\"torn after 7 bytes\"); for (;;) {}", "it had printed nothing"),
])
def test_a_test_that_ran_too_long_shows_how_far_it_came(body, says, monkeypatch):
    monkeypatch.setattr(planted, "SECONDS", 2)
    found = findings_of(f"#include <stdio.h>\nint main(void) {{ {body} }}\n")
    assert says in found[0].excerpt[0]


def test_the_contract_gives_as_many_seconds_as_the_finding_says():
    header = (ROOT / "w10" / "crash_scenarios.h").read_text().replace("\n *", "")
    assert f"has {planted.GIVEN} seconds" in header


def test_only_the_one_file_is_compiled_and_before_a_solution_is_in_sight():
    found = findings_of('#include "wal_recovery.c"\nint main(void) { return 0; }\n')
    assert [f.code for f in found] == ["B102"]
    assert re.search("wal_recovery.c: No such file", found[0].message)
