"""`trace`: the rules on a program that knows nothing of us, and its operations for the crash lab."""

import subprocess
import sys

import pytest

from grader.course import ROOT
from grader.crash import lab

SOURCE = r"""
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *steps = argc > 1 ? argv[1] : "";
    int dir = open(".", O_RDONLY | O_DIRECTORY), fd = -1;

    for (; *steps; steps++) {
        switch (*steps) {
        case 'c': fd = open("t", O_WRONLY | O_CREAT | O_EXCL, 0644); break;
        case 'w': if (write(fd, "new", 3) != 3) return 1; break;
        case 's': fsync(fd); break;
        case 'r': rename("t", "f"); break;
        case 'd': fsync(dir); break;
        case 'u': unlink("f"); break;
        case 'o': fd = open("f", O_WRONLY); break;
        case 'm': rename("f", "g"); break;
        case 'p': if (write(1, "done\n", 5) != 5) return 1; break;
        }
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    (folder / "steps.c").write_text(SOURCE)
    subprocess.run(["gcc", "-g", "-o", "steps", "steps.c"], cwd=folder, check=True)
    return folder / "steps"


def trace(program, directory, steps, *options):
    (directory / "f").write_text("old")
    return subprocess.run(
        [sys.executable, "-m", "grader", "trace", "--in", directory, *options, "--", program, steps],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )


@pytest.mark.parametrize("steps, codes", [
    ("cwsrdp", []),  # the textbook
    ("pcwsrd", []),  # it had promised nothing yet
    ("cwsrd", []),
    ("udp", []),
    ("cwrdp", ["A103", "D101"]),
    ("cwsrp", ["D201"]),
    ("cwsdrp", ["D202"]),
    ("cwrsdp", ["A103"]),
    ("cwsrpd", ["D205"]),
    ("csrwdp", ["D102"]),
    ("up", ["D207"]),
    ("udpcwsrdp", []),  # the first line says nothing of a file that is made behind it
    ("owpmd", ["A103", "D101"]),  # nor is it excused by a later name
    ("owspmd", []),
])
def test_each_line_of_output_is_a_promise(program, tmp_path, steps, codes):
    done = trace(program, tmp_path, steps)
    found = [line.split()[0].rstrip(":") for line in done.stderr.splitlines() if line[:1] in "ADFR"]
    assert sorted(found) == codes, done.stderr
    assert done.returncode == (1 if codes else 0)
    assert done.stdout == "done\n" * steps.count("p")
    assert all("steps.c:" in line for line in done.stderr.splitlines() if line[:1] in "ADFR")


@pytest.mark.parametrize("steps, broken", [("cwsrdp", 0), ("cwsrp", 1), ("cwrdp", 1)])
def test_its_operations_go_into_the_crash_lab(program, tmp_path, steps, broken):
    ops, check, directory = tmp_path / "steps.ops", tmp_path / "check", tmp_path / "dir"
    directory.mkdir()
    trace(program, directory, steps, "--ops", ops)
    check.write_text(
        '#!/bin/sh\nif read done; then [ "$(cat f)" = new ]; else\n'
        '  [ "$(cat f)" = new ] || [ "$(cat f)" = old ]; fi\n'
    )
    check.chmod(0o755)
    done = subprocess.run(
        [lab.program(), "explore", ops, "--check", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == broken, done.stdout + done.stderr


def test_bad_use_is_said(program, tmp_path):
    done = trace("/no/such/program", tmp_path, "c")
    assert done.returncode == 2 and "/no/such/program: no such program" in done.stderr
    done = trace(program, tmp_path, "c", "--in", tmp_path / "missing")
    assert done.returncode == 2 and "is not a directory" in done.stderr
