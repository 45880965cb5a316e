"""Checks of the content-addressed store: what it holds and gives back.

The names come from hashlib; no answer is held against the student's own.
"""

import errno
import hashlib
from dataclasses import replace
from itertools import chain, islice

from ..result import Finding
from ..run import Run, Script
from . import check
from .returns import SYNCS_MOST, errno_name, leaks, wrong_return

STORE = "store"
OBJECT_MAX_BYTES = 64 << 20
VERDICTS = ("OK", "MISSING", "EMPTY", "MISMATCH", "TOO_LONG", "NOT_A_FILE")
OK, MISSING, EMPTY, MISMATCH, TOO_LONG, NOT_A_FILE = range(6)
HELLO = b"hello, world"


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def path_of(data: bytes, store: str = STORE) -> str:
    return f"{store}/{name_of(data)}"


def shown(result: int) -> str:
    return f"CAS_{VERDICTS[result]}" if 0 <= result < len(VERDICTS) else errno_name(result)


def load(script: Script, data: bytes, handle: int = 0) -> int:
    return script.call("cas_load", handle, name_of(data).encode())


def wrong_load(run: Run, reply, want, code: str, when: str):
    """`want`: the bytes that should come, or the verdict or errno instead of them."""
    result = OK if isinstance(want, bytes) else want
    problem = None
    if reply["ret"] != result:
        problem = f"it returned {shown(reply['ret'])} and should return {shown(result)}"
    elif result == OK and "data" not in dict(reply.words):
        problem = "it returned CAS_OK and gave no bytes"
    elif result == OK and reply.bytes("data") != want:
        problem = f"it gave {len(reply.bytes('data'))} bytes that are not the {len(want)} stored"
    if problem:
        yield run.at_function(Finding(code, f"{when}: {problem}"), "cas_load")


def wrong_store(run: Run, session, number: int, data: bytes, code: str, when: str, store=STORE):
    """Yields a finding unless the call stored `data` and gave its name."""
    reply, held = session[number], session.file(path_of(data, store))
    if reply["ret"] != 0:
        yield from wrong_return(run, reply, 0, code, when)
        return
    if reply.bytes("name") != name_of(data).encode():
        problem = f"the name it gave is {reply.bytes('name').decode(errors='replace')!r}"
    elif held is None:
        problem = f"{path_of(data, store)[:14]}... is not there, or no regular file"
    elif held != data:
        problem = f"the file under its name holds {len(held)} bytes that are not the {len(data)} stored"
    else:
        return
    yield run.at_function(Finding(code, f"{when}: {problem}"), "cas_store")


def _samples(run: Run) -> list[bytes]:
    rng = run.rng("objects")
    some = [HELLO, b"", b"abc", b"\0", b"a\0b\n\r\n\xff", bytes(4096)]
    return some + [rng.randbytes(rng.randint(1, 300)) for _ in range(10)] + [rng.randbytes(150_000)]


@check("builds")
def names_bytes_by_their_hash(run: Run):
    """cas_name() gives the SHA-256 of the bytes.

    64 lower-case hex digits.
    """
    script = Script()
    calls = {script.call("cas_name", data): data for data in _samples(run)}
    session = run.drive(script)
    for number, data in calls.items():
        got, want = session[number].bytes("name")[:64].decode(errors="replace"), name_of(data)
        if session[number]["ret"] != 0 or got != want:
            message = f"the name of {len(data)} bytes is {got!r} and should be {want!r}"
            yield run.at_function(Finding("O301", message), "cas_name")
            return


@check("names-bytes-by-their-hash")
def keeps_to_the_letter(run: Run):
    """NULL may stand for no bytes, a NUL ends a name, no failure writes output.

    `data` may be NULL where `len` is 0. A name has 65 bytes, the last of them a NUL.
    Where there is nothing to give, the outputs stay as they were.
    """
    script = Script()
    script.call("cas_open", 0, STORE)
    named = {
        script.call("cas_name", HELLO): (HELLO, "for 12 bytes"),
        script.call("cas_name", "null"): (b"", "for NULL and a length of 0"),
        script.call("cas_store", 0, "null"): (b"", "for NULL and a length of 0"),
    }
    script.call("put", path_of(b"torn"), b"to")
    script.call("put", path_of(b"lost"), b"")
    script.call("make", "dir", path_of(b"dir"))
    whats = ("missing", "torn", "lost", "dir")
    loaded = {load(script, what.encode()): f"an object that is {what}" for what in whats}
    loaded[script.call("cas_load", 0, b"no name")] = "what is no name"
    failed = script.call("cas_store", 0, b"dir")
    session = run.drive(script)
    wrong = [_not_to_the_letter(run, session[number], *case) for number, case in named.items()]
    yield from islice(chain.from_iterable(wrong), 1)
    for number, what in loaded.items():
        if session[number]["ret"] != OK and session[number]["wrote"]:
            message = f"loading {what}: it wrote to its outputs, though there are no bytes to give"
            yield run.at_function(Finding("O304", message), "cas_load")
            break
    if session[failed]["ret"] < 0 and session[failed].bytes("name") != b"untouched":
        message = "cas_store() wrote a name though it failed: a directory has the object's name"
        yield run.at_function(Finding("O304", message), "cas_store")


def _not_to_the_letter(run: Run, reply, data: bytes, when: str):
    """Unless the call gave the name of `data`, and a NUL."""
    held, want = reply.bytes("name"), name_of(data).encode()
    if reply["ret"] != 0:
        yield from wrong_return(run, reply, 0, "O301", when)
    elif held != want:
        wrong = "no NUL behind the 64 digits" if held[:64] == want else f"{held!r}"
        yield run.at_function(Finding("O301", f"{when}: {reply.call}() gives {wrong}"), reply.call)


@check("names-bytes-by-their-hash")
def makes_the_store(run: Run):
    """cas_open() makes the directory, or opens the one that is there.

    Mode 0755; one that is there keeps its own. With a slash at the end or without, and also
    where another process makes it at the same moment. Where it cannot, or any of its syncs
    fails, it returns a negative errno and leaves nothing open.
    """
    script = Script()
    script.call("mode", "old", 0o700)
    good = [script.call("cas_open", i, path) for i, path in enumerate(("new", "new/", "old", "old"))]
    script.call("meanwhile", "mkdir", 1, "cas_open", 5, "raced")
    raced = script.call("cas_open", 4, "raced")
    script.call("clear")
    before = script.call("fds")
    bad = [script.call("cas_open", 9, path) for path in ("plain", "plain/x")]
    unsynced = []
    for number in range(1, SYNCS_MOST + 1):
        script.call("fault", "sync", number, "errno", errno.EIO)
        unsynced.append(script.call("cas_open", 9, "new"))
        script.call("clear")
        script.call("cas_close", 9)
    after = script.call("fds")
    session = run.drive(script, files={"plain": b"", path_of(HELLO, "old"): HELLO})
    for number in good:
        yield from wrong_return(run, session[number], 0, "O302", "where nothing is wrong")
    yield from wrong_return(
        run, session[raced], 0, "O302", "where another process made the directory at that moment"
    )
    for number in bad:
        if session[number]["ret"] >= 0:
            message = "cas_open() returned 0 where the path leads to a plain file"
            yield run.at_function(Finding("O302", message), "cas_open")
            return
    for number in unsynced:
        found = []
        if session[number].faults:
            found = list(wrong_return(run, session[number], -errno.EIO, "F104", "though a sync failed (EIO)"))
        if found:
            yield from found
            break
    if session[after]["open"] > session[before]["open"]:
        yield run.at_function(Finding("F109", "a cas_open() that fails leaves a descriptor open"), "cas_open")
    for name, mode, was in (("new", 0o755, "the new directory"), ("old", 0o700, "one that was there")):
        if name in session.names() and session.mode(name) != mode:
            message = f"{was} has mode {session.mode(name):04o} and should have {mode:04o}"
            yield run.at_function(Finding("O302", message), "cas_open")


@check("names-bytes-by-their-hash")
def stores_and_loads(run: Run):
    """What is stored is loaded again, byte for byte.

    It stands under its name. Objects may be empty and may hold any byte. A name that was never stored is
    CAS_MISSING. Storing twice is storing once.
    """
    samples = _samples(run)
    script = Script()
    script.call("cas_open", 0, STORE)
    stored = [(script.call("cas_store", 0, data), data) for data in samples + samples[:3]]
    loaded = [(load(script, data), data) for data in samples]
    missing = load(script, b"never stored")
    closed = script.call("cas_close", 0)
    session = run.drive(script)
    found = [
        *(wrong_store(run, session, number, data, "O303", f"storing {len(data)} bytes")
          for number, data in stored),
        *(wrong_load(run, session[number], data, "O303", f"an object of {len(data)} bytes")
          for number, data in loaded),
        wrong_load(run, session[missing], MISSING, "O303", "a name that was never stored"),
        wrong_return(run, session[closed], 0, "O303", "where nothing is wrong"),
    ]
    yield from islice(chain.from_iterable(found), 1)


@check("stores-and-loads")
def keeps_no_descriptor(run: Run):
    """No call leaves a descriptor open, or memory behind, whatever it found.

    New objects and duplicates, missing ones, damaged ones, what is no file, what is too
    long, and refused names. Where standard input is closed, 0 is a descriptor like any other.
    A close that fails is reported: that of a file that was written, and the store's own.
    """
    steps = list(_one_of_each())
    opened, closed = ("cas_open", 0, STORE), ("cas_close", 0)
    yield from _left_open(run, [("a store", opened), *steps, ("a store", closed)])
    yield from leaks(run, [(when, words, None) for when, words in steps], IN_THE_WAY, [opened])
    yield from islice(_where_0_is_free(run), 1)
    yield from islice(_failed_closes(run), 1)


def _where_0_is_free(run: Run):
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("free0")
    stored, loaded = script.call("cas_store", 0, HELLO), load(script, HELLO)
    script.call("cas_open", 1, "other")
    others = script.call("cas_store", 1, HELLO)
    session = run.drive(script)
    when = "where standard input is closed, so that 0 is a descriptor like any other"
    yield from wrong_store(run, session, stored, HELLO, "O303", when)
    yield from wrong_load(run, session[loaded], HELLO, "O303", when)
    yield from wrong_store(run, session, others, HELLO, "O303", when, "other")


def _failed_closes(run: Run):
    """Of a file that was written, an interrupted one too; and of the store's directory."""
    cases = (("close", errno.EIO, "cas_store", HELLO), ("close", errno.EINTR, "cas_store", HELLO),
             ("leave", errno.EIO, "cas_close"))
    script, calls = Script(), []
    for i, (kind, error, name, *args) in enumerate(cases):
        script.call("cas_open", i, f"store-{i}")
        script.call("fault", kind, "1+", "errno", error)
        calls.append((script.call(name, i, *args), error))
        script.call("clear")
    session = run.drive(script)
    for number, error in calls:
        # A close of what is not open is reported too, and is not what failed here.
        met = tuple(fault for fault in session[number].faults if fault.value == error)
        if met:
            reply, name = replace(session[number], faults=met), errno.errorcode[error]
            yield from wrong_return(run, reply, -error, "F108", f"though close() failed ({name})")


IN_THE_WAY = {f"{path_of(b'dir')}/": b""}


def _one_of_each():
    """Calls of the store for all that can stand there: each when it is, and its words."""
    put = {name: ("put", path_of(name), bad) for name, bad in ((b"torn", b"to"), (b"lost", b""))}
    put |= {b"long": ("put", path_of(b"long"), b""), HELLO: ("put", path_of(HELLO), HELLO)}
    for data, words in put.items():
        yield "", words
    yield "", ("cut", path_of(b"long"), OBJECT_MAX_BYTES + 1)
    there = {b"torn": "a torn object", b"lost": "an object without bytes", b"long": "one that is too long",
             HELLO: "a whole object", b"dir": "a directory", b"missing": "no object"}
    for data, what in there.items():
        yield what, ("cas_load", 0, name_of(data).encode())
    yield "what is no name", ("cas_load", 0, b"../x")
    for data, what in there.items():
        if data != b"missing":
            yield what, ("cas_store", 0, data)
    yield "too many bytes", ("cas_store_zeros", 0, OBJECT_MAX_BYTES + 1)


def _left_open(run: Run, steps):
    """The second round of calls leaves more descriptors open than it found."""
    script, counts = Script(), []
    for _, words in (*steps, *steps):
        script.call(*words)
        counts.append(script.call("fds"))
    session = run.drive(script, files=IN_THE_WAY)
    counts = [session[number]["open"] for number in counts[len(steps) - 1 :]]
    if counts[-1] <= counts[0]:
        return
    grown = [step for step, before, after in zip(steps, counts, counts[1:]) if after > before]
    when, words = next((step for step in grown if step[1][0] != "cas_open"), steps[-1])
    yield run.at_function(Finding("F109", f"{when}: {words[0]}() leaves a descriptor open"), words[0])


@check("stores-and-loads")
def serves_two_threads(run: Run):
    """Two threads that open two stores do not disturb each other.

    Not even where both lead to the same directory: what one call keeps in a static variable,
    the other overwrites. Your program runs in a build that watches for it (ThreadSanitizer).
    """
    script = Script()
    script.call("together")
    calls = [script.call("cas_open", i, STORE, f"@{i}") for i in (0, 1)]
    objects = (HELLO, b"of one", HELLO), (HELLO, b"of the other", HELLO)
    for i, thread in enumerate(objects):
        for data in thread:
            calls.append(script.call("cas_store", i, data, f"@{i}"))
            script.call("cas_load", i, name_of(data).encode(), f"@{i}")
    script.call("apart")
    session = run.drive(script, variant="raced")
    found = (wrong_return(run, session[number], 0, "O303", "beside another thread") for number in calls)
    yield from islice(chain.from_iterable(found), 1)


@check("makes-the-store", "stores-and-loads")
def reads_every_byte(run: Run):
    """A read that stops half way is continued, a failed one reported.

    read(2) may give fewer bytes than asked for (here 3 at a time), may be interrupted
    (EINTR) and may fail (EIO).
    """
    data = bytes(range(100))
    cases = (
        ("1+ short 3", data, "F101", "though read() gave 3 bytes at a time"),
        (f"1 errno {errno.EINTR}", data, "F102", "though read() was only interrupted (EINTR)"),
        (f"1 errno {errno.EIO}", -errno.EIO, "F108", "though read() failed (EIO)"),
    )
    script = Script()
    script.call("cas_open", 0, STORE)
    calls = []
    for fault, *rest in cases:
        script.call("fault", "read", *fault.split())
        calls.append((load(script, data), *rest))
        script.call("clear")
    session = run.drive(script, files={path_of(data): data})
    for number, want, code, when in calls:
        for fault in session[number].faults[:1]:
            found = wrong_load(run, session[number], want, code, f"cas_load(), {when}")
            yield from (run.at_fault(finding, fault) for finding in found)
