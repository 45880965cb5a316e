"""Compile a small program, trace it under bubblewrap, judge it."""

import os
import shutil
import subprocess

import pytest

from grader.trace import TRACED, Promise, check, parse, replay

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void mark(const char *line)
{
    if (write(MARKS, line, strlen(line)) < 0)
        _exit(9);
}

static int make_durable(int fd, int other)
{
    (void)other;
#if defined RANGE
    return fd < 0 ? -1 : sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
#elif defined WRONG_FD
    return fd < 0 ? -1 : fsync(other);
#elif defined NO_SYNC
    return fd < 0;
#else
    return fsync(fd);
#endif
}

static int store(int other)
{
    int fd = open(".tmp", O_WRONLY | O_CREAT | O_EXCL, 0644);
    int dir = open(".", O_RDONLY | O_DIRECTORY);
#ifdef EARLY_DIR
    fsync(dir);
#endif
    if (write(fd, "a\"b\n\xff", 5) != 5 || make_durable(fd, other) != 0)
        return -1;
    if (rename(".tmp", "object \n<\xc3\xa9>") != 0)
        return -1;
#if !defined NO_DIR && !defined EARLY_DIR
    if (fsync(dir) != 0) return -1;
#endif
    return close(fd) | close(dir);
}

int main(void)
{
    int other = open("other", O_WRONLY | O_CREAT, 0644);
    mark("> 1 store x\n");
    if (store(other) != 0) return 1;
    mark("< 1 store 0\n");
    return 0;
}
"""
OBJECT = "object \n<é>"
MISTAKES = {"": [], "NO_SYNC": ["A103", "D101"], "WRONG_FD": ["A103", "D103"],
            "RANGE": ["A103", "D105"], "NO_DIR": ["D201"],
            "EARLY_DIR": ["D202"]}


def sandbox(work):
    return ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--tmpfs",
            "/tmp", "--bind", str(work), "/tmp/tree", "--proc", "/proc",
            "--dev", "/dev", "--chdir", "/tmp/tree", "--",
            "/tmp/tree/driver"]


def record(work, define, marks, *options):
    command = ["gcc", "-g", "-O1", f"-DMARKS={marks}", "-o", work / "driver",
               "-x", "c", "-"]
    if define:
        command.insert(1, f"-D{define}")
    subprocess.run(command, input=SOURCE, text=True, check=True, timeout=60)
    log = work.parent / "strace.log"
    traced = subprocess.run(
        ["strace", "-f", "-y", "-xx", "-s", "1048576", "--seccomp-bpf",
         "--decode-pids=pidns", "-o", log, "-e", f"trace={TRACED}", *options,
         *sandbox(work)], pass_fds=[marks], timeout=60, capture_output=True)
    assert traced.returncode == 0, traced.stderr.decode()
    with log.open() as lines:
        return parse(lines, log.name)


@pytest.fixture
def work(tmp_path):
    """A directory to run in, and a descriptor for the marks."""
    if not all(map(shutil.which, ("gcc", "strace", "bwrap"))):
        pytest.skip("needs gcc, strace and bubblewrap")
    works = subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/", "/",
                            "true"], capture_output=True, timeout=60)
    if works.returncode:
        pytest.skip("bubblewrap does not work here")
    (tmp_path / "work").mkdir()
    marks = os.open(tmp_path / "marks", os.O_WRONLY | os.O_CREAT)
    yield tmp_path / "work", marks
    os.close(marks)


def judged(events, marks):
    trace = replay(events, program="/tmp/tree/driver", cwd="/tmp/tree",
                   initial={"/tmp/tree": None, "/tmp/tree/driver": 1},
                   marks_fd=marks)
    return check(trace, {"1": [Promise(OBJECT)]})


@pytest.mark.parametrize("define", MISTAKES)
def test_a_real_program(work, define):
    """Each planted mistake is found with its code, the right one passes."""
    directory, marks = work
    found = judged(record(directory, define, marks), marks)
    assert sorted(f.code for f in found) == MISTAKES[define]
    assert all(f.call_name == "store" for f in found)


def test_stacks_lead_to_the_culprit(work):
    """-k: the call to point at carries the student's function."""
    directory, marks = work
    found = judged(record(directory, "NO_SYNC", marks, "-k"), marks)
    frames = [frame.file for frame in found[0].culprit.call.stack]
    assert any(file.endswith("/driver") for file in frames)
