"""What the content-addressed store promises across a power loss, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..checks.cas_store import EMPTY, MISMATCH, MISSING, OK, STORE, VERDICTS, name_of, path_of
from ..run import Script
from .scenario import AFTER, ON_DISK, Case, Promise, Subject

# Two blocks, so that its parts can be lost apart. Three of its sectors are not zero:
# those are what the profile torn512 loses one by one, and the others are lost unseen.
LARGE = b"\xa5" * 512 + bytes(3072) + b"\x5a" * 616
SMALL = b"a small one"
LEFT = b"left by somebody"
NOTHING = b""
NEXT = b"the next one"
OBJECTS = (LARGE, SMALL, LEFT, NOTHING)
OPEN, CLOSE = ("cas_open", 0, STORE), ("cas_close", 0)


def storing(data: bytes, handle: int = 0) -> tuple:
    return ("cas_store", handle, data)


def loading(data: bytes) -> tuple:
    return ("cas_load", 0, name_of(data).encode())


# --- the next start ---

_script = Script()
FIRST = _script.call(*OPEN)
AFTER_FIRST = _script.call("look")
LOADED = {data: _script.call(*loading(data)) for data in OBJECTS}
_script.call(*CLOSE)
SECOND = _script.call(*OPEN)
AFTER_SECOND = _script.call("look")
STORED = {data: _script.call(*storing(data)) for data in (*OBJECTS, NEXT)}
LOADED_AGAIN = {data: _script.call(*loading(data)) for data in STORED}
_script.call(*CLOSE)


# --- what was promised ---

def stores(case: Case) -> Iterator[str]:
    """The directories that cas_open() had returned 0 for."""
    return (done.call[2] for done in case.of("cas_open") if done.ok)


def acknowledged(case: Case) -> Iterator[tuple[str, bytes]]:
    """The files that must be there, by the calls of cas_store() that had returned 0."""
    folders = {}
    for done in case.of("cas_open", "cas_store"):
        handle, arg = done.call[1:3]
        if done.call[0] == "cas_open":
            folders[handle] = arg
        elif done.ok:
            yield path_of(arg, folders[handle]), arg


def left_unsynced(calls: tuple[tuple, ...]) -> set[str]:
    """The objects that these calls put there for somebody who did not sync them."""
    return {call[1] for call in calls if call[0] == "put"}


def found_at_the_start(case: Case) -> set[str]:
    """Those that stood there when the first cas_open() began, if that has returned 0."""
    names = [call[0] for call in case.scenario.calls]
    before = case.scenario.calls[: names.index("cas_open")]
    return left_unsynced(before) if any(stores(case)) else set()


def _short(path: str) -> str:
    return f"{path[: len(STORE) + 9]}..."


def _is_there(case: Case) -> str | None:
    for folder in stores(case):
        if folder not in case.tried.folders:
            return f"cas_open() had returned 0, and {folder}/ is not there"
    for path in found_at_the_start(case) - set(case.tried.files):
        return f"cas_open() had returned 0 and found {_short(path)}, which is not there"
    return None


def _holds_what_was_acknowledged(case: Case) -> str | None:
    for path, data in acknowledged(case):
        held = case.tried.files.get(path)
        if held is None:
            return f"cas_store() of {len(data)} bytes had returned 0, and {_short(path)} is not there"
        if held != data:
            return f"cas_store() had returned 0, and {_short(path)} is torn"
    return None


def _is_whole_or_as_before(case: Case) -> str | None:
    before, others = case.scenario.files, left_unsynced(case.scenario.calls)
    for path, data in case.tried.files.items():
        name = path.rpartition("/")[2]
        if len(name) != 64 or name_of(data) == name or path in others or before.get(path) == data:
            continue
        return f"{_short(path)} has its name and holds {len(data)} bytes that are not those of the name"
    return None


# --- what the next start finds ---

def _after(case: Case, data: bytes) -> bytes | None:
    """What stands under the name of `data` once cas_open() has returned."""
    return case.tried.looked(AFTER_FIRST).get(path_of(data), (0, None))[1]


def _seen(case: Case, look: int) -> tuple:
    """Files and directories; in which order a directory lists them is its own affair."""
    folders = {value for key, value in case.tried.replies[look].words if key == "d"}
    return case.tried.looked(look), folders


def _verdict(held: bytes | None, data: bytes) -> int:
    if held is None:
        return MISSING
    return OK if held == data else MISMATCH if held else EMPTY


def _opens(case: Case) -> str | None:
    for number in (FIRST, SECOND):
        problem = case.failed(number)
        if problem:
            return f"cas_open(): {problem}"
    return None


def _keeps_objects(case: Case) -> str | None:
    for data in OBJECTS:
        if case.tried.files.get(path_of(data)) == data and _after(case, data) != data:
            return f"{_short(path_of(data))} was whole, and is not after cas_open()"
    return None


def _leaves_no_leftover(case: Case) -> str | None:
    if any(path.startswith(f"{STORE}/.tmp-") for path in case.tried.looked(AFTER_FIRST)):
        return f"a {STORE}/.tmp-... is still there after cas_open()"
    return None


def _loads_what_is_there(case: Case) -> str | None:
    for data, number in LOADED.items():
        reply, want = case.tried.replies.get(number), _verdict(_after(case, data), data)
        if reply is None:
            return f"cas_load(): {case.failed(number)}"
        if reply["ret"] != want or want == OK and reply.bytes("data") != data:
            return f"cas_load() of an object that is CAS_{VERDICTS[want]} returned {reply['ret']}"
    return None


def _changes_nothing_twice(case: Case) -> str | None:
    first, second = (_seen(case, number) for number in (AFTER_FIRST, AFTER_SECOND))
    return "a second cas_open() changed the disk" if first != second else None


def _stores_again(case: Case) -> str | None:
    for data, number in STORED.items():
        again = LOADED_AGAIN[data]
        problem = case.failed(number) or case.failed(again)
        if problem:
            return f"storing {len(data)} bytes: {problem}"
        reply = case.tried.replies[again]
        if reply["ret"] != OK or reply.bytes("data") != data:
            was = f"CAS_{VERDICTS[_verdict(_after(case, data), data)]}"
            return f"an object that was {was} was stored again, and cas_load() returned {reply['ret']}"
    return None


IN_PLACE = Subject(
    script=_script,
    looks=(AFTER_FIRST, AFTER_SECOND),
    recover=(OPEN,),
    recovering="cas_open",
    promising=("cas_store", "cas_open", "cas_close"),
    promises=(
        Promise(ON_DISK, "D302", "a store that was opened keeps its name, and the names in it",
                _is_there),
        Promise(ON_DISK, "D302", "an acknowledged object is whole under its name",
                _holds_what_was_acknowledged),
        Promise(AFTER, "R504", "cas_open() copes with every disk", _opens),
        Promise(AFTER, "R505", "cas_open() leaves objects alone", _keeps_objects),
        Promise(AFTER, "R504", "cas_load() tells a torn object from a whole one",
                _loads_what_is_there, at="cas_load"),
        Promise(AFTER, "R505", "opening again changes nothing", _changes_nothing_twice),
        Promise(AFTER, "R506", "storing again works, and mends what is torn", _stores_again,
                at="cas_store"),
    ),
)
ATOMIC = replace(IN_PLACE, promises=(
    Promise(ON_DISK, "A302", "a file that has a hash for its name holds those bytes",
            _is_whole_or_as_before),
    *IN_PLACE.promises,
    Promise(AFTER, "R505", "what a crash left is gone after cas_open()", _leaves_no_leftover),
))
