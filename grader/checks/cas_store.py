"""Checks of the content-addressed store: what it holds, gives back and refuses.

The names come from hashlib; no answer is held against the student's own.
"""

import errno
import hashlib
from dataclasses import replace
from itertools import chain, islice

from ..result import Finding
from ..run import Failed, Run, Script, Sparse
from ..tracing import Promise, trace
from . import check
from .returns import SYNCS_MOST, errno_name, if_it_never_returns, leaks, wrong_return

STORE = "store"
OBJECT_MAX_BYTES = 64 << 20
VERDICTS = ("OK", "MISSING", "EMPTY", "MISMATCH", "TOO_LONG", "NOT_A_FILE")
OK, MISSING, EMPTY, MISMATCH, TOO_LONG, NOT_A_FILE = range(6)
HELLO = b"hello, world"
D_FILE = ("D101", "D102", "D103", "D104", "D105", "D106", "A103")
D_NAME = ("D201", "D202", "D203", "D204", "D205", "D206")


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def path_of(data: bytes, store: str = STORE) -> str:
    return f"{store}/{name_of(data)}"


def only(findings, *codes):
    return [finding for finding in findings if finding.code in codes]


def _shown(result: int) -> str:
    return f"CAS_{VERDICTS[result]}" if 0 <= result < len(VERDICTS) else errno_name(result)


def _load(script: Script, data: bytes, handle: int = 0) -> int:
    return script.call("cas_load", handle, name_of(data).encode())


def wrong_load(run: Run, reply, want, code: str, when: str):
    """`want`: the bytes that should come, or the verdict or errno instead of them."""
    result = OK if isinstance(want, bytes) else want
    problem = None
    if reply["ret"] != result:
        problem = f"it returned {_shown(reply['ret'])} and should return {_shown(result)}"
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
    loaded = {_load(script, what.encode()): f"an object that is {what}" for what in whats}
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

    Mode 0755. With a slash at the end or without, and also where another process makes it
    at the same moment. Where it cannot, or any of its syncs fails, it returns a negative
    errno and leaves nothing open.
    """
    script = Script()
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
    if session.names() and "new" in session.names() and session.mode("new") != 0o755:
        message = f"the new directory has mode {session.mode('new'):04o} and should have 0755"
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
    loaded = [(_load(script, data), data) for data in samples]
    missing = _load(script, b"never stored")
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
    long, and refused names.
    """
    steps = list(_one_of_each())
    opened, closed = ("cas_open", 0, STORE), ("cas_close", 0)
    yield from _left_open(run, [("a store", opened), *steps, ("a store", closed)])
    yield from leaks(run, [(when, words, None) for when, words in steps], IN_THE_WAY, [opened])


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


# Damaged objects, and things that are no object.


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

    Each load hashes what it read, also what it has read before. Other bytes are
    CAS_MISMATCH, none at all where some belong are CAS_EMPTY. Every digit counts.
    """
    script = Script()
    script.call("cas_open", 0, STORE)
    calls = []
    for what, bad, verdict in (*_damages(HELLO), *_damages(b"q" * 5000)):
        data = HELLO if len(bad) < 20 and b"q" not in bad else b"q" * 5000
        script.call("put", path_of(data), bad)
        calls.append((_load(script, data), verdict, f"an object of {len(data)} bytes, {what}"))
    script.call("put", path_of(b""), b"x")
    calls.append((_load(script, b""), MISMATCH, "the empty object with a byte in it"))
    calls += _changed_since(script)
    calls += _another_name(script)
    session = run.drive(script)
    for number, verdict, when in calls:
        bad = list(wrong_load(run, session[number], verdict, "R301", when))
        if bad:
            yield from bad
            return


def _changed_since(script: Script):
    """What was loaded, and what was stored, and has one bit flipped since."""
    script.call("put", path_of(b"loaded before"), b"loaded before")
    yield _load(script, b"loaded before"), b"loaded before", "an object that is whole"
    script.call("cas_store", 0, b"stored before")
    for data in (b"loaded before", b"stored before"):
        script.call("flip", path_of(data), 3)
        yield _load(script, data), MISMATCH, f"an object that was {data.decode()}, one bit flipped since"


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

    No link is followed, not even to the right bytes, and no FIFO is waited for. A file
    that may not be read is -EACCES.
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
    calls = [_load(script, data) for data in objects]
    never = "cas_load() waits for ever where a FIFO stands under an object's name"
    with if_it_never_returns("R302", never):
        session = run.drive(script, seconds=5)
    wants = (NOT_A_FILE, NOT_A_FILE, NOT_A_FILE, -errno.EACCES, NOT_A_FILE, NOT_A_FILE)
    whats = ("a directory", "a link to the right bytes", "a link to nothing", "a file of mode 0", "a socket",
             "a FIFO")
    for number, want, what in zip(calls, wants, whats):
        yield from wrong_load(run, session[number], want, "R302", f"{what} under an object's name")


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
        result = _shown(session[most]["ret"])
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
    long, a link, a socket, a FIFO, a file that may not be read. Only a directory stays,
    and is an error.
    """
    script = Script()
    script.call("cas_open", 0, STORE)
    cases = []
    for what, data in _damaged(script):
        cases.append((what, data, script.call("cas_store", 0, data), _load(script, data)))
    script.call("make", "dir", path_of(b"dir"))
    over_dir = script.call("cas_store", 0, b"dir")
    session = run.drive(script, files={"right": b"link"})
    for what, data, stored, loaded in cases:
        when = f"storing {len(data)} bytes over {what}"
        found = list(wrong_store(run, session, stored, data, "R305", when))
        found = found or list(wrong_load(run, session[loaded], data, "R305", f"after {when}"))
        if found:
            yield from found
            return
    if session[over_dir]["ret"] >= 0:
        message = "it returned 0 where a directory has the object's name"
        yield run.at_function(Finding("R305", message), "cas_store")
    yield from _over_a_fifo(run)


def _damaged(script: Script):
    """Puts something in the place of an object: what it is, and the object's bytes."""
    large = bytes(range(256)) * 8192  # 2 MiB
    script.call("put", path_of(large), large[:-1] + b"x")
    yield "an object of 2 MiB, its last byte changed", large
    script.call("cas_store", 0, b"stored before")
    script.call("flip", path_of(b"stored before"), 3)
    yield "what it stored itself, one bit flipped since", b"stored before"
    torn = [(data, what, bad) for data in (HELLO, b"r" * 3000) for what, bad, _ in _damages(data)]
    for i, (data, what, bad) in enumerate(torn):
        data, bad = data + bytes([i]), bad + bytes([i]) * bool(bad)
        script.call("put", path_of(data), bad)
        yield f"a damaged object, {what}", data
    script.call("put", path_of(b"long"), b"long")
    script.call("cut", path_of(b"long"), OBJECT_MAX_BYTES + 1)
    yield "a file that is too long", b"long"
    for kind in ("link", "socket"):
        script.call("make", kind, path_of(kind.encode()), "../right")
        yield f"a {kind}", kind.encode()
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
        calls.append((_load(script, data), *rest))
        script.call("clear")
    session = run.drive(script, files={path_of(data): data})
    for number, want, code, when in calls:
        for fault in session[number].faults[:1]:
            found = wrong_load(run, session[number], want, code, f"cas_load(), {when}")
            yield from (run.at_fault(finding, fault) for finding in found)


# What the trace of system calls shows.


def new_objects(run: Run):
    """The trace of a new store that gets objects, one of them in place of a damaged one;
    traced once for several checks."""
    if "new objects" not in run.memo:
        rng = run.rng("traced")
        objects = (HELLO, b"", rng.randbytes(9000), rng.randbytes(300_000))
        damaged = b"damaged"
        script = Script()
        opened = script.call("cas_open", 0, STORE)
        promises = {opened: [Promise(STORE, "name")]}
        script.call("put", path_of(damaged), damaged[:-1])
        for data in (*objects, damaged):
            promises[script.call("cas_store", 0, data)] = [Promise(path_of(data), "both")]
        script.call("cas_close", 0)
        _, run.memo["new objects"] = trace(
            run, script, promises=promises, in_one_step=[path_of(data) for data in objects],
            always_there=(path_of(damaged),),
        )
    return run.memo["new objects"]


@check("stores-and-loads")
def syncs_the_object(run: Run):
    """An object's bytes are on stable storage before it has its name.

    And before the return: a sync of that file, begun after its last write. fsync, fdatasync, O_DSYNC, syncfs:
    whatever gives it.
    """
    yield from only(new_objects(run), *D_FILE)


@check("stores-and-loads")
def syncs_the_name(run: Run):
    """An object's name is on stable storage before cas_store() returns.

    fsync of a file says nothing of the entry that leads to it; fsync of the directory
    does, if it comes after the name was made. cas_open() owes the same to a directory
    that it makes.
    """
    yield from only(new_objects(run), *D_NAME)


@check("stores-and-loads")
def syncs_at_every_start(run: Run):
    """cas_open() syncs what others made.

    The store's own name and every name in it, with a slash behind its path or without.
    Whoever made them may have been killed before it could. They can be seen, opened and
    read, and a power loss takes them.
    """
    script, promises = Script(), {}
    for i, (store, path) in enumerate((("store", "store"), ("deep/store", "deep/store/"))):
        script.call("make", "dir", store)
        script.call("put", path_of(HELLO, store), HELLO)
        opened = script.call("cas_open", i, path)
        promises[opened] = [Promise(store, "name"), Promise(path_of(HELLO, store), "name")]
        script.call("cas_close", i)
    promises[script.call("cas_open", 2, "deep/new/")] = [Promise("deep/new", "name")]
    _, findings = trace(run, script, files={"deep/": b""}, promises=promises)
    yield from only(findings, *D_NAME)
