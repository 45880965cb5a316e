"""The same verdict each time: how that is held, and a sample of it."""

from collections import Counter

from grader import steady
from grader.course import lessons
from grader.result import FAILED, PASSED, CheckResult, Finding

SAME = (("builds", "passed", "", ()), ("syncs", "failed", "", (("D101", "w10/a.c", 3, "x"),)))
OTHER = (SAME[0], ("syncs", "passed", "", ()))


def test_of_every_lesson_the_reference_and_a_known_bad_one():
    names = steady.submissions(list(lessons()))
    assert set(lessons()) < set(names) and len(names) == 2 * len(lessons())


def test_two_verdicts_are_not_steady_and_the_check_is_named():
    outcome = steady.Outcome("w10-l02", Counter({SAME: 49, OTHER: 1}))
    assert not outcome.is_steady
    assert steady.report(outcome).endswith("2 verdicts; they differ in syncs")


def check(status, message="", line=3, detail=""):
    findings = (Finding("D104", message, "w10/a.c", line),) if message else ()
    return steady.said(CheckResult("a-check", "A check", "", status, 0, 4, 0.1, findings, (), detail))


def test_numbers_that_threads_leave_to_be_counted_are_no_other_verdict():
    assert check(PASSED, detail="posix: 191 states") == check(PASSED, detail="posix: 203 states")
    assert check(FAILED, "lost 3 of 8 records") == check(FAILED, "lost 4 of 8 records")
    assert check(FAILED, "returned -5 (-EIO)") != check(FAILED, "returned -28 (-ENOSPC)")
    assert check(FAILED, "lost", line=3) != check(FAILED, "lost", line=4)
    assert check(PASSED) != check(FAILED)


def test_the_same_four_at_once():
    (good, bad) = steady.steady(steady.submissions(["w10-l01"]), 4)
    assert good.is_steady and bad.is_steady, steady.report(good) + steady.report(bad)
    assert sum(good.verdicts.values()) == sum(bad.verdicts.values()) == 4
    assert good.verdicts != bad.verdicts
