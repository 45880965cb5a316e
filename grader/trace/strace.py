"""The grammar of an strace log: `parse(lines)` turns it into typed events.

GRAMMAR.md beside this file has the productions, each with a real example.
strace(1) documents the options; a line that the grammar does not know is a
TraceSyntaxError and never skipped, because what we skip we would misjudge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from .values import (AT_FDCWD, Array, Change, Data, Fd, Flags, Named, Nested,
                     Noted, Octal, Struct, Unknown, show)

DEEPEST = 32            # nested structures; more is not strace's output


class TraceSyntaxError(Exception):
    """A line that is not in the grammar."""

    def __init__(self, name: str, number: int, line: str, expected: str):
        super().__init__(f"{name}:{number}: expected {expected}: {line[:200]}")
        self.name, self.number = name, number
        self.line, self.expected = line, expected


@dataclass(frozen=True, slots=True)
class Frame:
    """A line of -k. `address` is the return address inside `file`."""
    file: str
    symbol: str | None
    offset: int | None
    address: int | None


@dataclass(frozen=True, slots=True)
class Event:
    """Positions are line numbers, so they order events of all threads."""
    pid: int
    entered: int

    @property
    def line(self) -> int:
        return self.entered


@dataclass(frozen=True, slots=True)
class Syscall(Event):
    """A system call. One that never returned has exited None."""
    exited: int | None
    name: str
    args: tuple
    ret: int | None
    errno: str | None = None
    ret_fd_path: Fd | None = None
    note: str = ""
    injected: bool = False
    stack: tuple[Frame, ...] = ()

    @property
    def text(self) -> str:
        """The call as one line for an excerpt."""
        result = "?" if self.ret is None else show(self.ret_fd_path or self.ret)
        if self.errno:
            result += f" {self.errno}"
        return f"{self.name}({', '.join(map(show, self.args))}) = {result}"


@dataclass(frozen=True, slots=True)
class Signal(Event):
    """A signal delivered, or a stop (then `info` is None)."""
    signal: str
    info: Struct | None = None
    stack: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class Exit(Event):
    status: int
    stack: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class Killed(Event):
    signal: str
    core_dumped: bool = False
    stack: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class ExecSuperseded(Event):
    """The leader's identity was taken over by thread `by`, which ran exec."""
    by: int
    stack: tuple[Frame, ...] = ()


class _Expected(Exception):
    """What the scanner wanted to see; parse() adds the line."""


# --- values -----------------------------------------------------------------

_NUMBER = r"(?:0x[0-9a-f]{1,16}|[0-9]{1,20})"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ATOM = rf"(?:{_NAME}|{_NUMBER})(?:<<{_NAME})?"
_TOKEN = re.compile(rf"""
    @?"(?P<str>[^"\\]*(?:\\.[^"\\]*)*)"(?P<cut>\.\.\.)?
  | (?P<fd>[0-9]{{1,10}}|AT_FDCWD)<(?P<path>[^<>]*)>(?P<gone>\(deleted\))?
  | (?P<int>-?{_NUMBER})(?=[,)\]}}\ ]|$)
  | (?P<null>NULL)(?![\w|(])
  | (?P<status>WIF[A-Z]+\(s\)[^{{}}\[\]"]*)
  | (?P<nested>{_NAME})\(
  | (?P<flags>[~-]?{_ATOM}(?:(?:\||\ or\ )~?{_ATOM})*)(?=[,)\]}}\ ]|$)
  | (?P<struct>\{{)
  | (?P<array>~?\[)
  | (?P<product>[0-9]{{1,10}}\*[0-9]{{1,10}})
  | (?P<unknown>\?(?!\w)|\.\.\.|<\.\.\.\ resuming\ interrupted\ \w+\ \.\.\.>)
""", re.VERBOSE | re.ASCII)
_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)=(?!>)")
_COMMENT = re.compile(r" /\* (.*?) \*/")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))", re.ASCII)
_ONLY_HEX = re.compile(r"(?:\\x[0-9a-f]{2})*", re.ASCII)
_LETTERS = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13,
            '"': 34, "\\": 92, "'": 39}


def _unescape(text: str) -> bytes:
    """The bytes behind a C-escaped (default) or hex (-xx) string."""
    if "\\" not in text:
        return text.encode("utf-8", "surrogateescape")
    if _ONLY_HEX.fullmatch(text):
        return bytes.fromhex(text.replace("\\x", ""))

    def byte(match: re.Match) -> str:
        hexa, octal, letter = match.groups()
        code = int(hexa, 16) if hexa else int(octal, 8) if octal \
            else _LETTERS.get(letter, 256)
        if code > 255:
            raise _Expected("a C escape")
        return chr(code)
    try:
        return _ESCAPE.sub(byte, text).encode("latin-1")
    except UnicodeEncodeError:
        raise _Expected("a string in ASCII") from None


@lru_cache(maxsize=4096)
def _integer(text: str) -> int:
    if text.lstrip("-").startswith("0x"):
        return int(text, 16)
    octal = len(text) > 1 and text[0] == "0"
    try:
        return Octal(text, 8) if octal else int(text)
    except ValueError:
        raise _Expected("an octal number") from None


@lru_cache(maxsize=4096)
def _flags(text: str) -> Flags:
    names, bits = [], 0
    for atom in text.replace(" or ", "|").split("|"):
        if atom[0].isdigit() and "<<" not in atom:
            bits |= _integer(atom)
        else:
            names.append(atom)
    return Flags(tuple(names), bits)


@lru_cache(maxsize=4096)
def _fd(number: str, path: str, deleted: bool) -> Fd:
    name = _unescape(path).decode("utf-8", "surrogateescape")
    return Fd(AT_FDCWD if number == "AT_FDCWD" else int(number), name, deleted)


def _value(text: str, pos: int, depth: int = 0) -> tuple[object, int]:
    """One value that starts at `pos`, and where it ends."""
    match = _TOKEN.match(text, pos)
    if not match:
        raise _Expected(f"a value in column {pos + 1}")
    kind, pos = match.lastgroup, match.end()
    if kind == "int":
        value = _integer(match["int"])
    elif kind == "str" or kind == "cut":
        value = Data(_unescape(match["str"]), kind == "cut")
    elif kind == "path" or kind == "gone":
        value = _fd(match["fd"], match["path"], kind == "gone")
    elif kind == "flags":
        value = _flags(match["flags"])
    elif kind == "null":
        value = None
    elif kind == "product":
        left, right = match["product"].split("*")
        value = int(left) * int(right)
    elif kind == "unknown" or kind == "status":
        value = Unknown(match[kind])
    else:
        value, pos = _compound(kind, match, text, pos, depth + 1)
    if text.startswith(" ", pos):
        value, pos = _suffix(value, text, pos, depth)
    return value, pos


def _suffix(value: object, text: str, pos: int, depth: int):
    """The comment or the changed value that may follow."""
    note = _COMMENT.match(text, pos)
    if note:
        value, pos = Noted(value, note[1]), note.end()
    if text.startswith(" => ", pos) and depth < DEEPEST:
        after, pos = _value(text, pos + 4, depth + 1)
        value = Change(value, after)
    return value, pos


def _compound(kind: str, match: re.Match, text: str, pos: int, depth: int):
    if depth > DEEPEST:
        raise _Expected(f"at most {DEEPEST} nested values")
    if kind == "nested":
        args, pos = _arguments(text, pos, depth)
        return Nested(match["nested"], args), pos
    close = "}" if kind == "struct" else "]"
    fields = []
    while not text.startswith(close, pos):
        if fields:
            pos += _separator(text, pos)
        key = _KEY.match(text, pos) if kind == "struct" else None
        value, pos = _value(text, key.end() if key else pos, depth)
        fields.append((key[1] if key else None, value))
    if kind == "struct":
        return Struct(tuple(fields)), pos + 1
    items = tuple(value for _, value in fields)
    return Array(items, match["array"] == "~["), pos + 1


def _separator(text: str, pos: int) -> int:
    """Its length. Signal sets and terminal modes are split by blanks."""
    if text.startswith(", ", pos):
        return 2
    if text.startswith(" ", pos):
        return 1
    raise _Expected(f"a separator in column {pos + 1}")


def _arguments(text: str, pos: int, depth: int = 0, partial: bool = False):
    """The values up to `)`; a call that never returned ends anywhere."""
    values = []
    while not text.startswith(")", pos):
        if partial and not text[pos:].strip():
            return tuple(values), len(text)
        key = _KEY.match(text, pos)
        value, pos = _value(text, key.end() if key else pos, depth)
        values.append(Named(key[1], value) if key else value)
        if text.startswith(", ", pos):
            pos += 2
        elif partial and not text[pos:].strip(", "):
            return tuple(values), len(text)
        elif not text.startswith(")", pos):
            raise _Expected(f"',' or ')' in column {pos + 1}")
    return tuple(values), pos + 1


# --- lines ------------------------------------------------------------------

_PREFIX = re.compile(r"(?:\[pid +([0-9]{1,10})\] |([0-9]{1,10}) +)?", re.ASCII)
_CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*|\?{3,4} ?)\(", re.ASCII)
_RESUMED = re.compile(r"<\.\.\. ([A-Za-z0-9_?]+) resumed>(.*)",
                      re.ASCII | re.DOTALL)
_CUT = re.compile(r"(.*?) ?<(?:unfinished|detached) \.\.\.>(\) += \?)?",
                  re.ASCII | re.DOTALL)
_RESULT = re.compile(rf"""\ *=\ (\?|-?{_NUMBER})
    (?:<([^<>]*)>(\(deleted\))?)?
    (?:\ (E[A-Z0-9_]+))?
    (?:\ /\*\ (.*?)\ \*/|\ \((?!INJECTED|DELAYED)(.*?)\))?
    (\ \(INJECTED(?:,[^)]*)?\))?(?:\ \(DELAYED\))?""",
    re.VERBOSE | re.ASCII | re.DOTALL)
_FRAME = re.compile(r" > (.+?)(?:\(([^()+]*(?:\(.*\)[^()+]*)?)"
                    r"(?:\+0x([0-9a-f]{1,16}))?\))? \[0x([0-9a-f]{1,16})\]",
                    re.ASCII)
_SIGNAL = re.compile(r"--- (SIG[A-Z0-9_+]+) (.*) ---", re.ASCII | re.DOTALL)
_STOPPED = re.compile(r"--- stopped by (SIG[A-Z0-9_+]+) ---", re.ASCII)
_EXITED = re.compile(r"\+\+\+ exited with ([0-9]{1,10}) \+\+\+", re.ASCII)
_KILLED = re.compile(r"\+\+\+ killed by (SIG[A-Z0-9_+]+)( \(core dumped\))?"
                     r" \+\+\+", re.ASCII)
_SUPERSEDED = re.compile(r"\+\+\+ superseded by execve in pid ([0-9]{1,10})"
                         r" \+\+\+", re.ASCII)


def _call(pid: int, entered: int, exited: int | None, text: str) -> Syscall:
    """A whole call, or (exited None) the part that strace saw of it."""
    head = _CALL.match(text)
    if not head:
        raise _Expected("a system call")
    args, pos = _arguments(text, head.end(), 0, exited is None)
    name = head[1].strip()
    if exited is None:
        if pos != len(text):
            raise _Expected("an unfinished call")
        return Syscall(pid, entered, None, name, args, None)
    result = _RESULT.fullmatch(text, pos)
    if not result:
        raise _Expected(f"a result in column {pos + 1}")
    value, path, gone, errno, comment, remark, injected = result.groups()
    ret = None if value == "?" else _integer(value)
    fd = _fd(value, path, bool(gone)) if path is not None and value.isdigit() \
        else None
    return Syscall(pid, entered, exited, name, args, ret, errno, fd,
                   comment or remark or "", bool(injected))


class _Log:
    """The events so far, and the calls of each thread that are under way."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.pending: dict[int, tuple[int, str]] = {}
        self.frames: list[Frame] = []

    def frame(self, line: str) -> None:
        match = _FRAME.fullmatch(line)
        if not self.events or not (match or line.startswith(" > unexpected_")):
            raise _Expected("a stack frame behind an event")
        if match:
            file, symbol, offset, address = match.groups()
            self.frames.append(Frame(file, symbol or None,
                                     int(offset, 16) if offset else None,
                                     int(address, 16)))

    def end_of_stack(self) -> None:
        if self.frames:
            self.events[-1] = replace(self.events[-1],
                                      stack=tuple(self.frames))
            self.frames = []

    def add(self, number: int, line: str) -> None:
        prefix = _PREFIX.match(line)
        pid = int(prefix[1] or prefix[2] or 0)
        body = line[prefix.end():]
        if body.startswith("<... "):
            self.resume(pid, number, body)
        elif body.endswith("...>") or body.endswith("...>) = ?"):
            self.suspend(pid, number, body)
        elif body.startswith("+++ "):
            self.end(pid, number, body)
        elif body.startswith("--- "):
            self.signal(pid, number, body)
        else:
            self.events.append(_call(pid, number, number, body))

    def resume(self, pid: int, number: int, body: str) -> None:
        match = _RESUMED.fullmatch(body)
        if not match or pid not in self.pending:
            raise _Expected("the second half of an unfinished call")
        entered, begun = self.pending.pop(pid)
        if _CALL.match(begun)[1].strip() != match[1]:
            raise _Expected(f"{begun.partition('(')[0]} to be resumed")
        rest = match[2]
        again = _CUT.fullmatch(rest)
        if again and again[2]:
            self.events.append(_call(pid, entered, None, begun + again[1]))
        elif again:
            self.pending[pid] = entered, begun + again[1]
        else:
            # Older versions put a blank before an argument that comes late.
            glue = rest.removeprefix(" ") if begun.endswith(" ") else rest
            self.events.append(_call(pid, entered, number, begun + glue))

    def suspend(self, pid: int, number: int, body: str) -> None:
        match = _CUT.fullmatch(body)
        if not match or not _CALL.match(match[1]):
            raise _Expected("an unfinished call")
        if pid in self.pending:
            raise _Expected("the call before to be resumed")
        if match[2]:
            self.events.append(_call(pid, number, None, match[1]))
        else:
            self.pending[pid] = number, match[1]

    def abandon(self, pid: int) -> None:
        """The thread is gone: what it was doing never returned."""
        if pid in self.pending:
            entered, begun = self.pending.pop(pid)
            self.events.append(_call(pid, entered, None, begun))

    def end(self, pid: int, number: int, body: str) -> None:
        if match := _SUPERSEDED.fullmatch(body):
            self.abandon(pid)
            by = int(match[1])
            if by in self.pending:
                self.pending[pid] = self.pending.pop(by)
            self.events.append(ExecSuperseded(pid, number, by))
            return
        if match := _EXITED.fullmatch(body):
            event = Exit(pid, number, int(match[1]))
        elif match := _KILLED.fullmatch(body):
            event = Killed(pid, number, match[1], bool(match[2]))
        else:
            raise _Expected("how the process ended")
        self.abandon(pid)
        self.events.append(event)

    def signal(self, pid: int, number: int, body: str) -> None:
        if match := _STOPPED.fullmatch(body):
            self.events.append(Signal(pid, number, match[1]))
            return
        match = _SIGNAL.fullmatch(body)
        if not match:
            raise _Expected("a signal")
        info, end = _value(match[2], 0)
        if end != len(match[2]) or not isinstance(info, Struct):
            raise _Expected("the signal's information")
        self.events.append(Signal(pid, number, match[1], info))


def parse(lines: Iterable[str], name: str = "strace.log") -> list[Event]:
    """The events of a log, ordered by entry.

    Lines may keep their newline; then the last one must have it too, since
    a log cut in the middle of a number would otherwise parse as another one.
    """
    log = _Log()
    number, line, ended, any_ended = 0, "", True, False
    try:
        for number, line in enumerate(lines, 1):
            if not ended and any_ended:
                raise _Expected("a newline at the end of the line before")
            ended = line.endswith("\n")
            any_ended |= ended
            line = line[:-1] if ended else line
            if line.startswith(" > "):
                log.frame(line)
            else:
                log.end_of_stack()
                log.add(number, line)
        log.end_of_stack()
        if any_ended and not ended:
            raise _Expected("a newline: the log is cut")
        for pid, (number, line) in list(log.pending.items()):
            log.abandon(pid)
    except _Expected as error:
        raise TraceSyntaxError(name, number, line, str(error)) from None
    return sorted(log.events, key=lambda event: event.entered)
