"""Tries a test that a student wrote on right and on wrong solutions of an earlier lesson.

The solutions, listed in planted.yaml, are made shared libraries once and kept in
build/planted/. The student's test is compiled alone, before any of them is in sight, and
linked with the reference's; each trial puts another in its place. Every trial has a
sandbox of its own: no file of an earlier trial, and nothing of another solution, is there
to be looked at.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from . import build, sanitizers, stage
from .course import HERE, ROOT, find
from .errors import GraderError
from .mutants import mutants, stage_mutant, stage_variant, variants
from .render import render_file
from .result import Finding
from .run import Failed, Run
from .stage import read_regular
from .sandbox import Completed, Sandbox

KEPT = ROOT / "build" / "planted"
GIVEN = "ten"  # the seconds of the contract
SECONDS = 20  # more than those: a busy machine is not the student's fault
LIBRARY = "solution.so"  # what the test is linked with
# Stripped, so that no name in it tells one solution from another.
SHARED = ["-shared", "-s", "-Wl,-Bsymbolic", f"-Wl,-soname,{LIBRARY}"]
CHECKED = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


@dataclass(frozen=True)
class Solution:
    name: str
    kind: str  # right, unwritten, or a kind of planted.yaml
    does: str


@dataclass(frozen=True)
class Trial:
    solution: Solution
    done: Completed

    @property
    def failures(self) -> list[str]:
        """The lines in which the test says which scenario failed."""
        text = (self.done.stdout + b"\n" + self.done.stderr).decode(errors="replace")
        return [line.rstrip() for line in text.splitlines() if line.startswith("FAILED ")]

    @property
    def passed(self) -> bool:
        return self.done.status == 0 and not self.done.stopped

    @property
    def caught(self) -> bool:
        return self.done.status == 1 and not self.done.stopped

    @property
    def end(self) -> str:
        """How the test ended, in words."""
        if self.done.stopped:
            return build.stopped_finding(self.done, "the test").message + self.given
        if self.done.signal:
            return f"the test was killed by signal {self.done.signal}"
        return f"the test ended with status {self.done.status}"

    @property
    def given(self) -> str:
        return f"; the contract gives it {GIVEN}" if self.done.stopped == "time" else ""

    @property
    def last_words(self) -> tuple[str, ...]:
        """How far it had come, as far as it said."""
        lines = (self.done.stdout + b"\n" + self.done.stderr).decode(errors="replace").split("\n")
        said = [line for line in lines if line.strip()]
        if said:
            return (f"the last that it printed: {said[-1][:200]}",)
        return ("it had printed nothing: what stands in a buffer is lost (fflush, setvbuf)",)


@cache
def plan(lesson: str) -> dict:
    return yaml.safe_load((HERE / "planted.yaml").read_text(encoding="utf-8"))[lesson]


def solutions(lesson: str, kind: str) -> list[Solution]:
    if kind == "unwritten":
        return [Solution("unwritten", kind, "returns -ENOSYS, as the skeleton does")]
    if kind == "right":
        reference = Solution("reference", kind, f"is the reference of {plan(lesson)['of']}")
        return [reference] + [Solution(n, kind, does) for n, does in plan(lesson)["right"].items()]
    return [Solution(n, kind, does) for n, does in plan(lesson)["planted"][kind].items()]


# Libraries, made once.


def _stage(lesson: str, solution: Solution, tree: Path) -> None:
    """Writes the reference tree with this solution in it."""
    of, file = plan(lesson)["of"], Path(plan(lesson)["file"])
    if solution.kind == "right" and solution.name != "reference":
        path = next(p for p in variants() if p.parent.name == of and p.stem == solution.name)
        stage_variant(path, tree)
    elif solution.kind in plan(lesson)["planted"]:
        stage_mutant(next(m for m in mutants() if m.name == f"{of}/{solution.name}"), tree)
    else:
        stage.stage_reference(tree)
    if solution.kind == "unwritten":
        text = render_file(ROOT / file.parent / "solution" / file.name, "skeleton")
        (tree / file).write_text(text, encoding="utf-8")


def _digest(lesson: str) -> str:
    """Changes with anything that the libraries are made of."""
    of, file = plan(lesson)["of"], Path(plan(lesson)["file"])
    program = Path(plan(lesson)["program"])
    sources = set((ROOT / file.parent / "solution").glob("*.c"))
    paths = [
        Path(__file__), HERE / "planted.yaml", *stage.given(),
        *(p for p in sources if p.name != program.name),
        *(HERE / "mutants" / of).glob("*"), *(HERE / "variants" / of).rglob("*.*"),
    ]
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile(tree: Path, words: list, dest: Path) -> None:
    done = subprocess.run(
        ["gcc", "-O2", "-fPIC", "-DNO_SELF_TEST", *words, "-o", dest],
        cwd=tree, capture_output=True, text=True, check=False,
    )
    if done.returncode:
        raise GraderError(f"{dest.stem} does not build: {done.stderr.strip()[:500]}")


def _others(lesson: str) -> list[str]:
    """The sources that the lesson's commands link beside the test and the solution."""
    file, program = plan(lesson)["file"], plan(lesson)["program"]
    words = " ".join(build.compile_commands(find(lesson))).split()
    sources = {word for word in words if word.endswith(".c")}
    return sorted(sources - {file, program})


def libraries(lesson: str) -> Path:
    """The directory with a library for each solution, the rest of the course in it."""
    kept = KEPT / f"{lesson}-{_digest(lesson)}"
    if kept.is_dir():
        return kept
    KEPT.mkdir(parents=True, exist_ok=True)
    kinds = ["right", "unwritten", *plan(lesson)["planted"]]
    everything = [solution for kind in kinds for solution in solutions(lesson, kind)]
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        made = Path(folder, "libraries")
        made.mkdir()
        course = Path(folder, "course.o")
        _stage(lesson, everything[0], Path(folder, "rest"))
        _compile(Path(folder, "rest"), ["-r", "-nostdlib", *_others(lesson)], course)

        def make(solution: Solution) -> None:
            tree = Path(folder, solution.name)
            _stage(lesson, solution, tree)
            _compile(tree, [*SHARED, plan(lesson)["file"], course], made / f"{solution.name}.so")

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(make, everything))
        try:
            os.rename(made, kept)
        except OSError:  # somebody else was faster
            if not kept.is_dir():
                raise
    return kept


# Trials.


class Trials:
    """A student's test, compiled, and tried on what is asked for. Failed if it cannot be."""

    def __init__(self, run: Run):
        self.run, self.lesson = run, run.lesson.id
        self.program = Path(plan(self.lesson)["program"])
        self.bench = Sandbox(_folder(run.home / "bench"))
        self._stuck = False
        self._compile_test()
        self.libraries = libraries(self.lesson)
        # In sight only now: the compiler is done.
        shutil.copyfile(self.libraries / "reference.so", self.bench.tree / LIBRARY)
        self.bench.hand_over()
        self.tests = {False: self._link("test.o", []), True: self._link("checked.o", CHECKED)}

    def _compile_test(self) -> None:
        tree = self.bench.tree
        for path in stage.given():
            if path.suffix == ".h":
                (tree / path.relative_to(ROOT)).parent.mkdir(exist_ok=True)
                shutil.copyfile(path, tree / path.relative_to(ROOT))
        source = read_regular(self.run.sandbox.tree / "lesson" / self.program)
        if source is None:
            raise Failed(Finding("B101", f"{self.program} is not a file", str(self.program)))
        (tree / self.program).write_bytes(source)
        self.bench.hand_over()
        for name, flags in (("test.o", ["-g"]), ("checked.o", CHECKED)):
            self._build(["gcc", *flags, "-c", str(self.program), "-o", name])

    def _build(self, words: list[str]) -> None:
        done = self.bench.run(words, seconds=build.BUILD_SECONDS, memory=False)
        if not done.ok:
            raise Failed(*build.why_not(done, " ".join(words)))

    def _link(self, test: str, flags: list[str]) -> Path:
        name = Path(test).stem
        self._build(["gcc", *flags, test, LIBRARY, "-Wl,-rpath,$ORIGIN", "-pthread", "-o", name])
        return self.bench.tree / name

    def _try(self, solution: Solution, checked=False) -> Trial | None:
        """None once a trial was stopped by the clock: one is enough."""
        if self._stuck:
            return None
        home = _folder(self.run.home / f"trial-{solution.name}")
        sandbox = Sandbox(home)
        shutil.copy(self.tests[checked], sandbox.tree / self.program.stem)
        shutil.copy(self.libraries / f"{solution.name}.so", sandbox.tree / LIBRARY)
        (sandbox.tree / "empty").mkdir()
        sandbox.hand_over()
        done = sandbox.run(
            [f"{sandbox.inside}/{self.program.stem}"], cwd="empty",
            seconds=2 * SECONDS if checked else SECONDS, memory=not checked,
            env={"ASAN_OPTIONS": "detect_leaks=0"},
        )
        stage.remove(home)
        self._stuck = self._stuck or done.stopped == "time"
        return Trial(solution, done)

    def of(self, kind: str) -> list[Trial]:
        """A trial on each solution of this kind; once stuck, fewer."""
        if kind not in self.run.memo.setdefault("trials", {}):
            self._stuck = False
            # Where runs can see each other, one after the other.
            at_once = len(os.sched_getaffinity(0)) if self.bench.level.name == "namespaces" else 1
            with ThreadPoolExecutor(at_once) as pool:
                tried = list(pool.map(self._try, solutions(self.lesson, kind)))
            self.run.memo["trials"][kind] = [trial for trial in tried if trial]
        return self.run.memo["trials"][kind]

    def checked(self) -> list[Finding]:
        """What the sanitizers say of the test itself, on the reference."""
        trial = self._try(solutions(self.lesson, "right")[0], checked=True)
        text = trial.done.stderr.decode(errors="replace") if trial else ""
        found = sanitizers.memory(text, "the test")
        return [found] if found else []


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def trials(run: Run) -> Trials:
    if "planted" not in run.memo:
        run.memo["planted"] = Trials(run)
    return run.memo["planted"]
