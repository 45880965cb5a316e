"""What the anchors promise across a power loss, as data.

Every file that a scenario's program can make is known beforehand, so "whole" means:
these bytes. What a recovery must find on a disk, anchor_format.recover() says.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from ..checks import ed25519
from ..checks.anchor_format import (
    HEAD_VALID, PENDING, Cosignature, Found, Record, chain, cosign, read_head, recover, sha256,
)
from ..run import Reply, Script
from .scenario import AFTER, ON_DISK, Case, Done, Promise, Scenario, Subject

FOLDER = "log"  # not where the program runs: it is this directory that is to be synced
HEAD, ON_ITS_WAY = f"{FOLDER}/head", f"{FOLDER}/head.tmp"
SEED = sha256(b"the witness of the crash lab")
KEY = ed25519.public_key(SEED)
RECORDS = chain(sha256(b"tree head %d" % i) for i in range(3))
COSIGNATURES = [cosign(record, 1_700_000_000 + record.id, SEED) for record in RECORDS]
_OF_THE_LOG = re.compile(r"head|anchor_\d+\.(rec|cosig)(\.(\d+\.)?torn)?")
PERSISTS = ("anchor_persist_record", "anchor_persist_cosignature")
MOVES = ("anchor_atomic_advance", "anchor_recover")
RECOVER = ("anchor_recover", FOLDER, KEY)


def persist(number: int) -> tuple:
    return ("anchor_persist_record", FOLDER, *RECORDS[number].words)


def prove(number: int) -> tuple:
    return ("anchor_persist_cosignature", FOLDER, *COSIGNATURES[number].words)


def advance(number: int) -> tuple:
    return ("anchor_atomic_advance", FOLDER, number)


def publish(number: int) -> tuple[tuple, ...]:
    return persist(number), prove(number), advance(number)


def name_of(number: int, suffix: str) -> str:
    return f"{FOLDER}/anchor_{number}.{suffix}"


def complete(count: int, head: int | None = None) -> dict[str, bytes]:
    """The files of so many anchors."""
    files = {name_of(i, "rec"): RECORDS[i].bytes for i in range(count)}
    files |= {name_of(i, "cosig"): COSIGNATURES[i].bytes for i in range(count)}
    return files if head is None else {**files, HEAD: b"%d\n" % head}


def scenario(name: str, *calls, files=None, history=()) -> Scenario:
    return Scenario(name, calls, {f"{FOLDER}/": b""} | (files or {}), history)


def published(count: int) -> tuple[Done, ...]:
    """The history of a log for whose anchors receipts were given."""
    calls = [call for number in range(count) for call in publish(number)]
    return tuple(Done(call, Reply(0, call[0], (("ret", "0"),), ())) for call in calls)


# --- recovery ---

def _recovering() -> Script:
    """Every script begins so."""
    script = Script()
    for call in (RECOVER, ("look",)) * 2:
        script.call(*call)
    return script


FIRST, AFTER_FIRST, SECOND, AFTER_SECOND = range(1, 5)
_script = _recovering()
# The protocol once more, for all of them: what is there is taken up, a pending record
# gets its cosignature, and the next anchor gets all.
_goes_on = [_script.call(*call) for i in range(len(RECORDS)) for call in (persist(i), prove(i))]
_goes_on.append(_script.call(*advance(len(RECORDS) - 1)))
LAST = _script.call(*RECOVER)


# --- promises ---

def found_on(files: dict[str, bytes]) -> Found:
    """What recovery must find there."""
    return _found_on(tuple(sorted(files.items())))


@cache
def _found_on(files: tuple[tuple[str, bytes], ...]) -> Found:
    return recover({name.removeprefix(f"{FOLDER}/"): data for name, data in files}, SEED)


def _there(case: Case) -> dict[str, bytes]:
    """What the first recovery left, by names in the directory."""
    looked = case.tried.looked(AFTER_FIRST)
    return {name.partition("/")[2]: data for name, (_, data) in looked.items()}


def _is_kept(case: Case, call: tuple) -> bool:
    """Does the disk hold the file of a call that keeps one?"""
    name, _, *words = call
    of_record = name == "anchor_persist_record"
    what = Record(*words) if of_record else Cosignature(*words)
    return case.tried.files.get(name_of(what.id, "rec" if of_record else "cosig")) == what.bytes


def _keeps_its_files(case: Case) -> str | None:
    for done in case.of(*PERSISTS):
        if done.ok and not _is_kept(case, done.call):
            return f"{done.call[0]}() of anchor {done.call[2]} had returned 0, and its file is not whole"
    return None


def _head(files: dict[str, bytes]) -> int | None:
    kind, number = read_head(files.get(HEAD))
    return number if kind == HEAD_VALID else None


def _last_move(case: Case) -> tuple[Done | None, bool]:
    """The last call that moved the head and returned; whether later ones have begun."""
    last, since = None, False
    for done in case.of(*MOVES):
        last, since = (done, False) if done.ok else (last, True)
    return last, since


def _keeps_the_head(case: Case) -> str | None:
    last, _ = _last_move(case)
    if last is None:
        return None
    advanced = last.call[0] == "anchor_atomic_advance"
    want, head = last.call[2] if advanced else last.reply["ret"] - 1, _head(case.tried.files)
    if want < 0 or (head is not None and head >= want):
        return None
    if head is None:
        head = "malformed" if HEAD in case.tried.files else "not there"
    return f"{last.call[0]}() had returned {last.reply['ret']}, and head is {head}"


def _keeps_the_head_away(case: Case) -> str | None:
    last, since = _last_move(case)
    if last is None or since or HEAD not in case.tried.files:
        return None
    if last.call[0] != "anchor_recover" or last.reply["ret"] > 0:
        return None
    return "recovery had counted no anchor and taken head away, and head is there"


def _names_what_is_whole(case: Case) -> str | None:
    """What stood there before all is not the program's."""
    files, before = case.tried.files, case.scenario.files.get(HEAD)
    if HEAD not in files or files[HEAD] == before:
        return None
    head = _head(files)
    if head is None:
        return "head is there and holds no id"
    count = found_on(files).count
    if head < count:
        return None
    return f"head is {head}, and record and cosignature of anchor {count} are not both whole"


def _keeps_what_was_counted(case: Case) -> str | None:
    for done in case.of("anchor_recover"):
        if not done.ok:
            continue
        there = found_on(case.tried.files)
        if there.count < done.reply["ret"]:
            return f"recovery had counted {done.reply['ret']} anchors, and {there.count} are complete"
        if done.reply["next"] == PENDING:
            number = done.reply["id"]
            if case.tried.files.get(name_of(number, "rec")) != RECORDS[number].bytes:
                return f"recovery had reported record {number} as pending, and it is not whole"
    return None


def _recovers(case: Case) -> str | None:
    problem = case.failed(FIRST)
    return f"anchor_recover(): {problem}" if problem else None


def _loses_no_receipt(case: Case) -> str | None:
    given = max((done.call[2] + 1 for done in case.of("anchor_atomic_advance") if done.ok), default=0)
    count = case.tried.replies[FIRST]["ret"]
    left = found_on(_there(case)).count
    if min(count, left) >= given:
        return None
    return f"receipts were given for {given} anchors; recovery counts {count} and leaves {left} complete"


def _finds_the_prefix(case: Case) -> str | None:
    reply, want = case.tried.replies[FIRST], found_on(case.tried.files)
    if (reply["ret"], reply["count"], reply.bytes("last")) != (want.count, want.count, want.last):
        return f"{want.count} anchors are complete, and recovery counts {reply['ret']}"
    there, wanted = _of_the_log(_there(case)), _of_the_log(want.files)
    wrong = [name for name in there | wanted if there.get(name) != wanted.get(name)]
    if wrong:
        how = "other bytes in" if wrong[0] in there and wrong[0] in wanted else \
            "no file" if wrong[0] in wanted else "a file"
        return f"{want.count} anchors are complete, and recovery leaves {how} {wrong[0]}"
    return None


def _of_the_log(files: dict[str, bytes]) -> dict[str, bytes]:
    """Not a head.tmp, nor a program's own temporary files."""
    return {name: data for name, data in files.items() if _OF_THE_LOG.fullmatch(name)}


def _reports_what_is_pending(case: Case) -> str | None:
    reply, want = case.tried.replies[FIRST], found_on(case.tried.files)
    if reply["next"] != want.next:
        return f"next is {reply['next']} and should be {want.next}"
    if want.pending and (reply["id"], reply.bytes("prev"), reply.bytes("payload")) != want.pending.words:
        return f"record {want.count} is pending, and recovery reports another one"
    return None


def _changes_nothing_twice(case: Case) -> str | None:
    problem = case.failed(SECOND)
    if problem:
        return f"a second anchor_recover(): {problem}"
    # The head as it was found, and what was set aside this time, may differ.
    first, second = (dict(case.tried.replies[n].words) for n in (FIRST, SECOND))
    passing = {"head": "", "head_id": "", "torn": ""}
    if first | passing != second | passing:
        return "a second anchor_recover() found something else than the first"
    before, after = (case.tried.looked(n) | {ON_ITS_WAY: None} for n in (AFTER_FIRST, AFTER_SECOND))
    return None if before == after else "a second anchor_recover() changed the disk"


def _takes_the_next(case: Case) -> str | None:
    for number in (*_goes_on, LAST):
        problem = case.failed(number)
        if problem:
            return f"going on with {_script.lines[number - 1].split()[1]}(): {problem}"
    count = case.tried.replies[LAST]["ret"]
    if count == len(RECORDS):
        return None
    return f"{len(RECORDS)} anchors were published in the end, and recovery counts {count}"


SUBJECT = Subject(
    script=_script,
    looks=(AFTER_FIRST, AFTER_SECOND),
    recover=(RECOVER,),
    recovering="anchor_recover",
    promising=(*PERSISTS, *MOVES),
    promises=(
        Promise(ON_DISK, "D303", "a record or cosignature is whole under its name", _keeps_its_files),
        Promise(ON_DISK, "D303", "head is at least the id that it was moved to", _keeps_the_head),
        Promise(ON_DISK, "D303", "a head that recovery took away stays away", _keeps_the_head_away),
        Promise(ON_DISK, "A303", "head is whole and names only anchors whose record and "
                "cosignature are whole", _names_what_is_whole),
        Promise(ON_DISK, "D303", "what recovery reported is durable", _keeps_what_was_counted),
        Promise(AFTER, "R507", "recovery copes with every disk", _recovers),
        Promise(AFTER, "R507", "no anchor is lost whose receipt was given", _loses_no_receipt),
        Promise(AFTER, "R507", "the log is every complete anchor, and the files say so",
                _finds_the_prefix),
        Promise(AFTER, "R507", "a pending record is reported", _reports_what_is_pending),
        Promise(AFTER, "R509", "recovering again changes nothing", _changes_nothing_twice),
        Promise(AFTER, "R508", "the next anchor can be kept", _takes_the_next),
    ),
)


# --- records alone ---

_first_record = _recovering()
PERSISTED = _first_record.call(*persist(0))
PENDING_THEN = _first_record.call(*RECOVER)


def _takes_the_first(case: Case) -> str | None:
    for number in (PERSISTED, PENDING_THEN):
        problem = case.failed(number)
        if problem:
            return f"going on with {_first_record.lines[number - 1].split()[1]}(): {problem}"
    is_pending = case.tried.replies[PENDING_THEN]["next"] == PENDING
    return None if is_pending else "the record was kept in the end, and is not pending"


RECORD = replace(
    SUBJECT, script=_first_record,
    promises=(*SUBJECT.promises[:-1],
              Promise(AFTER, "R508", "the next record can be kept", _takes_the_first)),
)


# --- the student's own main() ---

_only_look = Script()
LOOKED = _only_look.call("look")
TAKEN_AWAY = 2  # the lesson's main() deletes the cosignature of this anchor


def _main_names_what_is_whole(case: Case) -> str | None:
    """Its witness is not known, so a cosignature need only name its record."""
    here = {name.partition("/")[2]: data for name, data in case.tried.files.items()}
    head, count = _head(case.tried.files), recover(here, None).count
    if head is None or head < count or (head == count == TAKEN_AWAY):
        return None
    return f"head is {head}, and record and cosignature of anchor {count} are not both whole"


MAIN = Subject(
    script=_only_look,
    looks=(LOOKED, LOOKED),
    recover=(),
    recovering="anchor_recover",
    promising=("main",),
    promises=(
        Promise(ON_DISK, "A303", "head names only anchors whose record and cosignature are whole",
                _main_names_what_is_whole),
    ),
)
