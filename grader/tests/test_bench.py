"""The benchmarks: each measures what it says and looks at what it did; table and plots."""

import xml.etree.ElementTree as tree
from pathlib import Path

import pytest

from grader import audit, stage
from grader.bench import __main__ as bench
from grader.bench import measure
from grader.bench.measure import PROGRAMS, Program, in_turns, once, ratio
from grader.bench.plot import Line, plot
from grader.errors import GraderError

SVG = "{http://www.w3.org/2000/svg}"
RUNS = {
    "crc": (256,),
    "append": (40, 4),
    "commits-wal": (3, 0.05),
    "commits-raw": (1, 0.05),
    "commits-leveldb": (3, 0.05),
    "replay-wal": (500, 100, 40),
    "replay-index": (500, 100, 4096),
    "replay-leveldb": (500, 100, 40),
    "replay-sqlite": (500, 100, 4096),
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "HOME", tmp_path)
    stage.stage_reference(tmp_path / "tree")
    return tmp_path


def build(program: Program, home: Path) -> None:
    if not program.is_there():
        pytest.skip(f"{program.package} is not installed")
    program.build(home / "tree")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_benchmark_prints_rates(program, home):
    build(program, home)
    printed = once(program.name, *RUNS[program.name])
    assert len(printed) == (2 if program.name in ("crc", "append") else 1)
    assert all(number > 0 for number in printed)
    with pytest.raises(GraderError, match=program.name):
        once(program.name, "nonsense", 0, 0)


@pytest.mark.parametrize("name, file, old, new", [
    ("append", "wal_writer.c", "    writer->offset += len;\n", "    writer->offset += 1;\n"),
    ("replay-wal", "wal_recovery.c", "err = apply(kv, &record);",
     "err = found->records % 2 ? 0 : apply(kv, &record);"),
    ("replay-index", "wal_recovery.c", "err = apply(kv, &record);",
     "err = found->records ? apply(kv, &record) : 0;"),
    ("crc", "crc32.c", "0xEDB88320", "0x82F63B78"),
])
def test_fast_and_wrong_is_no_result(name, file, old, new, home):
    path = home / "tree" / "w10" / file
    source = path.read_text()
    assert source.count(old) == 1
    path.write_text(source.replace(old, new))
    build(next(program for program in PROGRAMS if program.name == name), home)
    with pytest.raises(GraderError, match=f"^{name} "):
        once(name, *RUNS[name])


def test_a_library_that_is_not_there_is_said():
    assert not Program("none", (), library="nosuchlibrary", header="stdio.h").is_there()
    assert not Program("none", (), library="c", header="no/such/header.h").is_there()
    assert Program("none", (), library="c", header="stdio.h").is_there()


def test_runs_take_turns_and_each_goes_first(monkeypatch):
    order = []
    monkeypatch.setattr(measure, "once", lambda name: order.append(name) or (float(len(order)),))
    rates = in_turns({"a": ("a",), "b": ("b",)}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert rates == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_a_slow_round_does_not_decide():
    assert ratio([10, 1, 10], [5, 0.5, 500]) == 2


def test_a_row_leaves_empty_what_was_not_measured():
    row = bench.row("x", [2000.0, 4000, 3000], [1000.0, 1000, 1000], goal="g")
    assert row == "| x | 3,000 | 1,000 | 3.00 |  |  | g |"
    assert bench.row("x", [2.0], None, [1.0]) == "| x | 2 |  |  | 1 | 2.00 |  |"
    assert bench.HEAD.splitlines()[0].count("|") == bench.row("x", [1.0]).count("|")


def test_a_plot_is_svg_with_every_point_inside():
    page = plot("a <title>", "x", "y", [
        Line("first", ((1, 10), (8, 3000), (64, 20))), Line("second", ((1, 0.5), (64, 7))),
    ])
    root = tree.fromstring(page)
    _, _, width, height = map(float, root.get("viewBox").split())
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{SVG}circle")]
    assert len(circles) == 5 and all(0 < x < width and 0 < y < height for x, y in circles)
    (x1, _), (x8, _), (x64, _) = circles[:3]
    assert x8 - x1 == pytest.approx(x64 - x8, abs=0.2), "1, 8 and 64 stand evenly on a logarithmic axis"
    assert circles[1][1] < circles[2][1] < circles[4][1] < circles[3][1], "more is higher"
    assert {"a <title>", "first", "second"} <= {text.text for text in root.iter(f"{SVG}text")}


def test_the_readme_keeps_what_stands_around_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(audit.course, "ROOT", tmp_path)
    page = tmp_path / "README.md"
    shape = f"before\n{bench.BEGIN}%s\n{bench.END}\nafter\n{audit.BEGIN}kept\n{audit.END}\n"
    page.write_text(shape % "old")
    audit.write_readme("new", bench.BEGIN, bench.END)
    assert page.read_text() == shape % "new"
