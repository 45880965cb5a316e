"""One lesson on one tree: stages, builds, drives and traces, each of them once."""

import errno
import hashlib
import os
import random
import re
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from . import build, sanitizers, stage
from .course import Lesson
from .errors import GraderError
from .result import Finding
from .sandbox import Completed, Sandbox
from .sanitizers import STUDENTS
from .stage import read_regular

ENOSYS = "-38"
HERE = "@here"  # in a script: the directory of the run, as an absolute path
_FAULT = re.compile(r"! (\d+) (\w+) (\w+) (-?\d+) @(0x[0-9a-f]+(?:,0x[0-9a-f]+)*) fd=(-?\d+)")


class Failed(Exception):
    """The student's program did something that ends the check here."""

    def __init__(self, *findings: Finding):
        super().__init__(findings)
        self.findings = findings


@dataclass(frozen=True)
class Fault:
    call: str  # write, fsync, ...
    what: str  # short, zero, errno
    value: int
    addresses: tuple[int, ...]  # what called it, the innermost first
    fd: int  # of a sync: for which descriptor


@dataclass(frozen=True)
class Reply:
    """What the driver said of one call."""

    number: int
    call: str
    words: tuple[tuple[str, str], ...]
    faults: tuple[Fault, ...]

    def __getitem__(self, name: str) -> int:
        return int(self.text(name))

    def text(self, name: str) -> str:
        for key, value in self.words:
            if key == name:
                return value
        raise GraderError(f"the driver did not say {name} of {self.call}")

    def bytes(self, name: str) -> bytes:
        return bytes.fromhex(self.text(name)[1:])

    @property
    def pairs(self) -> dict[bytes, bytes]:
        """The map that it showed, as k= and v=."""
        return dict(zip(self.all_bytes("k"), self.all_bytes("v")))

    def all_bytes(self, name: str) -> list[bytes]:
        return [bytes.fromhex(value[1:]) for key, value in self.words if key == name]


@dataclass(frozen=True)
class Sparse:
    """A file of `size` bytes: `data`, and a hole that takes no blocks."""

    data: bytes
    size: int


class Script:
    """Calls for the driver to make; `call` returns the number of the call. `told` says what
    is given to it, for the case that it does not return."""

    def __init__(self):
        self.lines = []
        self.told: dict[int, str] = {}

    def call(self, name: str, *args, told: str = "") -> int:
        words = [f"x{a.hex()}" if isinstance(a, bytes) else str(a) for a in args]
        self.lines.append(" ".join([str(len(self.lines) + 1), name, *words]))
        if told:
            self.told[len(self.lines)] = told
        return len(self.lines)

    def text(self) -> bytes:
        return "".join(f"{line}\n" for line in self.lines).encode()


@dataclass(frozen=True)
class Session:
    """One run of a driver: its replies by number, and what it left on the disk."""

    replies: dict[int, Reply]
    folder: Path
    done: Completed

    def __getitem__(self, number: int) -> Reply:
        return self.replies[number]

    def names(self, folder: str = ".") -> list[str]:
        return sorted(os.listdir(self.folder / folder))

    def file(self, name: str) -> bytes | None:
        """The bytes of a regular file, None if there is no such thing."""
        return read_regular(self.folder / name)

    def mode(self, name: str) -> int:
        return stat.S_IMODE((self.folder / name).lstat().st_mode)


@dataclass
class Run:
    """`stage_into` fills a directory with the tree to be graded."""

    lesson: Lesson
    stage_into: Callable[[Path], None]
    seed: str | None = None
    # That start together, the others when they are asked for; none named: all of the lesson's.
    builds: tuple[str, ...] = ()
    memo: dict = field(default_factory=dict)  # what checks share, by a name of theirs
    # Of the check that runs now: what it tried, line by line, and their sum if it passes.
    tried: list[str] = field(default_factory=list)
    note: str = ""

    def __post_init__(self):
        self.builds = self.builds or build.variants(self.lesson)
        self._builds: dict[str, Future] = {}
        self.home = stage.workspace()
        self._count = 0
        self._pool = ThreadPoolExecutor(2)
        try:
            self.sandbox = Sandbox(self.home)
            self._stage()
        except BaseException:
            self.close()
            raise

    def _stage(self):
        lesson = self.sandbox.tree / "lesson"
        lesson.mkdir()
        self.stage_into(lesson)
        self.lesson = stage.handed_in(self.lesson, lesson)
        self.seed = self.seed or self._digest(lesson)
        for variant in build.EXTRA.keys() & set(build.variants(self.lesson)):
            shutil.copytree(lesson, self.sandbox.tree / variant, symlinks=True)
            build.stage_driver(self.lesson, self.sandbox.tree / variant, variant)
        self.sandbox.hand_over()

    def _digest(self, tree: Path) -> str:
        """The default seed: another one for each submission, the same each time."""
        digest = hashlib.sha256(self.lesson.id.encode())
        for name in self.lesson.files:
            digest.update(read_regular(tree / name) or b"")
        return digest.hexdigest()[:16]

    def close(self):
        self._pool.shutdown(cancel_futures=True)
        stage.remove(self.home)

    def rng(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}:{name}")

    # Builds. They start together and are waited for when they are needed.

    def start_builds(self) -> None:
        """Before they are asked for, beside something else that takes time."""
        for variant in self.builds:
            self._start(variant)

    def _start(self, variant: str) -> Future:
        if variant not in self._builds:
            self._builds[variant] = self._pool.submit(
                *((build.build_lesson, self.lesson, self.sandbox) if variant == "lesson" else
                  (build.build_driver, self.lesson, self.sandbox, variant))
            )
            if self.sandbox.level.name != "namespaces":
                self._builds[variant].result()  # one at a time where runs can see each other
        return self._builds[variant]

    def build(self, variant: str) -> build.Build:
        self.start_builds()
        return self._start(variant).result()

    # Driving the student's functions.

    def folder(self, files: dict[str, bytes | Sparse] | None = None) -> Path:
        """A fresh directory for one run, with these files in it; a name that ends with
        a slash is a directory's."""
        self._count += 1
        path = self.sandbox.tree / f"run-{self._count}"
        path.mkdir()
        for name, data in (files or {}).items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                (path / name).mkdir(exist_ok=True)
            elif isinstance(data, Sparse):
                (path / name).write_bytes(data.data)
                os.truncate(path / name, data.size)
            else:
                (path / name).write_bytes(data)
        self.sandbox.hand_over_folder(path)
        return path

    def forget_folders(self) -> None:
        """Removes what runs left so far, where it is large."""
        for path in self.sandbox.tree.glob("run-*"):
            stage.remove(path)

    def drive(
        self, script: Script, *, files=None, variant: str = "checked", seconds: float = 10,
        outside=(),
    ) -> Session:
        """Runs the script; raises Failed if the program does not survive it."""
        done, folder = self.drive_anyhow(
            script, files=files, variant=variant, seconds=seconds, outside=outside
        )
        replies = parse_replies(done.marks)
        # A process that was to be killed leaves calls without a reply; the last one has its.
        if len(script.lines) not in replies or not done.ok:
            raise Failed(self._death(script, replies, done))
        for reply in replies.values():
            if dict(reply.words).get("ret") == ENOSYS:
                message = f"{reply.call}() is still the skeleton's: it returns -ENOSYS"
                raise Failed(self.at_function(Finding("B106", message), reply.call))
        moved = re.search(rb"^~ \d+ (\w+)$", done.marks, re.M)
        if moved:
            name = moved[1].decode()
            message = f"{name}() returned in another working directory than it was called in"
            raise Failed(self.at_function(Finding("F114", message), name))
        return Session(replies, folder, done)

    def drive_anyhow(
        self, script: Script, *, files=None, variant="checked", seconds=20.0, outside=()
    ) -> tuple[Completed, Path]:
        broken = self.build(variant).findings
        if broken:
            raise Failed(*broken)
        folder = self.folder(files)
        here = f"{self.sandbox.inside}/{folder.name}"
        text = script.text().replace(HERE.encode(), here.encode())
        done = self.sandbox.run(
            build.program(self.sandbox.inside, variant),
            cwd=folder.name, stdin=text, seconds=seconds, marks=True,
            memory=variant == "plain", outside=outside,
            env={"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=0",
                 "TSAN_OPTIONS": "halt_on_error=1"},
        )
        if not done.marks and not done.stopped and outside:
            error = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise GraderError(f"nothing ran under {outside[0]}: {''.join(error)}")
        trouble = re.search(rb"^\? (.*)$", done.marks, re.M)
        if trouble:
            raise GraderError(f"the driver stopped: {trouble[1].decode()}")
        return done, folder

    def _death(self, script: Script, replies, done: Completed) -> Finding:
        """Names what ended the program and in which call."""
        begun = re.findall(r"^> (\d+) (\w+)$", done.marks.decode(errors="replace"), re.M)
        name, what = _last_calls(begun, replies, script, _faults(done.marks))
        text = done.stderr.decode(errors="replace")
        race = sanitizers.race(text, self.own)
        if race:
            return race
        if done.stopped:
            return self.at_function(build.stopped_finding(done, what), name)
        report = sanitizers.memory(text, what)
        if report:
            return report
        if done.signal == 24 or done.signal == 9:
            return self.at_function(Finding("S101", f"{what} used up its processor time"), name)
        if done.signal:
            return self.at_function(Finding("S104", f"{what} was killed by signal {done.signal}"), name)
        return self.at_function(
            Finding("S106", f"{what} ended the program with status {done.status}"), name
        )

    # Where in the student's files something is.

    def at_function(self, finding: Finding, name: str) -> Finding:
        """Points at the definition of a function, if the student has it. The driver has
        cas_store_zeros() for large calls of cas_store()."""
        file, line = self._definitions.get(name.removesuffix("_zeros"), (None, None))
        return Finding(finding.code, finding.message, file, line, finding.excerpt)

    @cached_property
    def _definitions(self) -> dict[str, tuple[str, int]]:
        # Any build names them. One that is there already costs nothing.
        variant = next((v for v in build.EXTRA if v in self._builds), "plain")
        if self.build(variant).findings:
            return {}
        symbols = self.sandbox.run(["nm", "-P", "driver"], cwd=variant)
        rows = [line.split() for line in symbols.stdout.decode(errors="replace").splitlines()]
        names = {row[0]: int(row[2], 16) for row in rows if len(row) >= 3 and row[1] in "Tt"}
        places = self.lines_of(list(names.values()), variant)
        return {
            name: (places[at][0], self._signature(variant, name, *places[at]))
            for name, at in names.items() if at in places
        }

    def _signature(self, variant: str, name: str, file: str, line: int) -> int:
        """The line that names the function: its code begins at the brace below."""
        lines = (read_regular(self.sandbox.tree / variant / file) or b"").splitlines()
        for above in range(line, max(0, line - 10), -1):
            if above <= len(lines) and f"{name}(".encode() in lines[above - 1]:
                return above
        return line

    def lines_of(self, addresses: list[int], variant: str) -> dict[int, tuple[str, int]]:
        """The student's file and line for addresses in a driver; others are left out."""
        if not addresses:
            return {}
        done = self.sandbox.run(
            ["addr2line", "-e", "driver", *map(hex, addresses)], cwd=variant
        )
        places = {}
        for address, text in zip(addresses, done.stdout.decode(errors="replace").splitlines()):
            found = STUDENTS.search(text)
            if found:
                places[address] = (found[1], int(found[2]))
        return places

    def at_fault(self, finding: Finding, fault: Fault) -> Finding:
        """Points at the call that met an injected fault."""
        found = self.lines_of([address - 1 for address in fault.addresses], "checked")
        places = [found[address - 1] for address in fault.addresses if address - 1 in found]
        excerpt = finding.excerpt
        if places and places[0] != self.own(places)[0]:
            path = " < ".join(f"{file}:{line}" for file, line in places)
            excerpt += (f"         {fault.call}() is called by {path}",)
        place = self.own(places)[0] if places else (None, None)
        return Finding(finding.code, finding.message, *place, excerpt)

    def own(self, places: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Those in files that this lesson has the student write, and not an earlier one;
        all of them if there are none."""
        files = set(self.lesson.files) - set(self.lesson.borrows)
        return [place for place in places if place[0] in files] or places


def _last_calls(begun: list[tuple[str, str]], replies: dict[int, Reply], script: Script,
                faults: dict[int, list[Fault]]) -> tuple[str, str]:
    """The function that had not returned, and in words which call of it, or in how many
    threads. The driver waits in `apart` for the calls of threads."""
    unfinished = [call for call in begun if int(call[0]) not in replies]
    number, name = (unfinished or begun or [("0", "main")])[-1]
    running = [name for _, name in unfinished]
    if "apart" in running[:-1]:
        in_threads = running[running.index("apart") + 1 :]
        name = in_threads[0]
        return name, f"{name}() in {in_threads.count(name)} of the threads"
    told = script.told.get(int(number))
    which = f"given {told}" if told else _failed_before(int(number), script, faults) or f"in call {number}"
    return name, f"{name}() {which}"


def _failed_before(number: int, script: Script, faults: dict[int, list[Fault]]) -> str:
    """What failed on purpose last in the same process, in this call or in an earlier one."""
    for at in range(number, 0, -1):
        name = script.lines[at - 1].split()[1]
        if name in ("cd", "begin", "end"):
            break
        failed = [fault for fault in faults.get(at, ()) if fault.what == "errno"]
        if failed:
            earlier = f"after a {name}() " if at < number else ""
            error = errno.errorcode.get(failed[-1].value, failed[-1].value)
            return f"{earlier}in which {failed[-1].call}() failed ({error})"
    return ""


def _faults(marks: bytes) -> dict[int, list[Fault]]:
    """Those that were met, by the number of the call that met them."""
    faults = {}
    for line in marks.decode(errors="replace").splitlines():
        met = _FAULT.fullmatch(line)  # the last line of a program that was ended may be cut
        if met:
            number, call, what, value, at, fd = met.groups()
            addresses = tuple(int(address, 16) for address in at.split(","))
            fault = Fault(call, what, int(value), addresses, int(fd))
            faults.setdefault(int(number), []).append(fault)
    return faults


def parse_replies(marks: bytes) -> dict[int, Reply]:
    replies, faults = {}, _faults(marks)
    for line in marks.decode(errors="replace").splitlines():
        words = line.split(" ")
        if line.startswith("< ") and len(words) >= 3 and words[1].isdigit():
            pairs = tuple(tuple(word.split("=", 1)) for word in words[3:] if "=" in word)
            number = int(words[1])
            replies[number] = Reply(number, words[2], pairs, tuple(faults.get(number, ())))
    return replies
