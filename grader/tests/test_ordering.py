"""Every mistake has its code, and what is odd but right has none."""

import pytest

from grader.tests.tracelog import Log
from grader.trace import Promise, check
from grader.trace.durability import Durability
from grader.trace.ops import Resize, Sync, Write
from grader.trace.ordering import CannotJudge

BOTH = {"1": [Promise("log")], "2": [Promise("log")], "3": [Promise("log")]}
OLD = {"/tree/log": 100, "/tree/other": 10}
EIO = "-1 EIO (Input/output error)"


def codes(log, promises=BOTH, initial=None, **options):
    found = check(log.trace(initial), promises, **options)
    assert not any(isinstance(f, CannotJudge) for f in found), found
    return [f.code for f in found]


def appended(*steps, initial=OLD, before=(), after=()):
    """A log that exists; steps run inside one call of wal_append."""
    log = Log()
    log.f = log.open("log")
    log.g = log.open("other")
    for step in before:
        step(log)
    log.begin("1", "wal_append")
    for step in steps:
        step(log)
    log.end("1", "wal_append")
    for step in after:
        step(log)
    return log


def write(log): log.write(log.f)
def sync(log): log.sync(log.f)
def sync_other(log): log.sync(log.g)
def sync_fails(log): log.sync(log.f, EIO)


def sync_range(log):
    log.call("sync_file_range", log.f, ", 0, 0, SYNC_FILE_RANGE_WRITE")


def close_call(log):
    log.begin("9", "wal_close")
    log.sync(log.f)
    log.end("9", "wal_close")


DATA = {
    "never": ((write,), (), (), ["D101"]),
    "only wal_close syncs": ((write,), (), (close_call,), ["D101"]),
    "before the last write": ((write, sync, write), (), (), ["D102"]),
    "before the only write": ((sync, write), (), (), ["D102"]),
    "the wrong descriptor": ((write, sync_other), (), (), ["D103"]),
    "after the answer": ((write,), (), (sync,), ["D104"]),
    "sync_file_range": ((write, sync_range), (), (), ["D105"]),
    "failed and ignored": ((write, sync_fails), (), (), ["D106"]),
    "failed and tried again": ((write, sync_fails, sync), (), (), ["D106"]),
    "one sync too many": ((sync, write, sync), (), (), []),
    "right": ((write, sync), (), (), []),
    "in two parts": ((write, write, sync), (), (), []),
}


@pytest.mark.parametrize("name", DATA)
def test_data_at_a_promise(name):
    """Bytes are durable when the call that promises it returns."""
    steps, before, after, expected = DATA[name]
    log = appended(*steps, before=before, after=after)
    assert codes(log, initial=OLD) == expected


def test_the_explanation_names_the_wrong_file():
    """D103 says which file was synced instead, and points at that sync."""
    log = appended(write, sync_other)
    found, = check(log.trace(OLD), BOTH)
    assert "other" in found.explanation and isinstance(found.culprit, Sync)
    assert found.call_name == "wal_append"


def test_the_later_sync_is_named():
    """D104 points at the write and names the sync that came late."""
    found, = check(appended(write, after=(sync,)).trace(OLD), BOTH)
    assert isinstance(found.culprit, Write)
    assert isinstance(found.related[0], Sync)


def test_the_same_mistake_is_told_once():
    """Three appends without a sync are one violation, counted thrice."""
    log = Log()
    log.f = log.open("log")
    for ident in "123":
        log.begin(ident, "wal_append")
        log.write(log.f)
        log.end(ident, "wal_append")
    found, = check(log.trace(OLD), BOTH)
    assert (found.code, found.count) == ("D101", 3)


def test_a_failing_call_promises_nothing():
    """A negative RET is no acknowledgement."""
    log = Log()
    log.f = log.open("log")
    log.begin("1", "wal_append")
    log.write(log.f)
    log.sync(log.f, EIO)
    log.end("1", "wal_append", -5)
    assert codes(log, initial=OLD) == []


def test_a_sync_that_overlaps_the_write_does_not_count():
    """fsync pins what had returned before it was entered."""
    log = Log()
    log.f = log.open("log")
    log.begin("1", "wal_append")
    log.raw('write(4</tree/log>, "ab", 2 <unfinished ...>')
    log.pid = 8
    log.lines.insert(-1, "7  clone(child_stack=NULL, flags=CLONE_VM|CLONE_FS"
                         "|CLONE_FILES|CLONE_THREAD) = 8\n")
    log.raw("fsync(4</tree/log>) = 0")
    log.pid = 7
    log.raw("<... write resumed>) = 2")
    log.end("1", "wal_append")
    assert codes(log, initial=OLD) == ["D102"]


def test_a_sync_still_under_way_at_the_answer():
    """D104: acknowledged while another thread was still flushing."""
    log = Log()
    log.f = log.open("log")
    log.raw("clone(child_stack=NULL, flags=CLONE_VM|CLONE_FS|CLONE_FILES"
            "|CLONE_THREAD) = 8")
    log.begin("1", "wal_append")
    log.write(log.f)
    log.pid = 8
    log.raw("fsync(4</tree/log> <unfinished ...>")
    log.pid = 7
    log.end("1", "wal_append")
    log.pid = 8
    log.raw("<... fsync resumed>) = 0")
    assert codes(log, initial=OLD) == ["D104"]


def test_a_flusher_thread_that_lags_behind():
    """D104: each append is acknowledged one flush too early."""
    log = Log()
    log.f = log.open("log")
    log.raw("clone(child_stack=NULL, flags=CLONE_VM|CLONE_FS|CLONE_FILES"
            "|CLONE_THREAD) = 8")
    for ident in "12":
        log.begin(ident, "wal_append")
        log.write(log.f)
        log.pid = 8
        if ident == "2":
            log.sync(log.f)
        log.pid = 7
        log.end(ident, "wal_append")
    found, = check(log.trace(OLD), BOTH)
    assert found.code == "D104" and found.related[0].call.pid == 8


def test_one_writer_flushes_for_another():
    """Group commit: whose sync it is does not matter, only when."""
    log = Log()
    log.f = log.open("log")
    log.raw("clone(child_stack=NULL, flags=CLONE_VM|CLONE_FS|CLONE_FILES"
            "|CLONE_THREAD) = 8")
    log.begin("1", "wal_append")
    log.pid = 8
    log.begin("2", "wal_append")
    log.write(log.f)
    log.sync(log.f)
    log.end("2", "wal_append")
    log.pid = 7
    log.end("1", "wal_append")
    assert codes(log, initial=OLD) == []


def test_required_sync():
    """D107: wal_close syncs, even with nothing new to write."""
    log = Log()
    log.f = log.open("log")
    log.write(log.f)
    log.sync(log.f)
    log.begin("1", "wal_close")
    log.call("close", log.f)
    log.end("1", "wal_close")
    assert codes(log, initial=OLD, must_sync_in={"wal_close"}) == ["D107"]


def test_required_sync_is_void_when_every_write_is_synchronous():
    log = Log()
    log.f = log.open("log", "O_WRONLY|O_APPEND|O_DSYNC")
    log.write(log.f)
    log.begin("1", "wal_close")
    log.call("close", log.f)
    log.end("1", "wal_close")
    assert codes(log, initial=OLD, must_sync_in={"wal_close"}) == []


def test_too_many_syncs():
    """D108: a sync for every byte."""
    log = appended(write, sync, write, sync, write, sync)
    assert codes(log, initial=OLD, sync_bound={"wal_append": 1}) == ["D108"]
    assert codes(log, initial=OLD, sync_bound={"wal_append": 3}) == []


# --- names ---

def opened(*steps, after=(), before=()):
    """steps run inside wal_open, on an empty directory with a subdirectory."""
    log = Log()
    for step in before:
        step(log)
    log.begin("1", "wal_open")
    for step in steps:
        step(log)
    log.end("1", "wal_open")
    for step in after:
        step(log)
    return log


def make(log): log.f = log.open("log")
def make_other(log): log.open("other")
def sync_dir(log): log.sync_dir()


def sync_dir_fails(log):
    log.sync(log.open(".", "O_RDONLY|O_DIRECTORY"), EIO)


def sync_other_dir(log):
    log.sync(log.open("sub", "O_RDONLY|O_DIRECTORY"))


NAMES = {
    "never": ((make,), (), (), ["D201"]),
    "file, not directory": ((make, sync), (), (), ["D201"]),
    "before the name": ((sync_dir, make), (), (), ["D202"]),
    "before the name, for another": ((make_other, sync_dir, make), (), (),
                                     ["D201"]),
    "again before the name, for nothing": (
        (make_other, sync_dir, sync_dir, make), (), (), ["D202"]),
    "before the name, and what an earlier call left": (
        (sync_dir, make), (make_other,), (), ["D202"]),
    "another directory": ((make, sync_other_dir), (), (), ["D203"]),
    "made by someone else": ((make,), (make,), (), ["D204"]),
    "after the answer": ((make,), (), (sync_dir,), ["D205"]),
    "failed": ((make, sync_dir_fails), (), (), ["D206"]),
    "failed, tried again": ((make, sync_dir_fails, sync_dir), (), (),
                            ["D206"]),
    "right": ((make, sync_dir), (), (), []),
    "right, again at every open": ((make, sync_dir), (make,), (), []),
}


def test_a_thread_that_syncs_the_directory_too_late():
    """D205: it does so while the next call runs, and is no part of that."""
    log = opened(make)
    log.raw("clone(child_stack=NULL, flags=CLONE_VM|CLONE_FS|CLONE_FILES"
            "|CLONE_THREAD) = 8")
    log.begin("2", "wal_append")
    log.pid = 8
    log.sync_dir()
    log.pid = 7
    log.end("2", "wal_append")
    assert codes(log, initial={"/tree/sub": None}) == ["D205"]


@pytest.mark.parametrize("name", NAMES)
def test_names_at_a_promise(name):
    """A file's name is durable when the call that promises it returns."""
    steps, before, after, expected = NAMES[name]
    log = opened(*steps, before=before, after=after)
    assert codes(log, initial={"/tree/sub": None}) == expected


def test_a_new_directory_needs_its_own_parent():
    """mkdir is durable by the parent's sync, not by its own."""
    log = Log()
    log.begin("1", "cas_open")
    log.raw('mkdir("d", 0755) = 0')
    log.sync(log.open("d", "O_RDONLY|O_DIRECTORY"))
    log.end("1", "cas_open")
    assert codes(log, {"1": [Promise("d", "name")]}) == ["D203"]


def test_a_rename_across_directories_needs_both():
    """Syncing only one side of the rename is D201 for the other."""
    def moved(*dirs):
        log = Log()
        log.begin("1", "store")
        log.raw('rename("log", "sub/log") = 0')
        for name in dirs:
            log.sync(log.open(name, "O_RDONLY|O_DIRECTORY"))
        log.end("1", "store")
        return codes(log, {"1": [Promise("sub/log")]},
                     initial=OLD | {"/tree/sub": None})
    assert moved("sub") == ["D201"]
    assert moved(".", "sub") == []


# --- rules without a promise ---

def test_overwriting_an_append_only_file():
    """A101: without O_APPEND the second open writes over the first."""
    log = Log()
    log.write(log.open("log", "O_WRONLY"))
    assert codes(log, initial=OLD, append_only=["log"]) == ["A101"]


def test_truncating_an_append_only_file():
    """A102: O_TRUNC destroys what was acknowledged."""
    log = Log()
    log.open("log", "O_WRONLY|O_CREAT|O_TRUNC")
    assert codes(log, initial=OLD, append_only=["log"]) == ["A102"]


@pytest.mark.parametrize("how", ["rename", "link"])
def test_published_before_durable(how):
    """A103: the name leads to bytes that are not yet on the disk."""
    log = Log()
    f = log.open("tmp")
    log.write(f)
    log.raw(f'{how}("tmp", "head") = 0')
    log.sync(f)
    assert codes(log, append_only=[]) == ["A103"]


def test_published_after_a_failed_sync():
    """D106: the program went on although the sync failed."""
    log = Log()
    f = log.open("tmp")
    log.write(f)
    log.sync(f, EIO)
    log.rename("tmp", "head")
    assert codes(log) == ["D106"]


# --- odd but right ---

def fdatasync(log): log.call("fdatasync", log.f)
def syncfs(log): log.call("syncfs", log.g)
def sync_all(log): log.raw("sync() = 0")
def eintr(log): log.sync(log.f, "-1 EINTR (Interrupted system call)")


def pwrite(log):
    log.raw('pwritev(4</tree/log>, [{iov_base="ab", iov_len=2}, '
            '{iov_base="c", iov_len=1}], 2, 100) = 3')


def rwf(log):
    log.raw('pwritev2(4</tree/log>, [{iov_base="ab", iov_len=2}], 1, -1, '
            'RWF_DSYNC|RWF_APPEND) = 2')


def second(log): log.sync(log.open("log", "O_RDONLY"))


def dup(log):
    log.raw("dup(4</tree/log>) = 30</tree/log>")
    log.raw("fsync(30</tree/log>) = 0")


def other_thread(log):
    log.raw("clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_THREAD}, 88)"
            " = 8")
    log.pid = 8
    log.sync(log.f)
    log.pid = 7


def rewrite(log):
    log.raw('pwrite64(5</tree/log>, "abcd", 4, 0) = 4')
    log.sync(5)


@pytest.mark.parametrize("steps", [
    (write, fdatasync), (write, syncfs), (write, sync_all), (rwf,),
    (pwrite, sync), (write, second), (write, dup), (write, other_thread),
    (write, eintr, sync)], ids=lambda steps: steps[-1].__name__)
def test_odd_but_right_data(steps):
    log = appended(*steps)
    assert codes(log, initial=OLD, append_only=["log"]) == []


@pytest.mark.parametrize("flag", ["O_DSYNC", "O_SYNC"])
def test_synchronous_descriptors(flag):
    log = Log()
    log.begin("1", "wal_append")
    log.write(log.open("log", f"O_WRONLY|O_APPEND|{flag}"))
    log.end("1", "wal_append")
    assert codes(log, initial=OLD) == []


def test_rewriting_what_a_failed_sync_dropped():
    """Only writing the bytes again helps; then they are durable."""
    log = Log()
    f = log.open("log", "O_WRONLY")
    log.begin("1", "put")
    for result in (EIO, "0"):
        log.raw(f'pwrite64({log.fd(f)}, "abcd", 4, 0) = 4')
        log.sync(f, result)
    log.end("1", "put")
    assert codes(log, initial=OLD) == []


def test_tmpfile_and_linkat():
    log = Log()
    log.begin("1", "store")
    log.raw('openat(AT_FDCWD</tree>, ".", O_WRONLY|O_TMPFILE, 0600)'
            ' = 9</tree/#5>(deleted)')
    log.raw('write(9</tree/#5>(deleted), "ab", 2) = 2')
    log.raw("fsync(9</tree/#5>(deleted)) = 0")
    log.raw('linkat(AT_FDCWD</tree>, "/proc/self/fd/9", AT_FDCWD</tree>, '
            '"log", AT_SYMLINK_FOLLOW) = 0')
    log.sync_dir()
    log.end("1", "store")
    assert codes(log) == []


@pytest.mark.parametrize("publish", [
    ['link("tmp", "log") = 0', 'unlink("tmp") = 0'],
    ['renameat2(AT_FDCWD</tree>, "tmp", AT_FDCWD</tree>, "log",'
     ' RENAME_NOREPLACE) = 0']], ids=["link+unlink", "renameat2"])
def test_other_ways_to_publish(publish):
    log = Log()
    log.begin("1", "store")
    f = log.open("tmp")
    log.write(f)
    log.sync(f)
    for line in publish:
        log.raw(line)
    log.sync_dir()
    log.end("1", "store")
    assert codes(log) == []


# --- cannot judge ---

def test_a_shared_mapping_cannot_be_judged():
    """Neither a pass nor a violation, and only for the file it touches."""
    log = Log()
    f = log.open("log", "O_RDWR")
    log.raw("mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, "
            f"{log.fd(f)}, 0) = 0x7f0000000000")
    log.begin("1", "put")
    log.write(f)
    log.end("1", "put")
    found, = check(log.trace(OLD), BOTH)
    assert isinstance(found, CannotJudge) and "mapping" in found.what
    other = {"1": [Promise("other")]}
    assert check(log.trace(OLD), other) == []


def test_an_append_only_log_may_be_cut_to_one_size():
    log = Log()
    f = log.open("log", "O_RDWR")
    log.raw(f"ftruncate({log.fd(f)}, 21) = 0").raw(f"ftruncate({log.fd(f)}, 0) = 0")
    codes = [found.code for found in check(log.trace(OLD), append_only={"log": 21})]
    assert codes == ["A102"]
    assert len(check(log.trace(OLD), append_only=["log"])) == 1


def test_io_uring_hides_every_file():
    log = Log()
    log.raw("io_uring_setup(8, {flags=0}) = 9<anon_inode:[io_uring]>")
    log.begin("1", "put")
    log.end("1", "put")
    found, = check(log.trace(OLD), BOTH)
    assert isinstance(found, CannotJudge) and found.inode is None


# --- the layer below ---

def test_durability_over_time():
    """unsynced() at each position; truncation makes writes good."""
    log = Log()
    f = log.open("log", "O_WRONLY")
    log.write(f)                                    # line 3
    log.call("ftruncate", f, ", 0")                 # line 4
    log.sync(f)                                     # line 5
    trace = log.trace(OLD)
    durable = Durability(trace)
    inode = trace.ops[0].inode
    kinds = [[type(op) for op in durable.unsynced(inode, at)]
             for at in (3, 4, 5, 6)]
    assert kinds == [[], [Write], [Write, Resize], []]


# --- names that are gone, names that change in one step, names that rest on others ---

@pytest.mark.parametrize("synced, found", [(True, []), (False, ["D207"])])
def test_a_name_that_is_gone(synced, found):
    log = Log()
    log.begin("1", "recover")
    log.raw('unlink("head") = 0')
    if synced:
        log.sync_dir()
    log.end("1", "recover")
    assert codes(log, {"1": [Promise("head", "gone")]}, {"/tree/head": 2}) == found


@pytest.mark.parametrize("flags", ["O_WRONLY|O_CREAT", "O_WRONLY|O_TRUNC"])
def test_a_file_changed_where_it_stands(flags):
    log = Log()
    log.write(log.open("head", flags))
    initial = {"/tree/head": 4} if "TRUNC" in flags else {}
    assert codes(log, {}, initial, in_one_step=["head"]) == ["A104"]


@pytest.mark.parametrize("away, found", [(True, ["A104"]), (False, [])])
def test_a_name_taken_away_before_it_is_given_again(away, found):
    log = Log()
    log.f = log.open("tmp")
    log.write(log.f)
    log.sync(log.f)
    if away:
        log.raw('unlink("head") = 0')
    log.rename("tmp", "head")
    assert codes(log, {}, {"/tree/head": 2}, always_there=["head"]) == found


def published(*missing):
    """`list` names the file `abcd`, each step of which may be missing."""
    log = Log()
    f = log.open("abcd")
    log.write(f)
    if "sync" not in missing:
        log.sync(f)
    if "directory" not in missing:
        log.sync_dir()
    g = log.open("tmp")
    log.write(g, "none" if "file" in missing else "abcd")
    log.sync(g)
    log.rename("tmp", "list")
    return codes(log, {}, in_one_step=["list"],
                 rests_on={"list": lambda data: [Promise(data.decode())]})


@pytest.mark.parametrize("missing, found", [
    ((), []), (("sync",), ["A105"]), (("directory",), ["A105"]), (("file",), ["A105"]),
])
def test_a_name_that_rests_on_another_file(missing, found):
    assert published(*missing) == found


def test_a_call_that_has_nothing_to_change():
    """Syncs are welcome; a write is one too many."""
    assert codes(appended(sync), promises={}, changes_nothing=["1"]) == []
    assert codes(appended(write, sync), promises={}, changes_nothing=["1"]) == ["A106"]
    assert codes(appended(sync, after=(write,)), promises={}, changes_nothing=["1"]) == []
