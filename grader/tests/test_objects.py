"""An object is kept for what is the reference's to the byte, and for nothing else."""

import pytest

from grader import objects, stage

WORDS = ("gcc", "-g")


@pytest.fixture
def tree(tmp_path):
    stage.stage_reference(tmp_path)
    return tmp_path


def test_the_references_source_has_one_object_for_each_way_to_compile_it(tree):
    kept = objects.of_reference(tree, "w10/kv.c", WORDS)
    assert kept.read_bytes().startswith(b"\x7fELF") and b"kv_set" in kept.read_bytes()
    assert objects.of_reference(tree, "w10/kv.c", WORDS) == kept
    assert objects.of_reference(tree, "w10/kv.c", (*WORDS, "-O2")) != kept


def test_no_path_of_this_machine_is_in_it(tree):
    assert str(objects.KEPT).encode() not in objects.of_reference(tree, "w10/kv.c", WORDS).read_bytes()


@pytest.mark.parametrize("changed", ["w10/kv.c", "w10/kv.h", "w10/wal_record.h"])
def test_a_changed_source_or_header_has_none(tree, changed):
    with (tree / changed).open("a") as file:
        file.write("\n")
    assert objects.of_reference(tree, "w10/kv.c", WORDS) is None


def test_a_link_a_missing_file_and_a_students_own_have_none(tree):
    (tree / "w10" / "own.c").write_bytes((tree / "w10" / "kv.c").read_bytes())
    (tree / "w10" / "kv.c").rename(tree / "w10" / "moved.c")
    assert objects.of_reference(tree, "w10/own.c", WORDS) is None
    assert objects.of_reference(tree, "w10/kv.c", WORDS) is None
    (tree / "w10" / "kv.c").symlink_to("moved.c")
    assert objects.of_reference(tree, "w10/kv.c", WORDS) is None
