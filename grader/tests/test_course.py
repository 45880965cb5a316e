"""Lessons are read strictly: what is wrong is named with its file and line."""

import pytest

from grader.course import commands, lessons, load_lesson
from grader.errors import UsageError

GOOD = """\
---
id: w10-l01
title: A title
part: w10
order: 1
kind: lesson
duration_min: 40
xp: 5
needs: []
files: [w10/crc32.c]
proof:
  type: paste
  instructions: Paste it.
  regex_patterns: ["x"]
driver: [record]
checks:
  builds: 0
  computes-the-crc: 5
---

Text.

```bash test
gcc -o x \\
  w10/crc32.c
./x
```
"""


def load(tmp_path, text):
    path = tmp_path / "lesson.md"
    path.write_text(text)
    return load_lesson(path)


def test_a_lesson_is_read(tmp_path):
    lesson = load(tmp_path, GOOD)
    assert lesson.checks == {"builds": 0, "computes-the-crc": 5}
    block = lesson.block("bash", "test")
    assert block.line == GOOD.splitlines().index("```bash test") + 1
    assert commands(block.text) == ["gcc -o x w10/crc32.c", "./x"]


@pytest.mark.parametrize("old, new, line, why", [
    ("---\nid", "id", 1, "three dashes"),
    ("5\n---\n", "5\n", 1, "no second line"),
    ("order: 1", "order: one", 5, "order: 'one' is not of type 'integer'"),
    ("order: 1\n", "", 2, "'order' is a required property"),
    ("kind: lesson", "kind: quiz", 6, "kind: 'quiz'"),
    ("order: 1", "order: 1: 2", 5, "mapping values are not allowed here"),
    ("xp: 5", "xp: 6", 8, "xp is 6 and the checks add up to 5"),
    ("id: w10-l01", "id: week10", 2, "id: 'week10' does not match"),
    ("[w10/crc32.c]", "[../crc32.c]", 10, "files.0"),
    ("  builds: 0", "  builds: -1", 17, "checks.builds"),
    ("driver:", "drivers:", 2, "'driver' is a required property"),
])
def test_wrong_front_matter_is_named_with_its_line(tmp_path, old, new, line, why):
    assert old in GOOD
    with pytest.raises(UsageError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert f"lesson.md:{line}: front matter:" in str(caught.value)
    assert why in str(caught.value)


def test_a_block_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="0 blocks ```text expected"):
        load(tmp_path, GOOD).block("text", "expected")


def test_the_course_loads():
    assert {"w10-l01", "w10-l02", "w10-l03"} <= set(lessons())
