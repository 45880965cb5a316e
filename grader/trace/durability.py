"""What is durable when: fsync(2) read by its promise, not by its practice.

The rules are those of the crash model's `posix` profile. A sync that returned
success pins what had returned before the sync was entered: of a file its
bytes and size, of a directory its entries. A failed sync drops what it would
have pinned; a later one that succeeds does not bring it back, so only writing
the bytes again helps. sync_file_range(2) pins nothing.

Positions are log lines. "At p" means: just before line p of the log.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate
from math import inf

from .kernel import Trace
from .ops import (Create, Inode, Link, Op, Rename, Resize, Sync, SyncAll,
                  Unlink, Write)


def began(op: Op) -> float:
    return op.call.entered


def ended(op: Op) -> float:
    return inf if op.call.exited is None else op.call.exited


@dataclass(frozen=True, slots=True)
class Fate:
    """Durable from position `since` on, thanks to `by`; or dropped."""
    since: float
    by: Op | None = None
    dropped: Sync | None = None


@dataclass(frozen=True, slots=True)
class NameChange:
    """(dir, name) led to `before` and now leads to `after`. A rename
    across directories is durable once both of `dirs` are synced."""
    op: Op
    dir: Inode
    name: str
    before: Inode | None
    after: Inode | None
    dirs: tuple[Inode, ...]


def _changes(op: Op) -> list[NameChange]:
    match op:
        case Create(dir=directory) if directory is None:
            return []
        case Create() | Link():
            return [NameChange(op, op.dir, op.name, None, op.inode,
                               (op.dir,))]
        case Unlink():
            return [NameChange(op, op.dir, op.name, op.inode, None,
                               (op.dir,))]
        case Rename():
            dirs = tuple({op.src_dir.id: op.src_dir,
                          op.dst_dir.id: op.dst_dir}.values())
            left = op.replaced if op.exchange else None
            return [NameChange(op, op.src_dir, op.src, op.inode, left, dirs),
                    NameChange(op, op.dst_dir, op.dst, op.replaced, op.inode,
                               dirs)]
    return []


class Durability:
    """Answers for one trace. Everything is worked out once, on demand."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.data: dict[Inode, list[Write | Resize]] = defaultdict(list)
        self.changes: dict[tuple[Inode, str], list[NameChange]] = \
            defaultdict(list)
        self.changed_in: dict[Inode, list[NameChange]] = defaultdict(list)
        self._own: dict[Inode, list[Op]] = defaultdict(list)
        self._all: list[Op] = []
        self._syncs: dict[Inode, list[Op]] = {}
        self._data_fates: dict[Inode, tuple] = {}
        for op in trace.ops:
            self._take(op)

    def _take(self, op: Op) -> None:
        match op:
            case Write(data=data) if data:
                self.data[op.inode].append(op)
            case Resize():
                self.data[op.inode].append(op)
            case Sync() if op.ok or op.lost:
                self._own[op.inode].append(op)
            case SyncAll():
                self._all.append(op)
        for change in _changes(op):
            self.changes[change.dir, change.name].append(change)
            for directory in change.dirs:
                self.changed_in[directory].append(change)

    def syncs(self, inode: Inode) -> list[Op]:
        """All that could pin or drop something of it, by entry."""
        if inode not in self._syncs:
            self._syncs[inode] = sorted(self._own[inode] + self._all,
                                        key=began)
        return self._syncs[inode]

    def pinned(self, op: Op, inode: Inode) -> Fate:
        """By the first sync to end of those that began after op ended."""
        syncs, first = self.syncs(inode), None
        start = bisect_right(syncs, ended(op), key=began)
        for sync in syncs[start:]:
            if first and began(sync) > ended(first):
                break
            if first is None or ended(sync) < ended(first):
                first = sync
        if first is None or ended(first) == inf:
            return Fate(inf)
        if isinstance(first, Sync) and not first.ok:
            return Fate(inf, None, first)
        return Fate(ended(first), first)

    # --- data ---

    def fate(self, op: Write | Resize) -> Fate:
        if isinstance(op, Write) and op.dsync and ended(op) < inf:
            return Fate(ended(op), op)
        return self.pinned(op, op.inode)

    def _fates(self, inode: Inode) -> tuple:
        """Each item's fate; by when it and all before it were durable; and
        from when on it or any behind it was. Both spare long searches."""
        if inode not in self._data_fates:
            fates = [self.fate(op) for op in self.data[inode]]
            latest = list(accumulate((f.since for f in fates), max))
            soonest = list(accumulate((f.since for f in reversed(fates)),
                                      min))[::-1]
            self._data_fates[inode] = fates, latest, soonest
        return self._data_fates[inode]

    def unsynced(self, inode: Inode, at: float) -> list[Write | Resize]:
        """Writes and resizes begun before `at` and not durable at `at`."""
        items, (fates, latest, _) = self.data[inode], self._fates(inode)
        start = bisect_left(latest, at)
        return [op for i, op in enumerate(items[start:], start)
                if began(op) < at and fates[i].since >= at
                and not self._made_good(inode, i, at)]

    def _made_good(self, inode: Inode, i: int, at: float) -> bool:
        """Did later durable writes replace all of it?"""
        items, (fates, _, soonest) = self.data[inode], self._fates(inode)
        if i + 1 == len(items) or soonest[i + 1] >= at:
            return False
        later = [op for op, fate in zip(items[i + 1:], fates[i + 1:])
                 if fate.since < at]
        if isinstance(items[i], Resize):
            return any(isinstance(op, Resize) for op in later)
        if items[i].offset is None:
            return False
        holes = [(items[i].offset, items[i].end)]
        for op in later:
            low, high = (op.size, inf) if isinstance(op, Resize) \
                else (op.offset, op.end)
            if low is not None:
                holes = [part for a, b in holes
                         for part in ((a, min(b, low)), (max(a, high), b))
                         if part[0] < part[1]]
        return not holes

    # --- names ---

    def name_fate(self, change: NameChange) -> Fate:
        fates = [self.pinned(change.op, directory)
                 for directory in change.dirs]
        return max(fates, key=lambda fate: fate.since)

    def last_change(self, directory: Inode, name: str,
                    at: float) -> NameChange | None:
        done = [change for change in self.changes.get((directory, name), ())
                if ended(change.op) < at]
        return done[-1] if done else None

    def entry(self, directory: Inode, name: str, at: float) -> Inode | None:
        """What the name led to at `at`."""
        change = self.last_change(directory, name, at)
        if change:
            return change.after
        later = self.changes.get((directory, name))
        return later[0].before if later else directory.entries.get(name)

    def walk(self, path: str, at: float) -> list[tuple[Inode, str, Inode]]:
        """(directory, name, inode) of every part of an absolute path; short
        where a part does not exist."""
        here, steps = self.trace.names.root, []
        for part in path.split("/"):
            if part:
                inode = self.entry(here, part, at)
                if inode is None:
                    break
                steps.append((here, part, inode))
                here = inode
        return steps

    def unsynced_names(self, path: str, at: float) -> list[NameChange]:
        """The changes on the way to `path` that are not durable at `at`,
        its own name first."""
        changes = [self.last_change(directory, name, at)
                   for directory, name, _ in reversed(self.walk(path, at))]
        return [change for change in changes
                if change and self.name_fate(change).since >= at]

    def pins_nothing(self, sync: Op) -> bool:
        """Was there nothing that this sync could have made durable?"""
        inode = sync.inode
        touched = [*self.data[inode],
                   *(change.op for change in self.changed_in[inode])]
        return not self._pinned_by(sync, inode, touched)

    def names_others(self, sync: Op, directory: Inode, inode: Inode,
                     since: float) -> bool:
        """Did it make durable in `directory` what was changed after `since`
        and is not of `inode`?"""
        touched = [change.op for change in self.changed_in[directory]
                   if change.op.inode is not inode
                   and since <= began(change.op)]
        return self._pinned_by(sync, directory, touched)

    def _pinned_by(self, sync: Op, inode: Inode, touched: list) -> bool:
        """Did any of these operations wait for this sync of the inode?"""
        at = began(sync)
        earlier = [began(s) for s in self.syncs(inode) if began(s) < at]
        since = earlier[-1] if earlier else -inf
        return any(since < ended(op) < at for op in touched)
