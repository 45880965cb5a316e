"""What of a student's bytes stands in a finding."""

import pytest

from grader.checks.returns import together
from grader.result import Finding
from grader.shown import quoted, word


@pytest.mark.parametrize("data, shown", [
    (b"after", '"after"'), (b"", '""'), (b"1\n", '"1\\n"'), (b"\0\xff", '"\\x00\\xff"'),
    (b"0123456789" * 3, '"012345678901234567890123"...'),
])
def test_bytes_in_a_message_are_text(data, shown):
    assert quoted(data) == shown


@pytest.mark.parametrize("value, shown", [
    ("x666f6f", "foo"), ("x", "x"), ("x00ff", "x00ff"), ("x6120", "x6120"), ("-74", "-74"), ("xyz", "xyz"),
    ("x666f6", "x666f6"),
])
def test_a_word_of_a_reply_is_text_where_that_can_be_read(value, shown):
    assert word(value) == shown


def test_findings_that_differ_only_in_the_error_are_one():
    def found(error, line):
        return Finding("F131", f"it returned {error} and should return 0", "w10/checkpoint.c", line)
    one, other, *rest = together([found("-28 (-ENOSPC)", 3), found("-5 (-EIO)", 7), found("-5 (-EIO)", 3)])
    assert not rest and other == found("-5 (-EIO)", 7) and one.line == 3
    assert one.message == "it returned -28 (-ENOSPC) and should return 0 (and 1 more like it)"
