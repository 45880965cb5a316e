"""The kv shell: its answers, and that none of its `ok` is ever taken back."""

import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from grader import stage
from grader.course import ROOT
from grader.crash import lab
from grader.render import render_file

ANSWER = "answer(sh, kv_log_append(&sh->log, &record));"
TOO_EARLY = 'puts("ok"); (void)kv_log_append(&sh->log, &record);'
KILLS = 40
LINES = 20_000
RANDOM = 1  # the seed: the kills come at the same answers in each run


def make(folder: Path, path: str = "", old: str = "", new: str = "") -> Path:
    """`make kv` in a reference tree, in which one text of one file is another."""
    stage.stage_reference(folder)
    shutil.copy(ROOT / "Makefile", folder)
    if path:
        source = (folder / path).read_text()
        assert source.count(old) == 1, f"{path} has not one {old!r}"
        (folder / path).write_text(source.replace(old, new))
    subprocess.run(["make", "build/kv"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "build" / "kv"


@pytest.fixture(scope="module")
def kv(tmp_path_factory):
    return make(tmp_path_factory.mktemp("kv"))


def say(kv: Path, directory: Path, *lines: str, end: str = "\n"):
    """Its answers, what it refused, and how it ended."""
    done = subprocess.run(
        [kv, directory], input="\n".join(lines) + end, capture_output=True, text=True,
        timeout=30, check=False,
    )
    return done.stdout.splitlines(), done.stderr.splitlines(), done.returncode


def test_each_command_has_one_line_of_answer(kv, tmp_path):
    answers, refused, status = say(
        kv, tmp_path / "db", "set foo bar", "set name alice and bob", "get foo", "get fo", "list",
        "del foo", "del foo", "checkpoint", "set foo=x ", "get foo", "", "list", "quit", "set never 1",
    )
    assert answers == [
        "ok", "ok", "foo=bar", "fo is not there", "2 pairs: foo=bar name=alice and bob",
        "ok", "ok", "ok", "foo is not there", "1 pair: name=alice and bob",
    ]
    assert (refused, status) == (["kv: line 9: usage: set KEY VALUE"], 1)
    assert say(kv, tmp_path / "db", "list", "get never") == (
        ["1 pair: name=alice and bob", "never is not there"], [], 0)


def test_what_it_acknowledged_outlives_its_crash(kv, tmp_path):
    answers, _, status = say(kv, tmp_path / "db", "set a 1", "set b 2", "crash", "set c 3")
    assert (answers, status) == (["ok", "ok"], -9)
    answers, _, _ = say(kv, tmp_path / "db", "list", "checkpoint", "del a", "crash")
    assert answers == ["2 pairs: a=1 b=2", "ok", "ok"]
    assert say(kv, tmp_path / "db", "list") == (["1 pair: b=2"], [], 0)


@pytest.mark.parametrize("line, message", [
    ("sett a 1", "no such command"),
    ("SET a 1", "no such command"),
    ("set a", "usage: set KEY VALUE"),
    ("get", "usage: get KEY"),
    ("get a b", "usage: get KEY"),
    ("list all", "usage: list"),
    ("set a \0", "a NUL"),
    (f"set {'k' * 65536} 1", "at most 65535 bytes"),
    (f"set k {'v' * 65536}", "at most 65535 bytes"),
])
def test_a_bad_line_is_refused_and_the_next_obeyed(kv, tmp_path, line, message):
    answers, refused, status = say(kv, tmp_path / "db", "set k 1", line, "list")
    assert answers == ["ok", "1 pair: k=1"] and status == 1
    assert refused[0].startswith("kv: line 2: ") and message in refused[0]


def test_the_largest_pair_and_odd_bytes_come_back(kv, tmp_path):
    value = "v" * 65535
    assert say(kv, tmp_path / "db", f"set {'k' * 65535} {value}", "set é \x01\tz")[0] == ["ok", "ok"]
    answers, _, _ = say(kv, tmp_path / "db", f"get {'k' * 65535}", "get é")
    assert answers == [f"{'k' * 65535}={value}", "é=\\x01\\x09z"]


def test_a_line_that_has_no_end_is_not_obeyed(kv, tmp_path):
    answers, refused, status = say(kv, tmp_path / "db", "set a 1", "set a 12", end="")
    assert (answers, status) == (["ok"], 1) and "in the middle of this line" in refused[0]
    assert say(kv, tmp_path / "db", "get a")[0] == ["a=1"]


def test_no_two_have_one_log_open(kv, tmp_path):
    with subprocess.Popen([kv, tmp_path / "db"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        first.stdin.write(b"set a 1\n")
        first.stdin.flush()
        assert first.stdout.readline() == b"ok\n"
        answers, refused, status = say(kv, tmp_path / "db/", "set a 2")
        assert (answers, status) == ([], 2) and "another kv has it open" in refused[0]
        first.kill()
    assert say(kv, tmp_path / "db/", "list") == (["1 pair: a=1"], [], 0)


def test_wrong_use_and_a_log_that_cannot_be_opened(kv, tmp_path):
    done = subprocess.run([kv], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "usage: kv DIR\n")
    (tmp_path / "file").write_text("")
    _, refused, status = say(kv, tmp_path / "file", "list")
    assert status == 2 and "Not a directory" in refused[0]
    say(kv, tmp_path / "db", "set a 1", "set b 2", "checkpoint")
    os.truncate(tmp_path / "db" / "snapshot", 40)
    _, refused, status = say(kv, tmp_path / "db", "list")
    assert status == 2 and "damaged" in refused[0]


def test_a_failed_write_is_said_and_none_is_acknowledged_behind_it(kv, tmp_path):
    lines = "".join(f"set k{i} {'v' * 100}\n" for i in range(30))
    done = subprocess.run(
        ["sh", "-c", f"trap '' XFSZ; ulimit -f 2; exec {kv} {tmp_path / 'db'}"], input=f"{lines}get k0\n",
        capture_output=True, text=True, check=False,
    )
    answers = done.stdout.splitlines()
    acknowledged = answers.count("ok")
    assert 0 < acknowledged < 30 and answers[:-1] == ["ok"] * acknowledged and done.returncode == 1
    assert f"kv: line {acknowledged + 1}: File too large" in done.stderr
    assert done.stderr.count("File too large") == 30 - acknowledged + 1  # and at the close
    assert say(kv, tmp_path / "db", "list")[0][0].startswith(f"{acknowledged} pairs: k0=")


def test_the_skeleton_says_that_it_is_one(tmp_path):
    stage.stage_reference(tmp_path)
    for solution in stage.solutions():
        path = tmp_path / stage.skeleton_of(solution).relative_to(ROOT)
        path.write_text(render_file(solution, "skeleton"))
    shutil.copy(ROOT / "Makefile", tmp_path)
    done = subprocess.run(
        ["make", "--no-print-directory", "kv"], cwd=tmp_path, input="set a 1\n", capture_output=True, text=True, timeout=60,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert "not written yet" in done.stderr and "w10-l05" in done.stderr
    assert not (tmp_path / "kv_dir").exists()


# --- killed from outside ---

def load(rng: random.Random) -> list[str]:
    """More than is done by the time that the kill comes, on a busy machine too."""
    lines = []
    for i in range(LINES):
        key = f"k{rng.randrange(20)}"
        lines.append(f"del {key}" if rng.random() < 0.2 else f"set {key} {i}")
        if rng.random() < 0.02:
            lines.append("checkpoint")
    return lines


def kill_in_the_middle(kv: Path, directory: Path, lines: list[str], after: int) -> int:
    """Kills it when `after` of its answers have been read; how many it gave in all."""
    source = directory.parent / "lines"
    source.write_text("".join(f"{line}\n" for line in lines))
    with (source.open() as given,
          subprocess.Popen([kv, directory], stdin=given, stdout=subprocess.PIPE) as shell):
        answers = [shell.stdout.readline() for _ in range(after)]
        shell.kill()
        answers += shell.stdout.readlines()
    assert set(answers) == {b"ok\n"} and after <= len(answers) < len(lines)
    return len(answers)


def replayed(pairs: dict[str, str], lines: list[str]) -> dict[str, str]:
    pairs = dict(pairs)
    for name, *words in map(str.split, lines):
        if name == "set":
            pairs[words[0]] = words[1]
        elif name == "del":
            pairs.pop(words[0], None)
    return pairs


def lost_by_kills(kv: Path, directory: Path) -> list[str]:
    """Rounds of a load that is killed, each on what the one before has left; what was not
    there any more, or never had been."""
    rng, pairs, wrong = random.Random(RANDOM), {}, []
    lines = load(rng)
    for number in range(KILLS):
        given = kill_in_the_middle(kv, directory, lines, rng.randrange(1, 300))
        answers, refused, _ = say(kv, directory, "list")
        if refused:
            return [*wrong, *refused]
        found = dict(pair.split("=") for pair in re.sub(r"^\d+ pairs?:?", "", answers[0]).split())
        # The line behind the last answer may have been obeyed, and none behind that.
        if found not in (replayed(pairs, lines[:given]), replayed(pairs, lines[: given + 1])):
            wrong.append(f"kill {number}, after {given} answers: {found}")
        pairs = found
    return wrong


@pytest.fixture
def in_memory():
    """A sync costs nothing there, and what a kill leaves is the same."""
    folder = stage.workspace()
    yield folder
    stage.remove(folder)


def test_no_kill_takes_what_it_acknowledged(kv, in_memory):
    assert lost_by_kills(kv, in_memory / "db") == []


@pytest.mark.parametrize("path, old, new", [
    ("w10/kv_shell.c", ANSWER, TOO_EARLY),
    ("w10/checkpoint.c", "remove_leftovers(log, log->segment);", "remove_leftovers(log, log->segment + 1);"),
])
def test_kills_catch_a_shell_that_loses_something(in_memory, tmp_path, path, old, new):
    assert lost_by_kills(make(tmp_path, path, old, new), in_memory / "db")


# --- the power fails ---

STEPS = ["set a 1", "set b 2", "checkpoint", "set a 3", "del b", "checkpoint", "set c 4"]
CHECK = """\
    #!{python}
    # The map is what the answered lines make of it, or one line more.
    import subprocess, sys
    may = {may!r}
    answered = len(sys.stdin.readlines())
    done = subprocess.run([{kv!r}, "db"], input="list\\n", capture_output=True, text=True)
    sys.exit(done.stdout not in may[answered : answered + 2])
"""


def list_of(pairs: dict[str, str]) -> str:
    all_of_them = "".join(f" {key}={pairs[key]}" for key in sorted(pairs))
    return f"{len(pairs)} pair{'' if len(pairs) == 1 else 's'}{':' if pairs else ''}{all_of_them}\n"


def power_fails(kv: Path, folder: Path) -> tuple[str, int, str]:
    """Traced, and reopened on every disk: what the trace says, whether all the disks are
    good, and what the lab says."""
    ops, check, disk = folder / "kv.ops", folder / "check", folder / "disk"
    disk.mkdir()
    traced = subprocess.run(
        [sys.executable, "-m", "grader", "trace", "--in", disk, "--ops", ops, "--", kv, "db"],
        input="".join(f"{line}\n" for line in STEPS), cwd=ROOT, capture_output=True, text=True, check=False,
    )
    assert traced.stdout == "ok\n" * len(STEPS)
    may = [list_of(replayed({}, STEPS[:n])) for n in range(len(STEPS) + 1)]
    check.write_text(textwrap.dedent(CHECK).format(python=sys.executable, may=may, kv=str(kv)))
    check.chmod(0o755)
    explored = subprocess.run(
        [lab.program(), "explore", ops, "--check", check], capture_output=True, text=True, check=False
    )
    return traced.stderr, explored.returncode, explored.stdout + explored.stderr


def test_no_power_loss_takes_what_it_acknowledged(kv, tmp_path):
    said, broken, lab_said = power_fails(kv, tmp_path)
    assert said == "" and broken == 0, said + lab_said


@pytest.mark.parametrize("path, old, new, code", [
    ("w10/kv_shell.c", ANSWER, TOO_EARLY, "^$"),  # what it did not even begin is in no trace
    ("w10/wal_writer.c", "    err = wal_sync_fd(writer->fd);\n    if", "    err = 0;\n    if", "D104"),
    ("w10/checkpoint.c", "err = wal_sync_dir(path);", "err = 0;", "D20"),
])
def test_power_losses_catch_a_promise_that_came_too_early(tmp_path, path, old, new, code):
    (tmp_path / "tree").mkdir()
    said, broken, lab_said = power_fails(make(tmp_path / "tree", path, old, new), tmp_path)
    assert re.search(code, said) and broken == 1, said + lab_said
