"""How findings and pages word what happened, where the words are put together from parts."""

import pytest

from grader.crash.verdict import _disk
from grader.run import Script, _last_calls


def test_a_call_that_did_not_return_is_named_by_what_it_was_given():
    script = Script()
    first = script.call("f", b"x", told="1 byte")
    second = script.call("f", b"xy")
    assert _last_calls([(str(first), "f")], {}, script.told) == ("f", "f() given 1 byte")
    assert _last_calls([(str(second), "f")], {}, script.told) == ("f", f"f() in call {second}")


@pytest.mark.parametrize("line, shown", [
    ("f log 3 x000102", "3 bytes: 00 01 02"),
    ("f log 120 x0001", "120 bytes: 00 01, zeros from there on"),
    ("f log 120 x", "120 bytes: zeros"),
])
def test_the_bytes_of_a_file_on_a_disk(line, shown):
    assert _disk([line]) == [f"  log  {shown}"]
