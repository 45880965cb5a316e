"""Checks of the content-addressed store: what it holds, gives back and refuses.

The names come from hashlib; no answer is held against the student's own.
"""

import errno
import hashlib

from ..result import Finding
from ..run import Failed, Run, Script
from ..tracing import Promise, trace
from . import check
from .returns import errno_name, wrong_return

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
    elif result != OK and reply["wrote"]:
        problem = "it wrote to its outputs, though there are no bytes to give"
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

    64 lower-case hex digits and a NUL.
    """
    script = Script()
    calls = {script.call("cas_name", data): data for data in _samples(run)}
    session = run.drive(script)
    for number, data in calls.items():
        got, want = session[number].bytes("name").decode(errors="replace"), name_of(data)
        if session[number]["ret"] != 0 or got != want:
            message = f"the name of {len(data)} bytes is {got!r} and should be {want!r}"
            yield run.at_function(Finding("O301", message), "cas_name")
            return


@check("names-bytes-by-their-hash")
def makes_the_store(run: Run):
    """cas_open() makes the directory, or opens the one that is there.

    Mode 0755. With a slash at the end or without. Where it cannot, it returns a negative errno and
    leaves nothing open.
    """
    script = Script()
    good = [script.call("cas_open", i, path) for i, path in enumerate(("new", "new/", "old", "old"))]
    before = script.call("fds")
    bad = [script.call("cas_open", 9, path) for path in ("plain", "plain/x")]
    script.call("fault", "sync", 1, "errno", errno.EIO)
    unsynced = script.call("cas_open", 9, "new")
    script.call("clear")
    after = script.call("fds")
    session = run.drive(script, files={"plain": b"", path_of(HELLO, "old"): HELLO})
    for number in good:
        yield from wrong_return(run, session[number], 0, "O302", "where nothing is wrong")
    for number in bad:
        if session[number]["ret"] >= 0:
            message = "cas_open() returned 0 where the path leads to a plain file"
            yield run.at_function(Finding("O302", message), "cas_open")
            return
    if session[unsynced].faults:
        yield from wrong_return(run, session[unsynced], -errno.EIO, "F104", "though a sync failed (EIO)")
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
    for number, data in stored:
        yield from wrong_store(run, session, number, data, "O303", f"storing {len(data)} bytes")
    for number, data in loaded:
        yield from wrong_load(run, session[number], data, "O303", f"an object of {len(data)} bytes")
    yield from wrong_load(run, session[missing], MISSING, "O303", "a name that was never stored")
    yield from wrong_return(run, session[closed], 0, "O303", "where nothing is wrong")


@check("stores-and-loads")
def keeps_no_descriptor(run: Run):
    """No call leaves a descriptor open, whatever it found.

    Found objects, missing ones, damaged ones and refused names.
    """
    script = Script()

    def round_of_calls():
        script.call("cas_open", 0, STORE)
        for data in (HELLO, b"", HELLO):
            script.call("cas_store", 0, data)
        script.call("cut", path_of(HELLO), 5)
        for data in (HELLO, b"", b"missing"):
            _load(script, data)
        script.call("cas_store", 0, HELLO)
        script.call("cas_close", 0)
        return script.call("fds")

    first, second = round_of_calls(), round_of_calls()
    session = run.drive(script)
    more = session[second]["open"] - session[first]["open"]
    if more > 0:
        message = f"eight calls and a cas_close() left {more} more descriptors open"
        yield run.at_function(Finding("F109", message), "cas_store")


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

    Each load hashes what it read. Other bytes are CAS_MISMATCH, none at all where some
    belong are CAS_EMPTY, and the outputs stay untouched.
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
    session = run.drive(script)
    for number, verdict, when in calls:
        bad = list(wrong_load(run, session[number], verdict, "R301", when))
        if bad:
            yield from bad
            return


@check("gives-only-what-verifies")
def tells_what_is_no_file(run: Run):
    """A directory, a link or a FIFO is no object: CAS_NOT_A_FILE.

    No link is followed, not even to the right bytes, and no FIFO is waited for. A file
    that may not be read is -EACCES.
    """
    objects = [b"dir", b"link", b"dangling", b"unreadable", b"fifo"]
    paths = [path_of(data) for data in objects]
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("put", "right", b"link")
    script.call("put", paths[3], b"unreadable")
    script.call("mode", paths[3], 0)
    for kind, path, target in (("dir", paths[0], ""), ("link", paths[1], "../right"),
                               ("link", paths[2], "nowhere"), ("fifo", paths[4], "")):
        script.call("make", kind, path, target)
    calls = [_load(script, data) for data in objects]
    try:
        session = run.drive(script, seconds=5)
    except Failed as failed:
        if failed.findings[0].code != "S101":
            raise
        message = "cas_load() waits for ever where a FIFO stands under an object's name"
        yield run.at_function(Finding("R302", message), "cas_load")
        return
    wants = (NOT_A_FILE, NOT_A_FILE, NOT_A_FILE, -errno.EACCES, NOT_A_FILE)
    whats = ("a directory", "a link to the right bytes", "a link to nothing", "a file of mode 0", "a FIFO")
    for number, want, what in zip(calls, wants, whats):
        yield from wrong_load(run, session[number], want, "R302", f"{what} under an object's name")


@check("gives-only-what-verifies")
def refuses_what_is_too_long(run: Run):
    """No file makes you read, or allocate, more than CAS_OBJECT_MAX_BYTES.

    A longer one is CAS_TOO_LONG, and to store that much is -EMSGSIZE. A damaged length
    could else take all the memory of the machine.
    """
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("put", path_of(HELLO), HELLO)
    script.call("cut", path_of(HELLO), OBJECT_MAX_BYTES + 1)
    loaded = _load(script, HELLO)
    stored = script.call("cas_store_zeros", 0, OBJECT_MAX_BYTES + 1)
    session = run.drive(script, variant="plain")
    yield from wrong_load(
        run, session[loaded], TOO_LONG, "R303", f"a file of {OBJECT_MAX_BYTES + 1} bytes"
    )
    if session[stored]["ret"] != -errno.EMSGSIZE:
        message = (
            f"storing {OBJECT_MAX_BYTES + 1} bytes: it returned {errno_name(session[stored]['ret'])} "
            f"and should return {errno_name(-errno.EMSGSIZE)}"
        )
        yield run.at_function(Finding("R303", message), "cas_store")
    (session.folder / path_of(HELLO)).unlink(missing_ok=True)


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

    Whatever stands there and does not verify is replaced: a torn file, a link, a FIFO, a
    file that may not be read. Only a directory stays, and is an error.
    """
    torn = [(data, bad) for data in (HELLO, b"r" * 3000) for _, bad, _ in _damages(data)]
    script = Script()
    script.call("cas_open", 0, STORE)
    calls = []
    for i, (data, bad) in enumerate(torn):
        data, bad = data + bytes([i]), bad + bytes([i]) * bool(bad)
        script.call("put", path_of(data), bad)
        calls.append((script.call("cas_store", 0, data), data, _load(script, data)))
    for kind in ("link", "fifo", "mode", "dir"):
        path = path_of(kind.encode())
        if kind == "mode":
            script.call("put", path, b"x")
            script.call("mode", path, 0)
        else:
            script.call("make", kind, path, "../right")
        data = kind.encode()
        calls.append((script.call("cas_store", 0, data), data, _load(script, data)))
    calls.insert(0, _damaged_since(script))
    large = bytes(range(256)) * 8192  # 2 MiB, of the right size
    script.call("put", path_of(large), large[:-1] + b"x")
    calls.insert(0, (script.call("cas_store", 0, large), large, _load(script, large)))
    session = run.drive(script, files={"right": b"link"})
    *files, (over_dir, _, _) = calls
    for number, data, loaded in files:
        when = f"storing {len(data)} bytes over a damaged object"
        found = list(wrong_store(run, session, number, data, "R305", when))
        found = found or list(wrong_load(run, session[loaded], data, "R305", f"after {when}"))
        if found:
            yield from found
            return
    if session[over_dir]["ret"] >= 0:
        message = "it returned 0 where a directory has the object's name"
        yield run.at_function(Finding("R305", message), "cas_store")


def _damaged_since(script: Script):
    """What this very handle has stored is damaged, and stored by it again."""
    data = b"stored before"
    script.call("cas_store", 0, data)
    script.call("put", path_of(data), data[:-1])
    return script.call("cas_store", 0, data), data, _load(script, data)


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

    The store's own name and every name in it. Whoever made them may have been killed
    before it could. They can be seen, opened and read, and a power loss takes them.
    """
    script = Script()
    script.call("make", "dir", STORE)
    script.call("put", path_of(HELLO), HELLO)
    opened = script.call("cas_open", 0, STORE)
    script.call("cas_close", 0)
    promises = {opened: [Promise(STORE, "name"), Promise(path_of(HELLO), "name")]}
    _, findings = trace(run, script, promises=promises)
    yield from only(findings, *D_NAME)
