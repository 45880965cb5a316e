"""The front door: messages that say what to do, and the right exit status."""

import json
import os
import subprocess
import sys

import jsonschema
import pytest

from grader import stage
from grader.course import HERE, ROOT


def grader(*words, env=None, python=sys.executable):
    done = subprocess.run(
        [python, "-m", "grader", *map(str, words)], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, **(env or {})}, check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    tree = tmp_path_factory.mktemp("reference")
    stage.stage_reference(tree)
    return tree


def test_full_points_are_exit_status_0_and_a_valid_result(reference, tmp_path):
    out, junit = tmp_path / "r.json", tmp_path / "r.xml"
    done = grader("grade", "w10-l01", "w10-l02", "--root", reference, "--json", out, "--junit", junit)
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(out.read_text())
    jsonschema.validate(data, json.loads((HERE / "result.schema.json").read_text()))
    assert [lesson["id"] for lesson in data["lessons"]] == ["w10-l01", "w10-l02"]
    assert all(lesson["points"] == lesson["max_points"] for lesson in data["lessons"])
    assert data["sandbox"]["level"] in ("namespaces", "uid", "limits")
    assert "w10-l02" in junit.read_text() and 'failures="0"' in junit.read_text()


def test_a_failure_is_exit_status_1_and_a_valid_result(tmp_path):
    """The result of a failing tree holds codes, files, lines and excerpts."""
    tree, out = tmp_path / "tree", tmp_path / "r.json"
    stage.stage_reference(tree)
    source = tree / "w10" / "wal_writer.c"
    source.write_text(source.read_text().replace("| O_APPEND", ""))
    done = grader("grade", "w10-l02", "--root", tree, "--json", out)
    assert done.returncode == 1
    data = json.loads(out.read_text())
    jsonschema.validate(data, json.loads((HERE / "result.schema.json").read_text()))
    found = [f for check in data["lessons"][0]["checks"] for f in check["findings"]]
    assert [(f["code"], f["file"]) for f in found] == [("A101", "w10/wal_writer.c")]
    assert found[0]["line"] and found[0]["excerpt"]


def test_a_seed_repeats_a_run(reference, tmp_path):
    out = tmp_path / "r.json"
    grader("grade", "w10-l01", "--root", reference, "--seed", "abc", "--json", out)
    assert json.loads(out.read_text())["lessons"][0]["seed"] == "abc"


@pytest.mark.parametrize("words, status, text", [
    (["grade", "w10-l99"], 2, "w10-l99 is not a lesson of this course; there are: w10-l01"),
    (["grade", "w18-l03"], 2, "w18-l03 is on the map and not written yet"),
    (["grade", "w10-l02", "--root", "/nowhere"], 2, "/nowhere is not a directory"),
    (["grade", "w10-l02", "--root", "/usr"], 2, "no week directory"),
    (["explain", "D999"], 2, "no finding has the code D999"),
    (["explain", "d101"], 0, "page cache"),
    (["reset", "w99-l01"], 2, "not a lesson"),
    (["nonsense"], 2, "invalid choice"),
    ([], 2, "COMMAND"),
])
def test_words_that_mean_nothing_are_told_so(words, status, text):
    done = grader(*words)
    assert done.returncode == status
    assert text in done.stdout + done.stderr


@pytest.mark.parametrize("lacking", ["strace", "gcc"])
def test_a_missing_tool_is_named_with_its_mend(tmp_path, lacking):
    """A PATH with everything but one tool."""
    tools = ("gcc", "strace", "addr2line", "prlimit", "taskset", "bwrap", "git", "as", "ld")
    for name in tools:
        if name != lacking and os.path.exists(f"/usr/bin/{name}"):
            (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = grader("grade", "w10-l01", env={"PATH": str(tmp_path)})
    assert done.returncode == 2
    assert f"{lacking} is not installed" in done.stderr and "make setup" in done.stderr
    page = grader("doctor", env={"PATH": str(tmp_path)})
    assert page.returncode == 2 and "make setup" in page.stdout


def test_without_bubblewrap_it_grades_a_level_down_and_says_so(tmp_path, reference):
    for name in os.listdir("/usr/bin"):
        if name != "bwrap":
            (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    out = tmp_path / "out.json"
    done = grader("grade", "w10-l01", "--root", reference, "--json", out, env={"PATH": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bubblewrap is not installed" in done.stdout
    assert json.loads(out.read_text())["sandbox"]["level"] in ("uid", "limits")


def test_a_python_without_the_modules_is_told_what_to_install(tmp_path):
    """-S keeps site-packages, and with them every module, out of sight."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "grader", "grade", "w10-l02"], cwd=ROOT,
        capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 2 and "make setup" in done.stderr and "pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_told_so():
    """The grader's own room: a directory where nothing can be written."""
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c",
         "mount -t tmpfs -o size=64k none /mnt && mount -t tmpfs -o size=4k none /dev/shm && "
         f'TMPDIR=/mnt exec "{sys.executable}" -m grader grade w10-l01'],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("no mount namespace can be made here")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "no room to work in: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
