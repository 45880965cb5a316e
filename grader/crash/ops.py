"""Writes an operations file (grader/crashlab/ops.h) from a replayed trace.

Only what concerns one directory goes in: the files below it, and whatever was
moved into it. What the model cannot follow becomes a line `unseen`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

from ..trace import ops
from ..trace.durability import Durability
from ..trace.kernel import Trace
from ..trace.ops import Inode, Op

BEFORE_ALL = -1
UNSEEN = "unseen - "
NAMES = (ops.Create, ops.Link, ops.Unlink, ops.Rename)


@dataclass(frozen=True)
class OpsFile:
    """The text, for the numbers of its lines the operation that each is, and what of
    all this cannot be modelled."""

    text: str
    calls: dict[int, Op]
    unseen: tuple[str, ...]


def quoted(name: str, keep: str = "") -> str:
    """A name with every unusual byte as %xx."""
    plain = "._-" + keep
    return "".join(
        chr(b) if chr(b).isalnum() and b < 128 or chr(b) in plain else f"%{b:02x}"
        for b in name.encode("utf-8", "surrogateescape")
    )


def unquoted(name: str) -> str:
    return unquote(name, errors="surrogateescape")


def only_a_disk(files: dict[str, bytes], folders: list[str]) -> OpsFile:
    """Operations of which there are none. Names are quoted; a directory comes before
    what it holds."""
    lines, ids = ["crashlab-ops 1", "dir 1"], {"": 1}
    for name in [*sorted(folders), *files]:
        folder, _, last = name.rpartition("/")
        ids[name] = node = len(ids) + 1
        data = f" x{files[name].hex()}" if name in files else ""
        lines.append(f"{'file' if name in files else 'dir'} {node}{data}")
        lines.append(f"entry {ids[folder]} {last} {node}")
    return OpsFile("".join(f"{line}\n" for line in [*lines, "end"]), {}, ())


def write_ops(
    trace: Trace, root: str, files: dict[str, bytes], promise: Callable[[ops.Mark], str | None]
) -> OpsFile:
    """What the traced program did below the directory `root`.

    `files`    what stood there before, by paths below it; one that ends with a slash
               is a directory
    `promise`  the acknowledgement that a mark is, or None
    """
    writer = _Writer(trace, root, files)
    for op in trace.ops:
        writer.take(op, promise)
    text = "".join(f"{line}\n" for line in [*writer.lines, "end"])
    return OpsFile(text, writer.calls, tuple(writer.unseen))


@dataclass
class _Writer:
    trace: Trace
    root: str
    files: dict[str, bytes]
    lines: list[str] = field(default_factory=lambda: ["crashlab-ops 1"])
    calls: dict[int, Op] = field(default_factory=dict)
    ids: dict[Inode, int] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.names = Durability(self.trace)
        top = self.names.walk(self.root, BEFORE_ALL)
        self.top = top[-1][2] if top else self.trace.names.root
        self.data = {}
        for path, data in self.files.items():
            if path.endswith("/"):
                continue
            steps = self.names.walk(f"{self.root}/{path}", BEFORE_ALL)
            self.data[steps[-1][2]] = data
        self.scope = self._scope()
        self._before()

    def _changes(self):
        """(directory, name, what it led to before all, what it leads to then)."""
        for (directory, name), changes in self.names.changes.items():
            yield directory, name, changes[0].before, [c.after for c in changes if c.after]

    def _scope(self) -> set[Inode]:
        """All that any name below the root ever led to."""
        inside, found = set(), {self.top}
        while found != inside:
            inside = set(found)
            for directory in inside:
                found |= set(directory.entries.values())
            for directory, _, before, after in self._changes():
                if directory in inside:
                    found |= {inode for inode in (before, *after) if inode}
        return inside

    def _before(self) -> None:
        """The nodes and names that were there before the program began."""
        made = {op.inode for op in self.trace.ops if isinstance(op, ops.Create)}
        entries = {(d, n): i for d in self.scope for n, i in d.entries.items()
                   if (d, n) not in self.names.changes}
        outside = {d for d, _, before, after in self._changes()
                   if d not in self.scope and self.scope & {before, *after}}
        for directory, name, before, _ in self._changes():
            if before and (directory in self.scope or before in self.scope):
                entries[directory, name] = before
        for inode in [self.top, *sorted((self.scope | outside) - {self.top} - made, key=_id)]:
            kind = "dir" if inode.kind == "dir" else "file"
            data = "" if kind == "dir" else f" x{self.data.get(inode, b'').hex()}"
            self.lines.append(f"{kind} {self._id(inode)}{data}")
        for (directory, name), inode in sorted(entries.items(), key=lambda e: (e[0][0].id, e[0][1])):
            if inode not in made and directory not in made:
                self.lines.append(f"entry {self._id(directory)} {quoted(name)} {self._id(inode)}")

    def _id(self, inode: Inode) -> int:
        return self.ids.setdefault(inode, len(self.ids) + 1)

    def take(self, op: Op, promise) -> None:
        words = self._words(op, promise)
        if words is None:
            return
        exit_at = "-" if op.call.exited is None else op.call.exited
        self.lines.append(f"op {op.call.entered} {exit_at} {words}")
        self.calls[len(self.lines)] = op
        if words.startswith(UNSEEN):
            self.unseen.append(words.removeprefix(UNSEEN))

    def _words(self, op: Op, promise) -> str | None:
        match op:
            case ops.Mark():
                text = promise(op)
                return None if text is None else f"ack {text}"
            case ops.SyncAll():
                return "syncfs"
            case ops.Unseen(inode=None):
                return f"{UNSEEN}{op.what}"
        concerned = {getattr(op, name, None) for name in ("inode", "dir", "src_dir", "dst_dir")}
        if not concerned & self.scope:
            return None
        return self._name_words(op) if isinstance(op, NAMES) else self._data_words(op)

    def _name_words(self, op: Op) -> str:
        if op.inode.kind not in ("file", "dir"):
            return f"{UNSEEN}a {op.inode.kind} file"
        if isinstance(op, (ops.Link, ops.Rename)) and not self._is_known(op.inode):
            return f"{UNSEEN}a file from elsewhere"
        match op:
            case ops.Create(dir=None):
                return f"create - {self._id(op.inode)} file"
            case ops.Create():
                return f"create {self._name(op.dir, op.name)} {self._id(op.inode)} {op.kind}"
            case ops.Link():
                return f"link {self._name(op.dir, op.name)} {self._id(op.inode)}"
            case ops.Unlink():
                return f"unlink {self._name(op.dir, op.name)}"
        verb = "exchange" if op.exchange else "rename"
        return f"{verb} {self._name(op.src_dir, op.src)} {self._name(op.dst_dir, op.dst)}"

    def _name(self, directory: Inode, name: str) -> str:
        return f"{self._id(directory)} {quoted(name)}"

    def _is_known(self, inode: Inode) -> bool:
        """Do we know what bytes it held before?"""
        return inode.kind == "dir" or inode in self.data or inode.initial_size == 0

    def _data_words(self, op: Op) -> str | None:
        node = self._id(op.inode) if op.inode in self.scope else None
        match op:
            case ops.Write(offset=None):
                return f"{UNSEEN}a write at an offset that the trace does not show"
            case ops.Write(data=data) if data:
                return f"write {node} {op.offset} x{data.hex()}{' dsync' * op.dsync}"
            case ops.Resize():
                return f"resize {node} {op.size}"
            case ops.Sync() if op.ok or op.call.exited is None:
                return f"{'fdatasync' if op.data_only else 'fsync'} {node}"
            case ops.Sync(lost=True):
                return f"lost {node}"
            case ops.Unseen():
                return f"{UNSEEN}{op.what}"
        return None


def _id(inode: Inode) -> int:
    return inode.id
