"""Checks of what the trace of the store's system calls shows: when objects are durable."""

from ..run import Run, Script
from ..tracing import Promise, trace
from . import check
from .cas_store import HELLO, STORE, path_of

D_FILE = ("D101", "D102", "D103", "D104", "D105", "D106", "A103")
D_NAME = ("D201", "D202", "D203", "D204", "D205", "D206")


LARGE_BYTES = (1 << 20) + 4096  # more than anybody writes in one piece


def only(findings, *codes):
    return [finding for finding in findings if finding.code in codes]


def new_objects(run: Run):
    """The trace of a new store that gets objects, one of them in place of a damaged one;
    traced once for several checks."""
    if "new objects" not in run.memo:
        rng = run.rng("traced")
        objects = (HELLO, b"", rng.randbytes(9000), rng.randbytes(300_000), bytes(LARGE_BYTES))
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

    The store's own name and every name in it, with a slash behind its path or without, and
    where the path is a dot. Whoever made them may have been killed before it could. They can
    be seen, opened and read, and a power loss takes them.
    """
    script, promises = Script(), {}
    for i, (store, path) in enumerate((("store", "store"), ("deep/store", "deep/store/"))):
        script.call("make", "dir", store)
        script.call("put", path_of(HELLO, store), HELLO)
        opened = script.call("cas_open", i, path)
        promises[opened] = [Promise(store, "name"), Promise(path_of(HELLO, store), "name")]
        script.call("cas_close", i)
    promises[script.call("cas_open", 2, "deep/new/")] = [Promise("deep/new", "name")]
    script.call("make", "dir", "deep/here")
    script.call("cd", "deep/here")
    promises[script.call("cas_open", 3, ".")] = [Promise("deep/here", "name")]
    _, findings = trace(run, script, files={"deep/": b""}, promises=promises)
    yield from only(findings, *D_NAME)
