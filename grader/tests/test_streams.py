"""A stream that passes the faults is no other to the program than one of libc's."""

import subprocess
from pathlib import Path

import pytest

from grader.objects import DRIVERS

SOURCE = Path(__file__).parent / "data" / "streams_same.c"
WRAPPED = ("fopen", "fopen64", "fdopen", "fileno", "fileno_unlocked", "fread")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    program = tmp_path_factory.mktemp("streams") / "same"
    wraps = [f"-Wl,--wrap={name}" for name in WRAPPED]
    words = ["gcc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", SOURCE, DRIVERS / "streams.c"]
    subprocess.run([*words, *wraps, "-o", program], check=True)
    return program


@pytest.mark.parametrize("seeds", [range(i, i + 50) for i in range(0, 400, 50)], ids=str)
def test_random_calls_return_and_leave_what_libc_does(program, tmp_path, seeds):
    for seed in seeds:
        done = subprocess.run([program, str(seed), tmp_path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), seed
        assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes(), seed


def test_every_function_of_it_is_linked_in_front_of_libcs():
    names = (DRIVERS / "faults.names").read_text().split()
    assert set(WRAPPED) <= set(names)
