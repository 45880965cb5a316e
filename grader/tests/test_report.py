"""What a person reads first, last, and how often."""

from grader import report, result
from grader.result import CheckResult, Finding, LessonResult


def check(*codes, status=result.FAILED, most=4):
    findings = tuple(Finding(code, "what is wrong", "w10/kv.c") for code in codes)
    return CheckResult("an-id", "A title", "", status, 0, most, 0.0, findings)


def last_line(*checks):
    lesson = LessonResult("w10-l04", "Crash scenarios", "seed", checks, 0.0)
    return report.lesson_text(lesson).splitlines()[-1]


def test_the_last_line_names_what_to_begin_with():
    assert last_line(check("D101"), check("D201")).endswith("make explain CODE=D101")
    assert last_line(check("B103"), check("O101"), check("R603"), check("R604")).endswith("CODE=R603")
    assert last_line(check("B103"), check("O101")).endswith("CODE=O101")
    assert last_line(check("B103")).endswith("CODE=B103")
    assert "make explain" not in last_line(check(status=result.PASSED))


def test_a_failure_that_costs_nothing_is_named_beside_full_points():
    assert last_line(check("O101", most=0)).strip() == (
        "0 of 0 points, though not every check passed; to begin with: make explain CODE=O101")
    assert "though" not in last_line(check("O101", most=0), check("R603"))


def test_what_to_read_again_is_said_once_where_it_is_the_same():
    def read_again(*codes):
        return [line.strip() for line in report.check_lines(check(*codes), "w10-l04") if "read again" in line]
    assert read_again("R603", "R604", "R603") == ["read again: w10-l04, What to try"]
    assert report.check_lines(check("R603", "R604"), "w10-l04")[-1].strip() == "read again: w10-l04, What to try"
    assert read_again("R603", "R602") == [
        "read again: w10-l04, What to try", "read again: w10-l04, See it fail",
    ]
