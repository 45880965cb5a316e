"""How findings and pages word what happened, where the words are put together from parts."""

import errno

import pytest

from grader.crash.verdict import _disk
from grader.run import Fault, Script, _last_calls


def test_a_call_that_did_not_return_is_named_by_what_it_was_given():
    script = Script()
    first = script.call("f", b"x", told="1 byte")
    second = script.call("f", b"xy")
    assert _last_calls([(str(first), "f")], {}, script, {}) == ("f", "f() given 1 byte")
    assert _last_calls([(str(second), "f")], {}, script, {}) == ("f", f"f() in call {second}")


def test_a_call_that_did_not_return_is_named_by_what_failed_before_it():
    script = Script()
    numbers = [script.call(name) for name in ("open", "f", "clear", "close", "end", "begin", "open")]
    watched, failed = Fault("write", "watch", 0, (), -1), Fault("fsync", "errno", errno.EIO, (), 3)

    def said(i: int) -> str:
        number, name = script.lines[i].split()
        return _last_calls([(number, name)], {}, script, {numbers[1]: [failed, watched]})[1]

    assert said(0) == "open() in call 1"
    assert said(1) == "f() in which fsync() failed (EIO)"
    assert said(3) == "close() after a f() in which fsync() failed (EIO)"
    assert said(6) == "open() in call 7"  # of another process


@pytest.mark.parametrize("line, shown", [
    ("f log 3 x000102", "3 bytes: 00 01 02"),
    ("f log 120 x0001", "120 bytes: 00 01, zeros from there on"),
    ("f log 120 x", "120 bytes: zeros"),
])
def test_the_bytes_of_a_file_on_a_disk(line, shown):
    assert _disk([line]) == [f"  log  {shown}"]
