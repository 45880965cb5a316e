"""The tree of names: path_resolution(7) over what the trace has shown."""

from __future__ import annotations

import itertools
import posixpath
from dataclasses import dataclass

from .ops import Inode

LINKS_MAX = 40          # path_resolution(7)
NOT_FILES = ("/dev", "/proc", "/sys")


class Absent(Exception):
    """A directory on the way to a name does not exist."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads. `certain`: no part of the way was assumed, so
    that no symbolic link unknown to us can have led elsewhere."""
    dir: Inode
    name: str
    inode: Inode | None
    certain: bool


class Names:
    def __init__(self, initial: dict[str, int | None]) -> None:
        self._ids = itertools.count(1)
        self.root = self.make("dir", "/", None)
        self.root.names.append((self.root, "/"))
        for path, size in sorted(initial.items()):
            self._begin_with(path, size)

    def _begin_with(self, path: str, size: int | None) -> None:
        here, *parts = self.root, *path.strip("/").split("/")
        for i, part in enumerate(parts):
            if not part:
                continue
            last = i == len(parts) - 1
            child = here.entries.get(part)
            if child is None:
                kind = "file" if last and size is not None else "dir"
                child = self.make(kind, part, size if last else None)
                self.bind(here, part, child)
            here = child
        here.complete = size is None

    def make(self, kind: str, name: str, size: int | None = 0,
             certain: bool = True) -> Inode:
        return Inode(next(self._ids), kind, size, name, certain, size=size)

    def bind(self, directory: Inode, name: str, inode: Inode) -> None:
        self.unbind(directory, name)
        directory.kind = "dir"
        directory.absent.discard(name)
        directory.entries[name] = inode
        inode.names.append((directory, name))
        if not name.startswith("#"):
            inode.name = inode.name or name

    def unbind(self, directory: Inode, name: str) -> None:
        old = directory.entries.pop(name, None)
        directory.absent.add(name)
        if old:
            old.names.remove((directory, name))

    def path(self, inode: Inode) -> str:
        if inode is self.root:
            return "/"
        if not inode.names:
            return inode.name
        directory, name = inode.names[0]
        return posixpath.join(self.path(directory), name)

    def child(self, directory: Inode, name: str) -> Inode | None:
        """What the name leads to; an unknown name is taken to be there."""
        known = directory.entries.get(name)
        if known or directory.complete or name in directory.absent:
            return known
        kind = "other" if self._is_special(directory, name) else "file"
        met = self.make(kind, name, None, certain=False)
        self.bind(directory, name, met)
        return met

    def _is_special(self, directory: Inode, name: str) -> bool:
        path = posixpath.join(self.path(directory), name)
        return path in NOT_FILES or path.startswith(
            tuple(prefix + "/" for prefix in NOT_FILES))

    def find(self, start: Inode, path: str, follow: bool = True,
             links: int = 0) -> Place:
        here = self.root if path.startswith("/") else start
        certain = True
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            if part == "..":
                here = here.names[0][0] if here.names else here
                continue
            inode = self.child(here, part)
            certain &= inode is None or inode.certain
            if inode and inode.kind == "symlink" and (follow or not last):
                if links >= LINKS_MAX:
                    raise Absent(path)
                rest = "/".join((inode.target, *parts[i + 1:]))
                return self.find(here, rest, follow, links + 1)
            if last:
                return Place(here, part, inode, certain)
            if inode is None:
                raise Absent(path)
            if inode.kind == "file" and not inode.certain:
                inode.kind = "dir"
            here = inode
        directory, name = here.names[0] if here.names else (here, ".")
        return Place(directory, name, here, certain)
