"""What system calls did to files: inodes, and the operations on them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .strace import Syscall


@dataclass(eq=False, slots=True)
class Inode:
    """A file, a directory, or something else. Equal means identical.

    `certain` is False for what the trace only met and never saw made. In a
    `complete` directory a name that we do not know does not exist; in any
    other it is taken to have been there, durable, before the trace began.
    """
    id: int
    kind: str                       # "file", "dir", "symlink", "other"
    initial_size: int | None        # None: not known
    name: str
    certain: bool = True
    complete: bool = False
    size: int | None = None         # now, as far as the replay has come
    target: str = ""                # of a symbolic link
    entries: dict[str, Inode] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    names: list[tuple[Inode, str]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.id} {self.name}>"


@dataclass(frozen=True, slots=True)
class Op:
    """One effect of one call. A call that has several makes several ops."""
    index: int
    call: Syscall


@dataclass(frozen=True, slots=True)
class Create(Op):
    """A new inode. O_TMPFILE makes one without a directory and a name."""
    dir: Inode | None
    name: str
    inode: Inode
    kind: str


@dataclass(frozen=True, slots=True)
class Write(Op):
    """Bytes as they went in: a short write has its short data.

    `offset` and `size_before` are None where the file's size was unknown.
    A call that never returned carries all that it was asked to write.
    """
    inode: Inode
    offset: int | None
    data: bytes
    dsync: bool
    append: bool
    size_before: int | None

    @property
    def end(self) -> int | None:
        return None if self.offset is None else self.offset + len(self.data)


@dataclass(frozen=True, slots=True)
class Resize(Op):
    inode: Inode
    old_size: int | None
    size: int


@dataclass(frozen=True, slots=True)
class Link(Op):
    dir: Inode
    name: str
    inode: Inode


@dataclass(frozen=True, slots=True)
class Unlink(Op):
    dir: Inode
    name: str
    inode: Inode


@dataclass(frozen=True, slots=True)
class Rename(Op):
    """`replaced` is what dst named before; with `exchange` it is now src."""
    src_dir: Inode
    src: str
    dst_dir: Inode
    dst: str
    inode: Inode
    replaced: Inode | None
    exchange: bool = False


@dataclass(frozen=True, slots=True)
class Sync(Op):
    """fsync or fdatasync. Not ok and `lost`: the pages may be dropped."""
    inode: Inode
    data_only: bool
    ok: bool
    lost: bool = False


@dataclass(frozen=True, slots=True)
class SyncAll(Op):
    """sync, or syncfs through a descriptor of `inode`."""
    inode: Inode | None


@dataclass(frozen=True, slots=True)
class SyncRange(Op):
    inode: Inode


@dataclass(frozen=True, slots=True)
class Mark(Op):
    """One line that the driver wrote to the marks descriptor."""
    text: str


@dataclass(frozen=True, slots=True)
class Opened(Op):
    inode: Inode
    flags: tuple[str, ...]
    path: str
    created: bool


@dataclass(frozen=True, slots=True)
class Closed(Op):
    inode: Inode


@dataclass(frozen=True, slots=True)
class Failed(Op):
    """A call of these kinds that reported an error."""


@dataclass(frozen=True, slots=True)
class Unseen(Op):
    """A way to change `inode` (None: any file) that the trace hides."""
    inode: Inode | None
    what: str
