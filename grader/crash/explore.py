"""Runs a script on every disk that a power loss may leave: the fork server's client."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .. import build, stage
from ..course import Lesson
from ..errors import CannotJudge, GraderError
from ..run import Failed, Reply, Run, Script, parse_replies
from ..sandbox import Sandbox
from .ops import OpsFile

PROFILES = ("posix", "torn512")
CAP = 4096  # sets of steps tried at one crash point
SECONDS = 60


@dataclass(frozen=True)
class Tried:
    """One disk, and what the script found on it."""

    number: int
    point: int
    lost: int
    disk: tuple[str, ...]  # as the server says it: f NAME SIZE xHEX, d NAME
    report: str
    end: str  # exit, signal, time or much, and a number

    @cached_property
    def replies(self) -> dict[int, Reply]:
        return parse_replies(self.report.encode())

    def file(self, name: str) -> bytes | None:
        """A file's bytes, as far as they were shown; None if it is not there."""
        for line in self.disk:
            words = line.split(" ")
            if words[:2] == ["f", name]:
                return bytes.fromhex(words[3][1:]).ljust(min(int(words[2]), 1 << 20), b"\0")
        return None


    def looked(self, number: int) -> dict[str, bytes]:
        """What the call `look` of that number saw, if the script came so far."""
        words = self.replies[number].words if number in self.replies else ()
        names = [value for key, value in words if key == "f"]
        return dict(zip(names, (bytes.fromhex(value[1:]) for key, value in words if key == "bytes")))


@dataclass(frozen=True)
class Exploration:
    tried: tuple[Tried, ...]
    points: int
    bounded: int  # crash points at which not all sets of steps were tried
    stopped: bool  # too many children hung
    seconds: float

    @property
    def summary(self) -> str:
        scope = f"bounded at {self.bounded} of them" if self.bounded else "all there are"
        return f"{len(self.tried)} states at {self.points} crash points, {scope}"


class Server:
    """A driver with the fork server in it, built from one tree."""

    def __init__(self, lesson: Lesson, sandbox: Sandbox, stage_into):
        self.lesson, self.sandbox = lesson, sandbox
        tree = sandbox.tree / build.CRASH
        tree.mkdir()
        stage_into(tree)
        build.stage_crash_driver(lesson, tree)
        sandbox.hand_over_folder(tree)
        self.built = build.build_driver(lesson, sandbox, build.CRASH)

    def explore(
        self, ops: OpsFile, script: Script, profile: str, cap: int = CAP, outside=()
    ) -> Exploration:
        if self.built.findings:
            raise Failed(*self.built.findings)
        done = self.sandbox.run(
            [f"{self.sandbox.inside}/{build.CRASH}/driver"], cwd=build.CRASH, marks=True,
            stdin=f"{profile} {cap}\n".encode() + script.text() + ops.text.encode(),
            seconds=SECONDS, init=True, outside=outside,
        )
        text = done.marks.decode(errors="replace")
        if done.stopped == "time":
            raise CannotJudge(f"a power loss could leave more disks than {SECONDS} seconds suffice for")
        trouble = next((line for line in text.splitlines() if line.startswith("? ")), None)
        if trouble or not done.ok:
            raise GraderError(f"the fork server ended: {trouble or done.stopped or done}"[:300])
        return _parsed(text, done.seconds)


def _parsed(text: str, seconds: float) -> Exploration:
    tried, head, disk, report, stopped, total = [], None, [], [], False, None
    for line in text.splitlines():
        words = line.split(" ")
        if words[0] == "@":
            disk.append(line[2:])
        elif words[0] != "=":
            report.append(line)
        elif words[1].isdigit():
            head, disk, report = [int(word) for word in words[1:]], [], []
        elif words[1] == "sum":
            total = [int(word) for word in words[2:]]
        elif words[1] == "stopped":
            stopped = True
        else:
            tried.append(Tried(*head, tuple(disk), "\n".join(report), " ".join(words[1:])))
    if total is None or total[0] != len(tried):
        raise GraderError("the fork server's report is not whole")
    return Exploration(tuple(tried), total[1], total[2], stopped, seconds)


def students_server(run: Run) -> Server:
    """The student's own recovery judges what the student's program left."""
    if "crash server" not in run.memo:
        run.memo["crash server"] = Server(run.lesson, run.sandbox, run.stage_into)
    return run.memo["crash server"]


def reference_server(run: Run, lesson: Lesson) -> Server:
    """The reference of `lesson` does, in a sandbox of its own: no program of a
    student's ever sees it."""
    if "reference server" not in run.memo:
        home = run.home / "reference"
        home.mkdir()
        run.memo["reference server"] = Server(lesson, Sandbox(home), stage.stage_reference)
    return run.memo["reference server"]


def finding_of_end(tried: Tried) -> str | None:
    """How the child ended, if not well."""
    how, number = tried.end.split(" ")
    return {
        "exit": None if number == "0" else f"ended the program with status {number}",
        "signal": f"was killed by signal {number}",
        "time": "did not come back within a second",
        "much": "reported more than a mebibyte",
    }[how]
