"""Checks of what the store does with damaged objects, and with what is none."""

import errno
from dataclasses import replace
from itertools import islice

from ..result import Finding
from ..run import Failed, Run, Script, Sparse
from . import check
from .cas_store import (
    EMPTY, HELLO, MISMATCH, NOT_A_FILE, OBJECT_MAX_BYTES, OK, STORE, TOO_LONG, load, name_of,
    path_of, shown, wrong_load, wrong_store,
)
from .returns import if_it_never_returns, wrong_return


DAMAGES = 7


def _damages(data: bytes):
    """(what, the bytes in its place, verdict)"""
    flipped = bytes([data[0] ^ 1]) + data[1:]
    yield "its first byte flipped", flipped, MISMATCH
    yield "its last bit flipped", data[:-1] + bytes([data[-1] ^ 1]), MISMATCH
    yield "cut to one byte", data[:1], MISMATCH
    yield "cut by one byte", data[:-1], MISMATCH
    yield "one byte longer", data + b"\0", MISMATCH
    yield "all zeros", bytes(len(data)), MISMATCH
    yield "cut to nothing", b"", EMPTY


@check("stores-and-loads")
def gives_only_what_verifies(run: Run):
    """An object whose bytes do not hash to its name is never given out.

    Each load hashes what it read, also what it has read before, and gives those bytes and no
    others. Other bytes are CAS_MISMATCH, none at all where some belong are CAS_EMPTY. Every
    digit counts.
    """
    script = Script()
    script.call("cas_open", 0, STORE)
    calls = []
    for what, bad, verdict in (*_damages(HELLO), *_damages(b"q" * 5000)):
        data = HELLO if len(bad) < 20 and b"q" not in bad else b"q" * 5000
        script.call("put", path_of(data), bad)
        calls.append((load(script, data), verdict, f"an object of {len(data)} bytes, {what}"))
    script.call("put", path_of(b""), b"x")
    calls.append((load(script, b""), MISMATCH, "the empty object with a byte in it"))
    calls += _changed_since(script)
    calls += _another_name(script)
    session = run.drive(script)
    for number, verdict, when in calls:
        bad = list(wrong_load(run, session[number], verdict, "R301", when))
        if bad:
            yield from bad
            return
    yield from islice(_changed_meanwhile(run), 1)


def _changed_meanwhile(run: Run):
    """Before each read in turn, one bit is flipped: what was hashed before is no more."""
    script = Script()
    script.call("cas_open", 0, STORE)
    calls = []
    for i in (1, 2, 3):
        data = b"read %d" % i
        script.call("put", path_of(data), data)
        script.call("meanwhile", "read", i, "flip", path_of(data), 3)
        calls.append((load(script, data), data))
        script.call("clear")
    session = run.drive(script)
    for number, data in calls:
        for fault in session[number].faults:
            if session[number]["ret"] == OK:
                when = f"an object of which one bit was flipped just before this {fault.call}()"
                found = wrong_load(run, session[number], data, "R301", when)
                yield from (run.at_fault(finding, fault) for finding in found)


def _changed_since(script: Script):
    """What was loaded, and what was stored, and has one bit flipped since."""
    script.call("put", path_of(b"loaded before"), b"loaded before")
    yield load(script, b"loaded before"), b"loaded before", "an object that is whole"
    script.call("cas_store", 0, b"stored before")
    for data in (b"loaded before", b"stored before"):
        script.call("flip", path_of(data), 3)
        yield load(script, data), MISMATCH, f"an object that was {data.decode()}, one bit flipped since"


def _another_name(script: Script):
    """The right bytes, under a name that differs in one digit."""
    name = name_of(HELLO)
    for i, digit in enumerate(name):
        other = f"{name[:i]}{'1' if digit == '0' else '0'}{name[i + 1:]}"
        script.call("put", f"{STORE}/{other}", HELLO)
        number = script.call("cas_load", 0, other.encode())
        yield number, MISMATCH, f"an object whose name differs from its hash in digit {i + 1} of 64"


@check("gives-only-what-verifies")
def tells_what_is_no_file(run: Run):
    """A directory, a link, a FIFO or a socket is no object: CAS_NOT_A_FILE.

    No link is followed, not even to the right bytes, and no FIFO is waited for: not where it
    has taken an object's place a moment ago, either. A file that may not be read is -EACCES.
    """
    objects = [b"dir", b"link", b"dangling", b"unreadable", b"socket", b"fifo"]
    paths = [path_of(data) for data in objects]
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("put", "right", b"link")
    script.call("put", paths[3], b"unreadable")
    script.call("mode", paths[3], 0)
    for kind, path, target in (("dir", paths[0], ""), ("link", paths[1], "../right"),
                               ("link", paths[2], "nowhere"), ("socket", paths[4], ""),
                               ("fifo", paths[5], "")):
        script.call("make", kind, path, target)
    calls = [load(script, data) for data in objects]
    never = "cas_load() waits for ever where a FIFO stands under an object's name"
    with if_it_never_returns("R302", never):
        session = run.drive(script, seconds=5)
    wants = (NOT_A_FILE, NOT_A_FILE, NOT_A_FILE, -errno.EACCES, NOT_A_FILE, NOT_A_FILE)
    whats = ("a directory", "a link to the right bytes", "a link to nothing", "a file of mode 0", "a socket",
             "a FIFO")
    found = []
    for number, want, what in zip(calls, wants, whats):
        found += wrong_load(run, session[number], want, "R302", f"{what} under an object's name")
    yield from found or islice(_no_file_any_more(run), 1)


def _no_file_any_more(run: Run):
    """Whatever was asked about the name before, open(2) finds something else there."""
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("put", "right", b"link")
    calls = []
    for kind, what in (("link", "a link to the right bytes"), ("fifo", "a FIFO")):
        data = kind.encode()
        script.call("put", path_of(data), data)
        script.call("make", kind, f"{STORE}/{kind}", "../right")
        script.call("meanwhile", "open", 1, "move", f"{STORE}/{kind}", path_of(data))
        calls.append((load(script, data), what))
        script.call("clear")
    never = "cas_load() waits for ever where a FIFO takes an object's place just before the open"
    with if_it_never_returns("R302", never):
        session = run.drive(script, seconds=5)
    for number, what in calls:
        for fault in session[number].faults:
            when = f"{what} that took an object's place just before this {fault.call}()"
            found = wrong_load(run, session[number], NOT_A_FILE, "R302", when)
            yield from (run.at_fault(finding, fault) for finding in found)


@check("gives-only-what-verifies")
def refuses_what_is_too_long(run: Run):
    """No file makes you read, or allocate, more than CAS_OBJECT_MAX_BYTES.

    A longer one is CAS_TOO_LONG, and to store that much is -EMSGSIZE. A damaged length
    could else take all the memory of the machine. As many bytes as that are no more.
    """
    zeros = name_of(bytes(OBJECT_MAX_BYTES))
    long = OBJECT_MAX_BYTES + 1, (4 << 30) + len(HELLO), 1 << 40
    names = [f"{i:064}" for i in range(len(long))]
    names[1] = name_of(HELLO)  # what is left of the length in 32 bits has the right bytes
    files = {f"{STORE}/{name}": Sparse(HELLO, size) for name, size in zip(names, long)}
    files |= {f"{STORE}/{zeros}": Sparse(b"", OBJECT_MAX_BYTES)}
    script = Script()
    script.call("cas_open", 0, STORE)
    loaded = [script.call("cas_load", 0, name.encode()) for name in names]
    stored = [(script.call("cas_store_zeros", 0, size), size, -errno.EMSGSIZE) for size in long[:2]]
    most = script.call("cas_load", 0, zeros.encode())
    stored.append((script.call("cas_store_zeros", 0, OBJECT_MAX_BYTES), OBJECT_MAX_BYTES, 0))
    try:
        session = run.drive(script, files=files, variant="plain")
    except Failed as failed:
        if failed.findings[0].code != "S104":
            raise
        message = f"bytes beyond the {OBJECT_MAX_BYTES} that an object may have were read: a signal ended that"
        yield run.at_function(Finding("R303", message), "cas_store")
        return
    run.forget_folders()
    for number, size in zip(loaded, long):
        yield from wrong_load(run, session[number], TOO_LONG, "R303", f"a file of {size} bytes")
    for number, size, want in stored:
        reply = replace(session[number], call="cas_store")
        yield from wrong_return(run, reply, want, "R303", f"for {size} bytes")
    if session[most]["ret"] != OK or session[most]["len"] != OBJECT_MAX_BYTES:
        result = shown(session[most]["ret"])
        message = f"a file of {OBJECT_MAX_BYTES} bytes: it returned {result} and should give them"
        yield run.at_function(Finding("R303", message), "cas_load")


@check("stores-and-loads")
def refuses_what_is_no_name(run: Run):
    """Only 64 lower-case hex digits are a name; all else is -EINVAL.

    Upper case, one digit more or less, a path: refused before any file is touched.
    """
    name = name_of(HELLO)
    names = ["", ".", "..", "../secret", ".tmp-x", name.upper(), name + "0", name[:-1], name[:-1] + "g",
             name[:-1] + "/", "../" + "a" * 61, "/" + "a" * 63, name[:32], " " + name[1:], name[:-1] + "\n"]
    script = Script()
    script.call("cas_open", 0, STORE)
    calls = {script.call("cas_load", 0, bad.encode()): bad for bad in names}
    session = run.drive(script, files={"secret": b"", path_of(HELLO): HELLO})
    for number, bad in calls.items():
        found = list(wrong_load(run, session[number], -errno.EINVAL, "R304", f"the name {bad!r}"))
        if found:
            yield from found
            return


@check("stores-and-loads", "gives-only-what-verifies")
def repairs_a_damaged_object(run: Run):
    """Storing over a damaged object puts the right bytes in its place.

    Whatever stands there and does not verify is replaced: a torn file, one that is too
    long, a link, a socket, a FIFO, a file that may not be read. What a link leads to, and a
    file that has a second name there, stay as they were. Only a directory stays, and is an
    error.
    """
    script = Script()
    script.call("cas_open", 0, STORE)
    cases = []
    for what, data in _damaged(script):
        cases.append((what, data, script.call("cas_store", 0, data), load(script, data)))
    script.call("make", "dir", path_of(b"dir"))
    over_dir = script.call("cas_store", 0, b"dir")
    others = {"right": b"link", "another": b"of somebody else"}
    session = run.drive(script, files=others)
    for what, data, stored, loaded in cases:
        when = f"storing {len(data)} bytes over {what}"
        found = list(wrong_store(run, session, stored, data, "R305", when))
        found = found or list(wrong_load(run, session[loaded], data, "R305", f"after {when}"))
        if found:
            yield from found
            return
    message = None
    if session[over_dir]["ret"] >= 0:
        message = "it returned 0 where a directory has the object's name"
    elif not (session.folder / path_of(b"dir")).is_dir():
        message = "a directory had the object's name, and is not there any more though the call failed"
    for name, data in others.items():
        if session.file(name) != data:
            message = f"an object's name was a link to the file {name}: storing wrote into that file"
    if message:
        yield run.at_function(Finding("R305", message), "cas_store")
        return
    yield from _over_a_fifo(run)


def _damaged(script: Script):
    """Puts something in the place of an object: what it is, and the object's bytes."""
    large = bytes(range(256)) * 8192  # 2 MiB
    script.call("put", path_of(large), large[:-1] + b"x")
    yield "an object of 2 MiB, its last byte changed", large
    script.call("cas_store", 0, b"stored before")
    script.call("flip", path_of(b"stored before"), 3)
    yield "what it stored itself, one bit flipped since", b"stored before"
    larger = bytes(range(255, -1, -1)) * 12288  # 3 MiB
    script.call("put", path_of(larger), larger)
    script.call("flip", path_of(larger), len(larger) // 2)
    yield "an object of 3 MiB, one bit flipped in the middle", larger
    for data in (begin + bytes([i]) for begin in (HELLO, b"r" * 3000) for i in range(DAMAGES)):
        what, bad, _ = list(_damages(data))[data[-1]]
        script.call("put", path_of(data), bad)
        yield f"a damaged object, {what}", data
    script.call("put", path_of(b""), b"not empty")
    yield "a file that is not empty", b""
    script.call("put", path_of(b"long"), b"long")
    script.call("cut", path_of(b"long"), OBJECT_MAX_BYTES + 1)
    yield "a file that is too long", b"long"
    for kind, target, what in (("link", "../right", "a symbolic link"), ("socket", "", "a socket"),
                               ("hard", "another", "a hard link")):
        script.call("make", kind, path_of(kind.encode()), target)
        yield what, kind.encode()
    script.call("put", path_of(b"mode"), b"x")
    script.call("mode", path_of(b"mode"), 0)
    yield "a file that may not be read", b"mode"


def _over_a_fifo(run: Run):
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("make", "fifo", path_of(b"fifo"))
    stored = script.call("cas_store", 0, b"fifo")
    never = "cas_store() waits for ever where a FIFO stands under the object's name"
    with if_it_never_returns("R305", never):
        session = run.drive(script, seconds=5)
    yield from wrong_store(run, session, stored, b"fifo", "R305", "storing 4 bytes over a FIFO")
