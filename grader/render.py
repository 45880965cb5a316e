"""Renders one marked source into the student's skeleton and the clean reference.

A mark stands alone on its line, without anything before it:

    //> name            what follows exists only in the reference ...
    //< name            ... up to here
    /* skeleton name    what follows exists only in the skeleton ...
    */                  ... up to here

A region is not nested in another, each kind of region uses a name once in a file,
and a skeleton region holds no comment of its own. Anything else is an error.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .errors import UsageError

_MARK = re.compile(r"//([<>]) (\w+)|/\* skeleton (\w+)|(\*/)")
_LIKE_A_MARK = re.compile(r"\s*(//\s*[<>]|/\*\s*skeleton\b)")


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    role: str | None  # "reference", "skeleton", or None for both
    name: str | None


def _regions(source: str, name: str):
    """Yields every line that is not a mark, with the region it stands in."""
    open_role = open_name = None
    seen = set()
    number = 0

    def fail(why):
        raise UsageError(f"{name}:{number}: {why}")

    for number, text in enumerate(source.splitlines(keepends=True), start=1):
        mark = _MARK.fullmatch(text.rstrip("\n"))
        if mark is None:
            if _LIKE_A_MARK.match(text):
                fail(f"a mark that is not understood: {text.strip()}")
            if open_role == "skeleton" and ("/*" in text or "*/" in text):
                fail(f"a comment inside skeleton region {open_name}")
            yield _Line(number, text, open_role, open_name)
            continue
        arrow, ref_name, skeleton_name, end = mark.groups()
        if arrow == ">" or skeleton_name:
            role, new = ("reference", ref_name) if arrow else ("skeleton", skeleton_name)
            if open_role:
                fail(f"region {new} begins inside region {open_name}")
            if (role, new) in seen:
                fail(f"region {new} stands twice")
            seen.add((role, new))
            open_role, open_name = role, new
        elif arrow == "<":
            if open_role != "reference" or open_name != ref_name:
                fail(f"//< {ref_name} ends a region that is not open")
            open_role = open_name = None
        elif open_role == "skeleton":
            open_role = open_name = None
        else:
            yield _Line(number, text, open_role, open_name)  # the end of a comment
    if open_role:
        fail(f"region {open_name} is not closed")


@cache  # every tree that is staged has every solution in it
def render(source: str, role: str, name: str = "source") -> str:
    """The text for `role`, "skeleton" or "reference". UsageError names file and line."""
    return "".join(
        line.text for line in _regions(source, name) if line.role in (None, role)
    )


def region(source: str, wanted: str, name: str = "source") -> str:
    """The lines of one reference region, for a lesson that embeds it."""
    lines = [
        line.text
        for line in _regions(source, name)
        if line.role == "reference" and line.name == wanted
    ]
    if not lines:
        raise UsageError(f"{name}: no region {wanted}")
    return "".join(lines)


def render_file(path: Path, role: str) -> str:
    return render(path.read_text(encoding="utf-8"), role, str(path))
