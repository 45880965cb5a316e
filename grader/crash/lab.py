"""Builds the crash lab's programs from grader/crashlab: python3 -m grader.crash.lab"""

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from ..course import HERE, ROOT
from ..errors import GraderError

SOURCES = HERE / "crashlab"
LIBRARY = ("ops.c", "index.c", "own.c", "digest.c", "model.c", "disk.c", "search.c", "sweep.c")
SERVER_NAMES = ("serve_run", "serve_say", "ops_parse", "ops_free")
FLAGS = ["-std=gnu17", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]


@cache
def program(checked: bool = False) -> Path:
    """The command crashlab; `checked` with AddressSanitizer and UBSan."""
    name, more = ("crashlab", [])
    if checked:
        name, more = ("crashlab-checked", ["-fsanitize=address,undefined", "-fno-sanitize-recover"])
    sources = [*LIBRARY, "print.c", "explore.c", "main.c"]
    return build(ROOT / "build" / name, [SOURCES / source for source in sources], more)


@cache
def server() -> Path:
    """The fork server, to be linked with a student's program: one object file that
    shows only the names of its header, so that no name of a student's can clash."""
    sources = [SOURCES / name for name in (*LIBRARY, "print.c", "serve.c")]
    keep = [word for name in SERVER_NAMES for word in ("-G", name)]
    return build(ROOT / "build" / "serve.o", sources, ["-r", "-nostdlib"], ["objcopy", *keep])


def build(dest: Path, sources: list[Path], more=(), then=(), libraries=()) -> Path:
    """Compiles `sources` to `dest`, unless that is newer than all that stands beside
    them and in grader/crashlab.
    `then` is a command that changes the file in place."""
    beside = {source.parent for source in sources} | {SOURCES}
    newest = max(path.stat().st_mtime for folder in beside for path in folder.iterdir())
    if dest.exists() and dest.stat().st_mtime > newest:
        return dest
    dest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dest.parent) as folder:
        made = Path(folder, dest.name)
        _run(["gcc", *FLAGS, *more, *map(str, sources), *libraries, "-o", str(made)])
        if then:
            _run([*then, str(made)])
        os.replace(made, dest)  # others may build it at the same time
    return dest


def _run(words) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GraderError(f"{Path(words[-1]).name} cannot be built: {done.stderr.strip()[:500]}")


if __name__ == "__main__":
    print(program().relative_to(ROOT))
