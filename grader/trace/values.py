"""What strace prints inside an argument list, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

AT_FDCWD = -100         # the number behind the name, from <fcntl.h>
SHOWN_BYTES = 32        # of a data string, in an excerpt for people


@dataclass(frozen=True, slots=True)
class Data:
    """A string argument. `truncated` means that strace cut it (-s)."""
    data: bytes
    truncated: bool = False


class Octal(int):
    """A mode, which strace writes in octal and a person reads in octal."""


@dataclass(frozen=True, slots=True)
class Flags:
    """`A|B|0x40`; a lone symbolic constant is a set of one."""
    names: tuple[str, ...]
    bits: int = 0

    def __contains__(self, name: str) -> bool:
        return name in self.names


@dataclass(frozen=True, slots=True)
class Fd:
    """A descriptor with the path that -y found behind it."""
    number: int
    path: str
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Array:
    """`[a, b]`; `negated` for the signal sets written `~[a b]`."""
    items: tuple
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Struct:
    """`{key=value, value, ...}`: pairs, the key None where none stood."""
    fields: tuple[tuple[str | None, object], ...]

    def get(self, name: str, default: object = None) -> object:
        for key, value in self.fields:
            if key == name:
                return value
        return default


@dataclass(frozen=True, slots=True)
class Named:
    """`flags=SIGCHLD`: clone names its arguments."""
    key: str
    value: object


@dataclass(frozen=True, slots=True)
class Nested:
    """`makedev(0x8, 0x1)`"""
    name: str
    args: tuple


@dataclass(frozen=True, slots=True)
class Change:
    """`before => after`: an argument that the call itself changed."""
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class Noted:
    """A value with strace's comment behind it: 0x7ffd /* 37 vars */."""
    value: object
    note: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """What strace could not or did not decode: `?`, `...`, a restart."""
    text: str


def plain(value: object) -> object:
    """The value without a comment and as it was before the call."""
    while isinstance(value, (Noted, Change)):
        value = value.value if isinstance(value, Noted) else value.before
    return value


_NAMED = {7: r"\a", 8: r"\b", 9: r"\t", 10: r"\n", 11: r"\v", 12: r"\f",
          13: r"\r", 34: r"\"", 92: r"\\"}


def quoted(data: bytes, limit: int = SHOWN_BYTES) -> str:
    """C-ish text of some bytes, cut to a length that a person reads."""
    shown = "".join(
        _NAMED.get(byte) or (chr(byte) if 32 <= byte < 127
                             else f"\\x{byte:02x}")
        for byte in data[:limit])
    return f'"{shown}"' + ("..." if len(data) > limit else "")


def show(value: object) -> str:
    """One readable text for any value; not meant to be parsed again."""
    match value:
        case None:
            return "NULL"
        case Data(data, truncated):
            text = quoted(data)
            return text + "..." if truncated and text[-1] == '"' else text
        case Flags(names, bits):
            return "|".join((*names, *([hex(bits)] if bits else [])))
        case Fd(number, path, deleted):
            name = "AT_FDCWD" if number == AT_FDCWD else str(number)
            inside = quoted(path.encode("utf-8", "surrogateescape"), 200)[1:-1]
            return f"{name}<{inside}>" + ("(deleted)" if deleted else "")
        case Array(items, negated):
            return "~" * negated + f"[{', '.join(map(show, items))}]"
        case Struct(fields):
            return "{" + ", ".join(
                (f"{key}=" if key else "") + show(item)
                for key, item in fields) + "}"
        case Named(key, inner):
            return f"{key}={show(inner)}"
        case Nested(name, args):
            return f"{name}({', '.join(map(show, args))})"
        case Change(before, after):
            return f"{show(before)} => {show(after)}"
        case Noted(inner, note):
            return f"{show(inner)} /* {note} */"
        case Unknown(text):
            return text
        case Octal():
            return f"0{value:o}"
    return hex(value) if value > 1 << 32 else str(value)
