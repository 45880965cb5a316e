"""A check may end before it is done: what it had found stays found."""

import pytest

from grader import result, stage
from grader.checks import Check
from grader.course import find
from grader.errors import CannotJudge, GraderError
from grader.graph import LessonGraph
from grader.result import Finding
from grader.run import Failed

FIRST, LAST = Finding("D101", "the first"), Finding("S101", "the end")


def judged(found, end):
    """Status and findings of a check that yields `found` and then raises `end`."""
    def run(_):
        yield from found
        raise end

    graph = LessonGraph(find("w10-l01"), stage.stage_reference)
    try:
        return graph._judge(Check("a-check", "A check", "A check.", (), run))[:2]
    finally:
        graph.close()


@pytest.mark.parametrize("found, end, status, findings", [
    ([FIRST], Failed(LAST), result.FAILED, (FIRST, LAST)),
    ([FIRST], CannotJudge("mmap"), result.FAILED, (FIRST,)),
    ([], Failed(LAST), result.FAILED, (LAST,)),
    ([], CannotJudge("mmap"), result.CANNOT_JUDGE, ()),
    ([FIRST], GraderError("ours"), result.GRADER_ERROR, ()),
    ([FIRST], KeyError("ours"), result.GRADER_ERROR, ()),
])
def test_what_ends_a_check_takes_back_nothing_that_it_found(found, end, status, findings):
    assert judged(found, end) == (status, findings)
