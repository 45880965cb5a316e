"""Measures, prints the table, and writes it and the plots: python3 -m grader.bench"""

from __future__ import annotations

import os
import sys
from statistics import median

from ..audit import write_readme
from ..course import ROOT
from ..errors import GraderError, UsageError
from .measure import build, in_turns, once, ratio
from .plot import Line, plot

BEGIN = "<!-- bench: written by make bench -->\n"
END = "<!-- /bench -->"
FIGURES = ROOT / "lessons" / "figures"
ROUNDS = 7
CRC_BLOCKS = 10_000
SIZES = (40, 256, 1024, 4096, 16384, 65535)  # bytes of a record
SIZES_IN_TABLE = (40, 4096)
PAIRS = 100  # appends of each size in a round
THREADS = (1, 2, 4, 8, 16, 32, 64)
THREADS_IN_TABLE = (8, 32, 64)
COMMITTING = 0.4  # seconds
# What is replayed, how: records, keys, bytes of a record; beside what, and the goal.
# SQLite's recovery verifies and indexes and copies no page; so does "indexed". The
# rows that copy say what the copy costs, and have no goal.
REPLAYS = (
    ("replay, 40 bytes, each key once", "wal", (300_000, 300_000, 40), "LevelDB", 10),
    ("replay, 40 bytes, 1,000 keys", "wal", (300_000, 1_000, 40), "LevelDB", 10),
    ("replay, 4 KiB, each key once, indexed", "index", (20_000, 20_000, 4096), "SQLite", 1),
    ("replay, 4 KiB, each key once, copied", "wal", (20_000, 20_000, 4096), "SQLite", None),
    ("replay, 4 KiB, 1,000 keys, copied", "wal", (20_000, 1_000, 4096), "SQLite", None),
)
HEAD = """\
| | this log, a second | raw loop | of it | LevelDB, SQLite | of it | goal |
|---|---:|---:|---:|---:|---:|---:|"""


def row(what: str, ours: list[float], raw=None, other=None, goal: str = "") -> str:
    """A row of the table; a column stays empty where there is nothing to measure."""
    cells = [what, f"{median(ours):,.0f}"]
    for theirs in (raw, other):
        cells += [f"{median(theirs):,.0f}", f"{ratio(ours, theirs):.2f}"] if theirs else ["", ""]
    return f"| {' | '.join([*cells, goal])} |"


def append() -> tuple[list[str], str]:
    """Rows and plot: wal_append() beside a write and an fsync of as many bytes."""
    seconds = {size: [] for size in SIZES}
    for _ in range(ROUNDS):
        for size in SIZES:
            seconds[size].append(once("append", size, PAIRS))
    ours = {size: [1 / a for a, _ in pairs] for size, pairs in seconds.items()}
    raw = {size: [1 / b for _, b in pairs] for size, pairs in seconds.items()}
    rows = [
        row(f"append, {size:,} bytes", ours[size], raw[size], goal="0.95 of raw")
        for size in SIZES_IN_TABLE
    ]
    lines = [
        Line(name, tuple((size, 1e6 / median(rates[size])) for size in SIZES))
        for name, rates in (("wal_append()", ours), ("write, fsync", raw))
    ]
    return rows, plot("Microseconds an append takes (median)", "bytes in the record", "microseconds", lines)


def checksum() -> str:
    """The row of the CRC, beside a loop with a table of one byte."""
    pairs = [once("crc", CRC_BLOCKS) for _ in range(ROUNDS)]
    ours, bytewise = map(list, zip(*pairs))
    return row("CRC-32 of 4 KiB; raw: a table look-up a byte", ours, bytewise)


def commits(programs: set[str]) -> tuple[list[str], str]:
    """Rows and plot: group commit beside LevelDB's and a loop of one thread."""
    rates, rows = {}, []
    for count in THREADS:
        runs = {
            name: (f"commits-{name}", 1 if name == "raw" else count, COMMITTING)
            for name in ("wal", "raw", "leveldb") if f"commits-{name}" in programs
        }
        rates[count] = in_turns(runs, ROUNDS)
    for count in THREADS_IN_TABLE:
        of = rates[count]
        what = f"group commit, {count} threads"
        rows.append(row(what, of["wal"], of["raw"], of.get("leveldb"), "1 of LevelDB"))
    lines = [
        Line(title, tuple((count, median(rates[count][name])) for count in THREADS))
        for name, title in (("wal", "group commit"), ("leveldb", "LevelDB, sync"), ("raw", "write, fsync"))
        if name in rates[THREADS[0]]
    ]
    return rows, plot("Durable commits a second (median)", "threads", "commits a second", lines)


def replays(programs: set[str]) -> list[str]:
    rows = []
    for what, how, given, other, goal in REPLAYS:
        runs = {"ours": (f"replay-{how}", *given)}
        if f"replay-{other.lower()}" in programs:
            runs[other] = (f"replay-{other.lower()}", *given)
        rates = in_turns(runs, ROUNDS)
        rows.append(row(what, rates["ours"], None, rates.get(other), f"{goal} of {other}" if goal else ""))
    return rows


def main() -> int:
    load = os.getloadavg()[0]
    programs, missing = build()
    if missing:
        print(f"not installed, so their columns stay empty: {' '.join(sorted(missing))}", file=sys.stderr)
    appended, append_plot = append()
    committed, commit_plot = commits(programs)
    table = "\n".join([HEAD, *appended, *committed, *replays(programs), checksum()])
    note = f"{os.cpu_count()} processors, load {load:.1f} at the start, medians of {ROUNDS} rounds."
    print(f"{table}\n\n{note}")
    write_readme(f"{table}\n\n{note}", BEGIN, END)
    FIGURES.mkdir(exist_ok=True)
    (FIGURES / "append.svg").write_text(append_plot, encoding="utf-8")
    (FIGURES / "group-commit.svg").write_text(commit_plot, encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (GraderError, UsageError) as error:
        sys.exit(f"bench: {error}")
