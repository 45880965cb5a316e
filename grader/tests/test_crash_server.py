"""The fork server and recoveries that misbehave; the check on the known mistakes."""

import time

import pytest

from grader import build, stage
from grader.checks.wal_format import FOUR, encode
from grader.course import find
from grader.crash import log
from grader.crash.explore import Server, finding_of_end
from grader.crash.ops import OpsFile
from grader.errors import GraderError
from grader.graph import LessonGraph
from grader.mutants import mutants, stage_mutant
from grader.sandbox import Sandbox

HEAD = (
    "int wal_recover(const char *path, struct kv *kv,\n"
    "                struct wal_recovery *found_out)\n{\n"
)
INCLUDES = "#include <dirent.h>\n#include <signal.h>\n#include <stdio.h>\n#include <unistd.h>\n"


@pytest.fixture
def serve():
    """A server whose wal_recover() begins with a statement of ours."""
    homes = []

    def make(statement: str = "") -> Server:
        def staged(tree):
            stage.stage_reference(tree)
            source = tree / "w10" / "wal_recovery.c"
            text = source.read_text()
            assert HEAD in text
            at = text.index('#include "wal_recovery.h"')
            text = text[:at] + INCLUDES + text[at:]
            source.write_text(text.replace(HEAD, f"{HEAD}    {statement}\n"))

        homes.append(stage.workspace())
        return Server(find("w10-l03"), Sandbox(homes[-1]), staged)

    yield make
    for home in homes:
        stage.remove(home)


def records(count: int) -> OpsFile:
    """`count` records appended and synced one by one: a state each, and a few more."""
    lines, offset, at = ["crashlab-ops 1", "dir 1", "dir 2", "file 3 x", "entry 1 deep 2",
                         "entry 2 test.wal 3"], 0, 0
    for i in range(count):
        data = encode(*FOUR[i % 4])
        lines += [f"op {at + 1} {at + 1} write 3 {offset} x{data.hex()}", f"op {at + 2} {at + 2} fsync 3"]
        offset, at = offset + len(data), at + 2
    return OpsFile("".join(f"{line}\n" for line in [*lines, "end"]), {}, ())


def ends(server, ops, profile="posix"):
    """What came of one job, and the disks tried."""
    tried = []
    explored = server.explore([ops], log.SUBJECT.script, profile, lambda _, one: tried.append(one))
    return explored, tried


def ways(tried):
    return [one.end for one in tried]


def test_the_reference_recovers_every_state(serve):
    explored, tried = ends(serve(), records(8))
    assert set(ways(tried)) == {"exit 0"} and explored.jobs[0].bounded == 0
    assert explored.jobs[0].states == len(tried) == len({(t.point, t.disk) for t in tried})
    assert all(log.NEXT[1].hex() in t.report for t in tried)


@pytest.mark.parametrize("statement, end", [
    ("raise(11);", "signal 11"),
    ("_exit(7);", "exit 7"),
    ("kill(getppid(), 9); kill(-1, 9);", None),
    ("close(200); close(0); close(1);", "exit 0"),
    ('for (int i = 0; i < 1000; i++) printf("again and again");', "exit 0"),
    ("if (fork() == 0) { setsid(); for (;;) pause(); }", "exit 0"),
    ('if (unlink(path) == 0) rmdir("../disk");', "exit 0"),
    ('mkdir("d", 0700); chdir("d"); mkdir("e", 0); chdir("..");', "exit 0"),
])
def test_a_state_may_end_as_it_likes_and_the_search_goes_on(serve, statement, end):
    includes = "mkdir" in statement
    server = serve(("int mkdir(const char *, unsigned); " if includes else "") + statement)
    explored, tried = ends(server, records(6))
    assert len(tried) >= 6 and not explored.stopped
    assert set(ways(tried)) == {end} if end else len(set(ways(tried))) == 1


def test_the_search_ends_soon_where_recovery_hangs(serve):
    explored, tried = ends(serve("for (;;) pause();"), records(8))
    assert explored.stopped and ways(tried) == ["time 0"] * 5
    assert finding_of_end(tried[0]) == "did not come back within a second"


def test_what_is_left_behind_costs_no_later_state_anything(serve):
    left = serve("if (fork() == 0) { setsid(); for (;;) pause(); }")
    quick, _ = ends(serve(), records(40))
    slow, tried = ends(left, records(40))
    assert set(ways(tried)) == {"exit 0"}
    assert slow.seconds < 10 * quick.seconds


def test_a_disk_that_cannot_be_written_is_our_fault(serve):
    lines = ["crashlab-ops 1", "dir 1", f"file 2 x{'00' * 64}", "entry 1 a 2", "op 1 1 resize 2 4000000000000", "end"]
    with pytest.raises(GraderError, match="fork server"):
        ends(serve(), OpsFile("".join(f"{line}\n" for line in lines), {}, ()))


CAUGHT = {
    "w10-l02/no-sync": ("D301", "err = write_full("),
    "w10-l02/no-directory-sync": ("D301", "open("),
    "w10-l02/sync-only-at-close": ("D301", "err = write_full("),
    "w10-l02/another-file-synced": ("D301", None),
    "w10-l02/sync-before-write": ("D301", "write_full("),
    "w10-l02/range-sync": ("D301", "open("),
    "w10-l03/tail-left-in-place": ("R502", None),
    "w10-l03/zeros-taken-for-the-end": (None, None),
}


@pytest.mark.parametrize("name", CAUGHT)
def test_the_crash_check_alone_catches(name, tmp_path):
    code, text = CAUGHT[name]
    mutant = next(m for m in mutants() if m.name == name)
    graph = LessonGraph(find(mutant.lesson), lambda dest: stage_mutant(mutant, dest))
    try:
        result = graph.result("survives-every-crash")
        assert result.status == "failed", result
        (finding,) = result.findings
        assert code is None or finding.code == code, finding
        stage_mutant(mutant, tmp_path)
        line = (tmp_path / finding.file).read_text().splitlines()[finding.line - 1]
        assert text is None or text in line, line
        assert any("the power fails here" in line for line in finding.excerpt)
    finally:
        graph.close()


@pytest.mark.parametrize("lesson", ["w10-l02", "w10-l03"])
def test_the_reference_survives_all_states(lesson):
    graph = LessonGraph(find(lesson), stage.stage_reference)
    try:
        result = graph.result("survives-every-crash")
        assert result.status == "passed", result
        assert "bounded" not in result.detail and "torn512" in result.detail
    finally:
        graph.close()


UNSAFE = r"""
    static char held[1 << 24];
    int again = open(path, O_RDWR);
    ssize_t size = again < 0 ? 0 : read(again, held, sizeof(held));
    if (again >= 0 && (ftruncate(again, 0) < 0 || fsync(again) < 0 ||
                       pwrite(again, held, (size_t)size, 0) != size || fsync(again) < 0))
        return -EIO;
    if (again >= 0)
        close(again);
"""


def test_a_recovery_that_is_not_safe_when_crashed_is_caught():
    def staged(tree):
        stage.stage_reference(tree)
        source = tree / "w10" / "wal_recovery.c"
        source.write_text(source.read_text().replace(HEAD, HEAD + UNSAFE))

    graph = LessonGraph(find("w10-l03"), staged)
    try:
        result = graph.result("survives-every-crash")
        assert [f.code for f in result.findings] == ["D301"], result
        assert "ftruncate" in "".join(result.findings[0].excerpt)
    finally:
        graph.close()


def test_a_reader_that_is_slow_gets_all_of_the_report(serve, monkeypatch):
    """The server's timer interrupts its writes into a full pipe."""
    from grader import sandbox

    read = sandbox._Child._read

    def slowly(self, pipe, name):
        time.sleep(0.15)
        read(self, pipe, name)

    monkeypatch.setattr(sandbox._Child, "_read", slowly)
    _, tried = ends(serve(), records(60))
    assert set(ways(tried)) == {"exit 0"} and len(tried) > 120
    assert all(log.NEXT[1].hex() in t.report for t in tried)


def test_a_writer_that_makes_a_call_for_each_byte_is_tried_all_the_same():
    mutant = next(m for m in mutants() if m.name == "w10-l02/sync-every-byte")
    graph = LessonGraph(find("w10-l02"), lambda dest: stage_mutant(mutant, dest))
    try:
        result = graph.result("survives-every-crash")
        assert result.status == "passed", result
    finally:
        graph.close()


def test_without_a_static_library_the_server_is_linked_dynamically(serve, monkeypatch):
    static, dynamic = build.LINKED[build.CRASH]
    missing = [*static, "-l:no-such-library.a"]
    monkeypatch.setitem(build.LINKED, build.CRASH, (missing, dynamic))
    server = serve()
    assert server.built.findings == ()
    headers = server.sandbox.run(["readelf", "-lW", "driver"], cwd=build.CRASH).stdout
    assert b"INTERP" in headers
    _, tried = ends(server, records(8))
    assert set(ways(tried)) == {"exit 0"}


def test_the_server_is_linked_statically_where_it_can_be(serve):
    headers = serve().sandbox.run(["readelf", "-lW", "driver"], cwd=build.CRASH).stdout
    assert b"LOAD" in headers and b"INTERP" not in headers
