"""Objects that are compiled once and linked into many drivers.

Most of a build's time would go to what is the same each time: our driver, and sources
that are the reference's to the byte, such as those that the course gives. They are
compiled outside of the sandbox, from the course's own files: no student has a hand in
them.
"""

import hashlib
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from . import stage
from .course import HERE, ROOT
from .crash import lab
from .errors import GraderError

DRIVERS = HERE / "drivers"
KEPT = ROOT / "build" / "objects"


@cache
def of_driver(name: str, variant: str, flags: tuple[str, ...]) -> Path:
    """The object of a source of the driver that includes no header of a student's."""
    words = ["-c", "-O0", "-fPIE", f"-I{HERE}", *flags]
    return lab.build(KEPT / variant / f"{name}.o", [DRIVERS / f"{name}.c"], words)


def of_reference(tree: Path, source: str, words: tuple[str, ...]) -> Path | None:
    """The object that `words` make of a tree's source, if that and every header are the
    reference's."""
    files = _reference()
    for name in files:
        if name == source or name.endswith(".h"):
            if stage.read_regular(tree / name) != files[name]:
                return None
    return _compiled(source, words) if source in files else None


@cache
def _reference() -> dict[str, bytes]:
    return dict(stage.reference())


@cache
def _compiled(source: str, words: tuple[str, ...]) -> Path:
    files = _reference()
    digest = hashlib.sha256(repr((source, words, sorted(files.items()))).encode()).hexdigest()
    dest = KEPT / f"{Path(source).stem}-{digest[:16]}.o"
    if dest.exists():
        return dest
    dest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        stage.stage_reference(Path(folder))
        done = subprocess.run(
            [*words, f"-fdebug-prefix-map={folder}=.", "-c", source, "-o", dest.name],
            cwd=folder, capture_output=True, text=True, check=False,
        )
        if done.returncode:
            raise GraderError(f"{source}: the reference does not compile: {done.stderr.strip()[:500]}")
        os.replace(Path(folder, dest.name), dest)  # others may make it at the same time
    return dest
