"""What counts as the output that the lesson shows, and what does not."""

import pytest

from grader.expected import compare, compare_words

LISTING = "-rw-r--r-- 1 user user 91 ... test.wal\n"


@pytest.mark.parametrize("expected, observed", [
    ("a\nb\n", "a\nb\n"),
    ("a\n...\nz\n", "a\nz\n"),
    ("a\n...\nz\n", "a\nb\nc\nz\n"),
    ("a ... z\n", "a 1 2 z\n"),
    ("<hash> ok\n", "0123456789abcdef" * 4 + " ok\n"),
    (LISTING, "-rw-r--r-- 1 alice students 91 Nov 20 20:56 test.wal\n"),
    (LISTING, "-rw-r--r--  1  0  0   91 Jan  1  1970 test.wal\n"),
    ("a.b*c\n", "a.b*c\n"),
])
def test_agrees(expected, observed):
    assert compare(expected, observed) == ()


@pytest.mark.parametrize("expected, observed", [
    ("a\nb\n", "a\n"), ("a\n", "a\nb\n"), ("a\n", ""), ("", "a\n"), ("a\n", "a \n"),
    ("a.b\n", "axb\n"), ("a\n...\nz\n", "a\nb\n"), ("<hash>\n", "abc\n"),
    (LISTING, "-rw-r--r-- 1 user user 92 Nov 20 20:56 test.wal\n"),
    (LISTING, "-rw------- 1 user user 91 Nov 20 20:56 test.wal\n"),
    ("user\n", "alice\n"),
])
def test_differs(expected, observed):
    assert compare(expected, observed)


def test_the_difference_shows_what_is_good_bad_and_missing():
    marked = compare("one\ntwo\nthree\n", "one\n2\nthree\n")
    assert marked == ("GOOD     one", "MISSING  two", "BAD      2", "GOOD     three")


@pytest.mark.parametrize("expected, observed, marked", [
    ("one\ntwo\n...\n", "one\n2\n3\n4\n", ("GOOD     one", "MISSING  two", "BAD      2", "GOOD     3",
                                             "GOOD     4")),
    ("one\n...\ntwo\n", "one\n3\n2\n", ("GOOD     one", "GOOD     3", "MISSING  two", "BAD      2")),
    ("one\n...\ntwo\n", "one\n2\ntwo\n3\n", ("GOOD     one", "GOOD     2", "GOOD     two", "BAD      3")),
    ("one\n...\n", "", ("MISSING  one",)),
])
def test_what_stands_for_any_lines_is_not_marked_bad(expected, observed, marked):
    assert compare(expected, observed) == marked


@pytest.mark.parametrize("expected, observed", [
    ("b a\n", "a\nb\n"), ("", ""), ("a.rec a.cosig head\n", "a.cosig\na.rec\nhead\n"),
])
def test_a_listing_agrees_in_any_order(expected, observed):
    assert compare_words(expected, observed) == ()


def test_a_listing_names_what_is_missing_and_what_is_too_many():
    assert compare_words("a b c", "a\nc\nc\nd\n") == (
        "GOOD     a", "GOOD     c", "MISSING  b", "BAD      c", "BAD      d",
    )
