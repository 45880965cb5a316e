"""Runs what a student wrote: confined, limited, and believed in nothing.

Three levels, the best that the machine allows:

    namespaces  bubblewrap: no network, no other process in sight, /usr read-only,
                nothing else of the machine but the staged tree. As root, an unused
                uid first and no capability: root in a namespace can remount /usr.
    uid         root without bubblewrap: an unused uid and the limits below.
    limits      neither: limits on time, memory, files and processes, no more.

The tree stands at INSIDE at the first level and at its own path at the others;
`Sandbox.inside` says where a program sees it. strace, when asked for, stays outside.
"""

import os
import pwd
import resource
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from .errors import GraderError, UsageError

INSIDE = "/tree"
OUTPUT_MAX_BYTES = 1 << 20
DISK_MAX_BYTES = 256 << 20
DISK_MAX_FILES = 20_000
FILE_MAX_BYTES = 128 << 20
MEMORY_MAX_BYTES = 2 << 30
PROCESSES_MAX = 64
FILES_OPEN_MAX = 256


@dataclass(frozen=True)
class Completed:
    status: int | None  # exit status, or None
    signal: int | None  # the signal that ended it, or None
    stopped: str | None  # why we ended it: "time", "output", "disk", or None
    stdout: bytes
    stderr: bytes
    marks: bytes  # what came through the marks descriptor
    marks_fd: int | None  # its number
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status == 0


@dataclass(frozen=True)
class Level:
    name: str
    reason: str  # why not a better one; empty for the best


@cache
def level() -> Level:
    """The best level that works here, found by trying it."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        why = "bubblewrap is not installed"
    else:
        try:
            done = subprocess.run(
                [bwrap, *_namespaces(), "--", "/usr/bin/true"],
                capture_output=True, timeout=20, **_drop(),
            )
            if done.returncode == 0:
                return Level("namespaces", "")
            why = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            why = f"bubblewrap does not work here: {why[0] if why else done.returncode}"
        except (OSError, subprocess.SubprocessError) as error:
            why = f"bubblewrap does not work here: {error}"
    return Level("uid" if os.geteuid() == 0 else "limits", why)


@cache
def _uid() -> int | None:
    """For root: a uid that nobody has, another one for each grader that runs."""
    if os.geteuid() != 0:
        return None
    uid = 30_000 + os.getpid() % 20_000
    while True:
        try:
            pwd.getpwuid(uid)
            uid += 1
        except KeyError:
            return uid


def _drop() -> dict:
    uid = _uid()
    return {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}


def _namespaces() -> list[str]:
    words = "--unshare-all --die-with-parent --new-session --cap-drop ALL".split()
    words += "--uid 1000 --gid 1000 --hostname workbook".split()
    words += "--ro-bind /usr /usr --proc /proc --dev /dev".split()
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for name in ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ssl/openssl.cnf"):
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return words


def _limits(seconds: float, memory: bool) -> list[str]:
    """Set inside the namespace: the count of processes is kept for each of them."""
    words = [
        "prlimit", "--core=0", f"--cpu={int(seconds) + 1}", f"--nproc={PROCESSES_MAX}",
        f"--fsize={FILE_MAX_BYTES}", f"--nofile={FILES_OPEN_MAX}",
    ]
    if memory:
        words.append(f"--as={MEMORY_MAX_BYTES}")
    return words + ["--"]


def _kill_all_of(uid: int) -> None:
    """Kills every process of that uid: kill(2) with -1, as that uid."""
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


@dataclass
class Sandbox:
    """A directory of the machine in which programs of a student run.

    tree    the staged files, writable
    tmp     writable; /tmp inside
    """

    home: Path
    level: Level = field(default_factory=level)

    def __post_init__(self):
        self.tree = self.home / "tree"
        self.tmp = self.home / "tmp"
        for path in (self.tree, self.tmp):
            path.mkdir(exist_ok=True)
        (self.home / "passwd").write_text("user:x:1000:1000::/tmp:/bin/sh\n")
        (self.home / "group").write_text("user:x:1000:\n")
        self.hand_over()

    def hand_over(self) -> None:
        """Gives the files staged so far to the uid under which programs run."""
        for top in (self.tree, self.tmp):
            self.hand_over_folder(top)

    def hand_over_folder(self, top: Path) -> None:
        if _uid() is None:
            return
        for folder, names, files in os.walk(top):
            for path in (folder, *(os.path.join(folder, name) for name in names + files)):
                os.chown(path, _uid(), _uid(), follow_symlinks=False)

    def hand_over_file(self, path: Path) -> None:
        if _uid() is not None:
            os.chown(path, _uid(), _uid())

    @property
    def inside(self) -> str:
        return INSIDE if self.level.name == "namespaces" else str(self.tree)

    def command(self, argv, cwd: str, seconds: float, memory: bool, init=False) -> list[str]:
        """The whole command: bubblewrap, the limits, then argv."""
        limited = [*_limits(seconds, memory), *argv]
        if self.level.name != "namespaces":
            return limited
        words = ["bwrap", *_namespaces(), *["--as-pid-1"] * init]
        words += ["--bind", str(self.tmp), "/tmp", "--bind", str(self.tree), INSIDE]
        for name in ("passwd", "group"):
            words += ["--ro-bind", str(self.home / name), f"/etc/{name}"]
        words += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", f"{INSIDE}/{cwd}"]
        return [*words, "--", *limited]

    def run(
        self, argv, *, cwd: str = ".", seconds: float = 10, stdin: bytes = b"",
        memory: bool = True, marks: bool | Callable[[bytes], None] = False, outside=(),
        env=None, init: bool = False,
    ) -> Completed:
        """Runs argv in the tree's directory `cwd` and waits for it.

        `memory`   False for AddressSanitizer builds, which reserve terabytes
        `marks`    collects what is written to one more descriptor, or hands it on as it
                   comes, without a limit; its number is added to argv
        `init`     it is PID 1 of its namespace, and reaps what others leave
        `outside`  words in front of the whole command, such as strace and its options
        """
        reader = writer = None
        if marks:
            reader, writer = os.pipe()
            argv = [*argv, str(writer)]
        command = [*outside, *self.command(argv, cwd, seconds, memory, init)]
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp",
            "LANG": "C.UTF-8", "TERM": "dumb", **(env or {}),
        }
        try:
            child = _Child(self, command, environment, cwd, stdin, (reader, writer))
            child.on_marks = marks if callable(marks) else None
            return child.wait(seconds)
        except FileNotFoundError as error:
            raise UsageError(f"{error.filename} is not installed: make setup") from None
        except OSError as error:
            raise GraderError(f"cannot run {command[0]}: {error}") from None

    def overfull(self) -> bool:
        total = files = 0
        for top in (self.tree, self.tmp):
            for folder, _, names in os.walk(top):
                files += len(names)
                for name in names:
                    try:
                        total += os.lstat(os.path.join(folder, name)).st_blocks * 512
                    except OSError:
                        pass
        return total > DISK_MAX_BYTES or files > DISK_MAX_FILES


class _Child:
    """One run: feeds stdin, collects the pipes, and ends it when it goes too far."""

    def __init__(self, sandbox, command, environment, cwd, stdin, marks):
        self.sandbox = sandbox
        self.stdin = memoryview(stdin)
        self.pipes = {}
        self.got = {"stdout": bytearray(), "stderr": bytearray(), "marks": bytearray()}
        self.stopped = None
        self.on_marks = None
        mark_reader, mark_writer = marks
        self.marks_fd = mark_writer
        pass_fds = () if mark_writer is None else (mark_writer,)
        self.started = time.monotonic()
        try:
            self.process = subprocess.Popen(
                command, env=environment, pass_fds=pass_fds, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd=None if sandbox.level.name == "namespaces" else sandbox.tree / cwd,
                umask=0o022, **_drop(),
            )
        finally:
            for fd in pass_fds:
                os.close(fd)
        self.selector = selectors.DefaultSelector()
        self._watch(self.process.stdout, "stdout")
        self._watch(self.process.stderr, "stderr")
        if mark_reader is not None:
            self._watch(os.fdopen(mark_reader, "rb", buffering=0), "marks")
        os.set_blocking(self.process.stdin.fileno(), False)
        self.selector.register(self.process.stdin, selectors.EVENT_WRITE, "stdin")

    def _watch(self, pipe, name):
        os.set_blocking(pipe.fileno(), False)
        self.selector.register(pipe, selectors.EVENT_READ, name)

    def _drop(self, pipe):
        self.selector.unregister(pipe)
        pipe.close()

    def _feed(self, pipe):
        try:
            self.stdin = self.stdin[os.write(pipe.fileno(), self.stdin[: 1 << 16]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.stdin = self.stdin[:0]
        if not self.stdin:
            self._drop(pipe)

    def _read(self, pipe, name):
        try:
            data = os.read(pipe.fileno(), 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._drop(pipe)
            return
        if name == "marks" and self.on_marks:
            self.on_marks(data)
            return
        # The marks are ours, yet a student's code can write to them too.
        cap = OUTPUT_MAX_BYTES if name != "marks" else 64 * OUTPUT_MAX_BYTES
        room = cap - len(self.got[name])
        self.got[name] += data[:room]
        if len(data) > room and self.stopped is None:
            self.stop("output")

    def stop(self, why):
        self.stopped = why
        self.kill()

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if self.sandbox.level.name == "uid":
            # Without a namespace of its own a process may have left its group.
            _kill_all_of(_uid())

    def wait(self, seconds) -> Completed:
        deadline = self.started + seconds
        look_at_disk = self.started + 0.05
        ended = None
        while self.selector.get_map():
            now = time.monotonic()
            if ended is None and self.process.poll() is not None:
                ended = now
                self.kill()  # whatever it left behind
            if ended is not None and now > ended + 0.5:
                break  # something still holds a pipe: not ours any more
            if now > deadline and self.stopped is None:
                self.stop("time")
            if now > look_at_disk and self.stopped is None:
                look_at_disk = now + 0.1
                if self.sandbox.overfull():
                    self.stop("disk")
            for key, _ in self.selector.select(0.05):
                if key.data == "stdin":
                    self._feed(key.fileobj)
                else:
                    self._read(key.fileobj, key.data)
        return self._completed()

    def _completed(self) -> Completed:
        for key in list(self.selector.get_map().values()):
            self._drop(key.fileobj)
        self.selector.close()
        self.process.wait()
        code = self.process.returncode
        # bubblewrap and sh report a signal as 128 + its number.
        number = -code if code < 0 else code - 128 if 128 < code < 160 else None
        full = "disk" if number == signal.SIGXFSZ else None  # one file took all of it
        return Completed(
            status=code if number is None else None, signal=number, stopped=self.stopped or full,
            stdout=bytes(self.got["stdout"]), stderr=bytes(self.got["stderr"]),
            marks=bytes(self.got["marks"]), marks_fd=self.marks_fd,
            seconds=time.monotonic() - self.started,
        )


def own_limits() -> None:
    """The grader itself needs no core dumps and keeps its descriptors low."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
