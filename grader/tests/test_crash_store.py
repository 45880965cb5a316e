"""The crash checks of the store, alone on programs that are wrong."""

import pytest

from grader import stage
from grader.course import find
from grader.graph import LessonGraph
from grader.mutants import mutants, stage_mutant

CHECKS = {"w13-l01": "tells-what-a-crash-tore", "w13-l02": "store-survives-every-crash"}


def crash_check(lesson, stage_into):
    graph = LessonGraph(find(lesson), stage_into)
    try:
        return graph.result(CHECKS[lesson])
    finally:
        graph.close()


CAUGHT = {
    "w13-l01/bytes-not-hashed": ("R504", "int cas_load("),
    "w13-l01/directory-must-be-new": ("R504", "int cas_open("),
    "w13-l01/directory-not-synced": ("D302", "publish("),
    "w13-l01/existing-name-believed": ("R506", "int cas_store("),
    "w13-l01/file-not-synced": ("D302", "publish("),
    "w13-l01/names-of-others-not-synced": ("D302", "int cas_open("),
    "w13-l01/no-bytes-called-a-mismatch": ("R504", "int cas_load("),
    "w13-l01/nothing-synced": ("D302", "mkdir("),
    "w13-l01/only-the-length-of-the-hash-compared": ("R504", "int cas_load("),
    "w13-l02/another-directory-synced": ("D302", "publish("),
    "w13-l02/directory-never-synced": ("D302", "publish("),
    "w13-l02/directory-synced-before-the-rename": ("D302", "publish("),
    "w13-l02/directory-synced-at-close": ("D302", "publish("),
    "w13-l02/duplicate-directory-not-synced": ("D302", "int cas_store("),
    "w13-l02/duplicate-file-not-synced": ("D302", "int cas_store("),
    "w13-l02/duplicate-returns-at-once": ("D302", "int cas_store("),
    "w13-l02/empty-leftover-an-error": ("R504", "int cas_open("),
    "w13-l02/empty-leftover-left": ("R505", "int cas_open("),
    "w13-l02/existing-name-believed": ("R506", "int cas_store("),
    "w13-l02/file-never-synced": ("A302", "publish("),
    "w13-l02/leftover-made-an-object": ("A302", "publish("),
    "w13-l02/length-taken-for-the-bytes": ("R506", "int cas_store("),
    "w13-l02/names-of-others-not-synced": ("D302", "int cas_open("),
    "w13-l02/never-cleans-up": ("R505", "int cas_open("),
    "w13-l02/parent-never-synced": ("D302", "mkdir("),
    "w13-l02/renamed-before-the-sync": ("A302", "publish("),
    "w13-l02/synced-before-the-write": ("A302", "publish("),
    "w13-l02/written-in-place": ("A302", "openat(dir_fd, name"),
}


@pytest.mark.parametrize("name", CAUGHT)
def test_the_crash_check_alone_catches(name, tmp_path):
    code, text = CAUGHT[name]
    mutant = next(m for m in mutants() if m.name == name)
    result = crash_check(mutant.lesson, lambda dest: stage_mutant(mutant, dest))
    assert [f.code for f in result.findings] == [code], result
    (finding,) = result.findings
    stage_mutant(mutant, tmp_path)
    line = (tmp_path / finding.file).read_text().splitlines()[finding.line - 1]
    assert text in line, line
    assert any("the power fails here" in line for line in finding.excerpt)
    assert any("build/crashlab show" in line for line in finding.excerpt)


EVERY_OBJECT = """
    DIR *names = opendir(dir);
    struct dirent *e;
    char away[300];
    int fd = opened.dir_fd;

    while (names && (e = readdir(names))) {
        if (strlen(e->d_name) != 64)
            continue;
        snprintf(away, sizeof(away), ".away-%.64s", e->d_name);
        STEPS
    }
    closedir(names);
"""
COUNTS_ITS_OPENS = """
    int count = openat(opened.dir_fd, "opens", O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (count < 0 || write(count, "x", 1) != 1 || fsync(count) < 0 || close(count) < 0)
        return -EIO;
"""
MENDS_IN_PLACE = """
    if (rc == CAS_MISMATCH) {
        int fd = openat(store->dir_fd, name, O_WRONLY | O_TRUNC);
        rc = write_full(fd, data, len);
        if (rc == 0)
            rc = sync_fd(fd);
        close(fd);
    } else if (rc != CAS_OK)
"""
OPENED, PUBLISHES = "    *store = opened;\n", "    if (rc != CAS_OK)\n        rc = publish("
MOVES = "renameat(fd, e->d_name, fd, away); fsync(fd); renameat(fd, away, fd, e->d_name); fsync(fd);"


@pytest.mark.parametrize("code, at, text, said", [
    ("R505", OPENED, EVERY_OBJECT.replace("STEPS", "unlinkat(fd, e->d_name, 0);") + OPENED,
     "was whole, and is not"),
    ("R505", OPENED, COUNTS_ITS_OPENS + OPENED, "changed the disk"),
    ("D302", OPENED, EVERY_OBJECT.replace("STEPS", MOVES) + OPENED, "is not there"),
    ("A302", PUBLISHES, MENDS_IN_PLACE + "        rc = publish(", "an object that was torn"),
], ids=["objects-removed", "another-disk-each-time", "a-start-not-safe-when-crashed", "mended-in-place"])
def test_a_store_that_does_so_is_caught(code, at, text, said):
    def staged(dest):
        stage.stage_reference(dest)
        source = dest / "w13" / "cas_store.c"
        assert source.read_text().count(at) == 1
        source.write_text(source.read_text().replace(at, text))

    result = crash_check("w13-l02", staged)
    assert [f.code for f in result.findings] == [code], result
    assert said in result.findings[0].message


@pytest.mark.parametrize("lesson", CHECKS)
def test_the_reference_survives_all_states(lesson):
    result = crash_check(lesson, stage.stage_reference)
    assert result.status == "passed", result
    assert "bounded" not in result.detail and "recovery crashed on all" in result.detail
