"""Keeps the lessons' fenced blocks in step with the tree. Every block is one of these:

    ```bash test           the lesson's commands; run by the grader
    ```bash test for=G instead_of=F    the same for those who hand in G instead of F
    ```text expected       what they print; compared by the grader
    ```bash listed         run after the test, by the grader
    ```text listed         the words that this prints, in any order; compared by the grader
    ```bash ship           run in a git repository of its own; has to succeed
    ```console             `$ command` lines, each with the output that follows it, run
                           one after another in the staged reference (see expected.py
                           for what stands for anything); `> ` goes on with a command
    ```c file=F from="A" to="B"    the lines of F from the first that begins with A to
                                   the next that begins with B, both included; a comment
                                   that begins with A comes with the line that opens it
    ```c file=F region=R           a marked region of a solution

`refresh` writes embedded blocks anew; `run_blocks` runs the others on the reference.
"""

from collections.abc import Iterator
from pathlib import Path

from . import expected, stage
from .course import ROOT, Block, Lesson, commands, load_lesson
from .errors import UsageError
from .render import region
from .run import Run

RUN = {
    ("bash", "test"), ("text", "expected"), ("bash", "listed"), ("text", "listed"),
    ("bash", "ship"), ("console",),
}


def embedded(block: Block) -> str:
    """The text that an embedded block has to have."""
    path = ROOT / block.options["file"]
    if not path.is_file():
        raise UsageError(f"{block.where}: no file {block.options['file']}")
    source = path.read_text(encoding="utf-8")
    if "region" in block.options:
        return region(source, block.options["region"], f"{block.where}: {path.name}")
    lines = source.splitlines(keepends=True)
    first = _find(lines, 0, block.options["from"], block)
    last = _find(lines, first, block.options["to"], block)
    if first and lines[first - 1] == "/*\n":
        first -= 1
    return "".join(lines[first : last + 1])


def _find(lines: list[str], start: int, begin: str, block: Block) -> int:
    for i in range(start, len(lines)):
        if lines[i].startswith(begin):
            return i
    raise UsageError(f"{block.where}: {block.options['file']} has no line that begins with {begin!r}")


def refresh(path: Path, check: bool) -> list[str]:
    """Writes the embedded blocks of a lesson anew (or only looks); those that differ."""
    lesson = load_lesson(path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    stale = []
    for block in reversed(lesson.blocks):
        if "file" not in block.options:
            if (block.language, *block.words) not in RUN:
                raise UsageError(f"{block.where}: a block that is neither run nor embedded")
            continue
        text = embedded(block)
        if text != block.text:
            stale.append(block.where)
            lines[block.line : block.line + block.text.count("\n")] = [text]
    if stale and not check:
        path.write_text("".join(lines), encoding="utf-8")
    return stale


def _console(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output shown under it."""
    command, output = None, []
    for line in block.text.splitlines(keepends=True):
        if line.startswith("$ "):
            if command is not None:
                yield command, "".join(output)
            command, output = line[2:], []
        elif line.startswith("> ") and command is not None and not output:
            command += line[2:]
        elif command is None:
            raise UsageError(f"{block.where}: output before the first `$ command`")
        else:
            output.append(line)
    if command is not None:
        yield command, "".join(output)


def run_blocks(lesson: Lesson) -> list[str]:
    """Runs a lesson's console and ship blocks on the reference; what went wrong."""
    run = Run(lesson, stage.stage_reference)
    try:
        troubles = [f"{f.code} {f.where} {f.message}" for f in run.build("lesson").findings]
        for block in lesson.blocks:
            if block.language == "console":
                for command, shown in _console(block):
                    troubles += _differs(run, block, command, shown)
            elif (block.language, *block.words) == ("bash", "ship"):
                troubles += _ships(run, block)
        return troubles
    finally:
        run.close()


def _differs(run: Run, block: Block, command: str, shown: str) -> list[str]:
    done = run.sandbox.run(["sh", "-c", f"exec 2>&1\n{command}"], cwd="lesson", seconds=30)
    difference = expected.compare(shown, done.stdout.decode(errors="replace"))
    if not difference:
        return []
    return ["\n    ".join((f"{block.where}: $ {command.strip()}", *difference))]


def _ships(run: Run, block: Block) -> list[str]:
    script = "git init -q . && git config user.email s@example.org && git config user.name s\n"
    script = "set -e\n" + script + "\n".join(commands(block.text))
    done = run.sandbox.run(["sh", "-c", script], cwd="lesson", seconds=30)
    return [] if done.ok else [f"{block.where}: {done.stderr.decode(errors='replace').strip()}"]
