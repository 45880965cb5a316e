"""Calls that fail and processes that are killed: the driver's words, and the checks on them."""

import errno
import re
import signal

import pytest

from grader import stage
from grader.checks.returns import still_open
from grader.checks.wal_format import FOUR, encode
from grader.course import find
from grader.crash import faults, log
from grader.crash.scenario import Case, Done
from grader.crash.survive import _in_processes, trace
from grader.graph import LessonGraph
from grader.mutants import mutants, stage_mutant
from grader.result import Finding
from grader.run import Reply, Run, Script, Sparse
from grader.trace import ops


@pytest.fixture(scope="module")
def run():
    run = Run(find("w10-l02"), stage.stage_reference)
    yield run
    run.close()


APPENDS = log.scenario("appends", log.OPEN, *map(log.append, FOUR[:2]), log.CLOSE)


def drive(run, *calls, files=None):
    script = Script()
    numbers = [script.call(*call) for call in calls]
    session = run.drive(script, files=files, variant="plain")
    return session, numbers


def test_another_process_makes_the_calls_between_begin_and_end(run):
    open_log, close = ("wal_open", 0, "a"), ("wal_close", 0)
    session, (*_, closed) = drive(run, ("begin",), open_log, ("end",), close)
    assert ("skipped", "1") in session[closed].words  # it was opened elsewhere


@pytest.mark.parametrize("calls, made", [
    ("a b", "begin a b end"),
    ("begin a end b", "begin a end begin b end"),
    ("a begin b end begin c end d", "begin a end begin b end begin c end begin d end"),
])
def test_no_two_processes_of_a_scenario_share_variables(calls, made):
    assert [call for call, in _in_processes(tuple((word,) for word in calls.split()))] == made.split()


def test_two_equal_records_are_two(run):
    acknowledged = log.earlier((FOUR[0], FOUR[0]), promised=True)
    found = Reply(0, "wal_recover", (("ret", "0"), ("records", "2"), ("k", "x666f6f"), ("v", "x626172")), ())
    once, twice = acknowledged[:1], (*acknowledged[:1], Done(log.append(FOUR[0]), None))
    for done, records in ((acknowledged, 2), (once, 1), (twice, 1), ((*twice, Done(log.RECOVER, found)), 2)):
        assert len(log.promised(Case(APPENDS, done, None))) == records


def test_a_file_of_a_size_and_what_stays_open_are_said(run):
    session, (before, opened, after) = drive(run, ("fds",), ("wal_open", 0, "a"), ("fds",),
                                             files={"a": Sparse(b"", 5 << 30)})
    assert session[opened]["offset"] == 5 << 30
    assert still_open(run, session, session[before], session[after]) == ["a"]


def test_a_killed_process_leaves_what_it_wrote_and_the_next_one_goes_on(run):
    session, numbers = drive(
        run, ("begin",), ("wal_open", 0, "a"), ("fault", "sync", 1, "kill"),
        ("wal_append", 0, *FOUR[0]), ("wal_close", 0), ("end",), ("wal_open", 0, "a"), ("wal_close", 0),
    )
    assert numbers[3] not in session.replies and numbers[4] not in session.replies
    assert session.file("a") == encode(*FOUR[0]) and session[numbers[6]]["offset"] == 21


def test_again_repeats_a_call_that_failed_and_no_other(run):
    opened = ("wal_open", 0, "a")
    session, (first, again, _, failed, repeated, last) = drive(
        run, opened, ("again",), ("fault", "sync", 1, "errno", errno.EIO), ("wal_open", 1, "b"),
        ("again",), ("wal_close", 0),
    )
    assert session[first]["ret"] == 0 and session[again].call == "again"
    assert session[failed]["ret"] == -errno.EIO and session[last]["ret"] == 0
    assert session[repeated].call == "wal_open" and session[repeated]["ret"] == 0


def test_what_meets_a_fault_for_ever_is_ended_and_says_so_a_thousand_times():
    mutant = next(m for m in mutants() if m.name == "w10-l02/zero-write-spins")
    run = Run(find("w10-l02"), lambda dest: stage_mutant(mutant, dest))
    script = Script()
    for call in (("wal_open", 0, "a"), ("fault", "write", "1+", "zero"), ("wal_append", 0, *FOUR[0])):
        script.call(*call)
    done, _ = run.drive_anyhow(script, variant="plain")
    run.close()
    assert done.signal == signal.SIGXCPU and not done.stopped
    assert done.marks.count(b"\n! ") == 1000


@pytest.mark.parametrize("path, made", [("a", True), ("missing/a", False)])
def test_stop_passes_over_what_follows_a_failure(run, path, made):
    session, (_, _, appended, _, last) = drive(
        run, ("wal_open", 0, path), ("stop",), ("wal_append", 0, *FOUR[0]), ("resume",), ("fds",)
    )
    assert (appended in session.replies) == made and last in session.replies


def test_the_sites_are_the_calls_that_change_files_in_order(run):
    sites = faults.sites(run, APPENDS)
    assert [site.call for site in sites] == [
        "open", "open", "fsync", "write", "fsync", "write", "fsync", "fsync", "close"
    ]
    assert [site.number for site in sites] == list(range(1, 10))
    assert all(site.is_last for site in sites[1:])


def test_a_short_write_moves_bytes_and_an_error_moves_none(run):
    for way, size in (("short", 48), ("ENOSPC", 21), ("EIO+", 21)):
        sixth = faults.Site(6, "write", True)
        session, numbers = drive(run, sixth.fault(way), *APPENDS.calls, files={"deep/": b""})
        assert len(session.file(log.LOG)) == size, way
        met = [fault for n in numbers for fault in session[n].faults]
        assert {fault.call for fault in met[:1]} == {"write"} and (len(met) > 1) == (way == "EIO+")


def test_a_sync_that_the_driver_made_to_fail_is_lost_in_the_trace(run):
    third = faults.Site(5, "fsync", True)
    for way, lost in (("EIO", 1), ("EINTR", 0)):
        (traced,) = trace(run, faults.failing(APPENDS, (), [third])[third.ways.index(way):][:1])
        syncs = [op for op in traced.trace.ops if isinstance(op, ops.Sync) and op.lost]
        assert [op.inode.name for op in syncs] == ["test.wal"] * lost
        assert traced.ops.text.count(" lost ") == lost


def test_every_call_in_every_way_and_then_another_process(run):
    sites = [faults.Site(1, "open", True), faults.Site(2, "fsync", True)]
    scenarios = faults.failing(APPENDS, (("fds",),), sites)
    assert [s.name for s in scenarios] == [
        "call 1, open(), fails with EACCES", "call 1, open(), fails with EIO, as do all behind it",
        "call 2, fsync(), fails with EINTR", "call 2, fsync(), fails with EIO",
        "call 2, fsync(), fails with ENOSPC", "call 2, fsync(), fails with EIO, as do all behind it",
    ]
    goes_on = [s.calls[-1] == ("fds",) for s in scenarios]
    assert goes_on == [True, False, True, False, False, False]  # not where a sync lost something
    assert scenarios[0].calls[2] == ("fault", "any", "1", "errno", errno.EACCES)
    assert faults.plan(sites) == "calls 1 open EACCES EIO+; 2 fsync EINTR EIO ENOSPC EIO+"


def test_a_call_in_an_earlier_lessons_file_is_laid_at_the_door_of_this_one():
    run = Run(find("w10-l03"), stage.stage_reference)
    try:
        theirs, ours = ("w10/wal_writer.c", 46), ("w10/wal_recovery.c", 142)
        assert run.own([theirs, ours]) == [ours] and run.own([theirs]) == [theirs]
        script = Script()
        script.call("fault", "sync", 1, "errno", errno.EIO)
        number = script.call("wal_recover", "a")
        (met,) = run.drive(script, files={"a": b""})[number].faults
        found = run.at_fault(Finding("F104", "a sync"), met)
        lines = (run.sandbox.tree / "checked" / found.file).read_text().splitlines()
        assert found.file == "w10/wal_recovery.c" and "wal_sync_fd(w->fd)" in lines[found.line - 1]
        callers = rf"w10/wal_writer\.c:\d+ < {found.file}:{found.line} < {found.file}:\d+$"
        assert re.search(callers, found.excerpt[-1])
    finally:
        run.close()


CHECKS = {
    "w10-l02": "survives-every-fault", "w10-l03": "survives-every-fault",
    "w13-l01": "store-survives-every-fault", "w13-l02": "store-survives-every-fault",
    "w18-l05": "loses-no-anchor-when-calls-fail",
}
CAUGHT = {
    "w10-l02/directory-sync-result-ignored": ("D301", "fsync("),
    "w10-l02/failed-sync-tried-again": ("D301", None),
    "w10-l02/interrupted-sync-taken-for-done": ("D301", None),
    "w10-l02/handle-not-poisoned-by-write": ("F105", "wal_append("),
    "w10-l02/descriptor-left-open": ("F109", "wal_open("),
    "w10-l02/odd-no-sync-after-a-short-write": ("D301", None),
    "w10-l03/failed-sync-tried-again": ("D301", "wal_sync_fd("),
    "w10-l03/sync-result-ignored": ("D301", None),
    "w10-l03/truncate-result-ignored": ("R501", "wal_recover("),
    "w13-l02/file-sync-result-ignored": ("A302", None),
    "w13-l02/one-write": ("A302", "write("),
    "w13-l02/rename-result-ignored": ("D302", None),
    "w13-l02/write-error-lost": ("A302", None),
    "w18-l05/failed-file-left": ("D303", None),
    "w18-l05/file-left-after-a-failed-directory-sync": ("D303", None),
    "w18-l05/short-write-taken-for-whole": ("D303", "write("),
    "w18-l05/descriptor-left-open": ("F109", "anchor_persist_record("),
}


@pytest.mark.parametrize("name", CAUGHT)
def test_the_fault_check_alone_catches(name, tmp_path):
    code, text = CAUGHT[name]
    mutant = next(m for m in mutants() if m.name == name)
    graph = LessonGraph(find(mutant.lesson), lambda dest: stage_mutant(mutant, dest))
    try:
        result = graph.result(CHECKS[mutant.lesson])
        assert result.status == "failed" and result.findings[0].code == code, result
        stage_mutant(mutant, tmp_path)
        finding = result.findings[0]
        line = (tmp_path / finding.file).read_text().splitlines()[finding.line - 1]
        assert text is None or text in line, line
    finally:
        graph.close()


def test_what_is_wrong_without_an_interruption_too_is_not_laid_to_one():
    mutant = next(m for m in mutants() if m.name == "w13-l02/written-out-and-not-synced")
    graph = LessonGraph(find(mutant.lesson), lambda dest: stage_mutant(mutant, dest))
    try:
        assert graph.result("writes-every-byte").status == "passed"
    finally:
        graph.close()


@pytest.mark.parametrize("lesson", CHECKS)
def test_the_reference_survives_all_faults_and_the_plan_is_recorded(lesson):
    graph = LessonGraph(find(lesson), stage.stage_reference)
    try:
        result = graph.result(CHECKS[lesson])
        assert result.status == "passed", result
        assert "all there are" in result.detail and "bounded" not in result.detail
        assert "write short EINTR ENOSPC EIO EIO+" in result.tried[0]
    finally:
        graph.close()
