"""The crash check of the log: every disk that a power loss could leave, tried."""

from collections.abc import Iterator

from ..course import find
from ..crash import log
from ..crash.explore import reference_server, students_server
from ..crash.scenario import Scenario
from ..crash.survive import survive
from ..run import Run
from . import check
from .wal_format import FOUR, SET, encode

# One that crosses a block boundary, so that its parts can be lost apart, and one behind it.
LARGE = (SET, b"large", b"\xa5" * 4200)
MORE = (SET, b"after", b"all")
NEW = (*FOUR, LARGE, MORE)
TORN = encode(SET, b"torn", b"tail")[:-5]


def _bytes(records, tail=b"") -> bytes:
    return b"".join(encode(*record) for record in records) + tail


def scenarios(recovers: bool) -> Iterator[Scenario]:
    """For a lesson that `recovers`, what recovery does is tried as well."""
    appends = tuple(map(log.append, NEW))
    yield log.scenario("a new log", log.OPEN, *appends, log.CLOSE)
    # Killed as it makes the last of its syncs, so that what it wrote is whole.
    killed = (("begin",), log.OPEN, appends[0], ("fault", "sync", 1, "kill"), appends[1], ("end",))
    again = (log.RECOVER,) * recovers
    yield log.scenario(
        "a process killed, another going on", *killed, *again, log.OPEN, *appends[2:4], log.CLOSE
    )
    if not recovers:
        return
    torn = _bytes(FOUR, TORN)
    after = (log.RECOVER, log.OPEN, log.append(MORE), log.CLOSE)
    yield log.scenario(
        "a torn tail", *after, files={log.LOG: torn}, history=log.earlier(FOUR, promised=True)
    )
    yield log.scenario(
        "a torn tail that a killed process left", ("put", log.LOG, torn), *after,
        history=log.earlier(FOUR, promised=False),
    )


@check("holds-every-record-appended", "replays-every-record")
def survives_every_crash(run: Run):
    """No power loss, at any moment, takes what was promised.

    Your program runs once, traced. From the trace follows every disk that a power loss
    at any moment could leave; on each of them the log is recovered. What wal_append() had
    acknowledged must be there, what is there must be a prefix of what was appended,
    recovering again must change nothing, and the next append must work. Where recovery is
    yours, it is traced and crashed in the same way, on every disk that it changed.
    """
    recovers = "recovery" in run.lesson.driver
    server = students_server(run) if recovers else reference_server(run, find("w10-l03"))
    summary: list[str] = []
    yield from survive(run, server, log.SUBJECT, list(scenarios(recovers)), summary)
    run.notes["survives-every-crash"] = "; ".join(summary)
