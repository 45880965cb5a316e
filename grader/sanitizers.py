"""What the sanitizers of gcc report, as findings.

Sources: https://github.com/google/sanitizers/wiki; the reports have no other contract.
"""

import re
from collections.abc import Callable, Iterator

from .errors import GraderError
from .result import Finding

_SANITIZER = re.compile(r"(?:ERROR: AddressSanitizer:|runtime error:) (.*)")
_WHERE_IN_MEMORY = re.compile(r":? (?:memory ranges \[|(?:on |at )?(?:unknown )?(?:address )?)0x.*")
_FRAMES = re.compile(r"((?:^ +#\d+ [^\n]*\n?)+)", re.M)
_FRAME = re.compile(r"#\d+ 0x\w+ in (\w+) (?:\S*/)?(w\d\d/[\w.]+:\d+)")
_OBJECT = re.compile(r"'(\w+)' \(line (\d+)\) <== (Memory access at offset \d+ \w+)")
_RACE = re.compile(r"(?:WARNING|FATAL|ERROR): ThreadSanitizer: ([^(\n]*[^(\n ])")
_ACCESS = re.compile(
    r"^  (\w[^\n]*?) at 0x\w+ by (?:main )?thread[^\n]*?(\(mutexes[^\n]*)?:\n((?:    #[^\n]*\n)+)", re.M
)
Place = tuple[str, int]  # a file and a line
STUDENTS = re.compile(r"(?:^|[/\s(])(w\d\d/[\w.]+):(\d+)", re.M)


def memory(text: str, what: str) -> Finding | None:
    """What AddressSanitizer or UBSan reported, at the student's line if it names one."""
    report = _SANITIZER.search(text)
    if not report:
        return None
    where = STUDENTS.search(text)
    place = (where[1], int(where[2])) if where else (None, None)
    if report[0].startswith("runtime"):
        message = re.sub(r" 0x[0-9a-f]+", "", report[1])
        return Finding("S105", f"{what}: {message}", *place)
    message = _WHERE_IN_MEMORY.sub("", report[1])
    access = re.search(r"^(READ|WRITE) of size \d+", text, re.M)
    message += f", a {access[0]}" if access else ""
    bad = re.search(r"caused by a (READ|WRITE) memory access", text)
    message += f", a {bad[1].lower()} where it may not {bad[1].lower()}" if bad else ""
    return Finding("S105", f"{what}: {message}", *place, tuple(_details(text[report.end():])))


def _details(text: str) -> Iterator[str]:
    """The student's functions in the first stack of AddressSanitizer's report, and the
    variable that it names."""
    stack = _FRAMES.search(text)
    frames = _FRAME.findall(stack[1]) if stack else []
    if frames:
        yield f"called by {' < '.join(f'{name}() {place}' for name, place in frames)}"
    variable = _OBJECT.search(text)
    if variable:
        yield f"{variable[3]} '{variable[1]}', declared in line {variable[2]}"


def race(text: str, own: Callable[[list[Place]], list[Place]]) -> Finding | None:
    """What ThreadSanitizer reported: where a lock was destroyed, or at the access that
    held none, or else at the later one. Misuse of a lock has one place, its use.

    `own`  of the places of a stack, the innermost first, those that a finding may name
    """
    report = _RACE.search(text)
    if not report:
        return None
    stacks = _ACCESS.findall(text)
    accesses = [(what, locks, _places(stack)) for what, locks, stack in stacks]
    destroyed = [one for one, (_, _, stack) in zip(accesses, stacks) if "_destroy " in stack]
    places = [where for _, _, where in destroyed if where]
    places += [where for _, locks, where in accesses if where and not locks]
    places += [where for _, _, where in accesses if where]
    used = None if accesses else STUDENTS.search(text, report.start())
    places += [[(used[1], int(used[2]))]] if used else []
    if not places:
        raise GraderError(f"ThreadSanitizer: {report[1]}: {text.strip()[:300]}")
    excerpt = tuple(
        f"{what}, {'with' if locks else 'without'} a lock{': ' if where else ''}{_path(where, own)}"
        for what, locks, where in accesses[:2]
    )
    return Finding("S107", f"ThreadSanitizer: {report[1]}", *own(places[0])[0], excerpt)


def _places(stack: str) -> list[Place]:
    return [(file, int(line)) for file, line in STUDENTS.findall(stack)]


def _path(places: list[Place], own) -> str:
    """From the innermost place to the first that a finding may name."""
    way = places[: places.index(own(places)[0]) + 1] if places else []
    return " < ".join(f"{file}:{line}" for file, line in way)
