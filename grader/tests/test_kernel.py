"""Replay: which inode a call touches, and what the trace cannot tell."""

from pathlib import Path

import pytest

from grader.tests.tracelog import Log
from grader.trace import KernelModelError, parse, replay, replay_children
from grader.trace.ops import (Closed, Create, Failed, Link, Mark, Opened,
                              Rename, Resize, Sync, SyncAll, SyncRange,
                              Unlink, Unseen, Write)

LOGS = Path(__file__).parent / "data"
OLD = {"/tree/log": 100}
CLONE = "clone(child_stack=NULL, flags={}SIGCHLD) = 8"


def ops(log, *kinds, initial=OLD):
    found = log.trace(initial).ops
    return [op for op in found if isinstance(op, kinds)] if kinds else found


def writes(log, initial=OLD):
    return [(op.offset, op.data) for op in ops(log, Write, initial=initial)]


# --- who is judged ---

def test_judging_starts_at_the_program():
    """bwrap's own calls, and processes beside the program, are ignored."""
    log = Log()
    log.lines.insert(0, "7  fsync(9</tree/log>) = 0\n")
    log.lines.insert(1, '7  execve("/tree/driver", [], 0) = -1 ENOENT (x)\n')
    log.pid = 5
    log.raw("fsync(9</tree/log>) = 0")
    assert ops(log) == []


def test_a_program_that_never_started():
    trace = replay(parse(["1 fsync(3) = 0"]), program="/x")
    assert trace.ops == [] and trace.processes == {}


def test_children_under_their_number_outside_the_namespace():
    log = Log()
    f = log.open("log")
    log.raw("clone(child_stack=NULL, flags=SIGCHLD) = 4 "
            "/* 2320 in strace's PID NS */")
    log.pid = 2320
    log.sync(f)
    assert len(ops(log, Sync)) == 1


def test_a_child_may_run_before_clone_returns():
    log = Log()
    f = log.open("log")
    log.raw("vfork( <unfinished ...>")
    log.pid = 8
    log.sync(f)
    log.pid = 7
    log.raw("<... vfork resumed>) = 8")
    assert len(ops(log, Sync)) == 1


# --- descriptors ---

def test_fork_copies_descriptors_and_shares_offsets():
    log = Log()
    f = log.open("log", "O_RDWR")
    log.raw(CLONE.format(""))
    log.pid = 8
    log.write(f)
    log.call("close", f)
    log.pid = 7
    log.write(f)
    assert writes(log) == [(0, b"abcd"), (4, b"abcd")]


def test_threads_share_descriptors():
    log = Log()
    f = log.open("log", "O_RDWR")
    log.raw(CLONE.format("CLONE_FILES|CLONE_FS|CLONE_THREAD|"))
    log.pid = 8
    log.call("close", f)
    log.pid = 7
    assert f not in log.trace(OLD).processes[7].fds


def test_exec_closes_what_is_close_on_exec():
    log = Log()
    log.open("log", "O_RDWR|O_CLOEXEC")
    log.open("log", "O_RDWR")
    log.call("ioctl", log.open("log", "O_RDWR"), ", FIOCLEX")
    log.raw('execve("/bin/true", ["true"], 0x7f) = 0')
    assert set(log.trace(OLD).processes[7].fds) == {5}


@pytest.mark.parametrize("line", [
    "dup(4</tree/log>) = 9</tree/log>",
    "dup2(4</tree/log>, 9) = 9</tree/log>",
    "dup3(4</tree/log>, 9, O_CLOEXEC) = 9</tree/log>",
    "fcntl(4</tree/log>, F_DUPFD_CLOEXEC, 9) = 9</tree/log>"])
def test_duplicates_share_the_offset(line):
    log = Log()
    f = log.open("log", "O_RDWR")
    log.raw(line)
    log.write(f)
    log.raw('write(9</tree/log>, "xy", 2) = 2')
    assert writes(log) == [(0, b"abcd"), (4, b"xy")]


def test_close_range():
    log = Log()
    log.open("log", "O_RDWR")
    log.open("log", "O_RDWR")
    log.raw("close_range(4, 4294967295, 0) = 0")
    assert len(ops(log, Closed)) == 2


def test_setfl_turns_append_on():
    log = Log()
    f = log.open("log", "O_RDWR")
    log.call("fcntl", f, ", F_SETFL, O_RDWR|O_APPEND")
    log.write(f)
    assert writes(log) == [(100, b"abcd")]


def test_a_number_reused_while_close_is_under_way():
    """close(2) frees the number before it returns."""
    log = Log()
    f = log.open("log", "O_RDWR")
    log.raw(CLONE.format("CLONE_FILES|CLONE_THREAD|"))
    log.raw(f"close({f}</tree/log> <unfinished ...>")
    log.pid, log.next = 8, f
    log.open("other", "O_RDWR|O_CREAT")
    log.pid = 7
    log.raw("<... close resumed>) = 0")
    log.write(f)
    assert ops(log, Write)[0].inode.name == "other"


# --- data ---

def test_offsets():
    log = Log()
    f = log.open("log", "O_RDWR")
    log.call("read", f, ', "0123456789", 10', "10")
    log.write(f)
    log.call("lseek", f, ", 0, SEEK_SET")
    log.raw('write(4</tree/log>, "abcd", 4) = 2')
    log.raw('pwrite64(4</tree/log>, "zz", 2, 50) = 2')
    assert writes(log) == [(10, b"abcd"), (0, b"ab"), (50, b"zz")]


def test_pwrite_appends_under_o_append():
    """pwrite(2), BUGS: on Linux the offset is ignored."""
    log = Log()
    log.open("log", "O_RDWR|O_APPEND")
    log.raw('pwrite64(4</tree/log>, "zz", 2, 50) = 2')
    assert writes(log) == [(100, b"zz")]


def test_vectors_cut_short():
    log = Log()
    log.open("log", "O_RDWR")
    log.raw('writev(4</tree/log>, [{iov_base="ab", iov_len=2}, '
            '{iov_base="cd", iov_len=2}], 2) = 3')
    assert writes(log) == [(0, b"abc")]


def test_an_empty_part_of_a_vector_may_point_anywhere():
    log = Log()
    log.open("log")
    log.raw('writev(4</tree/log>, [{iov_base=NULL, iov_len=0}, '
            '{iov_base="ab", iov_len=2}], 2) = 2')
    assert [data for _, data, *_ in writes(log)] == [b"ab"]


def test_an_unknown_size_is_learned_from_lseek():
    log = Log()
    f = log.open("far", "O_WRONLY|O_APPEND")
    log.write(f)
    log.call("lseek", f, ", 0, SEEK_END", "91")
    log.write(f)
    trace = replay(log.events(), program="/tree/driver", cwd="/tree",
                   marks_fd=3)
    assert [op.offset for op in trace.ops if isinstance(op, Write)] \
        == [None, 91]


def test_resizing():
    log = Log()
    f = log.open("log", "O_RDWR|O_TRUNC")
    log.call("ftruncate", f, ", 8")
    log.call("fallocate", f, ", 0, 0, 16")
    log.call("fallocate", f, ", FALLOC_FL_KEEP_SIZE, 0, 99")
    log.raw('truncate("log", 3) = 0')
    assert [(op.old_size, op.size) for op in ops(log, Resize)] \
        == [(100, 0), (0, 8), (8, 16), (16, 3)]


def test_a_truncated_string_is_the_graders_fault():
    log = Log()
    log.open("log", "O_RDWR")
    log.raw('write(4</tree/log>, "ab"..., 100) = 100')
    with pytest.raises(KernelModelError, match="strace -s"):
        log.trace(OLD)


def test_restarted_and_injected_calls_did_nothing():
    log = Log()
    f = log.open("log", "O_RDWR")
    log.sync(f, "? ERESTARTSYS (To be restarted)")
    log.sync(f, "0 (INJECTED)")
    assert [op.ok for op in ops(log, Sync)] == [False]


def test_a_write_that_never_returned_may_have_gone_in():
    log = Log()
    log.open("log", "O_RDWR")
    log.raw('write(4</tree/log>, "ab", 2 <unfinished ...>')
    log.raw("+++ killed by SIGKILL +++")
    op, = ops(log, Write)
    assert op.data == b"ab" and op.call.exited is None


# --- names ---

def test_names_come_and_go():
    log = Log()
    log.raw('mkdir("d", 0755) = 0')
    log.open("d/a", "O_RDWR|O_CREAT|O_EXCL")
    log.raw('linkat(AT_FDCWD</tree>, "d/a", AT_FDCWD</tree>, "b", 0) = 0')
    log.raw('renameat2(AT_FDCWD</tree>, "b", AT_FDCWD</tree>, "log",'
            ' RENAME_EXCHANGE) = 0')
    log.raw('unlinkat(AT_FDCWD</tree>, "b", 0) = 0')
    log.raw('symlink("log", "s") = 0')
    log.raw('openat(AT_FDCWD</tree>, "s", O_RDONLY) = 9</tree/log>')
    *found, last = [op for op in ops(log) if not isinstance(op, Opened)
                    or op.path == "/tree/log"]
    assert [type(op) for op in found] \
        == [Create, Create, Link, Rename, Unlink, Create]
    made = found[1].inode
    assert found[2].inode is found[3].inode is made
    assert found[3].exchange and found[4].inode is found[3].replaced
    assert last.inode is made


def test_directory_descriptors_and_chdir():
    log = Log()
    log.raw('mkdir("d", 0755) = 0')
    d = log.open("d", "O_RDONLY|O_DIRECTORY")
    log.raw(f'openat({log.fd(d)}, "a", O_RDWR|O_CREAT, 0600) = 8</tree/d/a>')
    log.raw(f"fchdir({log.fd(d)}) = 0")
    log.raw('rename("a", "../b") = 0')
    log.raw('chdir("/tree") = 0')
    log.raw('unlink("b") = 0')
    move, gone = ops(log, Rename, Unlink)
    assert move.src_dir.name == "d" and move.dst_dir.name == "tree"
    assert gone.inode is move.inode


def test_openat2_and_creat():
    log = Log()
    log.raw('openat2(AT_FDCWD</tree>, "n", {flags=O_RDWR|O_CREAT, mode=0600,'
            ' resolve=RESOLVE_BENEATH}, 24) = 8</tree/n>')
    log.raw('creat("log", 0644) = 9</tree/log>')
    assert [op.name for op in ops(log, Create)] == ["n"]
    assert [op.size for op in ops(log, Resize)] == [0]


def test_a_name_outside_initial_was_there_before():
    """Unless a call has shown that it was not."""
    log = Log()
    log.raw('openat(AT_FDCWD</tree>, "/x/a", O_RDONLY) = 8</x/a>')
    log.raw('openat(AT_FDCWD</tree>, "/x/b", O_RDONLY) = -1 ENOENT (No)')
    for name in "ab":
        log.raw(f'openat(AT_FDCWD</tree>, "/x/{name}", O_RDWR|O_CREAT, 0600)'
                f' = 9</x/{name}>')
    assert [op.name for op in ops(log, Create)] == ["b"]
    assert len(ops(log, Failed)) == 1


def test_unknown_symbolic_links_are_followed_by_straces_path():
    log = Log()
    log.raw('openat(AT_FDCWD</tree>, "/lib/a", O_RDONLY) = 8</usr/lib/a>')
    log.raw('openat(AT_FDCWD</tree>, "/usr/lib/a", O_RDONLY) = 9</usr/lib/a>')
    first, second = ops(log, Opened)
    assert first.inode is second.inode


@pytest.mark.parametrize("line", [
    'openat(AT_FDCWD</tree>, "log", O_RDONLY) = 8</tree/elsewhere>',
    'openat(AT_FDCWD</tree>, "none", O_RDONLY) = 8</tree/none>',
    'openat(AT_FDCWD</tree>, "log", O_RDWR|O_CREAT|O_EXCL, 0) = 8</tree/log>',
    'unlink("none") = 0'])
def test_disagreement_is_the_graders_fault(line):
    with pytest.raises(KernelModelError, match="line 2"):
        Log().raw(line).trace(OLD)


@pytest.mark.parametrize("line", [
    "rename(0x7f, 0x7f) = 0", "close() = 0", "write(4) = 4",
    'unlink("no/such") = 0', "fcntl(4, F_DUPFD) = 9", "mmap() = 0x7f",
    'openat2(AT_FDCWD</tree>, "log", 0x7f, 24) = 9</tree/log>'])
def test_odd_arguments_never_surprise(line):
    """At worst the grader's own error, never another exception."""
    log = Log()
    log.open("log", "O_RDWR")
    try:
        log.raw(line).trace(OLD)
    except KernelModelError:
        pass


def test_marks_split_in_lines_and_other_descriptors():
    log = Log()
    log.raw(r'write(3<pipe:[1]>, "> 1 f\n< 1", 9) = 9')
    log.raw(r'write(3<pipe:[1]>, " f 0\n", 5) = 5')
    log.raw(r'write(1</dev/pts/0>, "hello\n", 6) = 6')
    assert [op.text for op in ops(log)] == ["> 1 f", "< 1 f 0"]


# --- syncs, failures, and what is hidden ---

def test_kinds_of_sync():
    log = Log()
    f = log.open("log", "O_RDWR")
    for name, rest in (("fsync", ""), ("fdatasync", ""), ("syncfs", ""),
                       ("sync_file_range", ", 0, 0, 2")):
        log.call(name, f, rest)
    log.raw("sync() = 0")
    assert [type(op) for op in ops(log, Sync, SyncAll, SyncRange)] \
        == [Sync, Sync, SyncAll, SyncRange, SyncAll]


def test_only_some_errors_drop_pages():
    log = Log()
    f = log.open("log", "O_RDWR")
    for error in ("EIO", "ENOSPC", "EINTR", "EBADF"):
        log.sync(f, f"-1 {error} (x)")
    assert [op.lost for op in ops(log, Sync)] == [True, True, False, False]


@pytest.mark.parametrize("line, touched", [
    ("mmap(NULL, 9, PROT_READ, MAP_SHARED, 4</tree/log>, 0) = 0x7f", ()),
    ("mmap(NULL, 9, PROT_READ|PROT_WRITE, MAP_SHARED, 4</tree/log>, 0) = 0x7f",
     "log"),
    ("mmap(NULL, 9, PROT_READ, MAP_PRIVATE, 4</tree/log>, 0) = 0x7f", ()),
    ("sendfile(4</tree/log>, 9</etc/x>, NULL, 9) = 9", "log"),
    ("copy_file_range(9</etc/x>, NULL, 4</tree/log>, NULL, 9, 0) = 9", "log"),
    ("splice(9<pipe:[1]>, NULL, 4</tree/log>, NULL, 9, 0) = 9", "log"),
    ("ioctl(4</tree/log>, BTRFS_IOC_CLONE or FICLONE, 9) = 0", "log"),
    ("fallocate(4</tree/log>, FALLOC_FL_ZERO_RANGE, 0, 9) = 0", "log"),
    ("io_uring_setup(1, {flags=0}) = 9", None),
    ("io_uring_setup(1, NULL) = -1 ENOSYS (x)", ()),
    ('chroot("/x") = 0', None), ("unshare(CLONE_NEWNS) = 0", None)])
def test_hidden_changes(line, touched):
    log = Log()
    log.open("log", "O_RDWR")
    log.raw(line)
    found = [op.inode and op.inode.name for op in ops(log, Unseen)]
    assert found == ([] if touched == () else [touched])


@pytest.mark.parametrize("line, hides", [
    ("mprotect(0x7f1000, 4096, PROT_READ|PROT_WRITE) = 0", True),
    ("mprotect(0x7f1000, 4096, PROT_READ) = 0", False),
    ("mprotect(0x7f2000, 4096, PROT_READ|PROT_WRITE) = 0", False),
    ("mremap(0x7f1000, 4096, 8192, MREMAP_MAYMOVE) = 0x7f8000", True)])
def test_a_mapping_for_reading_becomes_writable(line, hides):
    log = Log()
    log.open("log", "O_RDWR")
    log.raw("mmap(NULL, 4096, PROT_READ, MAP_SHARED, 4</tree/log>, 0) = 0x7f1000")
    log.raw(line)
    assert len(ops(log, Unseen)) == hides


@pytest.mark.parametrize("lines, hides", [
    (("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1000",), True),
    (("mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1000",), False),
    (("fork() = 8",
      "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1000"), True)])
def test_a_mapping_ends_where_another_stands(lines, hides):
    log = Log()
    log.open("log", "O_RDWR")
    log.raw("mmap(NULL, 8192, PROT_READ, MAP_SHARED, 4</tree/log>, 0) = 0x7f1000")
    for line in lines:
        log.raw(line)
    log.raw("mprotect(0x7f1000, 8192, PROT_READ|PROT_WRITE) = 0")
    assert len(ops(log, Unseen)) == hides


@pytest.mark.parametrize("name", ["threads", "stacks"])
def test_recorded_logs(name):
    """A real run under bwrap: threads, fork, O_TMPFILE, odd names."""
    with (LOGS / f"{name}.log").open() as lines:
        events = parse(lines)
    trace = replay(events, program="/tree/driver", cwd="/tree",
                   initial={"/tree": None, "/tree/driver": 1})
    kinds = [type(op) for op in trace.ops]
    assert kinds.count(Sync) == 32 and kinds.count(Rename) == 2
    data = [op for op in trace.ops
            if isinstance(op, Write) and op.inode.name == "test.wal"]
    assert len(data) == 30 and data[-1].end == 210
    assert not any(isinstance(op, Mark) for op in trace.ops)


def test_the_children_of_a_server_are_replayed_one_by_one():
    """What the server does itself is none of theirs, and a pid may come again."""
    log = Log()
    log.raw('openat(AT_FDCWD</tree>, "disk", O_RDONLY|O_DIRECTORY) = 4</tree/disk>')
    for child in (8, 9, 8):
        log.raw('mkdirat(4</tree/disk>, "made", 0755) = 0')
        log.raw(f"clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD) = {child}")
        log.pid = child
        log.raw("fchdir(4</tree/disk>) = 0")
        log.raw('write(200<pipe:[1]>, "> 1 x\\n", 6) = 6')
        log.raw('openat(AT_FDCWD</tree/disk>, "log", O_WRONLY) = 5</tree/disk/log>')
        log.raw(f'write(5</tree/disk/log>, "{child}", 1) = 1')
        log.raw("+++ exited with 0 +++")
        log.pid = 7
    initials = [{"/tree/disk": None, "/tree/disk/log": size} for size in (0, 1, 2)]
    traces = replay_children(
        log.events(), program="/tree/driver", cwd="/tree/disk", initials=initials, marks_fd=200
    )
    writes = [[op for op in trace.ops if isinstance(op, Write)] for trace in traces]
    assert [[(w.data, w.inode.initial_size) for w in found] for found in writes] == [
        [(b"8", 0)], [(b"9", 1)], [(b"8", 2)]
    ]
    assert all(any(isinstance(op, Mark) for op in trace.ops) for trace in traces)
    assert not any(isinstance(op, Create) for trace in traces for op in trace.ops)
    with pytest.raises(KernelModelError, match="3 children and not 2"):
        replay_children(log.events(), program="/tree/driver", cwd="/tree/disk",
                        initials=initials[:2], marks_fd=200)


@pytest.mark.parametrize("error, lost", [(5, True), (28, True), (4, False)])
def test_a_sync_that_the_driver_made_to_fail_lost_what_it_covered(error, lost):
    log = Log()
    f = log.open("log")
    log.write(f, "ab")
    log.mark(f"! 2 fsync errno {error} @0x10 fd={f}")
    syncs = [op for op in log.trace().ops if isinstance(op, Sync)]
    assert [(op.inode.name, op.ok, op.lost) for op in syncs] == [("log", False, True)] * lost
