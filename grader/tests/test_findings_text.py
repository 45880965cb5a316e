"""How findings and pages word what happened, where the words are put together from parts."""

import pytest

from grader.crash.verdict import _disk
from grader.run import Script, _last_calls, sanitizer_finding


def test_a_call_that_did_not_return_is_named_by_what_it_was_given():
    script = Script()
    first = script.call("f", b"x", told="1 byte")
    second = script.call("f", b"xy")
    assert _last_calls([(str(first), "f")], {}, script.told) == ("f", "f() given 1 byte")
    assert _last_calls([(str(second), "f")], {}, script.told) == ("f", f"f() in call {second}")


@pytest.mark.parametrize("report, message", [
    ("ERROR: AddressSanitizer: heap-buffer-overflow on address 0x6020 at pc 0x55 bp 0x7f sp 0x7e",
     "heap-buffer-overflow"),
    ("w10/crc32.c:58:9: runtime error: load of misaligned address 0x61 for type 'int', which requires 4",
     "load of misaligned address for type 'int', which requires 4"),
    ("ERROR: AddressSanitizer: SEGV on unknown address 0x7f (pc 0x55 bp 0x7f sp 0x7e T0)\n"
     "==1==The signal is caused by a WRITE memory access.", "SEGV, a write where it may not write"),
])
def test_a_sanitizer_is_quoted_without_addresses(report, message):
    assert sanitizer_finding(report, "f()").message == f"f(): {message}"


@pytest.mark.parametrize("line, shown", [
    ("f log 3 x000102", "3 bytes: 00 01 02"),
    ("f log 120 x0001", "120 bytes: 00 01, zeros from there on"),
    ("f log 120 x", "120 bytes: zeros"),
])
def test_the_bytes_of_a_file_on_a_disk(line, shown):
    assert _disk([line]) == [f"  log  {shown}"]
