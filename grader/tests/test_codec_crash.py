"""Decoders below somebody else's storage: what they take for whole shows on a disk."""

import shlex
import subprocess

import pytest

from grader import stage
from grader.checks import REGISTRY
from grader.course import ROOT, find
from grader.crash import lab
from grader.mutants import mutants, stage_mutant
from grader.run import Run

CHECK = "knows-what-a-crash-left"


def judged(lesson, stage_into):
    run = Run(find(lesson), stage_into)
    try:
        return list(REGISTRY[CHECK].run(run)), run.note
    finally:
        run.close()


def changed(lesson, name, old, new):
    def staged(tree):
        stage.stage_reference(tree)
        text = (tree / name).read_text()
        assert text.count(old) == 1
        (tree / name).write_text(text.replace(old, new))

    return judged(lesson, staged)


def rebuilt(finding, folder):
    """The disk that the finding's own command makes, as bytes by name."""
    line = next(line for line in finding.excerpt if line.startswith("to have this disk:"))
    words = shlex.split(line.partition(":")[2])
    assert words[:2] == ["build/crashlab", "show"] and words[-1] == "DIR"
    subprocess.run([lab.program(), *words[1:-1], folder], cwd=ROOT, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("lesson", ["w10-l01", "w18-l01"])
def test_the_reference_knows_what_a_crash_left(lesson):
    findings, said = judged(lesson, stage.stage_reference)
    assert findings == [] and "bounded" not in said and "torn512" in said


def test_zeros_taken_for_a_record_of_the_log(tmp_path):
    (finding,), _ = changed(
        "w10-l01", "w10/wal_record.c", "    if (len < TYPE_AT)\n",
        "    if (len >= TYPE_AT && all_zero(buf, len)) {\n"
        "        *record_out = (struct wal_record){ .type = WAL_DEL, .key = buf, .key_len = 1 };\n"
        "        *len_out = len;\n        return WAL_RECORD_OK;\n    }\n    if (len < TYPE_AT)\n",
    )
    assert finding.code == "A301" and finding.file == "w10/wal_record.c"
    disk = rebuilt(finding, tmp_path / "disk")
    assert disk["test.wal"].endswith(bytes(19))


def test_a_missing_block_taken_for_data(tmp_path):
    mutant = next(m for m in mutants() if m.name == "w10-l01/crc-not-checked")
    (finding,), _ = judged("w10-l01", lambda tree: stage_mutant(mutant, tree))
    assert finding.code == "A301" and finding.file == "w10/wal_record.c"
    stage_mutant(mutant, tmp_path)
    assert "wal_record_decode(" in (tmp_path / finding.file).read_text().splitlines()[finding.line - 1]
    log = rebuilt(finding, tmp_path / "disk")["test.wal"]
    assert len(log) > 4200 and bytes(64) in log


def test_zeros_taken_for_a_record_of_the_anchors(tmp_path):
    (finding,), _ = changed(
        "w18-l01", "w18/anchor_record.c", "enum anchor_verdict anchor_record_decode(const uint8_t *bytes, size_t length,\n"
        "                                         struct anchor_record *record_out)\n{\n",
        "enum anchor_verdict anchor_record_decode(const uint8_t *bytes, size_t length,\n"
        "                                         struct anchor_record *record_out)\n{\n"
        "    if (length == ANCHOR_RECORD_BYTES && bytes[0] == 0) {\n"
        "        memset(record_out, 0, sizeof(*record_out));\n        return ANCHOR_OK;\n    }\n",
    )
    assert finding.code == "R507" and finding.file == "w18/anchor_record.c"
    assert rebuilt(finding, tmp_path / "disk")["anchor_0.rec"] == bytes(120)


def test_a_torn_record_of_the_anchors_taken_for_a_whole_one():
    mutant = next(m for m in mutants() if m.name == "w18-l01/digest-ignored")
    (finding,), _ = judged("w18-l01", lambda tree: stage_mutant(mutant, tree))
    assert finding.code == "R507" and finding.file == "w18/anchor_record.c"


@pytest.mark.parametrize("lesson, later", [
    ("w10-l01", "w10/wal_writer.c"), ("w18-l01", "w18/anchor_storage.c"),
])
def test_what_the_student_wrote_for_a_later_lesson_is_not_looked_at(lesson, later):
    def staged(tree):
        stage.stage_reference(tree)
        (tree / later).write_text("not C at all")

    findings, _ = judged(lesson, staged)
    assert findings == []


def test_a_student_who_has_no_cosignatures_yet_can_pass():
    """The second half of the file is another lesson's."""
    def staged(tree):
        stage.stage_reference(tree)
        source = tree / "w18" / "anchor_record.c"
        text = source.read_text()
        begin = text.index("anchor_cosignature_decode(const uint8_t *bytes")
        body = text.index("{\n", begin) + 2
        source.write_text(text[:body] + "    return ANCHOR_UNJUDGED;\n" + text[body:])

    findings, _ = judged("w18-l01", staged)
    assert findings == []
