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


def explain(code: str) -> str:
    """The page of one finding."""
    what = entry(code)
    lines = [f"{code.upper()}  {what['title']}  ({KINDS[code[0].upper()]})", ""]
    lines += textwrap.wrap(what["why"], 79)
    if what["systems"]:
        lines += ["", "In real systems"]
        lines += textwrap.wrap(what["systems"], 79, initial_indent="  ", subsequent_indent="  ")
    lines += ["", f"Read again: {what['section']}"]
    return "\n".join(lines)
