"""From a trace to an operations file."""

import subprocess

import pytest

from grader.crash import lab
from grader.crash.ops import write_ops
from grader.tests.tracelog import DIR, Log
from grader.trace import replay

OLD = {"/tree": None, "/tree/log": 3}


def replayed(log):
    """Without the driver, which stands elsewhere."""
    return replay(log.events(), program="/tree/driver", cwd=DIR, initial=OLD, marks_fd=3)


def written(log):
    found = write_ops(
        replayed(log), DIR, {"log": b"old"},
        lambda mark: mark.text if mark.text.startswith("<") else None,
    )
    done = subprocess.run(
        [lab.program(), "states", "-"], input=found.text.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0 or b"cannot judge" in done.stderr, done.stderr + found.text.encode()
    return found


def lines(log):
    return [line for line in written(log).text.splitlines()[1:-1]]


def test_what_was_there_and_what_was_done():
    log = Log()
    log.begin("1", "append")
    f = log.open("log")
    log.write(f, "ab")
    log.sync(f)
    log.end("1", "append")
    assert lines(log) == [
        "dir 1", "file 2 x6f6c64", "entry 1 log 2",
        "op 4 4 write 2 3 x6162", "op 5 5 fsync 2", "op 6 6 ack < 1 append 0",
    ]


def test_positions_of_calls_that_overlap_or_never_return():
    log = Log()
    f = log.open("log")
    log.raw(f'write({log.fd(f)}, "ab", 2 <unfinished ...>')
    log.mark("< 1 x")
    log.raw("<... write resumed>) = 2")
    log.raw(f"fsync({log.fd(f)} <unfinished ...>")
    found = lines(log)
    assert "op 3 5 write 2 3 x6162" in found and "op 6 - fsync 2" in found


def test_names_directories_and_links():
    log = Log()
    log.raw('mkdir("d e", 0755) = 0')
    log.rename("log", "d e/new%")
    log.raw('link("d e/new%", "hard") = 0')
    log.raw('unlink("hard") = 0')
    log.sync_dir()
    assert lines(log)[3:] == [
        "op 2 2 create 1 d%20e 3 dir", "op 3 3 rename 1 log 3 new%25",
        "op 4 4 link 1 hard 2", "op 5 5 unlink 1 hard", "op 7 7 fsync 1",
    ]


def test_truncation_dsync_and_syncfs():
    log = Log()
    f = log.open("log", "O_WRONLY|O_TRUNC|O_DSYNC")
    log.write(f, "ab")
    log.raw(f"syncfs({log.fd(f)}) = 0")
    assert lines(log)[3:] == ["op 2 2 resize 2 0", "op 3 3 write 2 0 x6162 dsync", "op 4 4 syncfs"]


def test_a_failed_sync_is_lost_unless_it_was_interrupted():
    log = Log()
    f = log.open("log")
    log.sync(f, "-1 EINTR (Interrupted system call)")
    log.sync(f, "-1 EIO (Input/output error)")
    assert lines(log)[3:] == ["op 4 4 lost 2"]


def test_other_directories_are_left_out_and_the_way_from_them_is_not():
    log = Log()
    log.raw('openat(AT_FDCWD</tree>, "/tmp/x", O_WRONLY|O_CREAT|O_EXCL, 0644) = 4</tmp/x>')
    log.raw('write(4</tmp/x>, "ab", 2) = 2')
    assert lines(log) == ["dir 1", "file 2 x6f6c64", "entry 1 log 2"]
    log.raw('rename("/tmp/x", "here") = 0')
    assert lines(log) == [
        "dir 1", "file 2 x6f6c64", "dir 3", "entry 1 log 2",
        "op 2 2 create 3 x 4 file", "op 3 3 write 4 0 x6162", "op 4 4 rename 3 x 1 here",
    ]


@pytest.mark.parametrize("call, what", [
    ("mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, {fd}, 0) = 0x7f0000", "a shared mapping"),
    ('symlink("log", "l") = 0', "a symlink file"),
    ('rename("/tmp/unknown", "x") = 0', "a file from elsewhere"),
    ("io_uring_setup(8, {{flags=0}}) = 9", "io_uring_setup"),
])
def test_what_cannot_be_modelled_is_named(call, what):
    log = Log()
    f = log.open("log", "O_RDWR")
    log.raw(call.format(fd=log.fd(f)))
    found = written(log)
    assert found.unseen == (what,)
