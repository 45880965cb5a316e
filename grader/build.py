"""Builds a staged tree: as the lesson prints it, and twice more with our driver in it.

    lesson    the lesson's own commands, to the letter
    plain     the same objects, with -g, linked with the driver: for traces
    checked   the same with AddressSanitizer and UBSan: for behaviour
    raced     the same with ThreadSanitizer, for the lessons whose calls threads make
    crash     the same objects, static, with the fork server of the crash lab; built
              only where a check asks for it. Where a library has no static form
              (Fedora and Arch ship no libcrypto.a), dynamic: a fork costs more then

Each has a copy of the tree for itself, so that object files never mix.
"""

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import objects
from .course import Lesson, commands
from .crash import lab
from .objects import DRIVERS
from .result import Finding
from .sandbox import Completed, Sandbox

SHARED = ("driver", "faults", "streams", "threads_calls", "states")  # those that know no header
SOURCES = (".c", ".cpp")
COMPILERS = ("gcc", "g++", "cc", "c++", "clang", "clang++")
EXTRA = {
    "checked": [
        "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined",
        "-fno-sanitize-recover=undefined",
    ],
    "plain": ["-g"],
    "raced": ["-g", "-fno-omit-frame-pointer", "-fsanitize=thread"],
    "crash": ["-g"],
}
RACED = {"group", "store"}  # drivers of lessons with threads
CRASH = "crash"
# ThreadSanitizer wants its addresses where they are without randomisation.
_AS_LINKED = 'setarch -R true 2>&- && exec setarch -R "$0" "$@"; exec "$0" "$@"'
# How each is linked; where a library is not there in that form, the next way is tried.
LINKED = {
    "plain": (["-fPIE", "-pie"],),
    "checked": (["-fPIE", "-pie"],),
    "raced": (["-fPIE", "-pie"],),
    CRASH: (["-static"], ["-no-pie", "-Wl,-z,now"]),  # names resolved before the first fork
}
BUILD_SECONDS = 60

_DIAGNOSTIC = re.compile(r"(\S+?):(\d+):(?:\d+:)? (fatal error|error|warning): (.*)")
_UNDEFINED = re.compile(r"undefined reference to [`'](\w+)'")
_NO_LIBRARY = re.compile(r"cannot find -l|have you installed the static version")
_REFERRED = re.compile(r"(w\d\d/\S+?):(\d+): undefined reference")


@dataclass(frozen=True)
class Build:
    findings: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()


def compile_commands(lesson: Lesson) -> list[str]:
    test = commands(lesson.block("bash", "test").text)
    return [command for command in test if shlex.split(command)[0] in COMPILERS]


def run_commands(lesson: Lesson) -> list[str]:
    test = commands(lesson.block("bash", "test").text)
    return [command for command in test if shlex.split(command)[0] not in COMPILERS]


def listed_commands(lesson: Lesson) -> list[str]:
    """The commands of a ```bash listed block, which a lesson may have."""
    blocks = [b for b in lesson.blocks if (b.language, *b.words) == ("bash", "listed")]
    return [command for block in blocks for command in commands(block.text)]


def variants(lesson: Lesson) -> tuple[str, ...]:
    """The builds that the checks of a lesson have in common."""
    ours = ("checked", "plain", *["raced"] * bool(RACED & set(lesson.driver)))
    return ("lesson", *(ours if lesson.driver else ()))


def program(inside: str, variant: str) -> list[str]:
    """The words that run the driver of a variant."""
    driver = f"{inside}/{variant}/driver"
    return ["sh", "-c", _AS_LINKED, driver] if variant == "raced" else [driver]


def build_lesson(lesson: Lesson, sandbox: Sandbox) -> Build:
    """Runs the lesson's compile commands in the sandbox's lesson/."""
    missing = [name for name in lesson.files if not (sandbox.tree / "lesson" / name).is_file()]
    if missing:
        return Build(tuple(
            Finding("B101", f"{name} is not there; the lesson asks you to write it", name)
            for name in missing
        ))
    warnings = []
    for command in compile_commands(lesson):
        done = sandbox.run(["sh", "-c", command], cwd="lesson", seconds=BUILD_SECONDS)
        text = done.stderr.decode(errors="replace")
        errors, more = _diagnostics(text)
        warnings += more
        if not done.ok:
            return Build(tuple(_why_not(done, command, text, errors)), tuple(warnings))
    return Build((), tuple(warnings))


def build_driver(lesson: Lesson, sandbox: Sandbox, variant: str) -> Build:
    """Builds the sandbox's VARIANT/driver from the lesson's commands and our driver."""
    compiled = _compilations(lesson, sandbox.tree / variant, variant)
    for linked in LINKED[variant]:
        words = [*compiled, _link(lesson, variant, linked)]
        script = "set -e\n" + "\n".join(map(shlex.join, words))
        done = sandbox.run(
            ["sh", "-c", script], cwd=variant, seconds=BUILD_SECONDS, memory=False
        )
        text = done.stderr.decode(errors="replace")
        if done.ok:
            return Build(())
        if not _NO_LIBRARY.search(text):
            break
    undefined = sorted(set(_UNDEFINED.findall(text)))
    if undefined:
        return Build(tuple(
            Finding("B104", f"{name}() is declared and not defined in the files you hand in")
            for name in undefined
        ))
    errors, _ = _diagnostics(text)
    ours = [line for line in text.splitlines() if "error:" in line and ".driver/" in line]
    if ours:
        what = re.sub(r"^.*?error: ", "", ours[0])
        return Build((Finding(
            "B105", f"the header no longer says what the lesson's header says: {what}",
            excerpt=tuple(ours[:3]),
        ),))
    return Build(tuple(_why_not(done, f"the {variant} build", text, errors)))


def stage_driver(lesson: Lesson, tree: Path, variant: str) -> None:
    """Puts our part of a driver into a tree: sources of what includes the student's
    headers, objects of the rest."""
    dest = tree / ".driver"
    dest.mkdir()
    calls, shared = _parts(lesson, variant)
    for name in [*(path.name for path in DRIVERS.glob("*.h")), *(f"{name}.c" for name in calls)]:
        shutil.copyfile(DRIVERS / name, dest / name)
    for name in shared:
        kept = objects.of_driver(name, variant, tuple(EXTRA[variant]))
        shutil.copyfile(kept, dest / f"{name}.o")
    if variant == CRASH:
        shutil.copyfile(lab.server(), dest / "serve.o")


def _parts(lesson: Lesson, variant: str) -> tuple[list[str], list[str]]:
    """The names of what is compiled with the student's headers, and of the rest."""
    names = ["driver", "faults", "streams", *(f"{table}_calls" for table in lesson.driver)]
    names += ["states"] * (variant == CRASH)
    return [n for n in names if n not in SHARED], [n for n in names if n in SHARED]


def _wrapped(lesson: Lesson) -> list[str]:
    """The functions that the driver stands in front of."""
    lists = [DRIVERS / f"{table}.names" for table in ("faults", *lesson.driver)]
    return [name for path in lists if path.is_file() for name in path.read_text().split()]


def _compilations(lesson: Lesson, tree: Path, variant: str) -> list[list[str]]:
    """What makes the objects of a driver. Those that are kept are put into the tree."""
    flags = ["-fPIE", *EXTRA[variant]]
    calls, _ = _parts(lesson, variant)
    made = [["gcc", "-c", "-I.", "-I.driver", *flags, *(f".driver/{name}.c" for name in calls)]]
    *first, last = [shlex.split(command) for command in compile_commands(lesson)]
    for words in [*(words for words in first if "-c" in words), _without_output(last)]:
        options = [w for w in words if not w.endswith((*SOURCES, ".o")) and not w.startswith("-l")]
        options += flags
        left = []
        for source in (word for word in words if word.endswith(SOURCES)):
            kept = objects.of_reference(tree, source, tuple(options))
            if kept:
                shutil.copyfile(kept, tree / _object(source))
            else:
                left.append(source)
        made += [[*options, "-c", *left]] if left else []
    return made


def _link(lesson: Lesson, variant: str, linked: list[str]) -> list[str]:
    calls, shared = _parts(lesson, variant)
    shared += ["serve"] * (variant == CRASH)
    ours = [f"{name}.o" for name in calls] + [f".driver/{name}.o" for name in shared]
    wraps = [f"-Wl,--wrap={name}" for name in _wrapped(lesson)]
    compiler, *words = _without_output(shlex.split(compile_commands(lesson)[-1]))
    theirs = [_object(word) if word.endswith(SOURCES) else word for word in words]
    # Ours come first: what the lesson's command ends with are libraries.
    return [compiler, *linked, *EXTRA[variant], "-pthread", *ours, *theirs, *wraps, "-o", "driver"]


def _without_output(words: list[str]) -> list[str]:
    at = words.index("-o")
    return words[:at] + words[at + 2 :]


def _object(source: str) -> str:
    return Path(source).with_suffix(".o").name


def _diagnostics(text: str) -> tuple[list[Finding], list[Finding]]:
    errors, warnings = [], []
    lines = text.splitlines()
    for i, line in enumerate(lines):
        found = _DIAGNOSTIC.match(line)
        if not found:
            continue
        path, number, kind, message = found.groups()
        shown = tuple(lines[i + 1 : i + 3]) if " | " in "".join(lines[i + 1 : i + 2]) else ()
        is_error = kind != "warning"
        finding = Finding("B102" if is_error else "B103", message, path, int(number), shown)
        (errors if is_error else warnings).append(finding)
    return errors, warnings


def _why_not(done: Completed, command: str, text: str, errors: list[Finding]) -> list[Finding]:
    if done.stopped:
        return [stopped_finding(done, "the build")]
    if errors:
        return errors[:3]
    undefined = sorted(set(_UNDEFINED.findall(text)))
    if undefined:
        referred = _REFERRED.search(text)
        where = (referred[1], int(referred[2])) if referred else (None, None)
        names = ", ".join(f"{name}()" for name in undefined)
        return [Finding("B104", f"{names}: used and not defined in the files of the command", *where)]
    last = tuple(text.strip().splitlines()[-4:])
    return [Finding("B102", f"{command}: ended with status {done.status}", excerpt=last)]


def why_not(done: Completed, command: str) -> list[Finding]:
    """Why a command that compiles or links a student's file failed."""
    text = done.stderr.decode(errors="replace")
    return _why_not(done, command, text, _diagnostics(text)[0])


def stopped_finding(done: Completed, what: str) -> Finding:
    """Why the sandbox ended a run."""
    return {
        "time": Finding("S101", f"{what} was still running after {done.seconds:.0f} seconds"),
        "output": Finding("S102", f"{what} printed more than a mebibyte"),
        "disk": Finding("S103", f"{what} filled the disk that it was given"),
    }[done.stopped]
