"""Submissions that are broken in every way: a finding each, and never our bug."""

import os

import pytest

from grader import result, sanitizers, stage
from grader.mutants import grade_staged

WRITER = "w10/wal_writer.c"
APPEND = "int wal_append(struct wal_writer *writer, const struct wal_record *record)\n{\n"


def graded(change, lesson="w10-l02"):
    def stage_into(dest):
        stage.stage_reference(dest)
        change(dest)

    lesson = grade_staged(lesson, stage_into)
    assert not [c.detail for c in lesson.checks if c.status == result.GRADER_ERROR]
    return lesson


def codes(lesson):
    return {finding.code for check in lesson.checks for finding in check.findings}


def edit(old, new, file=WRITER):
    def change(tree):
        path = tree / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return change


def test_a_missing_file():
    lesson = graded(lambda tree: (tree / WRITER).unlink())
    (finding,) = lesson.checks[0].findings
    assert (finding.code, finding.file) == ("B101", WRITER)
    assert all(check.status == result.WAITING for check in lesson.checks[1:])
    assert lesson.points == 0


def test_a_directory_where_a_file_should_be():
    def change(tree):
        (tree / WRITER).unlink()
        (tree / WRITER).mkdir()

    assert codes(graded(change)) == {"B101"}


def test_a_syntax_error_is_named_with_its_line():
    lesson = graded(edit(APPEND, APPEND + "    this is no C;\n"))
    found = lesson.checks[0].findings[0]
    assert found.code == "B102" and found.file == WRITER
    source_line = found.line
    assert source_line and "unknown type name" in found.message or "undeclared" in found.message


def test_a_missing_function():
    lesson = graded(edit("int wal_close(struct wal_writer *writer)", "int wal_shut(struct wal_writer *writer)"))
    assert codes(lesson) == {"B104"}


def test_a_changed_header():
    def change(tree):
        edit("int wal_open(struct wal_writer *writer, const char *path);",
             "int wal_open(struct wal_writer *writer, const char *path, int mode);", "w10/wal_writer.h")(tree)
        edit("int wal_open(struct wal_writer *writer, const char *path)\n{",
             "int wal_open(struct wal_writer *writer, const char *path, int mode)\n{\n    (void)mode;")(tree)
        edit('wal_open(&writer, "test.wal")', 'wal_open(&writer, "test.wal", 0)')(tree)

    assert "B105" in codes(graded(change))


def test_a_warning():
    lesson = graded(edit(APPEND, APPEND + "    int unused;\n"))
    assert codes(lesson) == {"B103"}


def test_more_fields_in_the_struct_are_fine():
    lesson = graded(edit("    int error;", "    char padding[77];\n    int error;", "w10/wal_writer.h"))
    assert lesson.passed


@pytest.mark.parametrize("body, code", [
    ("    for (;;) continue;\n", "S101"),
    ('    for (;;) printf("flood\\n");\n', "S102"),
    ("    *(volatile int *)8 = 1;\n", "S104"),
    ("    char b[4]; volatile int i = 9; b[i] = 1; (void)b;\n", "S105"),
    ("    exit(0);\n", "S106"),
    ("    abort();\n", "S104"),
])
def test_a_program_that_does_not_come_back(body, code):
    def change(tree):
        edit("#include <errno.h>", "#include <errno.h>\n#include <stdio.h>\n#include <stdlib.h>")(tree)
        edit(APPEND, APPEND + body)(tree)

    lesson = graded(change)
    found = [f for check in lesson.checks for f in check.findings if f.code == code]
    assert found, codes(lesson)
    if code != "S102":
        everything = [f for check in lesson.checks for f in check.findings]
        assert any(f.file == WRITER and f.line for f in everything)


REPORT = """==4993==ERROR: AddressSanitizer: stack-buffer-overflow on address 0x7ffd at pc 0x7fd7 bp 0x7ff sp 0x7f
READ of size 21 at 0x7ffdf1758c14 thread T0
    #0 0x7fd773c4c890 in __interceptor_write ../../sanitizer_common_interceptors.inc:1143
    #1 0x559125735342 in write_full w18/anchor_storage.c:81
    #2 0x559125735960 in anchor_atomic_advance w18/anchor_storage.c:355
    #3 0x7fd773245249 in call_advance .driver/anchor_storage_calls.c:30

Address 0x7ffdf1758c14 is located in stack of thread T0 at offset 52 in frame
    #0 0x559125735787 in anchor_atomic_advance w18/anchor_storage.c:335

  This frame has 1 object(s):
    [32, 52) 'text' (line 340) <== Memory access at offset 52 overflows this variable
"""


def test_a_report_of_the_sanitizer_names_no_addresses_but_the_callers_and_the_variable():
    finding = sanitizers.memory(REPORT, "f() in call 3")
    assert finding.message == "f() in call 3: stack-buffer-overflow, a READ of size 21"
    assert (finding.file, finding.line) == ("w18/anchor_storage.c", 81)
    assert finding.excerpt == (
        "called by write_full() w18/anchor_storage.c:81 < anchor_atomic_advance() w18/anchor_storage.c:355",
        "Memory access at offset 52 overflows 'text', declared in line 340",
    )


def test_a_program_that_fills_its_disk():
    body = (
        "    static char block[1 << 20]; char name[32]; static int n;\n"
        '    for (;;) { sprintf(name, "f%d", n++); FILE *f = fopen(name, "w");\n'
        "    for (int i = 0; i < 64; i++) fwrite(block, 1, sizeof(block), f);\n    fclose(f); }\n"
    )

    def change(tree):
        edit("#include <errno.h>", "#include <errno.h>\n#include <stdio.h>")(tree)
        edit(APPEND, APPEND + body)(tree)

    assert "S103" in codes(graded(change))


def test_a_link_out_of_the_tree_reads_nothing_of_the_machine(tmp_path):
    secret = tmp_path / "secret.c"
    secret.write_text("#error the grader followed a link\n")

    def stage_into(dest):
        tree = tmp_path / "hand-in"
        stage.stage_reference(tree)
        (tree / WRITER).unlink()
        (tree / WRITER).symlink_to(secret)
        stage.stage_submission(tree, dest)

    lesson = grade_staged("w10-l02", stage_into)
    messages = [f.message for check in lesson.checks for f in check.findings]
    assert not any("followed a link" in message for message in messages)
    assert lesson.checks[0].status == result.FAILED


def test_a_solution_cannot_be_included(tmp_path):
    def stage_into(dest):
        tree = tmp_path / "hand-in"
        stage.stage_reference(tree)
        (tree / "w10" / "solution").mkdir()
        (tree / WRITER).rename(tree / "w10" / "solution" / "wal_writer.c")
        (tree / WRITER).write_text('#include "solution/wal_writer.c"\n')
        stage.stage_submission(tree, dest)

    assert codes(grade_staged("w10-l02", stage_into)) == {"B102"}


def test_a_fifo_in_the_hand_in_stops_nothing(tmp_path):
    def stage_into(dest):
        tree = tmp_path / "hand-in"
        stage.stage_reference(tree)
        os.mkfifo(tree / "w10" / "pipe")
        stage.stage_submission(tree, dest)

    assert grade_staged("w10-l02", stage_into).passed


def test_output_that_differs_is_shown():
    lesson = graded(edit('"wal_close: ok\\n"', '"wal_close: fine\\n"'))
    (finding,) = next(c for c in lesson.checks if c.id == "prints-what-the-lesson-shows").findings
    assert "MISSING  wal_close: ok" in finding.excerpt and "BAD      wal_close: fine" in finding.excerpt


def test_a_writable_shared_mapping_cannot_be_judged():
    """What goes through a mapping is in no trace: say so, and do not guess."""
    def change(tree):
        edit("#include <assert.h>", "#include <assert.h>\n#include <sys/mman.h>")(tree)
        edit("O_WRONLY | O_CREAT | O_APPEND", "O_RDWR | O_CREAT | O_APPEND")(tree)
        edit("    writer->offset += len;\n",
             "    writer->offset += len;\n"
             "    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, writer->fd, 0);\n")(tree)

    lesson = graded(change)
    unseen = [c for c in lesson.checks if c.status == result.CANNOT_JUDGE]
    assert "syncs-before-it-returns" in {check.id for check in unseen}
    assert all("shared mapping" in check.detail for check in unseen)
    assert result.exit_status([lesson]) == 1
