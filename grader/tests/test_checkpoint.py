"""The oracle of checkpoints; their crash checks, alone, on the known mistakes."""

import pytest

from grader import stage
from grader.checks import checkpoint_format as form
from grader.checks.wal_format import DEL, FOUR, SET, apply
from grader.course import find
from grader.crash import checkpoint as subject
from grader.crash.scenario import Done
from grader.graph import LessonGraph
from grader.mutants import mutants, stage_mutant
from grader.run import Reply

CRASH, FAULT = "checkpoints-survive-every-crash", "checkpoints-survive-every-fault"
ONE, TWO = [(SET, b"foo", b"bar"), (SET, b"name", b"alice")], [(DEL, b"name", b"")]


def test_the_snapshot_in_the_header_is_one():
    header = (stage.ROOT / "w10" / "checkpoint.h").read_text()
    at = header.index(" *   29 f0 57 95")
    shown = "".join(line[2:] for line in header[at:].splitlines()[:3])
    data = bytes.fromhex(shown)
    assert data == form.snapshot({b"foo": b"bar"}, 2)
    assert form.parse_snapshot(data) == form.Snapshot({b"foo": b"bar"}, 2)


def test_no_part_and_no_changed_snapshot_is_whole():
    data = form.snapshot(apply(FOUR), 7)
    assert not any(form.parse_snapshot(data[:n]) for n in range(len(data)))
    assert not any(
        form.parse_snapshot(data[:n] + bytes([data[n] ^ 4]) + data[n + 1 :]) for n in range(len(data))
    )
    pair = form.log(FOUR[:1])
    for records, first, count in ((pair, 0, 1), (pair, 1, 2), (pair + pair, 1, 2), (form.log(TWO), 1, 1)):
        assert form.parse_snapshot(form.seal(records, first, count)) is None


@pytest.mark.parametrize("files, content", [
    ({}, {}),
    ({"1.wal": form.log(ONE), "2.wal": form.log(TWO)}, apply(ONE + TWO)),
    ({"1.wal": form.log(ONE) + b"torn"}, apply(ONE)),
    ({"1.wal": form.log(ONE) + b"torn", "2.wal": b""}, "1.wal is torn, and a later segment is there"),
    ({"2.wal": b""}, "1.wal is missing"),
    ({"snapshot": form.snapshot(apply(ONE + TWO), 3), "1.wal": form.log(ONE)}, apply(ONE + TWO)),
    ({"snapshot": b""}, "the snapshot is not whole"),
])
def test_a_directory_holds_a_map_or_is_damaged(files, content):
    assert form.content(files) == content


def did(name, *args, ret=0, **words):
    said = [("ret", str(ret)), *((key, f"x{value.hex()}") for key, value in words.items())]
    return Done((name, 0, *args), Reply(0, name, tuple(said), ()) if ret is not None else None)


def test_what_an_open_shows_decides_on_what_was_under_way():
    first, second = ((SET, b"k", b"1"), (SET, b"k", b"2"))
    began = did("kv_log_append", *first), did("kv_log_append", *second, ret=None)
    assert subject.histories(began)[0] == {(first,), (first, second)}
    opened = did("kv_log_open", subject.DIR, k=b"k", v=b"2")
    assert subject.histories((*began, opened))[0] == {(first, second)}
    checkpoint = did("kv_log_checkpoint")
    assert subject.histories((*began, opened, checkpoint))[1] == 2


def judged(name, check):
    mutant = next((m for m in mutants() if m.name == f"w10-l05/{name}"), None)
    staged = (lambda dest: stage_mutant(mutant, dest)) if mutant else stage.stage_reference
    graph = LessonGraph(find("w10-l05"), staged)
    try:
        return graph.result(check)
    finally:
        graph.close()


@pytest.mark.parametrize("check", [CRASH, FAULT])
def test_the_reference_survives_all_states(check):
    result = judged("the reference", check)
    assert result.status == "passed" and "bounded" not in result.detail, result


def test_what_stays_open_is_named_and_so_is_the_close_that_left_it(tmp_path):
    (finding,) = judged("not-closed-when-poisoned", FAULT).findings
    assert finding.code == "F109" and "deep/kv/2.wal stays open" in finding.message
    stage_mutant(next(m for m in mutants() if m.name == "w10-l05/not-closed-when-poisoned"), tmp_path)
    line = (tmp_path / finding.file).read_text().splitlines()[finding.line - 1]
    assert line.startswith("int kv_log_close(")


CAUGHT = {
    "removed-before-the-snapshot": "D305", "no-directory-sync-after-the-rename": "D305",
    "directory-synced-after-the-removal": "D305", "snapshot-not-synced": "A305",
    "snapshot-written-in-place": "A305", "synced-before-the-trailer": "A305",
    "segment-opened-by-hand-after-the-checkpoint": "D305", "every-segment-replayed": "D305",
    "leftovers-removed-before-the-directory-sync": "D305", "old-snapshot-removed-first": "D305",
    "clean-up-left-to-the-next-open": "D305", "directory-not-synced": "D305",
    "temporary-snapshot-loaded": "R521", "leftovers-stay": "R522",
    "all-but-the-last-removed": "R523", "temporary-file-blocks-the-next": "R524",
}
CAUGHT_BY_A_FAULT = {
    "failed-snapshot-ignored": "D305", "rename-result-ignored": "D305",
    "snapshot-sync-result-ignored": "A305", "directory-sync-result-ignored": "D305",
}


@pytest.mark.parametrize("name", [*CAUGHT, *CAUGHT_BY_A_FAULT])
def test_the_crash_checks_alone_catch(name):
    result = judged(name, CRASH if name in CAUGHT else FAULT)
    assert result.status == "failed", result
    (finding,) = result.findings
    assert finding.code == (CAUGHT | CAUGHT_BY_A_FAULT)[name], finding
    assert any("the power fails here" in line for line in finding.excerpt)


def test_a_sync_that_is_missing_is_named_where_it_is_missing():
    """The sync in front of it was for another name, and is right where it is."""
    result = judged("no-directory-sync-after-the-rename", "syncs-every-step")
    assert [(f.code, f.file) for f in result.findings] == [("D201", "w10/checkpoint.c")], result
    assert "never synced after the name snapshot is made" in result.findings[0].message
    assert judged("no-directory-sync-after-the-rename", "stops-after-a-failure").status == "passed"
