"""One source, three roles: what each role sees, and marks that are wrong."""

import pytest

from grader.errors import UsageError
from grader.render import region, render

SOURCE = """\
int f(int x)
{
//> body
    return x + 1; /* why */
//< body
/* skeleton body
    (void)x;
    return -38;
*/
}
"""


def test_the_reference_keeps_its_region_without_the_marks():
    assert render(SOURCE, "reference") == "int f(int x)\n{\n    return x + 1; /* why */\n}\n"


def test_the_skeleton_keeps_its_own():
    assert render(SOURCE, "skeleton") == "int f(int x)\n{\n    (void)x;\n    return -38;\n}\n"


def test_a_comment_that_ends_alone_on_a_line_is_no_mark():
    source = "/*\n * text\n*/\nint x;\n"
    assert render(source, "reference") == source


def test_a_region_can_be_quoted():
    assert region(SOURCE, "body") == "    return x + 1; /* why */\n"


@pytest.mark.parametrize("source, line, why", [
    ("//> a\n", 1, "not closed"),
    ("//< a\n", 1, "not open"),
    ("//> a\n//< b\n", 2, "not open"),
    ("//> a\n//> b\n//< b\n//< a\n", 2, "inside region a"),
    ("//> a\n//< a\n//> a\n//< a\n", 3, "stands twice"),
    ("/* skeleton a\n/* no */\n*/\n", 2, "comment inside"),
    ("/* skeleton a\n", 1, "not closed"),
    ("/* skeleton a\n//< a\n", 2, "not open"),
    ("    //> a\n    //< a\n", 1, "not understood"),
    ("//>a\n", 1, "not understood"),
    ("// > a\n", 1, "not understood"),
    ("/* skeleton */\n", 1, "not understood"),
])
def test_a_wrong_mark_is_an_error_with_its_line(source, line, why):
    with pytest.raises(UsageError, match=f"^x.c:{line}: .*{why}"):
        render(source, "skeleton", "x.c")
