"""The catalogue of findings: what each code means, from findings.yaml."""

import textwrap
from functools import cache

import yaml

from .course import HERE
from .errors import UsageError

KINDS = {
    "D": "durability", "A": "atomicity", "F": "fault handling", "R": "recovery",
    "B": "build", "O": "output", "S": "sandbox",
}


@cache
def catalogue() -> dict[str, dict[str, str]]:
    return yaml.safe_load((HERE / "findings.yaml").read_text(encoding="utf-8"))


def entry(code: str) -> dict[str, str]:
    found = catalogue().get(code.upper())
    if found is None:
        raise UsageError(f"no finding has the code {code}; there are: {', '.join(catalogue())}")
    return found


def section(code: str, lesson: str = "") -> str:
    """Where to read again, for somebody who is at work on that lesson."""
    what = entry(code)
    own = what.get("in", {}).get(lesson)
    return f"{lesson}, {own}" if own else what["section"]


def explain(code: str) -> str:
    """The page of one finding."""
    what = entry(code)
    lines = [f"{code.upper()}  {what['title']}  ({KINDS[code[0].upper()]})", ""]
    lines += textwrap.wrap(what["why"], 79)
    if what["systems"]:
        lines += ["", "In real systems"]
        lines += textwrap.wrap(what["systems"], 79, initial_indent="  ", subsequent_indent="  ")
    places = [what["section"], *(section(code, lesson) for lesson in what.get("in", ()))]
    lines += ["", f"Read again: {'; '.join(places)}"]
    return "\n".join(lines)
