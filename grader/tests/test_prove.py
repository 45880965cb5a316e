"""A lesson's proof is found in its real run, or in a text that earns no points."""

import pytest

from grader import stage
from grader.course import ROOT, find, lessons
from grader.prove import prove
from grader.tests.test_cli import grader

LESSON = "w10-l02"
GOOD = "append SET foo=bar → 21 bytes\ntotal offset: 91\n"


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    tree = tmp_path_factory.mktemp("reference")
    stage.stage_reference(tree)
    return tree


@pytest.mark.parametrize("lesson", lessons())
def test_the_reference_proves_every_lesson(lesson, reference, capsys):
    assert prove(find(lesson), reference)
    assert "MISSING" not in capsys.readouterr().out


def test_the_untouched_tree_proves_nothing(capsys):
    assert not prove(find(LESSON), ROOT)
    assert "MISSING" in capsys.readouterr().out


@pytest.mark.parametrize("text, status", [(GOOD, 0), (GOOD.replace("91", "90"), 1), ("", 1)])
def test_a_paste_earns_no_points(text, status, tmp_path):
    paste = tmp_path / "paste.txt"
    paste.write_text(text)
    done = grader("prove", LESSON, "--paste", paste)
    assert done.returncode == status
    assert "A paste earns no points" in done.stdout


@pytest.mark.parametrize("content, why", [
    (None, "No such file"), (b"\x7fELF\0\0", "is not text"), (b"\xff\xfe", "is not text"),
    (b"a" * (1 << 20) + b"a", "is larger than"),
], ids=["missing", "binary", "not UTF-8", "too large"])
def test_what_cannot_be_read_is_wrong_use(content, why, tmp_path):
    paste = tmp_path / "paste"
    if content is not None:
        paste.write_bytes(content)
    done = grader("prove", LESSON, "--paste", paste)
    assert done.returncode == 2 and why in done.stderr
    assert done.stdout == ""
