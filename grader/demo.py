"""Shows what the grader is for: the reference passes, then one fsync is gone."""

import tempfile
from pathlib import Path

from . import course, report, stage
from .grade import grade

LESSON = "w10-l02"
FILE = "w10/wal_writer.c"
# The sync between write_full() and the return of wal_append().
THERE = "    err = wal_sync_fd(writer->fd);\n    if (err)\n        return poison(writer, err);\n"


def demo() -> int:
    """0 if the reference passed and the broken copy was caught."""
    lesson = course.find(LESSON)
    with tempfile.TemporaryDirectory(prefix="workbook-demo-") as folder:
        tree = Path(folder)
        stage.stage_reference(tree)
        print(f"1. The reference solution of {LESSON}, graded.\n")
        (good,), seconds = grade([lesson], tree)
        print(report.lesson_text(good))
        print(f"\n   {seconds:.1f} seconds. Nothing was taken on trust: the program ran in a")
        print("   sandbox, its calls were made to fail, and its system calls were traced.\n")
        source = (tree / FILE).read_text(encoding="utf-8")
        if source.count(THERE) != 1:
            raise ValueError(f"{FILE} no longer holds the sync that the demo takes out")
        (tree / FILE).write_text(source.replace(THERE, ""), encoding="utf-8")
        print("2. The same with one fsync taken out of wal_append(). The program prints the")
        print("   same, its file holds the same bytes, and every test that only runs it passes.\n")
        (bad,), _ = grade([lesson], tree)
        print(report.lesson_text(bad))
    print("\nNow yours: lessons/w10-l01-record-format-checksum.md, then make w10-l01")
    return 0 if good.passed and not bad.passed else 3
