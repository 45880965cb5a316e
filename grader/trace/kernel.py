"""Replay: which inode each call touched, and what it did to it.

A model of the kernel's tables, as far as files need them: processes, file
descriptors, open file descriptions (open(2), "Open file descriptions") and
names. Calls take effect when they return; closing and forking when they are
entered, since another thread or the child can act before the return is
logged. Where the paths that strace prints disagree with the model, the model
is wrong and says so: KernelModelError is the grader's fault, never a zero.
"""

from __future__ import annotations

import errno
import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import ops
from .names import Absent, Names, Place
from .ops import Inode, Op
from .strace import Event, Syscall
from .values import Array, Data, Fd, Flags, Struct, plain

# `?` stands before what some architecture lacks (strace(1), "-e trace").
TRACED = (
    "execve,?execveat,?fork,?vfork,clone,?clone3,exit_group,"
    "?open,openat,?openat2,?creat,close,?close_range,"
    "dup,?dup2,dup3,fcntl,chdir,fchdir,lseek,read,readv,"
    "write,writev,pwrite64,pwritev,?pwritev2,truncate,ftruncate,fallocate,"
    "?rename,?renameat,renameat2,?link,linkat,?symlink,symlinkat,"
    "?unlink,unlinkat,?mkdir,mkdirat,?rmdir,?mknod,mknodat,"
    "fsync,fdatasync,sync,syncfs,?sync_file_range,?sync_file_range2,"
    "mmap,mprotect,mremap,sendfile,splice,tee,?copy_file_range,ioctl,"
    "?io_uring_setup,io_submit,process_vm_writev,?pidfd_getfd,"
    "open_by_handle_at,mount,?umount,umount2,?move_mount,pivot_root,chroot,"
    "unshare,setns")

FORKS = {"fork", "vfork", "clone", "clone3"}
AT_ENTRY = {"close", "close_range", *FORKS}
READ_ONLY = {"execve", "execveat", "close", "close_range", "lseek", "read",
             "readv", "dup", "dup2", "dup3", "chdir", "fchdir", "exit_group",
             "fcntl", "ioctl", "mprotect", "mremap"}
HIDDEN = {"io_uring_setup", "io_submit", "process_vm_writev", "pidfd_getfd",
          "open_by_handle_at", "mount", "umount", "umount2", "move_mount",
          "pivot_root", "chroot", "unshare", "setns"}
NOTHING_LOST = {"EINTR", "EBADF", "EINVAL", "EROFS"}
INJECTED_SYNC = re.compile(r"! \d+ f(?:data)?sync errno (\d+) \S+ fd=(\d+)$")
PROC_FD = re.compile(r"/(?:proc/(?:self|thread-self|\d+)|dev)/fd/(\d+)")


class KernelModelError(Exception):
    """The model and the trace disagree: the grader's fault."""

    def __init__(self, call: Syscall, why: str):
        super().__init__(f"line {call.line}: {why}: {call.text}")
        self.call = call


@dataclass(eq=False, slots=True)
class Description:
    """An open file description: what dup and fork share."""
    inode: Inode
    writable: bool = True
    append: bool = False
    dsync: bool = False
    offset: int | None = 0
    marks: bool = False


@dataclass(eq=False, slots=True)
class Process:
    """`fds` maps a number to (description, close-on-exec)."""
    pid: int
    parent: int | None
    fds: dict[int, tuple[Description, bool]]
    cwd: list[Inode]                # one cell, so that CLONE_FS can share it


@dataclass(frozen=True)
class Trace:
    ops: list[Op]
    processes: dict[int, Process]
    names: Names                    # as they are at the end
    cwd: str


def replay(events: Iterable[Event], *, program: str, cwd: str = "/",
           initial: dict[str, int | None] | None = None,
           marks_fd: int | None = None) -> Trace:
    """The operations of `program` and all that descends from it.

    `initial` maps absolute paths to sizes, or to None for a directory; a
    directory listed there held exactly what is listed and nothing else.
    """
    calls = [event for event in events if isinstance(event, Syscall)]
    kernel = _Kernel(cwd, initial or {}, marks_fd)
    start = next((call for call in calls if _starts(call, program)), None)
    if start is None:
        return Trace([], {}, kernel.names, cwd)
    kernel.begin(start.pid)
    for call in sorted(calls, key=_takes_effect):
        if call.entered > start.entered:
            kernel.careful_step(call)
    return Trace(kernel.ops, kernel.processes, kernel.names, cwd)


def replay_children(events: Iterable[Event], *, program: str, cwd: str,
                    initials: list[dict[str, int | None]],
                    marks_fd: int) -> list[Trace]:
    """A fork server's children, one after another: what each of them did,
    and all that descended from it. `initials` says for each what it found."""
    calls = [event for event in events if isinstance(event, Syscall)]
    start = next(call for call in calls if _starts(call, program))
    family: dict[int, list[Syscall]] = {}
    children = []
    for call in sorted(calls, key=lambda call: call.entered):
        if call.name in FORKS and (call.ret or 0) > 0 and \
                (call.pid == start.pid or call.pid in family):
            child = _child_of(call)
            family[child] = family.get(call.pid, [])
            if call.pid == start.pid:
                children.append((child, family[child]))
        if call.pid in family:
            family[call.pid].append(call)
    if len(children) != len(initials):
        raise KernelModelError(start, f"{len(children)} children and not "
                               f"{len(initials)}")
    return [_replay_child(*child, cwd, initial, marks_fd)
            for child, initial in zip(children, initials)]


def _replay_child(pid: int, calls: list[Syscall], cwd: str, initial: dict,
                  marks_fd: int) -> Trace:
    kernel = _Kernel(cwd, initial, marks_fd)
    kernel.begin(pid)
    for call in sorted(calls, key=_takes_effect):
        kernel.careful_step(call)
    return Trace(kernel.ops, kernel.processes, kernel.names, cwd)


def _starts(call: Syscall, program: str) -> bool:
    return (call.name in ("execve", "execveat") and call.ret == 0
            and _program(call) == program)


def _child_of(fork: Syscall) -> int:
    """The child's pid as strace numbers it."""
    outside = re.match(r"(\d+) in strace's PID NS", fork.note)
    return int(outside[1]) if outside else fork.ret


def _program(call: Syscall) -> str | None:
    path = plain(call.args[0 if call.name == "execve" else 1])
    return _text(path) if isinstance(path, Data) else None


def _takes_effect(call: Syscall) -> int:
    if call.name in AT_ENTRY or call.exited is None:
        return call.entered
    return call.exited


def _text(value: object) -> str:
    return value.data.decode("utf-8", "surrogateescape")


def _number(value: object) -> int:
    value = plain(value)
    return value.number if isinstance(value, Fd) else value


def _is_empty(item: object) -> bool:
    """A part of a vector that has no bytes may point anywhere."""
    return isinstance(item, Struct) and plain(item.get("iov_len")) == 0


def _open_how(call: Syscall) -> tuple[int, Flags]:
    """Where the path argument stands, and the flags of any kind of open."""
    none = Flags(())
    if call.name == "creat":
        return 0, Flags(("O_WRONLY", "O_CREAT", "O_TRUNC"))
    if call.name == "openat2":
        how = plain(call.args[2])
        return 1, how.get("flags", none) if isinstance(how, Struct) else none
    place = 0 if call.name == "open" else 1
    flags = plain(call.args[place + 1])
    return place, flags if isinstance(flags, Flags) else none


class _Kernel:
    """The tables, and one method for each family of calls."""

    def __init__(self, cwd: str, initial: dict, marks_fd: int | None):
        self.names = Names(initial)
        self.ops: list[Op] = []
        self.processes: dict[int, Process] = {}
        self.marks_fd = marks_fd
        self.half_mark = b""
        # Shared mappings of files that can be written: begin, end, inode.
        self.mappings: list[tuple[int, int, Inode]] = []
        home = self.names.find(self.names.root, cwd).inode
        home.kind = "dir"
        self.home = home

    def begin(self, pid: int) -> None:
        self.processes[pid] = Process(pid, None, {}, [self.home])

    def emit(self, kind: type, call: Syscall, *rest: object) -> None:
        self.ops.append(kind(len(self.ops), call, *rest))

    def careful_step(self, call: Syscall) -> None:
        try:
            self.step(call)
        except Absent as error:
            raise KernelModelError(call, f"no way to {error}") from None
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise KernelModelError(
                call, f"arguments of another shape ({error})") from error

    def step(self, call: Syscall) -> None:
        process = self.processes.get(call.pid)
        if process is None:
            return
        method = METHODS.get(call.name)
        if method is None and call.name in HIDDEN:
            if call.ret is not None and call.ret >= 0:
                self.emit(ops.Unseen, call, None, call.name)
        elif method is None:
            return
        elif call.errno and call.errno.startswith("ERESTART"):
            return                      # the kernel will start it once more
        elif call.exited is None:
            self.never_returned(process, call, method)
        elif call.errno or call.injected:
            self.failed(process, call)
        else:
            method(self, process, call)

    def never_returned(self, process: Process, call: Syscall,
                       method: Callable) -> None:
        """A write may have gone in; a sync that is cut pins nothing."""
        if call.name in READ_ONLY or call.name in AT_ENTRY or not call.args:
            return
        if method in (_Kernel.write, _Kernel.fsync):
            method(self, process, call)
        elif call.name in OPENS and not {"O_CREAT", "O_TRUNC"} & set(
                _open_how(call)[1].names):
            return
        elif method not in (_Kernel.mmap, _Kernel.sync):
            self.emit(ops.Unseen, call, None, f"{call.name} never returned")

    def failed(self, process: Process, call: Syscall) -> None:
        if call.name in ("fsync", "fdatasync"):
            self.fsync(process, call)
        elif call.name not in READ_ONLY:
            self.emit(ops.Failed, call)
            if call.errno == "ENOENT" and call.name in OPENS:
                place, _ = _open_how(call)
                self.learn_absent(process, call, place)

    def learn_absent(self, process: Process, call: Syscall, at: int) -> None:
        try:
            place = self.place(process, call, at)
        except Absent:
            return
        if place.inode and not place.inode.certain:
            self.names.unbind(place.dir, place.name)

    # --- descriptors and names ---

    def description(self, process: Process, value: object) -> Description:
        """Of a descriptor argument. One that came from before the trace, or
        by a way it does not show, is taken up by the path strace prints."""
        value = plain(value)
        number = _number(value)
        slot = process.fds.get(number)
        if slot is None:
            slot = self.adopt(value, number), False
            process.fds[number] = slot
        return slot[0]

    def adopt(self, value: object, number: int) -> Description:
        path = value.path if isinstance(value, Fd) else ""
        gone = isinstance(value, Fd) and value.deleted
        if path.startswith("/") and not gone:
            inode = self.names.find(self.names.root, path).inode
        else:
            inode = self.names.make("file" if gone else "other", path, None)
        if inode is None:
            inode = self.names.make("file", posixpath.basename(path), None)
        return Description(inode, append=True, offset=inode.size,
                           marks=number == self.marks_fd)

    def start_of(self, process: Process, value: object) -> Inode:
        """The directory behind a `dirfd` argument."""
        value = plain(value)
        if isinstance(value, Flags) or _number(value) < 0:
            return process.cwd[0]
        inode = self.description(process, value).inode
        return inode

    def place(self, process: Process, call: Syscall, at: int,
              follow: bool = True) -> Place:
        """Of the path in argument `at`; for an *at call the directory
        stands before it."""
        path = plain(call.args[at])
        if not isinstance(path, Data):
            raise KernelModelError(call, "a path that cannot be read")
        text = _text(path)
        magic = PROC_FD.fullmatch(text)
        if magic and follow and int(magic[1]) in process.fds:
            return self.place_of(process.fds[int(magic[1])][0].inode)
        relative_to = process.cwd[0]
        if at > 0 and not text.startswith("/"):
            before = plain(call.args[at - 1])
            if isinstance(before, (Fd, Flags, int)):
                relative_to = self.start_of(process, before)
        if not text:                        # AT_EMPTY_PATH
            return self.place_of(relative_to)
        return self.names.find(relative_to, text, follow)

    def place_of(self, inode: Inode) -> Place:
        directory, name = inode.names[0] if inode.names else (inode, "")
        return Place(directory, name, inode, inode.certain)

    def existing(self, call: Syscall, place: Place) -> Inode:
        if place.inode is None:
            raise KernelModelError(call, f"{place.name} should not exist")
        return place.inode

    # --- open and close ---

    def open(self, process: Process, call: Syscall) -> None:
        at, flags = _open_how(call)
        dsync = "O_SYNC" in flags or "O_DSYNC" in flags
        writable = "O_WRONLY" in flags or "O_RDWR" in flags
        created = False
        if "O_TMPFILE" in flags:
            inode, created = self.names.make("file", ""), True
            self.emit(ops.Create, call, None, "", inode, "file")
        else:
            place = self.opened_place(process, call, at, flags)
            inode = place.inode
            if inode is None:
                inode, created = self.create(call, place, "file"), True
            elif "O_TRUNC" in flags and writable and inode.kind == "file":
                self.resize(call, inode, 0)
        if "O_DIRECTORY" in flags and inode.kind == "file":
            inode.kind = "dir" if "O_TMPFILE" not in flags else "file"
        description = Description(inode, writable, "O_APPEND" in flags, dsync)
        process.fds[call.ret] = description, "O_CLOEXEC" in flags
        path = call.ret_fd_path.path if call.ret_fd_path else inode.name
        self.emit(ops.Opened, call, inode, flags.names, path, created)

    def opened_place(self, process: Process, call: Syscall, at: int,
                     flags: Flags) -> Place:
        """Where the open went: by the model, held against strace's path."""
        truth = call.ret_fd_path
        if truth and not truth.path.startswith("/"):
            special = self.names.make("other", truth.path)
            return Place(special, "", special, True)
        follow = "O_NOFOLLOW" not in flags
        place = self.place(process, call, at, follow)
        if truth and not truth.deleted and place.name:
            here = posixpath.join(self.names.path(place.dir), place.name)
            if place.inode is self.names.root:
                here = "/"
            if here != truth.path and place.certain:
                raise KernelModelError(call, f"the model opened {here}")
            if here != truth.path:
                place = self.names.find(self.names.root, truth.path)
        if place.inode is None and "O_CREAT" not in flags:
            raise KernelModelError(call, f"{place.name} should not exist")
        if place.inode and {"O_CREAT", "O_EXCL"} <= set(flags.names):
            if place.inode.certain:
                raise KernelModelError(call, f"{place.name} should exist")
            self.names.unbind(place.dir, place.name)
            place = Place(place.dir, place.name, None, place.certain)
        return place

    def create(self, call: Syscall, place: Place, kind: str) -> Inode:
        inode = self.names.make(kind, place.name)
        inode.complete = kind == "dir"
        self.names.bind(place.dir, place.name, inode)
        self.emit(ops.Create, call, place.dir, place.name, inode, kind)
        return inode

    def close(self, process: Process, call: Syscall) -> None:
        slot = process.fds.pop(_number(call.args[0]), None)
        if slot:
            self.emit(ops.Closed, call, slot[0].inode)

    def close_range(self, process: Process, call: Syscall) -> None:
        first, last, flags = map(plain, call.args[:3])
        for number in sorted(process.fds):
            if first <= number <= last:
                slot = process.fds[number]
                if flags and "CLOSE_RANGE_CLOEXEC" in flags:
                    process.fds[number] = slot[0], True
                    continue
                del process.fds[number]
                self.emit(ops.Closed, call, slot[0].inode)

    def dup(self, process: Process, call: Syscall) -> None:
        description = self.description(process, call.args[0])
        cloexec = len(call.args) > 2 and "O_CLOEXEC" in (
            call.args[2] if isinstance(call.args[2], Flags) else Flags(()))
        old = process.fds.get(call.ret)
        if old and old[0] is not description:
            self.emit(ops.Closed, call, old[0].inode)
        if not (old and old[0] is description and call.name == "dup2"):
            process.fds[call.ret] = description, cloexec

    def fcntl(self, process: Process, call: Syscall) -> None:
        command = plain(call.args[1])
        if not isinstance(command, Flags):
            return
        description = self.description(process, call.args[0])
        argument = plain(call.args[2]) if len(call.args) > 2 else None
        if "F_DUPFD" in command or "F_DUPFD_CLOEXEC" in command:
            cloexec = "F_DUPFD_CLOEXEC" in command
            process.fds[call.ret] = description, cloexec
        elif "F_SETFD" in command:
            on = isinstance(argument, Flags) and "FD_CLOEXEC" in argument
            process.fds[_number(call.args[0])] = description, on
        elif "F_SETFL" in command:
            description.append = (isinstance(argument, Flags)
                                  and "O_APPEND" in argument)

    # --- processes ---

    def fork(self, process: Process, call: Syscall) -> None:
        """clone(2): what a flag does not share is copied."""
        if call.ret is None or call.ret <= 0:
            return
        flags: tuple[str, ...] = ()
        for argument in call.args:
            value = plain(argument)
            if isinstance(value, Struct):
                value = value.get("flags")
            elif getattr(value, "key", "") == "flags":
                value = plain(value.value)
            if isinstance(value, Flags):
                flags += value.names
        pid = _child_of(call)
        self.processes[pid] = Process(
            pid, process.pid,
            process.fds if "CLONE_FILES" in flags else dict(process.fds),
            process.cwd if "CLONE_FS" in flags else list(process.cwd))

    def execve(self, process: Process, call: Syscall) -> None:
        process.fds = {number: slot for number, slot in process.fds.items()
                       if not slot[1]}

    def chdir(self, process: Process, call: Syscall) -> None:
        inode = self.existing(call, self.place(process, call, 0))
        inode.kind = "dir"
        process.cwd[0] = inode

    def fchdir(self, process: Process, call: Syscall) -> None:
        process.cwd[0] = self.description(process, call.args[0]).inode

    # --- data ---

    def lseek(self, process: Process, call: Syscall) -> None:
        description = self.description(process, call.args[0])
        description.offset = call.ret
        inode, whence = description.inode, plain(call.args[2])
        if inode.kind == "file" and inode.size is None and \
                isinstance(whence, Flags) and "SEEK_END" in whence:
            inode.size = call.ret - plain(call.args[1])

    def read(self, process: Process, call: Syscall) -> None:
        description = self.description(process, call.args[0])
        if description.offset is not None:
            description.offset += call.ret

    def write(self, process: Process, call: Syscall) -> None:
        """write(2), pwritev2(2). On Linux pwrite appends under O_APPEND."""
        description = self.description(process, call.args[0])
        if description.marks:
            self.mark(process, call)
            return
        inode = description.inode
        if inode.kind != "file":
            return
        data = self.data(call)
        flags = plain(call.args[4]) if call.name == "pwritev2" else None
        flags = flags if isinstance(flags, Flags) else Flags(())
        at = plain(call.args[3]) if call.name.startswith("pwrite") else -1
        append = description.append or "RWF_APPEND" in flags
        offset = inode.size if append else \
            at if at != -1 else description.offset
        dsync = description.dsync or "RWF_DSYNC" in flags \
            or "RWF_SYNC" in flags
        self.emit(ops.Write, call, inode, offset, data, dsync, append,
                  inode.size)
        if offset is not None and inode.size is not None:
            inode.size = max(inode.size, offset + len(data))
        if at == -1:
            description.offset = None if offset is None \
                else offset + len(data)

    def data(self, call: Syscall) -> bytes:
        """What went in: the first `ret` bytes, or all if it never returned."""
        source = plain(call.args[1])
        parts = [source]
        if isinstance(source, Array):
            parts = [plain(item.get("iov_base")) if isinstance(item, Struct)
                     else item for item in map(plain, source.items)
                     if not _is_empty(item)]
        joined, wanted = b"", call.ret
        for part in parts:
            if not isinstance(part, Data):
                if wanted is None or len(joined) < wanted:
                    raise KernelModelError(call, "bytes that strace could not "
                                                 "read")
                break
            joined += part.data
            if part.truncated and (wanted is None or len(joined) < wanted):
                raise KernelModelError(call, "bytes cut; raise strace -s")
        return joined if wanted is None else joined[:wanted]

    def mark(self, process: Process, call: Syscall) -> None:
        *lines, self.half_mark = (self.half_mark
                                  + self.data(call)).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace")
            self.emit(ops.Mark, call, text)
            self.injected_by_driver(process, call, text)

    def injected_by_driver(self, process: Process, call: Syscall,
                           text: str) -> None:
        """A sync that the driver made to fail was never a call; what it
        covered is lost all the same."""
        failed = INJECTED_SYNC.match(text)
        slot = process.fds.get(int(failed[2])) if failed else None
        if slot and errno.errorcode.get(int(failed[1])) not in NOTHING_LOST:
            self.emit(ops.Sync, call, slot[0].inode, False, False, True)

    def resize(self, call: Syscall, inode: Inode, size: int) -> None:
        if inode.size != size:
            old, inode.size = inode.size, size
            self.emit(ops.Resize, call, inode, old, size)

    def truncate(self, process: Process, call: Syscall) -> None:
        if call.name == "ftruncate":
            inode = self.description(process, call.args[0]).inode
        else:
            inode = self.existing(call, self.place(process, call, 0))
        if inode.kind == "file":
            self.resize(call, inode, plain(call.args[1]))

    def fallocate(self, process: Process, call: Syscall) -> None:
        """Mode 0 may grow the file; other modes change bytes in place."""
        inode = self.description(process, call.args[0]).inode
        mode, offset, length = map(plain, call.args[1:4])
        if mode == 0:
            if inode.size is None:
                self.emit(ops.Unseen, call, inode, "fallocate")
            elif offset + length > inode.size:
                self.resize(call, inode, offset + length)
        elif not isinstance(mode, Flags) or \
                mode.names != ("FALLOC_FL_KEEP_SIZE",):
            self.emit(ops.Unseen, call, inode, "fallocate")

    def fsync(self, process: Process, call: Syscall) -> None:
        inode = self.description(process, call.args[0]).inode
        if inode.kind in ("file", "dir"):
            ok = call.ret == 0 and not call.injected
            lost = bool(call.errno) and call.errno not in NOTHING_LOST
            self.emit(ops.Sync, call, inode, call.name == "fdatasync", ok,
                      lost)

    def sync(self, process: Process, call: Syscall) -> None:
        if call.name == "sync":
            self.emit(ops.SyncAll, call, None)
            return
        inode = self.description(process, call.args[0]).inode
        kind = ops.SyncAll if call.name == "syncfs" else ops.SyncRange
        self.emit(kind, call, inode)

    # --- names ---

    def rename(self, process: Process, call: Syscall) -> None:
        first, second = (0, 1) if call.name == "rename" else (1, 3)
        source = self.place(process, call, first, follow=False)
        target = self.place_for_name(process, call, second)
        inode = self.existing(call, source)
        flags = plain(call.args[4]) if len(call.args) > 4 else None
        exchange = isinstance(flags, Flags) and "RENAME_EXCHANGE" in flags
        old = target.inode
        if exchange and old is None:
            old = self.names.child(target.dir, target.name)
        if old is inode:
            return                      # rename(2): links of one file
        self.names.unbind(source.dir, source.name)
        self.names.bind(target.dir, target.name, inode)
        if exchange:
            self.names.bind(source.dir, source.name, old)
        inode.certain = True
        self.emit(ops.Rename, call, source.dir, source.name, target.dir,
                  target.name, inode, old, exchange)

    def place_for_name(self, process: Process, call: Syscall,
                       at: int) -> Place:
        """Where a name is made; what stood there counts if it was seen."""
        path = _text(plain(call.args[at])).rstrip("/")
        head, name = posixpath.split(path)
        start = process.cwd[0]
        if at > 0 and call.name.endswith(("at", "at2")):
            start = self.start_of(process, call.args[at - 1])
        directory = self.names.find(start, head).inode
        if directory is None or name in ("", ".", ".."):
            raise KernelModelError(call, "no such directory")
        directory.kind = "dir"
        inode = directory.entries.get(name)
        return Place(directory, name, inode, True)

    def link(self, process: Process, call: Syscall) -> None:
        first, second = (0, 1) if call.name == "link" else (1, 3)
        flags = plain(call.args[4]) if call.name == "linkat" else None
        follow = isinstance(flags, Flags) and "AT_SYMLINK_FOLLOW" in flags
        inode = self.existing(
            call, self.place(process, call, first, follow))
        place = self.place_for_name(process, call, second)
        self.names.bind(place.dir, place.name, inode)
        self.emit(ops.Link, call, place.dir, place.name, inode)

    def unlink(self, process: Process, call: Syscall) -> None:
        at = 1 if call.name == "unlinkat" else 0
        place = self.place(process, call, at, follow=False)
        inode = self.existing(call, place)
        self.names.unbind(place.dir, place.name)
        self.emit(ops.Unlink, call, place.dir, place.name, inode)

    def make(self, process: Process, call: Syscall) -> None:
        """mkdir, mknod, symlink: a name that did not exist before."""
        at = {"mkdirat": 1, "mknodat": 1, "symlink": 1,
              "symlinkat": 2}.get(call.name, 0)
        place = self.place_for_name(process, call, at)
        kind = "dir" if call.name.startswith("mkdir") else "other"
        if call.name.startswith("symlink"):
            kind = "symlink"
        elif kind == "other":
            mode = plain(call.args[at + 1])
            if not isinstance(mode, Flags) or "S_IFREG" in mode:
                kind = "file"
        inode = self.create(call, place, kind)
        if kind == "symlink":
            inode.target = _text(plain(call.args[0]))

    # --- what the trace does not show ---

    def mmap(self, process: Process, call: Syscall) -> None:
        """A shared mapping of a file opened for writing. One that can only
        be read hides nothing until mprotect(2) makes it writable."""
        flags, number = plain(call.args[3]), plain(call.args[4])
        self.ended(call.ret, call.ret + plain(call.args[1]))
        shared = isinstance(flags, Flags) and (
            "MAP_SHARED" in flags or "MAP_SHARED_VALIDATE" in flags)
        if shared and isinstance(number, Fd):
            description = self.description(process, number)
            inode, end = description.inode, call.ret + plain(call.args[1])
            if description.writable and inode.kind == "file":
                self.mappings.append((call.ret, end, inode))
                self.mprotect(process, call, call.ret)

    def ended(self, start: int, end: int) -> None:
        """What was mapped where a new mapping stands is not any more. A child may have
        it still: with two processes, nothing ends."""
        if len(self.processes) == 1:
            self.mappings = [
                (low, high, inode) for old, stop, inode in self.mappings
                for low, high in ((old, min(stop, start)), (max(old, end), stop)) if low < high
            ]

    def mprotect(self, process: Process, call: Syscall,
                 start: int | None = None) -> None:
        """mremap(2) too: what it moves is out of sight."""
        start = plain(call.args[0]) if start is None else start
        end, access = start + plain(call.args[1]), plain(call.args[2])
        if call.name != "mremap" and not (
                isinstance(access, Flags) and "PROT_WRITE" in access):
            return
        for low, high, inode in self.mappings:
            if low < end and start < high:
                self.emit(ops.Unseen, call, inode, "a shared mapping")

    def copy(self, process: Process, call: Syscall) -> None:
        at = {"sendfile": 0, "tee": 1}.get(call.name, 2)
        inode = self.description(process, call.args[at]).inode
        if inode.kind == "file" and call.ret != 0:
            self.emit(ops.Unseen, call, inode, call.name)

    def ioctl(self, process: Process, call: Syscall) -> None:
        request = plain(call.args[1])
        if not isinstance(request, Flags):
            return
        description = self.description(process, call.args[0])
        if "FIOCLEX" in request or "FIONCLEX" in request:
            process.fds[_number(call.args[0])] = (
                description, "FIOCLEX" in request)
        for clone in {"FICLONE", "FICLONERANGE"} & set(request.names):
            self.emit(ops.Unseen, call, description.inode, clone)


OPENS = {"open", "openat", "openat2", "creat"}
METHODS: dict[str, Callable] = {
    name: method for method, names in {
        _Kernel.open: "open openat openat2 creat",
        _Kernel.close: "close",
        _Kernel.close_range: "close_range",
        _Kernel.dup: "dup dup2 dup3",
        _Kernel.fcntl: "fcntl",
        _Kernel.fork: "fork vfork clone clone3",
        _Kernel.execve: "execve execveat",
        _Kernel.chdir: "chdir",
        _Kernel.fchdir: "fchdir",
        _Kernel.lseek: "lseek",
        _Kernel.read: "read readv",
        _Kernel.write: "write writev pwrite64 pwritev pwritev2",
        _Kernel.truncate: "truncate ftruncate",
        _Kernel.fallocate: "fallocate",
        _Kernel.fsync: "fsync fdatasync",
        _Kernel.sync: "sync syncfs sync_file_range sync_file_range2",
        _Kernel.rename: "rename renameat renameat2",
        _Kernel.link: "link linkat",
        _Kernel.unlink: "unlink unlinkat rmdir",
        _Kernel.make: "mkdir mkdirat mknod mknodat symlink symlinkat",
        _Kernel.mmap: "mmap",
        _Kernel.mprotect: "mprotect mremap",
        _Kernel.copy: "sendfile splice tee copy_file_range",
        _Kernel.ioctl: "ioctl",
    }.items() for name in names.split()}
