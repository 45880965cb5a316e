"""The crash check of the lessons that write and read bytes and store none."""

from collections.abc import Callable
from dataclasses import dataclass

from ..crash import anchors, log
from ..crash.borrow import survive_borrowed
from ..crash.scenario import Scenario, Subject
from ..run import Run
from . import check
from .wal_format import FOUR, SET, encode


@dataclass(frozen=True)
class Borrowed:
    """From which lesson, and the function that has to tell what is whole."""

    lesson: str
    subject: Callable[[], Subject]
    scenarios: Callable[[], list[Scenario]]
    decoder: str


def _log() -> list[Scenario]:
    """The last record crosses a block boundary, so that its parts can be lost apart."""
    appends = map(log.append, (FOUR[0], (SET, b"large", b"\xa5" * 4200)))
    torn = encode(*FOUR[0]) + encode(*FOUR[1])[:-5]
    return [
        log.scenario("a new log", log.OPEN, *appends, log.CLOSE),
        log.scenario("a torn tail", log.RECOVER, files={log.LOG: torn},
                     history=log.earlier(FOUR[:1], promised=True)),
    ]


def _anchor() -> list[Scenario]:
    name, record = anchors.name_of(0, "rec"), anchors.RECORDS[0].bytes
    return [
        anchors.scenario("a record", anchors.persist(0)),
        anchors.scenario("a torn record", anchors.RECOVER, files={name: record[:-20]}),
    ]


BORROWED = {
    "w10-l01": Borrowed("w10-l03", lambda: log.SUBJECT, _log, "wal_record_decode"),
    "w18-l01": Borrowed("w18-l05", lambda: anchors.RECORD, _anchor, "anchor_record_decode"),
}


@check("decodes-what-was-encoded", "decodes-an-anchor-record")
def knows_what_a_crash_left(run: Run):
    """On every disk that a power loss leaves, a record is whole or it is not.

    Your files take their place in the storage that a later lesson builds on them. From a
    trace of it follows every disk that a power loss could leave: records cut short, with
    zeros at their end, or with a block missing. Recovery runs on each, and your decoder
    tells it what is whole.
    """
    borrowed = BORROWED[run.lesson.id]
    yield from survive_borrowed(
        run, borrowed.lesson, borrowed.subject(), borrowed.scenarios(), borrowed.decoder
    )
