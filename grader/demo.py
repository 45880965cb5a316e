"""Shows what the grader is for: the reference passes, then one fsync is gone."""

import tempfile
from pathlib import Path

from . import course, report, stage
from .errors import GraderError
from .grade import grade

LESSON = "w10-l02"
FILE = "w10/wal_writer.c"
BEGIN = "<!-- verdict: written by make lessons -->\n"
END = "<!-- /verdict -->"
# The sync between write_full() and the return of wal_append().
THERE = "    err = wal_sync_fd(writer->fd);\n    if (err)\n        return poison(writer, err);\n"


def without_the_sync(tree: Path) -> str:
    """The verdict on the reference, staged in `tree`, with that sync taken out."""
    source = (tree / FILE).read_text(encoding="utf-8")
    if source.count(THERE) != 1:
        raise GraderError(f"{FILE} no longer holds the sync that the demo takes out")
    (tree / FILE).write_text(source.replace(THERE, ""), encoding="utf-8")
    (bad,), _ = grade([course.find(LESSON)], tree)
    if bad.passed:
        raise GraderError("a lost fsync was not found")
    return report.lesson_text(bad)


def write_readme(check: bool) -> bool:
    """Puts the verdict into README.md; whether it stood there already."""
    page = course.ROOT / "README.md"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    with tempfile.TemporaryDirectory(prefix="workbook-demo-") as folder:
        stage.stage_reference(Path(folder))
        verdict = without_the_sync(Path(folder))
    lines = "\n".join(line.rstrip() for line in verdict.splitlines())
    new = f"{before}{BEGIN}```text\n{lines}\n```\n{END}{after}"
    if not check:
        page.write_text(new, encoding="utf-8")
    return new == text


def demo() -> int:
    """0 once the reference has passed and the broken copy has been caught."""
    lesson = course.find(LESSON)
    with tempfile.TemporaryDirectory(prefix="workbook-demo-") as folder:
        tree = Path(folder)
        stage.stage_reference(tree)
        print(f"1. The reference solution of {LESSON}, graded.\n")
        (good,), seconds = grade([lesson], tree)
        print(report.lesson_text(good))
        print(f"\n   {seconds:.1f} seconds. Nothing was taken on trust: the program ran in a")
        print("   sandbox, its calls were made to fail, and its system calls were traced.\n")
        print("2. The same with one fsync taken out of wal_append(). The program prints the")
        print("   same, its file holds the same bytes, and every test that only runs it passes.\n")
        print(without_the_sync(tree))
    print("\nNow yours: lessons/w10-l01-record-format-checksum.md, then make w10-l01")
    return 0 if good.passed else 3
