"""Which promises were given too early, and which mistake it was.

A driver brackets each call of the student's functions with two marks,
`> ID FUNCTION text` and `< ID FUNCTION RET text`. The caller says what the
return of call ID promises; when its `<` is written, that must be durable.
The code of a violation names the mistake and not just the symptom: the same
unsynced write is D101 when nobody synced, D103 when another file was.
"""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf

from .durability import Durability, NameChange, began, ended
from .kernel import Trace
from .ops import (Create, Inode, Link, Mark, Op, Rename, Resize, Sync,
                  SyncAll, SyncRange, Unlink, Unseen, Write)

__all__ = ["CannotJudge", "Durability", "Promise", "Violation", "check"]


@dataclass(frozen=True, slots=True)
class Promise:
    """`path` is durable: its data ("file"), its name ("name") or "both"; or
    its absence is ("gone")."""
    path: str
    what: str = "both"


@dataclass(frozen=True, slots=True)
class Violation:
    """`culprit` is the operation whose source line a report points at."""
    rule: str
    code: str
    inode: Inode | None
    path: str
    promise: Promise | None
    mark: Mark | None
    culprit: Op
    related: tuple[Op, ...]
    call_name: str | None
    explanation: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class CannotJudge:
    """The program changed the file in a way that the trace cannot see."""
    inode: Inode | None
    what: str
    op: Op


@dataclass(frozen=True, slots=True)
class Span:
    """One call of a student's function, from `>` to `<`."""
    id: str
    function: str
    begin: Mark
    end: Mark | None
    result: str

    @property
    def failed(self) -> bool:
        return self.result.startswith("-")

    def holds(self, position: float) -> bool:
        return began(self.begin) <= position and (
            self.end is None or position <= began(self.end))


CHANGES = (Create, Write, Resize, Rename, Link, Unlink)
Promises = (Mapping[str, Iterable[Promise]]
            | Callable[[str], Iterable[Promise]])
RestsOn = Callable[[bytes], Iterable[Promise]]


def check(trace: Trace, promises: Promises | None = None, *,
          append_only: Iterable[str] | Mapping[str, int] = (),
          must_sync_in: Iterable[str] = (),
          sync_bound: Mapping[str, int] | None = None,
          in_one_step: Iterable[str] = (), always_there: Iterable[str] = (),
          rests_on: Mapping[str, RestsOn] | None = None,
          changes_nothing: Iterable[str] = ()
          ) -> list[Violation | CannotJudge]:
    """All that is wrong, in log order, each mistake once.

    `promises` maps a call's ID to its promises (then a negative RET promises
    nothing), or is asked with the text of each `<` mark. `append_only` may
    map each path to the one size to which it may be cut. A path `in_one_step`
    leads to whole files only: none is changed while it stands there. One that
    is `always_there` is replaced and never taken away. What a file's bytes
    rest on is durable before a path of `rests_on` leads to it.
    """
    judge = _Judge(trace, promises or {})
    judge.publications()
    judge.promises(frozenset(must_sync_in))
    judge.append_only(append_only)
    judge.sync_bounds(sync_bound or {})
    judge.in_one_step(in_one_step)
    judge.always_there(always_there)
    judge.rests_on(rests_on or {})
    judge.changes_nothing(frozenset(changes_nothing))
    return sorted(judge.unjudged + judge.violations, key=lambda f: began(
        f.op if isinstance(f, CannotJudge) else f.mark or f.culprit))


def spans(ops: Iterable[Op]) -> list[Span]:
    """The bracketed calls, in the order of their beginnings."""
    found: dict[str, Span] = {}
    for op in ops:
        words = op.text.split() if isinstance(op, Mark) else []
        if len(words) < 3:
            continue
        if words[0] == ">":
            found[words[1]] = Span(words[1], words[2], op, None, "")
        elif words[0] == "<" and words[1] in found:
            result = words[3].removeprefix("ret=") if len(words) > 3 else "0"
            found[words[1]] = replace(found[words[1]], end=op, result=result)
    return list(found.values())


class _Judge:
    def __init__(self, trace: Trace, promises: Promises) -> None:
        self.trace, self.asked = trace, promises
        self.durable = Durability(trace)
        self.spans = spans(trace.ops)
        self.starts = [began(span.begin) for span in self.spans]
        self.syncs = [op for op in trace.ops
                      if isinstance(op, (Sync, SyncAll, SyncRange))]
        self.sync_starts = sorted((began(op), i)
                                  for i, op in enumerate(self.syncs))
        self.unseen = [op for op in trace.ops if isinstance(op, Unseen)]
        self.violations: list[Violation] = []
        self.unjudged: list[CannotJudge] = []
        self.seen: dict[object, int] = {}

    # --- common parts ---

    def span_of(self, op: Op) -> Span | None:
        """The call an operation belongs to: its thread's own, or, for a
        helper thread, the only one open."""
        last = bisect_left(self.starts, began(op) + 1)
        open_ones = [span for span in self.spans[max(0, last - 64):last]
                     if span.holds(began(op))]
        own = [span for span in open_ones
               if span.begin.call.pid == op.call.pid]
        if own:
            return own[-1]
        return open_ones[0] if len(open_ones) == 1 else None

    def syncs_between(self, after: float, before: float) -> list[Op]:
        low = bisect_left(self.sync_starts, (after, -1))
        high = bisect_left(self.sync_starts, (before, -1))
        return [self.syncs[i] for _, i in self.sync_starts[low:high]]

    def path(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.trace.cwd, path))

    def cannot_judge(self, inode: Inode | None, at: float) -> bool:
        """Note the first hidden change that matters to this inode."""
        for op in self.unseen:
            if began(op) < at and (op.inode is None or op.inode is inode):
                found = CannotJudge(op.inode and inode, op.what, op)
                if found not in self.unjudged:
                    self.unjudged.append(found)
                return True
        return False

    def report(self, key: Op, **parts) -> None:
        """The same mistake once: the same operation, or the same code from
        the same line of the same function."""
        span = self.span_of(parts["culprit"])
        call = parts["culprit"].call
        stack = tuple((f.file, f.address) for f in call.stack)
        name = span.function if span else None
        same = (parts["rule"], key.index)
        alike = (parts["code"], name, call.name, stack)
        at = self.seen.get(same, self.seen.get(alike))
        if at is not None:
            old = self.violations[at]
            self.violations[at] = replace(old, count=old.count + 1)
        else:
            at = len(self.violations)
            self.violations.append(Violation(call_name=name, **parts))
        self.seen[same] = self.seen.setdefault(alike, at)

    # --- promises ---

    def promises(self, must_sync_in: frozenset[str]) -> None:
        for span in self.spans:
            if span.end is None:
                continue
            for promise in self.promised(span):
                inode = self.promise(span, promise)
                if inode and span.function in must_sync_in:
                    self.required_sync(span, promise, inode)

    def promised(self, span: Span) -> list[Promise]:
        if callable(self.asked):
            return list(self.asked(span.end.text))
        return [] if span.failed else list(self.asked.get(span.id, ()))

    def promise(self, span: Span, promise: Promise) -> Inode | None:
        """The inode promised, if what was promised of it holds."""
        path, at = self.path(promise.path), began(span.end)
        if promise.what == "gone":
            return self.gone(span, promise, path)
        steps = self.durable.walk(path, at)
        parts = [part for part in path.split("/") if part]
        if len(steps) < len(parts):
            if not self.cannot_judge(None, at):
                self.no_such_name(span, promise, path)
            return None
        inode = steps[-1][2] if steps else self.trace.names.root
        if self.cannot_judge(inode, at):
            return None
        items = names = []
        if promise.what in ("file", "both"):
            items = self.durable.unsynced(inode, at)
        if promise.what in ("name", "both"):
            names = self.durable.unsynced_names(path, at)
        if items:
            self.data_at(span, promise, inode, path, items)
        if names:
            self.name_at(span, promise, inode, path, names[0])
        return None if items or names else inode

    def gone(self, span: Span, promise: Promise, path: str) -> None:
        """A name that was taken away may come back until the sync."""
        at = began(span.end)
        head, name = posixpath.split(path)
        steps = self.durable.walk(head, at)
        change = self.durable.last_change(steps[-1][2], name, at)
        if change is None or change.after is not None or \
                self.durable.name_fate(change).since < at:
            return
        self.report(change.op, rule="name", code="D207", inode=change.before,
                    path=path, promise=promise, mark=span.end,
                    culprit=change.op, related=(), explanation="the directory "
                    f"is not synced after {name} was taken away")

    def no_such_name(self, span: Span, promise: Promise, path: str) -> None:
        self.report(span.end, rule="name", code="D201", inode=None, path=path,
                    promise=promise, mark=span.end, culprit=span.end,
                    related=(), explanation=f"{path} does not exist when "
                    f"{span.function}() returns")

    def data_at(self, span: Span, promise: Promise, inode: Inode,
                path: str, items: list) -> None:
        new = [op for op in items if ("data", op.index) not in self.seen]
        item = (new or items)[0]
        code, culprit, related, why = self.why_data(span, item, inode)
        self.report(item, rule="data", code=code, inode=inode, path=path,
                    promise=promise, mark=span.end, culprit=culprit,
                    related=tuple(related), explanation=why)

    def why_data(self, span: Span, item: Op, inode: Inode):
        """(code, culprit, related, explanation) for bytes not durable."""
        at, name = began(span.end), inode.name
        dropped = self.durable.fate(item).dropped
        if dropped and ended(dropped) < at:
            return ("D106", dropped, [item], f"a sync of {name} failed; what "
                    "it covered may be gone, whatever a later sync says")
        between = self.syncs_between(began(item), at)
        for sync in between:
            if isinstance(sync, SyncRange) and sync.inode is inode:
                return ("D105", sync, [item], "sync_file_range makes nothing "
                        f"durable, so {name} is not")
        late = self.late_sync(span, inode, self.durable.fate(item).by, item)
        if late:
            return ("D104", item, [late], f"{name} is synced only after "
                    f"{span.function}() has said it is durable")
        inside = [op for op in self.durable.syncs(inode)
                  if began(span.begin) <= began(op) < at]
        if inside:
            return ("D102", item, inside[-1:], f"{name} is synced, but "
                    "before the last write to it")
        other = self.wrong_sync(between, inode, "file")
        if other:
            return ("D103", other, [item], f"{other.inode.name} is synced "
                    f"where {name} should be")
        return ("D101", item, [], f"{name} is never synced before "
                f"{span.function}() returns")

    def late_sync(self, span: Span, inode: Inode, by: Op | None,
                  item: Op) -> Op | None:
        """The sync that came after the acknowledgement: still under way
        then, outside any call, in another thread, or first thing in the
        function's next call. One that belongs to a later call was not meant
        for this promise."""
        at = began(span.end)
        if by is None or ended(by) < at:
            return None
        if self.in_no_later_call(by, at):
            return by
        owner = self.span_of(by)
        if owner.function != span.function or owner.id == span.id:
            return None
        wrote = [op for op in self.durable.data[inode]
                 if began(owner.begin) <= began(op) < began(by)]
        return None if wrote or isinstance(item, Resize) else by

    def in_no_later_call(self, sync: Op, at: float) -> bool:
        """Not the work of a call that began behind `at`: of that time still,
        outside any call, or in another thread."""
        owner = self.span_of(sync)
        return began(sync) < at or owner is None or \
            began(owner.begin) < at or \
            owner.begin.call.pid != sync.call.pid

    def wrong_sync(self, syncs: list[Op], inode: Inode,
                   kind: str) -> Op | None:
        """A sync with nothing of its own to do was meant for another."""
        for sync in syncs:
            if isinstance(sync, Sync) and sync.inode is not inode and \
                    (kind == "file" or sync.inode.kind == kind) and \
                    self.durable.pins_nothing(sync):
                return sync
        return None

    def name_at(self, span: Span, promise: Promise, inode: Inode, path: str,
                change: NameChange) -> None:
        code, culprit, related, why = self.why_name(span, change)
        self.report(change.op, rule="name", code=code, inode=inode, path=path,
                    promise=promise, mark=span.end, culprit=culprit,
                    related=tuple(related), explanation=why)

    def why_name(self, span: Span, change: NameChange):
        at, op = began(span.end), change.op
        fate = self.durable.name_fate(change)
        if fate.dropped and ended(fate.dropped) < at:
            return ("D206", fate.dropped, [op], "the directory's sync failed; "
                    f"the name {change.name} may not be durable")
        missing = [d for d in change.dirs
                   if self.durable.pinned(op, d).since >= at]
        directory = missing[0] if missing else change.dir
        late = fate.by if fate.by and ended(fate.by) >= at else None
        if late and self.in_no_later_call(late, at):
            return ("D205", op, [late], f"the directory {directory.name} is "
                    f"synced only after {span.function}() has returned")
        if began(op) < began(span.begin):
            return ("D204", op, [], f"the name {change.name} was there, but "
                    "not durable: whoever opens it has to sync the directory")
        early = [s for s in self.durable.syncs(directory)
                 if began(span.begin) <= began(s) <= ended(op)]
        vain = [s for s in early if not self.durable.names_others(
            s, directory, op.inode, began(span.begin))]
        if vain:
            return ("D202", vain[-1], [op], f"{directory.name} is synced "
                    f"before the name {change.name} is made")
        others = [s for s in self.syncs_between(ended(op), at)
                  if isinstance(s, Sync) and s.inode not in change.dirs]
        other = self.wrong_sync(others, directory, "dir")
        if other:
            return ("D203", other, [op], f"{other.inode.name} is synced where "
                    f"{directory.name} should be")
        before = " (its last sync came before)" if early else ""
        return ("D201", op, [], f"the directory {directory.name} is never "
                f"synced after the name {change.name} is made{before}")

    def required_sync(self, span: Span, promise: Promise,
                      inode: Inode) -> None:
        """D107: even with nothing left to write, this call has to sync."""
        wrote, until = self.durable.data[inode], began(span.end)
        loose = next((op for op in wrote
                      if not (isinstance(op, Write) and op.dsync)), None)
        if wrote and began(wrote[0]) < until and (
                loose is None or began(loose) > until):
            return
        syncs = self.durable.syncs(inode)
        first = bisect_left(syncs, began(span.begin), key=began)
        last = bisect_left(syncs, until, key=began)
        if any(ended(sync) < until for sync in syncs[first:last]):
            return
        self.report(span.end, rule="required-sync", code="D107", inode=inode,
                    path=self.path(promise.path), promise=promise,
                    mark=span.end, culprit=span.end, related=(span.begin,),
                    explanation=f"{span.function}() does not sync {inode.name}")

    # --- rules without a promise ---

    def publications(self) -> None:
        """A name must not lead to bytes that a crash can still take."""
        for op in self.trace.ops:
            if not isinstance(op, (Rename, Link)) or op.inode.kind != "file":
                continue
            open_items = self.durable.unsynced(op.inode, began(op))
            if not open_items or self.cannot_judge(op.inode, began(op)):
                continue
            dropped = self.durable.fate(open_items[0]).dropped
            failed = dropped and ended(dropped) < began(op)
            name = op.dst if isinstance(op, Rename) else op.name
            self.report(
                open_items[0], rule="publish",
                code="D106" if failed else "A103", inode=op.inode,
                path=self.trace.names.path(op.inode), promise=None, mark=None,
                culprit=dropped if failed else op, related=(open_items[0], op),
                explanation=f"{name} is published before its bytes are "
                "durable" + (": their sync failed" if failed else ""))

    def append_only(self, paths: Iterable[str] | Mapping[str, int]) -> None:
        cuts = paths if isinstance(paths, Mapping) else dict.fromkeys(paths)
        wanted = {self.path(path): cut for path, cut in cuts.items()}
        for op in self.unseen if wanted else ():
            if op.inode is None or any(
                    self.leads_to(path, op.inode, began(op))
                    for path in wanted):
                self.cannot_judge(op.inode, inf)
        for inode, items in self.durable.data.items():
            for op in items:
                steps = [path for path in wanted
                         if self.leads_to(path, inode, began(op))]
                if steps:
                    self.append_only_op(op, steps[0], wanted[steps[0]])

    def leads_to(self, path: str, inode: Inode, at: float) -> bool:
        steps = self.durable.walk(path, at + 1)
        return bool(steps) and steps[-1][2] is inode and \
            len(steps) == len([p for p in path.split("/") if p])

    def append_only_op(self, op: Op, path: str, cut: int | None) -> None:
        if isinstance(op, Write):
            known = op.offset is not None and op.size_before is not None
            if not known or op.offset >= op.size_before:
                return
            code, why = "A101", (f"bytes {op.offset} to {op.end - 1} of a "
                                 f"file of {op.size_before} are overwritten")
        elif op.size == cut:
            return
        elif op.old_size is not None and op.size >= op.old_size:
            return
        else:
            code, why = "A102", f"the file is cut to {op.size} bytes"
        self.report(op, rule="append-only", code=code, inode=op.inode,
                    path=path, promise=None, mark=None, culprit=op,
                    related=(), explanation=why)

    def sync_bounds(self, bounds: Mapping[str, int]) -> None:
        for span in self.spans if bounds else ():
            bound = bounds.get(span.function)
            until = began(span.end) if span.end else inf
            inside = [op for op in self.syncs_between(began(span.begin), until)
                      if self.span_of(op) is span
                      and not isinstance(op, SyncRange)]
            if bound is None or len(inside) <= bound:
                continue
            extra = inside[bound]
            inode = extra.inode
            self.report(extra, rule="sync-bound", code="D108", inode=inode,
                        path=inode.name if inode else "", promise=None,
                        mark=span.end, culprit=extra, related=tuple(inside),
                        explanation=f"{len(inside)} syncs in one call of "
                        f"{span.function}(); {bound} are enough")

    def in_one_step(self, paths: Iterable[str]) -> None:
        """A reader, or a crash, in the middle of a change sees half of it."""
        for path in map(self.path, paths):
            for op in sum(self.durable.data.values(), []):
                if self.leads_to(path, op.inode, began(op)):
                    self.report(op, rule="in-one-step", code="A104",
                                inode=op.inode, path=path, promise=None,
                                mark=None, culprit=op, related=(),
                                explanation=f"{posixpath.basename(path)} is "
                                "changed where it stands")
                    break

    def always_there(self, paths: Iterable[str]) -> None:
        """A crash between taking a name away and giving it again leaves
        nothing under it."""
        asked = set(map(self.path, paths))
        for (directory, name), changes in self.durable.changes.items():
            path = posixpath.join(self.trace.names.path(directory), name)
            gone = [c for c in changes if c.before and c.after is None]
            for change in gone[:1] if path in asked else ():
                self.report(change.op, rule="always-there", code="A104",
                            inode=change.before, path=path, promise=None,
                            mark=None, culprit=change.op, related=(),
                            explanation=f"{name} is taken away before "
                            "another file has its name")

    # --- what a file says of others ---

    def rests_on(self, rules: Mapping[str, RestsOn]) -> None:
        asked = {self.path(path): asks for path, asks in rules.items()}
        for (directory, name), changes in self.durable.changes.items():
            path = posixpath.join(self.trace.names.path(directory), name)
            for change in changes if path in asked else ():
                if change.after is not None and change.after.kind == "file":
                    self.rests(change, path, asked[path])

    def rests(self, change: NameChange, path: str, asks: RestsOn) -> None:
        at = began(change.op)
        for promise in asks(self.content(change.after, at)):
            why = self.not_durable(self.path(promise.path), at)
            if why:
                self.report(change.op, rule="rests-on", code="A105",
                            inode=change.after, path=path, promise=promise,
                            mark=None, culprit=change.op, related=(),
                            explanation=f"{change.name} is published while "
                            f"{promise.path} {why}")
                return

    def content(self, inode: Inode, at: float) -> bytes:
        """What was written to a new file before `at`."""
        data = bytearray()
        for op in self.durable.data[inode]:
            if began(op) >= at:
                break
            if isinstance(op, Resize):
                data = data[:op.size].ljust(op.size, b"\0")
            elif op.offset is not None:
                data = data.ljust(op.offset, b"\0")
                data[op.offset:op.end] = op.data
        return bytes(data)

    def not_durable(self, path: str, at: float) -> str | None:
        """What a crash could still take of the file; not of the way to it."""
        steps = self.durable.walk(path, at)
        if len(steps) < len([part for part in path.split("/") if part]):
            return "is not there"
        directory, name, inode = steps[-1]
        if self.cannot_judge(inode, at):
            return None
        if self.durable.unsynced(inode, at):
            return "has bytes that are not durable"
        change = self.durable.last_change(directory, name, at)
        if change and self.durable.name_fate(change).since >= at:
            return "has a name that is not durable"
        return None

    def changes_nothing(self, ids: frozenset[str]) -> None:
        """A106: a call that finds what it was to make makes it again."""
        for op in self.trace.ops:
            span = self.span_of(op) if isinstance(op, CHANGES) else None
            if span and span.id in ids:
                self.report(op, rule="changes-nothing", code="A106",
                            inode=op.inode, path=op.inode.name, promise=None,
                            mark=span.end, culprit=op, related=(),
                            explanation=f"{span.function}() changes the disk "
                            "though all that it is to store is there")
