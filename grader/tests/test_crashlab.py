"""The crash lab: the rules of its model, a second opinion on them, and its reader."""

import itertools
import subprocess
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.crash import lab
from grader.crash.ops import quoted

BLOCK, SECTOR = 4096, 512


def run(*words, ops: str):
    return subprocess.run(
        [lab.program(), words[0], "-", *map(str, words[1:])], input=ops.encode("latin-1"),
        capture_output=True, check=False, timeout=60,
    )


def ops_file(*lines: str, before: str = "dir 1") -> str:
    """Calls one after another, each entered and returned; `@5 -` sets positions."""
    text = ["crashlab-ops 1", *before.splitlines()]
    for at, line in enumerate(lines, 1):
        place, _, rest = line.partition(" op ") if line.startswith("@") else (f"@{at} {at}", "", line)
        text.append(f"op {place[1:]} {rest}")
    return "\n".join([*text, "end"]) + "\n"


def digest(data: bytes) -> str:
    """digest.c once more."""
    a, b, most = 0x243F6A8885A308D3, 0x13198A2E03707344, (1 << 64) - 1
    stripped = data.rstrip(b"\0")
    words = [stripped[i : i + 8] for i in range(0, len(stripped), 8)]
    for number in (len(data), len(stripped), *(int.from_bytes(w, "little") for w in words)):
        a = (a ^ number) * 0x9E3779B97F4A7C15 & most
        a ^= a >> 32
        b = (b + number) * 0xC2B2AE3D27D4EB4F & most
        b ^= b >> 29
    return f"{a:016x}{b:016x}"


def listed(text: str, profile="posix") -> list[tuple]:
    """The states: the promises, and what is on the disk as a set of lines."""
    done = run("states", "--profile", profile, ops=text)
    assert done.returncode == 0, done.stderr
    states = []
    for line in done.stdout.decode().splitlines()[:-1]:
        if line.startswith("state "):
            states.append(([], []))
        else:
            states[-1][0 if line.startswith("  ack ") else 1].append(line.strip())
    return [(tuple(a), frozenset(d)) for a, d in states]


def disk(**files: bytes | None) -> frozenset:
    """As `listed` says it; None makes a directory, `__` a slash."""
    paths = {name.replace("__", "/"): data for name, data in files.items()}
    return frozenset(
        f"dir {path}" if data is None else f"file {path} {len(data)} {digest(data)}"
        for path, data in paths.items()
    )


def disks(*lines, before="dir 1", profile="posix") -> set:
    """Every disk at any crash point, whatever had been promised."""
    return {found for _, found in listed(ops_file(*lines, before=before), profile)}


OLD = "dir 1\nfile 2 x6f6c64\nentry 1 f 2"
EMPTY = "dir 1\nfile 2 x\nentry 1 f 2"


# One test for each rule of model.h; dropping the rule breaks its test.


def test_1_each_step_of_a_started_call_may_persist_or_not():
    assert disks("@1 - op write 2 0 x6e6577", before=OLD) == {disk(f=b"old"), disk(f=b"new")}


def test_2_blocks_are_independent_and_each_is_a_version_in_program_order():
    two = bytes(2 * BLOCK).hex()
    before = f"dir 1\nfile 2 x{two}\nentry 1 f 2"
    found = disks("write 2 0 x61", "write 2 4096 x62", "write 2 0 x63", before=before)
    expected = set()
    for first, second in itertools.product((b"\0", b"a", b"c"), (b"\0", b"b")):
        expected.add(disk(f=first + bytes(BLOCK - 1) + second + bytes(BLOCK - 1)))
    assert found == expected


def test_2_a_later_write_to_a_block_does_not_persist_without_an_earlier_one():
    found = disks("write 2 0 x61", "write 2 1 x62", before=OLD)
    assert found == {disk(f=b"old"), disk(f=b"ald"), disk(f=b"abd")}


def test_2_a_block_is_split_at_sectors_in_torn512_only():
    data = b"x" * 2 * SECTOR
    before = f"dir 1\nfile 2 x{bytes(2 * SECTOR).hex()}\nentry 1 f 2"
    half = {disk(f=b"x" * SECTOR + bytes(SECTOR)), disk(f=bytes(SECTOR) + b"x" * SECTOR)}
    assert not half & disks(f"write 2 0 x{data.hex()}", before=before)
    assert half <= disks(f"write 2 0 x{data.hex()}", before=before, profile="torn512")


def test_2_torn512_splits_one_block_a_state():
    before = f"dir 1\nfile 2 x{bytes(2 * BLOCK).hex()}\nentry 1 f 2"
    found = disks(f"write 2 0 x{(b'x' * 2 * BLOCK).hex()}", before=before, profile="torn512")
    assert len(found) == 4 + 2 * 2 * (2**8 - 2)


def test_3_the_size_is_independent_of_the_data_and_ahead_of_it_reads_as_zeros():
    assert disks("write 2 0 x61", before=EMPTY) == {disk(f=b""), disk(f=b"a"), disk(f=b"\0")}


def test_4_names_are_independent_of_one_another():
    found = disks("create 1 a 2 file", "create 1 b 3 file")
    assert found == {disk(), disk(a=b""), disk(b=b""), disk(a=b"", b=b"")}


def test_4_a_name_changes_in_order():
    found = disks("unlink 1 f", "create 1 f 3 dir", before=OLD)
    assert found == {disk(f=b"old"), disk(), disk(f=None)}


def test_4_a_name_is_not_taken_before_it_is_left():
    before = f"{OLD}\nfile 3 x67\nentry 1 g 3"
    found = disks("rename 1 f 1 h", "rename 1 g 1 f", before=before)
    assert found == {disk(f=b"old", g=b"g"), disk(h=b"old", g=b"g"), disk(h=b"old", f=b"g")}


def test_4_a_rename_is_one_step():
    assert disks("rename 1 f 1 g", before=OLD) == {disk(f=b"old"), disk(g=b"old")}


def test_4_an_exchange_is_one_step():
    before = f"{OLD}\nfile 3 x67\nentry 1 g 3"
    found = disks("exchange 1 f 1 g", before=before)
    assert found == {disk(f=b"old", g=b"g"), disk(f=b"g", g=b"old")}


def last(*lines, before="dir 1"):
    """The disks under the promise that the last call gives."""
    states = listed(ops_file(*lines, "ack done", before=before))
    return {found for acks, found in states if acks}


def test_5_a_sync_of_a_file_pins_its_bytes_and_not_its_name():
    assert last("create 1 a 2 file", "write 2 0 x61", "fsync 2") == {disk(), disk(a=b"a")}


def test_5_fdatasync_pins_the_same():
    assert last("write 2 0 x61", "fdatasync 2", before=EMPTY) == {disk(f=b"a")}


def test_5_a_sync_of_a_directory_pins_its_names_and_not_their_bytes():
    found = last("create 1 a 2 file", "write 2 0 x61", "fsync 1")
    assert found == {disk(a=b""), disk(a=b"a"), disk(a=b"\0")}


def test_5_a_rename_across_directories_needs_both():
    before = f"{OLD}\ndir 3\nentry 1 d 3"
    either = {disk(f=b"old", d=None), disk(d=None, d__g=b"old")}
    rename = "rename 1 f 3 g"
    assert last(rename, "fsync 1", before=before) == either
    assert last(rename, "fsync 3", before=before) == either
    assert last(rename, "fsync 1", "fsync 3", before=before) == {disk(d=None, d__g=b"old")}


def test_5_syncfs_pins_all():
    assert last("create 1 a 2 file", "write 2 0 x61", "syncfs") == {disk(a=b"a")}


def test_5_a_sync_pins_only_what_had_returned_when_it_was_entered():
    overlap = ("@1 3 op write 2 0 x61", "@2 4 op fsync 2", "@5 5 op ack done")
    states = listed(ops_file(*overlap, before=EMPTY))
    assert {found for acks, found in states if acks} == {disk(f=b""), disk(f=b"a"), disk(f=b"\0")}


def test_5_a_sync_that_has_not_returned_pins_nothing():
    assert len(last("write 2 0 x61", "@2 - op fsync 2", before=EMPTY)) == 3


def test_5_a_failed_sync_drops_what_it_covered():
    calls = ("write 2 0 x61", "lost 2", "fsync 2")
    assert disk(f=b"old") in last(*calls, before=OLD)
    found = last("write 2 0 x61", "lost 2", "write 2 1 x62", "fsync 2", before=OLD)
    assert found == {disk(f=b"obd"), disk(f=b"abd")}


def test_5_a_sync_that_came_first_is_not_undone():
    assert last("write 2 0 x61", "fsync 2", "lost 2", before=OLD) == {disk(f=b"ald")}


def test_5_a_failed_sync_drops_nothing_that_another_had_pinned_by_then():
    write, lost = "@1 1 op write 2 0 x6e6577", "@2 5 op lost 2"
    sooner = ops_file(write, "@3 4 op fsync 2", lost, "@7 7 op ack done", before=OLD)
    later = ops_file(write, "@3 6 op fsync 2", lost, "@7 7 op ack done", before=OLD)
    old, new = (("ack done",), disk(f=b"old")), (("ack done",), disk(f=b"new"))
    assert old not in listed(sooner) and new in listed(sooner)
    assert old in listed(later) and new in listed(later)


def test_5_of_two_syncs_the_one_that_is_over_first_pins():
    calls = ("@1 1 op write 2 0 x6e6577", "@2 9 op fsync 2", "@3 4 op fsync 2", "@5 5 op ack done")
    assert (("ack done",), disk(f=b"old")) not in listed(ops_file(*calls, before=OLD))


def test_5_a_sync_entered_where_the_write_returned_does_not_cover_it():
    calls = ("@1 2 op write 2 0 x6e6577", "@2 3 op fsync 2", "@5 5 op ack done")
    assert (("ack done",), disk(f=b"old")) in listed(ops_file(*calls, before=OLD))


def test_5_a_failed_sync_of_either_directory_drops_the_rename():
    before = f"{OLD}\ndir 3\nentry 1 d 3"
    for lost in (1, 3):
        found = last("rename 1 f 3 g", f"lost {lost}", "fsync 1", "fsync 3", before=before)
        assert found == {disk(f=b"old", d=None), disk(d=None, d__g=b"old")}


def test_5_what_was_dropped_is_overwritten_by_what_came_later():
    found = last("write 2 0 x6161", "lost 2", "write 2 1 x62", "fsync 2", before=OLD)
    assert found == {disk(f=b"obd"), disk(f=b"abd")}


def test_6_a_directory_needs_the_sync_of_its_parent():
    calls = ("create 1 d 2 dir", "create 2 f 3 file", "fsync 2")
    assert last(*calls) == {disk(), disk(d=None, d__f=b"")}
    assert last(*calls, "fsync 1") == {disk(d=None, d__f=b"")}


def test_6_a_file_without_a_name_is_gone():
    assert last("create - 2 file", "write 2 0 x61", "fsync 2", "syncfs") == {disk()}
    assert last("create - 2 file", "write 2 0 x61", "fsync 2", "link 1 a 2", "fsync 1") == {disk(a=b"a")}


def test_7_a_promise_counts_from_its_entry_on_and_is_never_dropped():
    states = listed(ops_file("@1 5 op write 2 0 x6e6577", "@2 - op ack early", before=OLD))
    assert set(states) == {
        (acks, found)
        for acks in ((), ("ack early",))
        for found in (disk(f=b"old"), disk(f=b"new"))
    }


def test_8_the_disk_at_the_start_is_durable():
    assert disks("ack nothing", before=OLD) == {disk(f=b"old")}


def test_8_a_dsync_write_is_a_write_and_its_sync():
    assert last("write 2 0 x6e6577 dsync", before=OLD) == {disk(f=b"new")}
    assert len(last("@1 - op write 2 0 x6e6577 dsync", before=OLD)) == 2


def test_8_a_truncation_and_what_it_cuts_go_together():
    found = disks("resize 2 1", "resize 2 3", before=OLD)
    assert found == {disk(f=b"old"), disk(f=b"o"), disk(f=b"o\0\0")}
    found = last("resize 2 1", "fsync 2", "write 2 2 x78", before=OLD)
    assert found == {disk(f=b"o"), disk(f=b"o\0\0"), disk(f=b"o\0x")}


def test_8_bytes_in_a_cut_block_wait_for_the_cut():
    assert disk(f=b"xld") not in disks("resize 2 0", "write 2 0 x78", before=OLD)


def test_8_bytes_in_another_block_do_not_wait_for_the_cut():
    before = f"dir 1\nfile 2 x{bytes(BLOCK + 5).hex()}\nentry 1 f 2"
    assert disk(f=b"x" + bytes(BLOCK + 4)) in disks("resize 2 4097", "write 2 0 x78", before=before)


def test_8_bytes_do_not_wait_for_a_cut_that_was_dropped():
    assert last("resize 2 1", "lost 2", "write 2 0 x78", "fsync 2", before=OLD) == {
        disk(f=b"xld"), disk(f=b"x")
    }


def test_8_a_write_exposes_every_size_at_a_block_boundary():
    sizes = {0, BLOCK, 2 * BLOCK, 2 * BLOCK + 1}
    found = disks(f"write 2 0 x{bytes(2 * BLOCK + 1).hex()}", before=EMPTY)
    assert found == {disk(f=bytes(size)) for size in sizes}


# The search.


def test_the_textbook_order_leaves_the_old_file_or_the_new_one():
    calls = ("create 1 t 3 file", "write 3 0 x6e6577", "fsync 3", "rename 1 t 1 f", "fsync 1")
    found = {frozenset(line for line in d if " f " in line) for d in disks(*calls, before=OLD)}
    assert found == {disk(f=b"old"), disk(f=b"new")}
    assert last(*calls, before=OLD) == {disk(f=b"new")}


def test_each_pair_of_disk_and_promises_is_visited_once():
    states = listed(ops_file("write 2 0 x61", "ack a", "fsync 2", "ack b", "write 2 0 x62", before=OLD))
    assert max(Counter(states).values()) == 1


def test_a_search_over_the_cap_is_bounded_and_says_so():
    calls = [f"create 1 n{i} {i + 2} file" for i in range(14)]
    done = run("states", "--cap", 500, ops=ops_file(*calls))
    assert done.stdout.endswith(b"states at 15 crash points, bounded at 6 of them\n")
    # New at the last point is what has the last name: all but up to two of the 13
    # others, or up to one of them.
    assert done.stdout.count(b" point 14 ") == (1 + 13 + 78) + (1 + 13)
    whole = run("states", ops=ops_file(*calls[:8]))
    assert whole.stdout.endswith(b"256 states at 9 crash points, all there are\n")


def test_names_are_told_apart_by_their_directory():
    before = f"{OLD}\ndir 3\nentry 1 d 3\nfile 4 x67\nentry 3 f 4"
    found = last("unlink 3 f", "fsync 3", "create 1 e 5 file", "fsync 1", before=before)
    assert found == {disk(f=b"old", d=None, e=b"")}


LONG = 10_000
APPENDS = [f"write 2 {i} x61" for i in range(LONG)]


@pytest.mark.parametrize("profile", ["posix", "torn512"])
def test_a_long_file_of_synced_calls_is_explored_whole(profile):
    """A byte and its sync, 5,000 times: the byte, or a zero, or neither."""
    calls = [call for write in APPENDS[: LONG // 2] for call in (write, "fsync 2")]
    done = run("states", "--profile", profile, ops=ops_file(*calls, before=EMPTY))
    assert done.stdout.endswith(b"10001 states at 10001 crash points, all there are\n")


def test_a_long_file_of_calls_that_nobody_synced_is_bounded_soon():
    done = run("states", ops=ops_file("unlink 1 g", *APPENDS, "fsync 2", before=f"{EMPTY}\nentry 1 g 2"))
    assert b" bounded at 99" in done.stdout
    states = done.stdout.decode().split("state ")[1:]
    final = [state.splitlines()[1:] for state in states if f" point {LONG} " in state]
    whole = f"  file f {LONG - 1} {digest(b'a' * (LONG - 1))}"
    assert [whole] in final  # all of it
    assert [whole, whole.replace(" f ", " g ")] in final  # all but the oldest step
    assert any(lines[0].endswith(digest(bytes(LONG - 1))) for lines in final)  # the last size alone


def test_a_bounded_search_tears_blocks_too():
    data = b"x" * 16 * BLOCK
    before = f"dir 1\nfile 2 x{bytes(len(data)).hex()}\nentry 1 f 2"
    text = ops_file(f"write 2 0 x{data.hex()}", before=before)
    done = run("states", "--profile", "torn512", "--cap", 4, ops=text)
    assert f" {digest(bytes(SECTOR) + data[SECTOR:])}\n" in done.stdout.decode()
    assert done.stdout.endswith(b", bounded at 1 of them\n")


def test_show_rebuilds_any_state(tmp_path):
    text = ops_file(
        "create 1 d 3 dir", "create 3 a%20b 4 file", "write 4 5000 x616263", "link 1 l 4",
        "resize 4 9000", before=OLD,
    )
    states = listed(text)
    for number, (_, expected) in enumerate(states):
        home = tmp_path / str(number)
        assert run("show", "--state", number, home, ops=text).returncode == 0
        found = set()
        for path in home.rglob("*"):
            name = quoted(str(path.relative_to(home)), keep="/")
            data = None if path.is_dir() else path.read_bytes()
            found.add(f"dir {name}" if data is None else f"file {name} {len(data)} {digest(data)}")
        assert found == expected


def test_explore_names_the_smallest_broken_state(tmp_path):
    check = tmp_path / "check"
    check.write_text('#!/bin/sh\nread promise || exit 0\n[ "$(cat f)" = new ]\n')
    check.chmod(0o755)
    bad = ops_file("write 2 0 x6e6577", "ack stored", "fsync 2", before=OLD)
    done = run("explore", "--check", check, ops=bad)
    assert done.returncode == 1
    assert done.stdout.startswith(b"broken: state 3, crash after position 2, 1 steps lost")
    good = ops_file("write 2 0 x6e6577", "fsync 2", "ack stored", before=OLD)
    assert run("explore", "--check", check, ops=good).returncode == 0


def test_explore_finds_that_both_of_two_copies_can_be_lost(tmp_path):
    """A recovery that needs a or b: to lose one at a time shows nothing."""
    check = tmp_path / "check"
    check.write_text("#!/bin/sh\nread promise || exit 0\n[ -s a ] || [ -s b ]\n")
    check.chmod(0o755)
    copies = ("write 2 0 x6f6e65", "write 3 0 x6f6e65")
    before = "dir 1\nfile 2 x\nfile 3 x\nentry 1 a 2\nentry 1 b 3"
    done = run("explore", "--check", check, ops=ops_file(*copies, "ack stored", before=before))
    assert done.returncode == 1 and b"2 steps lost" in done.stdout, done.stdout
    for sync in ("fsync 2", "fsync 3"):
        one = ops_file(*copies, sync, "ack stored", before=before)
        assert run("explore", "--check", check, ops=one).returncode == 0


@pytest.mark.parametrize("left_out, broken", [(None, 0), (1, 1), (4, 1)])
def test_explore_passes_temp_sync_rename_directory_sync_and_nothing_less(tmp_path, left_out, broken):
    """At every moment the old file or the new one; the new one once it is promised."""
    check = tmp_path / "check"
    check.write_text(
        '#!/bin/sh\nif read promise; then [ "$(cat f)" = new ]; else\n'
        '  [ "$(cat f)" = new ] || [ "$(cat f)" = old ]; fi\n'
    )
    check.chmod(0o755)
    calls = ["create 1 t 3 file", "write 3 0 x6e6577", "fsync 3", "rename 1 t 1 f", "fsync 1", "ack new"]
    if left_out is not None:
        del calls[{1: 2, 4: 4}[left_out]]
    assert run("explore", "--check", check, ops=ops_file(*calls, before=OLD)).returncode == broken


# A second opinion: every subset of steps, held against the rules one by one.


class Oracle:
    """Files without names that change, names without bytes: enough for the rules."""

    def __init__(self, lines, point, waits=()):
        self.steps = []  # (call number, cells, what)
        self.syncs = []  # (call number, nodes or None)
        self.sizes = {2: 3, 3: 0}
        self.acks = ()
        # The call `number` is entered there and returns that much later.
        back = {n: n + wait for n, wait in itertools.zip_longest(range(1, len(lines) + 1), waits, fillvalue=0)}
        for number, line in enumerate(lines, 1):
            if number <= point:
                self.take(number, line.split())
        self.pinned = [
            any(at > back[number] and back[at] < point and (nodes is None or need in nodes)
                for at, nodes in self.syncs)
            for number, need, _, _ in self.steps
        ]

    def take(self, number, words):
        match words:
            case ["write", node, offset, data]:
                self.write(number, int(node), int(offset), bytes.fromhex(data[1:]))
            case ["resize", node, size]:
                node, size = int(node), int(size)
                kind = "cut" if size < self.sizes[node] else "grow"
                cells = [("size", node)]
                self.steps.append((number, node, cells, (kind, node, size)))
                self.sizes[node] = size
            case ["rename", "1", a, "1", b]:
                self.steps.append((number, 1, [("name", a), ("name", b)], ("rename", a, b)))
            case ["fsync", node]:
                self.syncs.append((number, {int(node)}))
            case ["syncfs"]:
                self.syncs.append((number, None))
            case ["ack", text]:
                self.acks += (f"ack {text}",)

    def write(self, number, node, offset, data):
        end = offset + len(data)
        for block in range(offset // BLOCK, (end - 1) // BLOCK + 1):
            low, high = max(offset, block * BLOCK), min(end, (block + 1) * BLOCK)
            what = ("data", node, low, data[low - offset : high - offset])
            self.steps.append((number, node, [("data", node, block)], what))
        at = max(offset, self.sizes[node])
        while self.sizes[node] < end:
            at = min(end, (at // BLOCK + 1) * BLOCK)
            self.steps.append((number, node, [("size", node)], ("grow", node, at)))
            self.sizes[node] = at

    def legal(self, kept):
        if any(pin and not keep for pin, keep in zip(self.pinned, kept)):
            return False
        for i, (_, _, cells, what) in enumerate(self.steps):
            for j in range(i):
                if kept[i] and not kept[j]:
                    if set(cells) & set(self.steps[j][2]) or self.cuts(j, what):
                        return False
        return True

    def cuts(self, j, what):
        """Does step j cut the block that `what` writes to?"""
        kind, *rest = self.steps[j][3]
        if kind != "cut" or what[0] != "data" or what[1] != rest[0]:
            return False
        block = what[2] // BLOCK
        before = 3 if rest[0] == 2 else 0
        for _, _, _, (other, *more) in self.steps[:j]:
            if other in ("grow", "cut") and more[0] == rest[0]:
                before = more[1]
        return rest[1] < (block + 1) * BLOCK and before > block * BLOCK

    def disk(self, kept):
        files = {2: (b"old".ljust(4 * BLOCK, b"\0"), 3), 3: (bytes(4 * BLOCK), 0)}
        names = {"f": 2, "g": 3}
        for keep, (_, _, _, (kind, *rest)) in zip(kept, self.steps):
            if not keep:
                continue
            if kind == "rename":
                names[rest[1]] = names.pop(rest[0])
                continue
            data, size = files[rest[0]]
            if kind == "data":
                _, low, piece = rest
                data = data[:low] + piece + data[low + len(piece) :]
            elif kind == "grow":
                size = max(size, rest[1])
            else:
                size = rest[1]
                data = data[:size].ljust(len(data), b"\0")
            files[rest[0]] = data, size
        return disk(**{name: files[node][0][: files[node][1]] for name, node in names.items()})

    def states(self):
        for kept in itertools.product((True, False), repeat=len(self.steps)):
            if self.legal(kept):
                yield self.acks, self.disk(kept)


node = st.sampled_from(("2", "3"))
call = st.one_of(
    st.builds("write {} {} x{}".format, node, st.integers(0, 6), st.sampled_from(("61", "6263"))),
    st.builds("write {} {} x{}".format, node, st.sampled_from((BLOCK - 1, BLOCK, 3 * BLOCK)), st.just("6465")),
    st.builds("resize {} {}".format, node, st.sampled_from((0, 2, 5, BLOCK, BLOCK + 3))),
    st.builds("fsync {}".format, st.sampled_from(("1", "2", "3"))),
    st.sampled_from(("syncfs", "ack a", "ack b", "rename 1 f 1 g", "rename 1 g 1 f")),
)


def possible(lines):
    names = {"f", "g"}
    for line in lines:
        if line.startswith("rename"):
            _, _, source, _, target = line.split()
            if source not in names:
                continue
            names = names - {source} | {target}
        yield line


@settings(max_examples=150, deadline=None)
@given(st.lists(call, max_size=6))
def test_the_oracle_finds_the_same_states(lines):
    lines = list(possible(lines))
    expected = set()
    for point in range(len(lines) + 1):
        expected |= set(Oracle(lines, point).states())
    found = listed(ops_file(*lines, before=f"{OLD}\nfile 3 x\nentry 1 g 3"))
    assert set(found) == expected
    assert len(found) == len(expected)


@settings(max_examples=150, deadline=None)
@given(st.lists(call, max_size=5), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_the_oracle_finds_the_same_states_where_calls_overlap(lines, waits):
    lines = list(possible(lines))
    waits = waits[: len(lines)]
    expected = set()
    for point in range(len(lines) + 1):
        expected |= set(Oracle(lines, point, waits).states())
    calls = [f"@{at} {at + wait} op {line}" for at, (line, wait) in enumerate(zip(lines, waits), 1)]
    found = listed(ops_file(*calls, before=f"{OLD}\nfile 3 x\nentry 1 g 3"))
    assert set(found) == expected


SEEN = r"""
#include <stdio.h>
#include "digest.h"

int main(void)
{
    struct seen seen = { .room_max = 1024 };
    size_t wrong = 0, said = 0;

    for (uint64_t i = 1; i <= 100000; i++) {
        struct digest d = digest_number(DIGEST_START, i);
        int fresh = seen_add(&seen, d), again = seen_add(&seen, d);

        wrong += (size_t)(!fresh || (again && i <= 768));
        said += (size_t)(fresh + again);
    }
    printf("%zu wrong, %zu slots, %d all counted\n", wrong, seen.room, seen.forgotten + seen.count == said);
}
"""


def test_a_set_that_is_full_takes_no_new_digest_for_an_old_one(tmp_path):
    (tmp_path / "seen.c").write_text(SEEN)
    sources = [tmp_path / "seen.c", *(lab.SOURCES / name for name in ("digest.c", "own.c", "ops.c"))]
    program = lab.build(tmp_path / "seen", sources, [f"-I{lab.SOURCES}"])
    assert subprocess.check_output([program]) == b"0 wrong, 1024 slots, 1 all counted\n"


def test_count_is_the_sum_of_states():
    text = ops_file("write 2 0 x61", "ack a", "ack b", before=OLD)
    assert run("count", ops=text).stdout == run("states", ops=text).stdout.splitlines(True)[-1]


def test_a_terabyte_that_nobody_wrote_costs_nothing():
    done = run("states", ops=ops_file("resize 2 4000000000000", "write 2 0 x61", "resize 2 0", before=EMPTY))
    assert done.returncode == 0 and b" 4000000000000 " in done.stdout


# The reader.

GOOD = ops_file("create 1 a%20 3 file", "@2 - op write 3 0 x00ff dsync", "ack a b", before=OLD)


@pytest.mark.parametrize("line, text, why", [
    (1, "crashlab-ops 2\nend\n", "first line"),
    (2, "crashlab-ops 1\nend\n", "node 1"),
    (3, "crashlab-ops 1\ndir 1\ndir 1\nend\n", "taken"),
    (3, "crashlab-ops 1\ndir 1\nfile 2 x6\nend\n", "pairs"),
    (3, "crashlab-ops 1\ndir 1\nentry 1 a 7\nend\n", "no such node"),
    (4, "crashlab-ops 1\ndir 1\nfile 2 x\nentry 2 a 1\nend\n", "not a directory"),
    (3, "crashlab-ops 1\ndir 1\nop 1 1 create 1 a/b 2 file\nend\n", "not a name"),
    (3, "crashlab-ops 1\ndir 1\nop 1 1 create 1 %00 2 file\nend\n", "not a name"),
    (3, "crashlab-ops 1\ndir 1\nop 1 1 create 1 .. 2 file\nend\n", "not a name"),
    (3, "crashlab-ops 1\ndir 1\nop 2 1 syncfs\nend\n", "before it was entered"),
    (3, "crashlab-ops 1\ndir 1\nop 1 1 frobnicate\nend\n", "no such operation"),
    (3, "crashlab-ops 1\ndir 1\nop 1 1 syncfs 1\nend\n", "goes on"),
    (3, "crashlab-ops 1\ndir 1\n\nend\n", "missing"),
    (3, "crashlab-ops 1\ndir 1\nop 1 01 syncfs\nend\n", "not a number"),
    (4, "crashlab-ops 1\ndir 1\nop 1 1 syncfs\ndir 2\nend\n", "stands before"),
    (3, "crashlab-ops 1\ndir 1\n", "end"),
    (3, "crashlab-ops 1\ndir 1\nend", "cut"),
    (4, "crashlab-ops 1\ndir 1\nend\ndir 2\n", "follows the end"),
    (3, "crashlab-ops 1\ndir 1\nop 1 1 unlink 1 a\nend\n", "cannot have happened"),
    (3, "crashlab-ops 1\ndir 1\nop 1 1 unseen - io_uring\nend\n", "cannot judge: io_uring"),
])
def test_a_wrong_line_is_named(line, text, why):
    done = run("states", ops=text)
    assert done.returncode == 3 and done.stdout == b""
    error = done.stderr.decode()
    assert error.startswith(f"-:{line}: ") and why in error


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_file_breaks_the_reader(data):
    text = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        cut = data.draw(st.integers(0, 3))
        text[at : at + cut] = data.draw(st.binary(max_size=4))
        text = text or bytearray(b"\n")
    done = subprocess.run(
        [lab.program(checked=True), "states", "-"], input=bytes(text), capture_output=True,
        check=False, timeout=20,
    )
    assert done.returncode in (0, 3), done.stderr
    assert b"Sanitizer" not in done.stderr and b"runtime error" not in done.stderr


def test_every_cut_of_a_file_is_seen():
    for length in range(len(GOOD)):
        done = run("states", ops=GOOD[:length])
        assert done.returncode == 3, GOOD[:length]
