"""Programs that mean harm, or only go wrong, do not get far."""

import time
from pathlib import Path

import pytest

from grader import sandbox, stage
from grader.sandbox import Sandbox


@pytest.fixture
def box():
    home = stage.workspace()
    yield Sandbox(home)
    stage.remove(home)


def sh(box, script, **options):
    return box.run(["sh", "-c", script], **options)


def compiled(box, source):
    (box.tree / "x.c").write_text(source)
    box.hand_over()
    assert sh(box, "gcc -o x x.c").ok


def running():
    """The command lines of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes()
        except OSError:
            pass  # it has ended meanwhile


needs_namespaces = pytest.mark.skipif(
    sandbox.level().name != "namespaces", reason=sandbox.level().reason
)


def test_status_output_and_signal_come_back(box):
    done = sh(box, "echo out; echo err >&2; exit 7")
    assert (done.status, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert sh(box, "kill -SEGV $$").signal == 11


def test_an_endless_loop_is_ended(box):
    assert sh(box, "while :; do :; done", seconds=1).stopped == "time"


def test_a_flood_of_output_is_cut(box):
    done = sh(box, "yes", seconds=10)
    assert done.stopped == "output"
    assert len(done.stdout) == sandbox.OUTPUT_MAX_BYTES


def test_one_file_that_grows_without_end_is_a_full_disk(box):
    assert sh(box, "exec head -c 200000000 /dev/zero > f", seconds=20).stopped == "disk"


def test_a_full_disk_is_seen(box):
    done = sh(box, "i=0; while :; do i=$((i+1)); head -c 20000000 /dev/zero > f$i; done", seconds=20)
    assert done.stopped == "disk"


def test_many_small_files_are_seen(box):
    done = sh(box, "i=0; while :; do i=$((i+1)); : > f$i; done", seconds=20)
    assert done.stopped == "disk"


@needs_namespaces
def test_a_fork_bomb_ends_and_the_machine_goes_on(box):
    compiled(box, "#include <unistd.h>\nint main(void) { for (;;) fork(); }\n")
    assert sh(box, "./x", seconds=2).stopped == "time"
    assert sh(box, "echo alive").stdout == b"alive\n"


@needs_namespaces
def test_nothing_that_is_left_behind_lives_on(box):
    done = sh(box, "(sleep 3; touch survived) & echo started")
    assert done.stdout == b"started\n"
    time.sleep(3.2)
    assert not (box.tree / "survived").exists()


REMOUNT = """
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
int main(void)
{
    int a = mount("none", "/usr", 0, MS_REMOUNT | MS_BIND, 0) ? errno : 0;
    int b = unshare(CLONE_NEWUSER | CLONE_NEWNS) ? errno : 0;
    int c = mount("none", "/usr", 0, MS_REMOUNT | MS_BIND, 0) ? errno : 0;
    FILE *f = fopen("/usr/written-by-a-student", "w");
    printf("%d %d %d %s\\n", a, b, c, f ? "WRITTEN" : "refused");
    return 0;
}
"""


@needs_namespaces
def test_usr_cannot_be_remounted(box):
    compiled(box, REMOUNT)
    first, *_, written = sh(box, "./x").stdout.decode().split()
    assert first == "1" and written == "refused"
    assert not sh(box, "touch /usr/x").ok


@needs_namespaces
def test_the_machine_is_out_of_sight(box):
    assert sh(box, "ls /").stdout.decode().split() == sorted(
        {"bin", "dev", "etc", "lib", "lib64", "proc", "sbin", "tmp", "tree", "usr"}
        | set(sh(box, "ls -d /lib32 /libx32 2>/dev/null | tr -d /").stdout.decode().split())
    )
    assert sh(box, "cat /proc/1/cmdline | tr '\\0' ' '").stdout.startswith(b"bwrap")
    assert not sh(box, "touch /x").ok
    assert sh(box, "cat /proc/net/dev | wc -l").stdout == b"3\n"  # a header and lo
    assert sh(box, "grep CapEff /proc/self/status").stdout.split()[1] == b"0" * 16


@needs_namespaces
def test_root_is_dropped_first(box):
    """Seen from outside, a program runs under a uid that nobody has."""
    if sandbox._uid() is None:
        pytest.skip("the tests do not run as root")
    sh(box, "touch mine")
    assert (box.tree / "mine").stat().st_uid == sandbox._uid() != 0


def test_memory_is_limited(box):
    compiled(box, "#include <stdlib.h>\nint main(void) { return malloc(3ul << 30) ? 1 : 0; }\n")
    assert sh(box, "./x").ok


def test_what_is_written_to_the_marks_comes_back(box):
    done = box.run(["bash", "-c", 'echo hello >&$1', "bash"], marks=True)
    assert done.marks == b"hello\n"


def test_without_bubblewrap_the_level_is_lower_and_says_why(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    sandbox.level.cache_clear()
    try:
        level = sandbox.level()
    finally:
        sandbox.level.cache_clear()
    assert level.name in ("uid", "limits")
    assert "bubblewrap is not installed" in level.reason


def test_at_a_lower_level_programs_run_in_the_tree_itself():
    home = stage.workspace()
    try:
        level = sandbox.Level("uid" if sandbox._uid() else "limits", "for a test")
        box = Sandbox(home, level)
        assert sh(box, "pwd").stdout.decode().strip() == box.inside == str(box.tree)
        assert sh(box, "while :; do :; done", seconds=1).stopped == "time"
        assert b"while :; do :; done" not in b"".join(running())
    finally:
        stage.remove(home)
