"""Checks of how the store writes: in one step, and beside other processes."""

import errno
from dataclasses import replace
from itertools import islice

from ..result import Finding
from ..run import Run, Script
from ..trace.ops import Create
from ..tracing import Promise, replayed_run, student_stack, trace
from . import check
from .cas_durability import new_objects, only
from .cas_store import HELLO, STORE, name_of, path_of, wrong_store
from .returns import if_it_never_returns, wrong_return

LARGE = b"large " * 800
STORES = 60  # of whose temp names no two may be the same
LEFTOVERS = 300
# Places in cas_store() at which another process may come in between.
BETWEEN = ("create", "lock", "write", "sync", "close", "rename")


def temps(session, store: str) -> list[str]:
    folder = session.folder / store
    return sorted(path.name for path in folder.glob(".tmp-*")) if folder.is_dir() else []


@check("stores-and-loads")
def gives_the_name_in_one_step(run: Run):
    """An object has its name with all its bytes, or not at all.

    No byte is written to a file that stands under a hash. Write beside it, then rename;
    or link, or whatever else makes a name in one step.
    """
    yield from only(new_objects(run), "A104")


def _duplicates(run: Run):
    """The trace of storing what is there: ours, and what another left unsynced."""
    if "duplicates" not in run.memo:
        script = Script()
        script.call("cas_open", 0, STORE)
        script.call("cas_store", 0, HELLO)
        again = script.call("cas_store", 0, HELLO)
        script.call("put", path_of(LARGE), LARGE)
        script.call("age", path_of(LARGE))
        others = script.call("cas_store", 0, LARGE)
        script.call("cas_close", 0)
        promises = {again: [Promise(path_of(HELLO))], others: [Promise(path_of(LARGE))]}
        _, run.memo["duplicates"] = trace(
            run, script, files={f"{STORE}/notes": b""}, promises=promises,
            changes_nothing=(again, others),
        )
    return run.memo["duplicates"]


@check("stores-and-loads")
def writes_no_duplicate(run: Run):
    """Storing what is there already writes nothing.

    No write, no new file, no rename; so that it also works where not one byte more can
    be written.
    """
    yield from only(_duplicates(run), "A106")
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("limit", "fsize", 0)
    again = script.call("cas_store", 0, HELLO)
    session = run.drive(script, files={path_of(HELLO): HELLO}, variant="plain")
    yield from wrong_store(run, session, again, HELLO, "A106", "for a duplicate on a full disk")


@check("writes-no-duplicate")
def syncs_a_duplicate(run: Run):
    """A duplicate is as durable as a new object before cas_store() returns.

    Another process may have written and named it a moment ago, and died before it could
    sync. So the object is synced, and the directory.
    """
    yield from (finding for finding in _duplicates(run) if finding.code.startswith("D"))


# Other processes: each comes in between two calls of the one that stores, and ends.


def _between(run: Run, *call):
    """Stores LARGE once for each place while another process makes `call`.

    Yields the place, the session, the store's name, and the two calls' numbers.
    """
    script, cases = Script(), []
    for i, place in enumerate(BETWEEN):
        store = f"store-{i}"
        script.call("cas_open", i, store)
        words = [str(word).format(i=i, other=i + 8, store=store) for word in call]
        other = script.call("meanwhile", place, 1, *words)
        stored = script.call("cas_store", i, LARGE)
        script.call("clear")
        cases.append((place, store, other, stored))
    session = run.drive(script, seconds=5)
    for place, store, other, stored in cases:
        if session[stored].faults:
            yield place, session, store, other, stored


def _first_trouble(run: Run, code: str, between, who: str):
    """The first place at which one of the two processes fails, or leaves something."""
    for place, session, store, other, stored in between:
        fault = session[stored].faults[0]
        when = f"when {who}, just before the {fault.call}() of the one that stores"
        found = [
            *wrong_return(run, session[other], 0, code, f"in the other process ({when})"),
            *wrong_store(run, session, stored, LARGE, code, when, store),
        ]
        if not found and temps(session, store):
            found = [Finding(code, f"{when}: {temps(session, store)[0]} is left in {store}/")]
        if found:
            yield run.at_fault(found[0], fault)
            return


@check("stores-and-loads")
def lets_two_store_the_same(run: Run):
    """Two processes may store the same bytes at the same time.

    Whatever the one has done when the other comes in, both succeed, the object is whole,
    and no temp file is left. Nor do two stores of one process, or two calls, ever use the
    same temp name: a cleaner that knows it from the first would take the second's file.
    """
    between = _between(run, "cas_store", "{i}", "x" + LARGE.hex())
    found = list(_first_trouble(run, "A107", between, "another process stored the same bytes"))
    yield from found or islice(_names_used_twice(run), 1)


def _names_used_twice(run: Run):
    """Processes that start within one second; two stores of one directory, as two threads
    of a process have them; a lock that a cleaner had; processes forked by one that has
    stored before; and two threads."""
    script = Script()
    for process in b"ABCD":
        script.call("begin")
        script.call("cas_open", 0, STORE)
        script.call("cas_store", 0, bytes([process]))
        script.call("end")
    for handle in (0, 1):
        script.call("cas_open", handle, STORE)
    for i in range(STORES):
        script.call("cas_store", i % 2, bytes([i]))
    script.call("fault", "lock", 1, "errno", errno.EWOULDBLOCK)
    script.call("cas_store", 0, b"lock")
    script.call("clear")
    for process in b"EF":
        script.call("begin")
        script.call("cas_store", 0, bytes([process]) * 2)
        script.call("end")
    for thread in b"GH":
        script.call("together")
        script.call("cas_store", 0, bytes([thread]) * 2, "@0")
        script.call("apart")
    if _used_twice(run, script, stacks=False):
        for op in _used_twice(run, script, stacks=True):
            message = f"{op.name} was the name of another temp file before, and is used again"
            place = next((place for _, place in student_stack(run, op.call)), (None, None))
            yield Finding("A107", message, *place)


def _used_twice(run: Run, script: Script, stacks: bool) -> list[Create]:
    _, replayed = replayed_run(run, script, None, stacks)
    made = [op for op in replayed.ops if isinstance(op, Create) and op.name.startswith(".tmp-")]
    return [op for i, op in enumerate(made) if op.name in {earlier.name for earlier in made[:i]}]


@check("lets-two-store-the-same")
def takes_no_file_of_another(run: Run):
    """A temp file that somebody else made is never written to.

    Here the name that you are about to use is taken at the last moment. Only O_EXCL
    tells you; then take another name, or fail.
    """
    script = Script()
    script.call("cas_open", 0, STORE)
    script.call("fault", "create", 1, "taken")
    stored = script.call("cas_store", 0, LARGE)
    session = run.drive(script)
    if not session[stored].faults:
        return
    fault = session[stored].faults[0]
    held = [session.file(f"{STORE}/{path.name}") for path in (session.folder / STORE).iterdir()]
    if b"taken" not in held:
        message = f"{fault.call}() used a temp file that another process had made in the meantime"
        yield run.at_fault(Finding("A108", message), fault)
    elif session[stored]["ret"] == 0:
        yield from wrong_store(run, session, stored, LARGE, "A108", "when its temp name was taken")


@check("stores-and-loads")
def removes_what_a_crash_left(run: Run):
    """cas_open() removes what a crash left, and nothing else.

    Leftovers are regular files whose names begin with .tmp-. Objects stay, and so do a
    directory, a link, and a file that a live writer holds. Two processes may clean up at
    the same time. The cleaner's lock ends behind its unlink: a writer could take it between.
    A listing need not say what an entry is (DT_UNKNOWN), and one that fails is no empty one.
    """
    yield from _what_is_no_leftover(run)
    yield from _not_locked_any_more(run)
    yield from islice(_of_unknown_type(run), 1)
    yield from islice(_not_listed_to_the_end(run), 1)
    dead = [f"{STORE}/.tmp-{name}" for name in ("dead", name_of(HELLO), "", *range(LEFTOVERS))]
    later = f"{STORE}/.tmp-later"
    stay = [path_of(HELLO), f"{STORE}/.tmpx", f"{STORE}/tmp-x", f"{STORE}/notes"]
    script = Script()
    for place in ("unlink", "lock"):
        script.call("meanwhile", place, 1, "cas_open", 1, STORE)
    opened = script.call("cas_open", 0, STORE)
    script.call("clear")
    script.call("put", later, HELLO)
    script.call("cas_open", 2, STORE)
    session = run.drive(script, files={name: HELLO for name in dead + stay})
    when = "where another process cleans up too" if session[opened].faults else "on leftovers"
    yield from wrong_return(run, session[opened], 0, "R306", when)
    left = [name for name in dead if session.file(name) is not None]
    gone = [name for name in stay if session.file(name) is None]
    if left:
        yield run.at_function(Finding("R306", f"{left[0]} is still there after cas_open()"), "cas_open")
    elif session.file(later) is not None:
        message = f"{later} is still there after a second cas_open() of one process"
        yield run.at_function(Finding("R306", message), "cas_open")
    if gone:
        yield run.at_function(Finding("R306", f"cas_open() removed {gone[0]}"), "cas_open")


def _not_locked_any_more(run: Run):
    script = Script()
    lock = script.call("meanwhile", "unlink", 1, "hold", f"{STORE}/.tmp-dead")
    opened = script.call("cas_open", 0, STORE)
    session = run.drive(script, files={f"{STORE}/.tmp-dead": b""})
    for fault in session[opened].faults:
        if dict(session[lock].words).get("ret") == "0":
            message = f"a writer could take the lock of .tmp-dead just before this {fault.call}()"
            yield run.at_fault(Finding("A109", message), fault)


def _of_unknown_type(run: Run):
    """Some file systems do not say what an entry is, whatever it is (readdir(3))."""
    script = Script()
    script.call("make", "dir", f"{STORE}/.tmp-dir")
    script.call("make", "link", f"{STORE}/.tmp-link", "../notes")
    script.call("fault", "list", "1+", "zero")
    opened = script.call("cas_open", 0, STORE)
    session = run.drive(script, files={f"{STORE}/.tmp-dead": b"", "notes": b""})
    listed = [fault for fault in session[opened].faults if fault.call.startswith("readdir")]
    if not listed:
        return
    when = f"where {listed[0].call}() does not say what an entry is (DT_UNKNOWN)"
    yield from wrong_return(run, replace(session[opened], faults=()), 0, "R306", when)
    names = session.names(STORE)
    if ".tmp-dead" in names:
        yield run.at_fault(Finding("R306", f".tmp-dead is still there after cas_open(), {when}"), listed[0])
    for name, what in ((".tmp-dir", "directory"), (".tmp-link", "link")):
        if name not in names:
            yield run.at_fault(Finding("R306", f"cas_open() removed the {what} {name}, {when}"), listed[0])


def _not_listed_to_the_end(run: Run):
    """The listing fails at its begin, at its first entry, and further down."""
    script, calls = Script(), []
    for number in (1, 2, 4):
        script.call("fault", "list", number, "errno", errno.EIO)
        calls.append((script.call("cas_open", number, f"store-{number}"), f"store-{number}"))
        script.call("clear")
    session = run.drive(script, files={f"{store}/.tmp-{i}": b"" for _, store in calls for i in range(8)})
    for number, store in calls:
        reply, left = session[number], temps(session, store)
        if reply.faults and left:  # who reads it once more may come to the end
            when = f"though {reply.faults[-1].call}() failed (EIO) and {left[0]} is still there"
            yield from wrong_return(run, reply, -errno.EIO, "F108", when)


def _what_is_no_leftover(run: Run):
    """A directory and a link of such a name, and files that are locked among dead ones."""
    cases = (("dir", "a directory is called .tmp-dir"), ("link", "a link is called .tmp-link"))
    script = Script()
    opened = []
    for kind, when in cases:
        script.call("make", kind, f"{kind}/.tmp-{kind}", "../notes")
        opened.append((script.call("cas_open", 0, kind), kind, f".tmp-{kind}", when))
    # By turns, and live ones at both ends: a directory may be listed in any order.
    names = [f".tmp-{'dead' if i % 2 else 'live'}{i}" for i in range(13)]
    live, dead = names[::2], names[1::2]
    for name in live:
        script.call("hold", f"{STORE}/{name}")
    among = script.call("cas_open", 0, STORE)
    opened += [(among, STORE, name, f"a live writer holds {name}") for name in live]
    files = {f"{STORE}/{name}": b"" for name in names} | {"dir/": b"", "link/": b"", "notes": b""}
    session = run.drive(script, files=files)
    for number, store, name, when in opened:
        yield from wrong_return(run, session[number], 0, "R306", f"where {when}")
        if name not in session.names(store):
            code = "A109" if name in live else "R306"
            yield run.at_function(Finding(code, f"cas_open() removed {name}, though {when}"), "cas_open")
            return
    left = [name for name in dead if name in session.names(STORE)]
    if left:
        message = f"{left[0]} is still there after cas_open(), where live writers hold others"
        yield run.at_function(Finding("R306", message), "cas_open")


@check("removes-what-a-crash-left", "lets-two-store-the-same")
def leaves_a_live_writer_alone(run: Run):
    """A process that starts leaves the files of live writers alone.

    Whatever the writer has done when another process opens the store, both succeed: in
    the moment between the writer's open and its lock too, and until its rename is done.
    """
    between = _between(run, "cas_open", "{other}", "{store}")
    yield from _first_trouble(run, "A109", between, "another process opened the store")
    yield from islice(_lock_taken(run), 1)


def _lock_taken(run: Run):
    """A cleaner has the lock of the temp file: once, then every time."""
    for times in ("1", "1+"):
        script = Script()
        script.call("cas_open", 0, STORE)
        script.call("fault", "create", "1+", "watch")
        script.call("fault", "lock", times, "errno", errno.EWOULDBLOCK)
        stored = script.call("cas_store", 0, LARGE)
        never = "cas_store() never returns when cleaners take every temp file that it makes"
        with if_it_never_returns("A109", never):
            session = run.drive(script, seconds=5)
        yield from islice(_with_a_lock_taken(run, session, session[stored], times), 1)


def _with_a_lock_taken(run: Run, session, reply, times: str):
    taken = [i for i, fault in enumerate(reply.faults) if fault.what == "errno"]
    if not taken or taken[0] == 0:
        return  # a file without a name, of which no cleaner knows, or one that mkstemp(3) made unseen
    lock, created = reply.faults[taken[-1]], reply.faults[taken[-1] + 1 :]
    if reply["ret"] == 0 and not created:
        message = f"a cleaner had the lock, {lock.call}() said so, and cas_store() went on with that file"
        yield run.at_fault(Finding("A109", message), lock)
    elif times == "1" and reply["ret"] != 0:
        when = "where a cleaner had the lock of one temp file"
        yield from wrong_return(run, replace(reply, faults=(lock,)), 0, "A109", when)
    elif temps(session, STORE):
        yield run.at_fault(Finding("F121", f"{temps(session, STORE)[0]} is still there"), lock)
