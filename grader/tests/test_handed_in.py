"""Where a lesson can be answered with one file or another, the tree says which."""

import pytest

from grader import stage
from grader.course import load_lesson
from grader.tests.test_course import GOOD

OTHER = """
```bash test for=w10/crc32.cpp instead_of=w10/crc32.c
g++ -o x w10/crc32.cpp
./x
```
"""
SKELETON = (stage.ROOT / "w10" / "crc32.c").read_text()


@pytest.fixture
def lesson(tmp_path):
    path = tmp_path / "lesson.md"
    path.write_text(GOOD + OTHER)
    return load_lesson(path)


@pytest.mark.parametrize("files, chosen", [
    ({}, "w10/crc32.c"),
    ({"crc32.c": SKELETON}, "w10/crc32.c"),
    ({"crc32.c": SKELETON + "/* mine */\n"}, "w10/crc32.c"),
    ({"crc32.cpp": "//"}, "w10/crc32.cpp"),
    ({"crc32.c": SKELETON, "crc32.cpp": "//"}, "w10/crc32.cpp"),
    ({"crc32.c": SKELETON + "/* mine */\n", "crc32.cpp": "//"}, "w10/crc32.c"),
])
def test_the_file_that_was_written_is_graded(lesson, tmp_path, files, chosen):
    (tmp_path / "w10").mkdir()
    for name, text in files.items():
        (tmp_path / "w10" / name).write_text(text)
    answered = stage.handed_in(lesson, tmp_path)
    assert answered.files == (chosen,)
    assert chosen in answered.block("bash", "test").text


def test_a_link_is_not_taken_for_the_skeleton(lesson, tmp_path):
    (tmp_path / "w10").mkdir()
    (tmp_path / "w10" / "crc32.c").symlink_to(stage.ROOT / "w10" / "crc32.c")
    (tmp_path / "w10" / "crc32.cpp").write_text("//")
    assert stage.handed_in(lesson, tmp_path).files == ("w10/crc32.c",)
