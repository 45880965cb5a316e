"""Stages a tree to grade: a fresh copy in which the lesson's commands run as printed."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .course import ROOT, Lesson
from .errors import UsageError
from .render import render_file

WEEKS = "w[0-9][0-9]"
SUBMISSION_MAX_BYTES = 16 << 20
READ_MAX_BYTES = 256 << 20


def solutions(root: Path = ROOT) -> list[Path]:
    return sorted(root.glob(f"{WEEKS}/solution/*.c"))


def given(root: Path = ROOT) -> list[Path]:
    """What the course gives: every header, and each source that is not a skeleton."""
    written = {path.parent.parent / path.name for path in solutions(root)}
    sources = set(root.glob(f"{WEEKS}/*.c")) - written
    return sorted(sources | set(root.glob(f"{WEEKS}/*.h")))


def skeleton_of(solution: Path) -> Path:
    return solution.parent.parent / solution.name


def handed_in(lesson: Lesson, tree: Path) -> Lesson:
    """The lesson with the files that a staged tree answers it with.

    A file that may be handed in instead of another counts where it is there and the
    other is not, or is still the skeleton.
    """
    for other in lesson.others():
        if (tree / other.options["for"]).is_file() and _unwritten(tree, other.options["instead_of"]):
            return lesson.with_other(other)
    return lesson


def _unwritten(tree: Path, name: str) -> bool:
    path = tree / name
    if path.is_symlink() or not path.is_file():
        return not path.is_symlink()
    skeletons = (render_file(s, "skeleton") for s in solutions() if skeleton_of(s) == ROOT / name)
    return path.read_bytes() in (text.encode() for text in skeletons)


def reference() -> Iterator[tuple[str, bytes]]:
    """The files of the reference tree: what is given, and every solution rendered."""
    for path in given():
        yield str(path.relative_to(ROOT)), path.read_bytes()
    for path in solutions():
        yield str(skeleton_of(path).relative_to(ROOT)), render_file(path, "reference").encode()


def stage_reference(dest: Path) -> None:
    for name, data in reference():
        _put(dest / name, data)


def put_reference(dest: Path, name: str) -> None:
    """Replaces one file of a staged tree by the reference's."""
    week, _, base = name.partition("/")
    solution = ROOT / week / "solution" / base
    source = render_file(solution, "reference").encode() if solution.is_file() else (ROOT / name).read_bytes()
    (dest / name).unlink(missing_ok=True)
    _put(dest / name, source)


def stage_submission(root: Path, dest: Path) -> None:
    """Copies a student's week directories over what the course gives.

    Links stay links and are followed in the sandbox only; devices and fifos are
    left out, and so are solution/ directories.
    """
    for path in given():
        _put(dest / path.relative_to(ROOT), path.read_bytes())
    total = 0
    for week in sorted(root.glob(WEEKS)):
        if not week.is_dir() or week.is_symlink():
            continue
        for folder, names, files in os.walk(week):
            names[:] = sorted(name for name in names if name != "solution")
            for name in sorted(files):
                total += _copy(Path(folder, name), dest / Path(folder, name).relative_to(root))
                if total > SUBMISSION_MAX_BYTES:
                    raise UsageError(f"{root}: more than {SUBMISSION_MAX_BYTES >> 20} MiB to grade")


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _copy(source: Path, dest: Path) -> int:
    mode = source.lstat().st_mode
    dest.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISLNK(mode):
        dest.unlink(missing_ok=True)
        dest.symlink_to(os.readlink(source))
    elif stat.S_ISREG(mode):
        if source.stat().st_size > SUBMISSION_MAX_BYTES:
            raise UsageError(f"{source}: larger than {SUBMISSION_MAX_BYTES >> 20} MiB")
        _put(dest, source.read_bytes())
        return source.stat().st_size
    return 0


def workspace() -> Path:
    """A new private directory to work in: in memory where that is possible.

    A sync costs nothing there and the trace is the same. A /dev/shm that is small
    (Docker gives 64 MiB) or that forbids to run programs will not do.
    """
    shm = Path("/dev/shm")
    parent = None
    if os.access(shm, os.W_OK):
        room = os.statvfs(shm)
        roomy = room.f_bavail * room.f_frsize >= 1 << 30
        if roomy and not room.f_flag & os.ST_NOEXEC:
            parent = shm
    try:
        path = Path(tempfile.mkdtemp(prefix="workbook-", dir=parent))
        path.chmod(0o711)
        (path / "room").write_bytes(bytes(1 << 20))
        (path / "room").unlink()
    except OSError as error:
        raise UsageError(
            f"no room to work in: {error.strerror}: {error.filename or parent}; "
            "free some space, or point TMPDIR at a directory that has it"
        ) from None
    return path


def read_regular(path: Path) -> bytes | None:
    """Reads what a student's program left, without following a link out of it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(READ_MAX_BYTES)


def remove(path: Path) -> None:
    """Removes a workspace, whatever modes a program left in it."""
    def make_writable(function, name, _):
        try:
            os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700)
            function(name)
        except OSError:
            pass

    shutil.rmtree(path, onerror=make_writable)
