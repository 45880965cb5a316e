"""Runs scripts on every disk that a power loss may leave: the fork server's client."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

from .. import build, stage, tracing
from ..course import Lesson
from ..errors import CannotJudge, GraderError
from ..run import Failed, Reply, Run, Script, parse_replies
from ..sandbox import Sandbox
from ..trace import Trace
from .ops import OpsFile, only_a_disk, unquoted

PROFILES = ("posix", "torn512")
CAP = 4096  # sets of steps tried at one crash point
SECONDS = 60
SHOWN_BYTES = 16384  # of a file, SERVE_SHOWN_BYTES
MARKS_FD = 200  # DRIVER_MARKS_FD


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

    @cached_property
    def listing(self) -> dict[str, tuple[int, bytes]]:
        """What the disk holds: sizes and the bytes that are shown. Names are quoted."""
        words = [line.split(" ") for line in self.disk if line.startswith("f ")]
        return {
            name: (int(size), bytes.fromhex(data[1:]).ljust(min(int(size), SHOWN_BYTES), b"\0"))
            for _, name, size, data in words
        }

    @cached_property
    def files(self) -> dict[str, bytes]:
        return {name: data for name, (_, data) in self.listing.items()}

    @property
    def folders(self) -> list[str]:
        return [line.split(" ")[1] for line in self.disk if line.startswith("d ")]

    @property
    def is_shown_whole(self) -> bool:
        return all(size == len(data) for size, data in self.listing.values())

    def looked(self, number: int) -> dict[str, tuple[int, bytes]]:
        """What the call `look` of that number saw, if the script came so far."""
        words = self.replies[number].words if number in self.replies else ()
        names, sizes, data = ([v for k, v in words if k == key] for key in ("f", "size", "bytes"))
        return {
            name: (int(size), bytes.fromhex(shown[1:]))
            for name, size, shown in zip(names, sizes, data)
        }


@dataclass(frozen=True)
class Exploration:
    """What became of one job."""

    states: int
    points: int
    bounded: int  # crash points at which not all sets of steps were tried

    def __add__(self, other: Exploration) -> Exploration:
        return Exploration(
            self.states + other.states, self.points + other.points, self.bounded + other.bounded
        )

    @property
    def summary(self) -> str:
        scope = f"bounded at {self.bounded} of them" if self.bounded else "all there are"
        return f"{self.states} states at {self.points} crash points, {scope}"


@dataclass(frozen=True)
class Explored:
    jobs: tuple[Exploration, ...]
    stopped: bool  # too many children hung
    seconds: float


@dataclass(frozen=True)
class _Share:
    """The jobs of one processor, and where it works on them."""

    numbers: tuple[int, ...]
    folder: str
    outside: tuple[str, ...]


class Server:
    """A driver with the fork server in it, built from one tree."""

    def __init__(self, lesson: Lesson, sandbox: Sandbox, stage_into):
        self.lesson, self.sandbox = lesson, sandbox
        tree = sandbox.tree / build.CRASH
        tree.mkdir()
        stage_into(tree)
        build.stage_driver(lesson, tree, build.CRASH)
        sandbox.hand_over_folder(tree)
        self.built = build.build_driver(lesson, sandbox, build.CRASH)

    @property
    def program(self) -> str:
        return f"{self.sandbox.inside}/{build.CRASH}/driver"

    def explore(
        self, jobs: list[OpsFile], script: Script, profile: str,
        tried: Callable[[int, Tried], None], cap: int = CAP, outside=None,
    ) -> Explored:
        """Runs the script on every disk of each of the jobs; calls `tried` with the
        number of the job, as they come. On every processor, unless `outside` (words in
        front of the command) says on which."""
        found: dict[int, Exploration] = {}
        lock = Lock()

        def work(share: _Share) -> tuple[bool, float]:
            def one(number: int, state: Tried) -> None:
                with lock:
                    tried(share.numbers[number], state)

            reader = _Reader(one)
            mine = [jobs[number] for number in share.numbers]
            done = self._run(f"{profile} {cap}", mine, script, reader.take, share)
            if not reader.stopped and len(reader.jobs) != len(mine):
                raise GraderError("the fork server's report is not whole")
            found.update(zip(share.numbers, reader.jobs))
            return reader.stopped, done.seconds

        ends = self._on_every_processor(work, len(jobs), outside)
        explored = tuple(found.get(i, Exploration(0, 0, 0)) for i in range(len(jobs)))
        return Explored(explored, any(s for s, _ in ends), max((t for _, t in ends), default=0))

    def traced(self, disks: list[Tried], script: Script) -> list[Trace]:
        """What the script does on each of these disks, which must be shown whole."""
        found: dict[int, Trace] = {}

        def work(share: _Share) -> None:
            mine = [disks[number] for number in share.numbers]
            jobs = [only_a_disk(disk.files, disk.folders) for disk in mine]
            root = f"{self.sandbox.inside}/{share.folder}/disk"
            initials = [_initial(root, disk) for disk in mine]
            with tracing.strace_log(self.sandbox) as log:
                outside = tracing.strace(log, stacks=False, pin=share.outside)
                self._run("traced 1", jobs, script, None, replace(share, outside=outside))
                traces = tracing.replayed_children(log, self.program, root, initials, MARKS_FD)
            found.update(zip(share.numbers, traces))

        self._on_every_processor(work, len(disks))
        return [found[i] for i in range(len(disks))]

    def _on_every_processor(self, work: Callable, count: int, outside=None) -> list:
        """Shares so many jobs out. Where programs can see each other they run one at a time."""
        cpus = sorted(os.sched_getaffinity(0))[:count]
        if outside is not None or self.sandbox.level.name != "namespaces":
            cpus = cpus[:1]
        shares = []
        for i, cpu in enumerate(cpus):
            folder = f"{build.CRASH}/cpu{cpu}"
            (self.sandbox.tree / folder).mkdir(exist_ok=True)
            self.sandbox.hand_over_folder(self.sandbox.tree / folder)
            pin = tracing.pinned(cpu) if outside is None else outside
            shares.append(_Share(tuple(range(i, count, len(cpus))), folder, tuple(pin)))
        with ThreadPoolExecutor(max(1, len(shares))) as pool:
            return list(pool.map(work, shares))

    def _run(self, head: str, jobs, script, take, share: _Share):
        if self.built.findings:
            raise Failed(*self.built.findings)
        lines = _Lines(take)
        done = self.sandbox.run(
            [self.program], cwd=share.folder, marks=lines.take, seconds=SECONDS, init=True,
            stdin=f"{head}\n".encode() + b"".join(script.text() + job.text.encode() for job in jobs),
            outside=share.outside,
        )
        if done.stopped == "time":
            raise CannotJudge(f"a power loss could leave more disks than {SECONDS} seconds suffice for")
        if lines.trouble or not done.ok:
            raise GraderError(f"the fork server ended: {lines.trouble or done.stopped or done}"[:300])
        return done


def _initial(root: str, disk: Tried) -> dict[str, int | None]:
    found: dict[str, int | None] = {root: None}
    found |= {f"{root}/{unquoted(name)}": None for name in disk.folders}
    return found | {f"{root}/{unquoted(name)}": len(data) for name, data in disk.files.items()}


class _Lines:
    """Cuts what comes into lines; keeps the one that says that the server failed."""

    def __init__(self, take: Callable[[str], None] | None):
        self.trouble, self.rest, self.hand_on = None, b"", take

    def take(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"? "):
                self.trouble = self.trouble or line.decode(errors="replace")
            elif self.hand_on:
                self.hand_on(line.decode(errors="replace"))


class _Reader:
    """Puts the server's lines together to disks, one at a time."""

    def __init__(self, tried: Callable[[int, Tried], None]):
        self.tried, self.jobs, self.stopped = tried, [], False
        self.head: list[int] = []
        self.disk: list[str] = []
        self.report: list[str] = []

    def take(self, line: str) -> None:
        words = line.split(" ")
        if words[0] == "@":
            self.disk.append(line[2:])
        elif words[0] != "=":
            self.report.append(line)
        elif words[1].isdigit():
            self.head, self.disk, self.report = [int(word) for word in words[1:]], [], []
        elif words[1] == "sum":
            self.jobs.append(Exploration(*map(int, words[2:])))
        elif words[1] == "stopped":
            self.stopped = True
        elif words[1] != "job":
            report = "\n".join(self.report)
            state = Tried(*self.head, tuple(self.disk), report, " ".join(words[1:]))
            self.tried(len(self.jobs), state)


def students_server(run: Run) -> Server:
    """The student's own recovery judges what the student's program left."""
    if "crash server" not in run.memo:
        run.memo["crash server"] = Server(run.lesson, run.sandbox, run.stage_into)
    return run.memo["crash server"]


def reference_server(run: Run, lesson: Lesson) -> Server:
    """The reference of `lesson` does, in a sandbox of its own: no program of a
    student's ever sees it.

    The headers in a student's working tree are the student's. `lesson` must not need a
    file whose header the student may change at will; a header that broke its contract is
    not the fault of the file that does not compile with it.
    """
    if "reference server" not in run.memo:
        home = run.home / "reference"
        home.mkdir()
        run.memo["reference server"] = Server(lesson, Sandbox(home), stage.stage_reference)
    server = run.memo["reference server"]
    for wrong in server.built.findings:
        raise GraderError(
            f"the reference of {lesson.id} does not build with the headers of this tree: "
            f"{wrong.where} {wrong.message}"
        )
    return server


def finding_of_end(tried: Tried) -> str | None:
    """How the child ended, if not well."""
    how, number = tried.end.split(" ")
    return {
        "exit": None if number == "0" else f"ended the program with status {number}",
        "signal": f"was killed by signal {number}",
        "time": "did not come back within a second",
        "much": "reported more than a mebibyte",
    }[how]
