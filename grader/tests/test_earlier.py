"""A lesson stands on the earlier ones; where those do not pass, on the reference's."""

import pytest

from grader import earlier, stage
from grader.course import find, lessons
from grader.earlier import WithEarlier
from grader.stage import put_reference, stage_reference


def skeletons(dest):
    stage.stage_submission(stage.ROOT, dest)


def with_reference(*names):
    def staged(dest):
        skeletons(dest)
        for name in names:
            put_reference(dest, name)

    return staged


@pytest.fixture(autouse=True)
def nothing_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(earlier, "PASSED", tmp_path / "passed")


def test_nothing_is_replaced_where_the_earlier_lesson_passes(tmp_path):
    staged = WithEarlier(find("w10-l02"), stage_reference)
    staged(tmp_path / "tree")
    assert staged.replaced == ()
    assert len(list((tmp_path / "passed").iterdir())) == 1


def test_what_passed_is_remembered_and_what_changed_is_graded_anew(tmp_path, monkeypatch):
    assert WithEarlier(find("w10-l02"), stage_reference).replaced == ()
    monkeypatch.setattr(earlier, "LessonGraph", None)  # it would fail if it were called
    assert WithEarlier(find("w10-l02"), stage_reference).replaced == ()

    def changed(dest):
        stage_reference(dest)
        source = dest / "w10" / "crc32.c"
        source.write_text(source.read_text() + "\n")

    with pytest.raises(TypeError):
        WithEarlier(find("w10-l02"), changed).replaced


def test_the_files_of_a_lesson_that_does_not_pass_are_the_references(tmp_path):
    staged = WithEarlier(find("w10-l02"), with_reference("w10/wal_writer.c"))
    (one,) = staged.replaced
    assert one.lesson == "w10-l01" and one.files == ("w10/wal_record.c", "w10/crc32.c")
    assert str(one) == (
        "w10/wal_record.c, w10/crc32.c are the reference's: yours do not pass w10-l01 yet "
        "(prints-what-the-lesson-shows)"
    )
    staged(tmp_path / "tree")
    stage_reference(tmp_path / "reference")
    for name in (*one.files, "w10/wal_writer.c"):
        assert (tmp_path / "tree" / name).read_bytes() == (tmp_path / "reference" / name).read_bytes()


def test_a_middle_lesson_is_judged_on_top_of_what_replaces_the_first():
    """w10-l02 passes with the reference's records, so the student's writer stays."""
    staged = WithEarlier(find("w10-l03"), with_reference("w10/wal_writer.c"))
    assert [one.lesson for one in staged.replaced] == ["w10-l01"]


@pytest.mark.parametrize("lesson", lessons().values(), ids=lambda lesson: lesson.id)
def test_what_is_borrowed_belongs_to_an_earlier_lesson(lesson):
    theirs = {name for needed in lesson.needs if needed in lessons() for name in find(needed).files}
    assert set(lesson.borrows) <= set(lesson.files) & theirs
    assert set(lesson.borrows) < set(lesson.files)
