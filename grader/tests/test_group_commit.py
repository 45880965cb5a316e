"""Group commit: the given recovery, and what the check says of threads, again and again."""

import errno
import re
import shutil

import pytest

from grader import findings, result, stage
from grader.checks.batch_format import batch, log_of, parse, records_of
from grader.checks.wal_format import FOUR, SET, encode
from grader.course import find
from grader.crash import group
from grader.crash.explore import students_server
from grader.crash.survive import survive, trace
from grader.graph import LessonGraph
from grader.mutants import HERE, mutants, stage_mutant, stage_variant
from grader.run import Run, Script

LOG = group.LOG
OLD = log_of(FOUR[:2], FOUR[2:])
MARK = bytes.fromhex("f587380d 29000000 57414c42 0000000000000000")
NEW = (SET, b"new", b"")
LONG = [(SET, b"a", bytes(600)), (SET, b"b", b"\x01" * 600)]


@pytest.fixture(scope="module")
def run():
    made = Run(find("w10-l06"), stage.stage_reference)
    yield made
    made.close()


def recover(run, data: bytes):
    """What wal_batch_recover() says of a log, and what it leaves."""
    script = Script()
    number = script.call(*group.RECOVER)
    session = run.drive(script, files={LOG: data})
    return session[number], session.file(LOG)


def test_the_header_shows_the_mark_of_a_batch():
    assert batch(0, FOUR[:1]) == MARK + encode(*FOUR[0])
    text = (stage.ROOT / "w10" / "wal_batch.h").read_text()
    assert f"{MARK[:4].hex(' ')}  {MARK[4:8].hex(' ')}  {MARK[8:12].hex(' ')}  {MARK[12:].hex(' ')}" in text


def test_whole_batches_are_replayed(run):
    reply, left = recover(run, OLD)
    assert (reply["ret"], reply["records"], reply["cut"]) == (0, 4, 0) and left == OLD


@pytest.mark.parametrize("keep", [1, 19, 20, 21, 40, 60, 67])
def test_a_torn_batch_goes_as_a_whole(run, keep):
    torn = batch(len(OLD), FOUR[:2])[:keep]
    reply, left = recover(run, OLD + torn)
    assert (reply["ret"], reply["records"], reply["cut"]) == (0, 4, keep) and left == OLD


def test_a_whole_record_behind_a_torn_one_proves_nothing(run):
    torn = bytearray(batch(len(OLD), FOUR))
    torn[30] ^= 1
    reply, left = recover(run, OLD + torn)
    assert (reply["ret"], reply["cut"]) == (0, len(torn)) and left == OLD


@pytest.mark.parametrize("synced, ret", [(len(OLD), 0), (len(OLD) + 1, -errno.EBADMSG)])
def test_a_mark_behind_the_bad_place_decides_by_what_was_synced(run, synced, ret):
    bad = OLD + bytes(68) + batch(synced, FOUR[:1])
    reply, left = recover(run, bad)
    assert reply["ret"] == ret and left == (bad if ret else OLD)
    assert reply["valid"] == len(OLD)


def test_a_log_without_marks_is_not_cut(run):
    records = b"".join(encode(*record) for record in FOUR)
    for data in (records, OLD + records):
        reply, left = recover(run, data)
        assert reply["ret"] == -errno.EBADMSG and left == data


def test_the_log_is_larger_than_the_window(run):
    data = log_of(*([(SET, b"%d" % i, bytes(60_000))] for i in range(40)))
    reply, left = recover(run, data + b"torn")
    assert (reply["records"], reply["cut"]) == (40, 4) and left == data
    damaged = bytearray(data)
    damaged[90] ^= 1
    assert recover(run, bytes(damaged))[0]["ret"] == -errno.EBADMSG


def test_the_given_recovery_survives_its_own_crashes(run):
    files = {LOG: OLD + batch(len(OLD), LONG)[:-9]}
    scenario = group.scenario("a torn batch", group.RECOVER, group.OPEN, group.commit(NEW), files=files)
    assert list(survive(run, students_server(run), group.SUBJECT, trace(run, [scenario]))) == []
    assert "recovery crashed on all" in run.note


@pytest.mark.parametrize("data", [OLD[:-1], OLD + b"\0", bytes(20), OLD[1:]])
def test_what_is_no_log_of_batches_is_seen(data):
    found, wrong = parse(data)
    assert wrong and len(records_of(found)) < 4 + (data[: len(OLD)] == OLD)


CRASH = "survives-a-crash-among-threads"
NO_GATHERING = HERE / "variants" / "w10-l06" / "closed-when-the-last-call-is-gone.patch"


def judged(check: str, stage_into):
    graph = LessonGraph(find("w10-l06"), stage_into)
    try:
        return graph.result(check)
    finally:
        graph.close()


EARLY = ["woken-before-the-sync", "told-because-somebody-flushes", "if-instead-of-while",
         "late-arrivals-released-too", "synced-beside-the-write"]


@pytest.mark.parametrize("name", EARLY)
def test_an_early_answer_is_caught_every_time(name):
    """Threads take another course each time; the finding is the same."""
    mutant = next(m for m in mutants() if m.name == f"w10-l06/{name}")
    for _ in range(3):
        found = judged(CRASH, lambda dest: stage_mutant(mutant, dest))
        assert [f.code for f in found.findings] == ["D301"], found.detail
        assert found.findings[0].file == "w10/group_commit.c"


def in_a_tree_with(monkeypatch, header: str, text: str) -> None:
    """The reference is staged from a working tree, in which the headers are the student's."""
    staged = stage.stage_reference

    def stage_reference(dest):
        staged(dest)
        (dest / header).write_text(text)

    monkeypatch.setattr(stage, "stage_reference", stage_reference)


def test_recovery_does_not_need_the_header_that_is_all_the_students(tmp_path, monkeypatch):
    stage_variant(NO_GATHERING, tmp_path)
    header = (tmp_path / "w10" / "group_commit.h").read_text()
    assert "released" not in header and "joined;" not in header
    in_a_tree_with(monkeypatch, "w10/group_commit.h", header)
    found = judged(CRASH, lambda dest: shutil.copytree(tmp_path, dest, dirs_exist_ok=True))
    assert found.status == result.PASSED, found


def test_a_reference_that_does_not_build_is_our_fault(tmp_path, monkeypatch):
    stage.stage_reference(tmp_path)
    header = (tmp_path / "w10" / "wal_writer.h").read_text().replace("scratch[", "other[")
    in_a_tree_with(monkeypatch, "w10/wal_writer.h", header)
    found = judged(CRASH, lambda dest: shutil.copytree(tmp_path, dest, dirs_exist_ok=True))
    assert found.status == result.GRADER_ERROR and not found.findings
    assert "does not build with the headers of this tree: w10/wal_writer.c:" in found.detail


def test_a_close_that_leaves_a_batch_is_caught_every_time():
    mutant = next(m for m in mutants() if m.name == "w10-l06/closed-with-a-batch-left")
    for _ in range(5):
        found = judged("drains-at-close", lambda dest: stage_mutant(mutant, dest))
        assert [f.code for f in found.findings] == ["F112"], found


def test_a_thread_that_sleeps_for_ever_is_said_to_be_one_of_several():
    mutant = next(m for m in mutants() if m.name == "w10-l06/only-one-is-woken")
    finding, = judged("holds-every-record-committed", lambda dest: stage_mutant(mutant, dest)).findings
    assert re.match(r"wal_group_commit\(\) in \d of the threads was still running", finding.message)
    assert findings.section("S101", "w10-l06") == "w10-l06, Hints"
