"""The crash check of the anchors, alone: on known mistakes, on odd and on wrong programs."""

import pytest

from grader import stage
from grader.checks import REGISTRY
from grader.course import find
from grader.crash.scenario import Done
from grader.mutants import mutants, stage_mutant
from grader.run import Reply, Run

CHECK = "loses-no-anchor-in-any-crash"
STORAGE = "w18/anchor_storage.c"


def judged(stage_into, text=None):
    """What the check finds in a staged tree, in which `text` may have been changed:
    pairs of what stood there and what is put in its place; {} is any text between."""
    def staged(tree):
        stage_into(tree)
        source = (tree / STORAGE).read_text()
        for old, new in text or ():
            begin, _, end = old.partition("{}")
            at, to = source.index(begin), source.index(end, source.index(begin))
            source = source[:at] + new + source[to + len(end or begin):]
        (tree / STORAGE).write_text(source)

    run = Run(find("w18-l05"), staged)
    try:
        findings = list(REGISTRY[CHECK].run(run))
        lines = (run.sandbox.tree / "plain" / STORAGE).read_text().splitlines()
        return findings, lines, [run.note, *run.tried]
    finally:
        run.close()


CAUGHT = {
    "directory-synced-only-if-torn": ("D303", "anchor_recover("),
    "equal-bytes-believed": ("D303", "keep_file("),
    "head-before-cosignature": ("A303", "publish("),
    "head-before-the-directory": ("A303", None),
    "head-in-place": ("A303", "open(to,"),
    "head-trusted-where-a-file-is-lost": ("R507", "anchor_recover("),
    "no-directory-sync-after-the-rename": ("D303", "rename(from, to)"),
    "no-file-sync": ("D303", "keep_file("),
    "only-the-head-is-read": ("R507", "anchor_recover("),
    "rename-before-sync": ("A303", "write_full("),
    "same-record-refused": ("R508", None),
    "torn-left-in-place": ("R507", "anchor_recover("),
    "unlinked-head-not-synced": ("D303", "settle_head("),
}


@pytest.mark.parametrize("name", CAUGHT)
def test_the_crash_check_alone_catches(name):
    code, text = CAUGHT[name]
    mutant = next(m for m in mutants() if m.name == f"w18-l05/{name}")
    (finding,), lines, _ = judged(lambda tree: stage_mutant(mutant, tree))
    assert finding.code == code, finding
    assert finding.file == STORAGE and (text is None or text in lines[finding.line - 1]), finding
    assert any("the power fails here" in line for line in finding.excerpt)


def test_a_head_that_comes_back_is_said_to():
    mutant = next(m for m in mutants() if m.name == "w18-l05/unlinked-head-not-synced")
    (finding,), _, _ = judged(lambda tree: stage_mutant(mutant, tree))
    assert "taken head away, and head is there" in finding.message
    assert "a head that recovery took away stays away" in finding.message


@pytest.mark.parametrize("name, ret, promises", [
    ("anchor_atomic_advance", 0, True), ("anchor_atomic_advance", 5, False),
    ("anchor_recover", 5, True), ("anchor_recover", -5, False),
])
def test_whatever_is_no_answer_and_not_0_promises_nothing(name, ret, promises):
    assert Done((name, "log"), Reply(0, name, (("ret", str(ret)),), ())).ok == promises


TEMPORARY = """    int fd = open(".", O_TMPFILE | O_WRONLY, 0644);
    char here[64];
    if (fd < 0) {
        return -errno;
    }
    snprintf(here, sizeof(here), "/proc/self/fd/%d", fd);
    err = write_full(fd, bytes, length);
    if (err == 0 && (fsync(fd) != 0 || fdatasync(fd) != 0 ||
                     linkat(AT_FDCWD, here, AT_FDCWD, path,
                            AT_SYMLINK_FOLLOW) != 0)) {
        err = -errno;
    }
    close(fd);
    return err;
}
"""
RIGHT = {
    "the reference": [],
    "a file without a name, synced twice, then linked": [
        ("#define _POSIX_C_SOURCE 200809L", "#define _GNU_SOURCE"),
        ("    int fd = open(path, O_WRONLY{}static int create_file(",
         f"{TEMPORARY}\nstatic int create_file("),
    ],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_program_survives_all_states(name):
    findings, _, said = judged(stage.stage_reference, RIGHT[name])
    assert findings == [] and "bounded" not in said[0] and "torn512" in said[0]
    assert "recovery crashed on all" in said[0]
    assert any(line.startswith("your main()") for line in said)


WRONG = {
    "a head whose directory nobody syncs": ("D303", [
        ("        unlink(from);\n    }\n    return finish(dir_fd, err);",
         "        unlink(from);\n    }\n    close(dir_fd);\n    return err;")]),
    "a file synced through another one's descriptor": ("D303", [
        ("    err = write_full(fd, bytes, length);\n",
         "    err = write_full(fd, bytes, length);\n    int other = dup(fd);\n    close(fd);\n"
         "    fd = open(\"/dev/null\", O_WRONLY);\n    close(other);\n    return close(fd);\n")]),
    "the head removed before it is made again": ("D303", [
        ("    if (err == 0 && rename(from, to) != 0) {",
         "    unlink(to);\n    if (err == 0 && rename(from, to) != 0) {")]),
    "a recovery that removes the head before it begins": ("D303", [
        ("    int err = read_head(dir, &found);\n    if (err != 0) {\n        return err;\n    }\n",
         "    int err = read_head(dir, &found);\n    char gone[PATH_MAX];\n"
         "    snprintf(gone, sizeof(gone), \"%s/head\", dir);\n    unlink(gone);\n"
         "    found.head = ANCHOR_HEAD_NONE;\n")]),
    "a recovery that counts how often it ran": ("R509", [
        ("    int err = read_head(dir, &found);\n",
         "    int err = read_head(dir, &found);\n    char runs[PATH_MAX];\n"
         "    snprintf(runs, sizeof(runs), \"%s/runs\", dir);\n"
         "    int run = open(runs, O_WRONLY | O_CREAT | O_APPEND, 0644);\n"
         "    err = write_full(run, (const uint8_t *)\"x\", 1);\n    close(run);\n")]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_program_is_refused(name):
    code, changes = WRONG[name]
    (finding,), _, _ = judged(stage.stage_reference, changes)
    assert finding.code == code, finding
