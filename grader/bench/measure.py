"""Builds the benchmarks and runs them in turns, so that what else a machine does falls on all."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .. import stage
from ..course import HERE, ROOT
from ..errors import GraderError

SOURCES = HERE / "bench"
HOME = ROOT / "build" / "bench"  # on a disk: in memory a sync would cost nothing
FLAGS = ["-O2", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-pthread", "-DNO_SELF_TEST"]
WRITER = ("wal_writer.c", "wal_record.c", "crc32.c")
RECOVERY = ("wal_recovery.c", "kv.c", *WRITER)
SECONDS = 300


@dataclass(frozen=True)
class Program:
    """A benchmark: its own sources, those of the course under it, flags, and a library."""

    name: str
    sources: tuple[str, ...]
    course: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    library: str = ""
    header: str = ""
    package: str = ""

    def is_there(self) -> bool:
        """Whether the library that it measures is installed."""
        if not self.library:
            return True
        test = ["gcc", "-x", "c", "-", f"-l{self.library}", "-o", "/dev/null"]
        source = f"#include <{self.header}>\nint main(void) {{ return 0; }}\n"
        return subprocess.run(test, input=source, text=True, capture_output=True, check=False).returncode == 0

    def build(self, tree: Path) -> None:
        sources = [SOURCES / name for name in self.sources] + [tree / "w10" / name for name in self.course]
        libraries = [f"-l{self.library}"] if self.library else []
        done = subprocess.run(
            ["gcc", *FLAGS, f"-I{tree / 'w10'}", f"-I{SOURCES}", *self.flags, *sources, *libraries,
             "-o", HOME / self.name],
            capture_output=True, text=True, check=False,
        )
        if done.returncode:
            raise GraderError(f"the benchmark {self.name} cannot be built: {done.stderr.strip()[:500]}")


LEVELDB = {"library": "leveldb", "header": "leveldb/c.h", "package": "libleveldb-dev"}
SQLITE = {"library": "sqlite3", "header": "sqlite3.h", "package": "libsqlite3-dev"}
INDEX = tuple(f"-Wl,--wrap={name}" for name in ("kv_set", "replay_open", "replay_count"))
PROGRAMS = (
    Program("crc", ("crc.c",), ("crc32.c",)),
    Program("append", ("append.c",), WRITER),
    Program("commits-wal", ("commits.c", "commits_wal.c"), ("group_commit.c", "wal_batch.c", *RECOVERY)),
    Program("commits-raw", ("commits.c", "commits_raw.c")),
    Program("commits-leveldb", ("commits.c", "commits_leveldb.c"), **LEVELDB),
    Program("replay-wal", ("replay.c", "replay_wal.c"), RECOVERY),
    Program("replay-index", ("replay.c", "replay_wal.c", "replay_index.c"), RECOVERY, INDEX),
    Program("replay-leveldb", ("replay.c", "replay_leveldb.c"), **LEVELDB),
    Program("replay-sqlite", ("replay.c", "replay_sqlite.c"), **SQLITE),
)


def build() -> tuple[set[str], set[str]]:
    """Builds what can be built; the names of the programs, and the packages that lack."""
    tree = HOME / "tree"
    shutil.rmtree(HOME, ignore_errors=True)
    stage.stage_reference(tree)
    there = [program for program in PROGRAMS if program.is_there()]
    for program in there:
        program.build(tree)
    names = {program.name for program in there}
    return names, {program.package for program in PROGRAMS if program.name not in names}


def once(name: str, *args) -> tuple[float, ...]:
    """The numbers that a program prints; it finds a new directory to work in."""
    work = HOME / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    path = work if name == "append" else work / "log"  # of no use to crc
    done = subprocess.run(
        [HOME / name, *map(str, args), path], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    shutil.rmtree(work)
    if done.returncode:
        raise GraderError(f"{name} {' '.join(map(str, args))}: {done.stderr.strip() or done.returncode}")
    return tuple(map(float, done.stdout.split()))


def in_turns(runs: dict[str, Sequence], rounds: int) -> dict[str, list[float]]:
    """The first number of each run, round by round; every other round begins at the end."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            rates[name].append(once(*runs[name])[0])
    return rates


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the rounds' ratios: a round that was slow was slow for both."""
    return median(our / their for our, their in zip(ours, theirs, strict=True))
