"""Holds what a program printed against what the lesson shows.

In an Expected block
    ...         stands for anything within a line, and alone on a line for any lines
    <hash>      stands for 64 lower-case hex digits
and in a line of `ls -l`, which begins with a mode such as -rw-r--r--, the word `user`
stands for any owner, and runs of blanks are one blank.

A listing is compared by its words, whatever their order: `ls` sorts as the locale does.
"""

import difflib
import re
from collections import Counter

DOTS = "..."
_LISTED = re.compile(r"[-dl][rwxsStT-]{9}[.+@]? ")


def compare(expected: str, observed: str) -> tuple[str, ...]:
    """() if they agree; else the lines, marked GOOD, BAD or MISSING, those that
    differ with two lines around them."""
    wanted, got = expected.splitlines(), observed.splitlines()
    if _agree(wanted, got):
        return ()
    return tuple(_marked(wanted, got))


def compare_words(expected: str, observed: str) -> tuple[str, ...]:
    """() if both have the same words, each as often; else the words, marked."""
    wanted, got = Counter(expected.split()), Counter(observed.split())
    if wanted == got:
        return ()
    marked = {"GOOD": wanted & got, "MISSING": wanted - got, "BAD": got - wanted}
    return tuple(
        f"{mark:9}{word}" for mark, words in marked.items() for word in sorted(words.elements())
    )


def _pattern(line: str) -> re.Pattern:
    listed = _LISTED.match(line)
    if listed:
        line = re.sub(r" +", " ", line)
    pattern = re.escape(line).replace(r"\.\.\.", ".*").replace("<hash>", "[0-9a-f]{64}")
    if listed:
        pattern = re.sub(r"\buser\b", r"[^ ]+", pattern)
    return re.compile(pattern)


def _matches(wanted: str, got: str) -> bool:
    if _LISTED.match(got):
        got = re.sub(r" +", " ", got)
    return _pattern(wanted).fullmatch(got) is not None


def _agree(wanted: list[str], got: list[str]) -> bool:
    """Whether the lines agree, a line of three dots standing for any lines."""
    here = {0}  # how many lines of `got` may be used up so far
    for line in wanted:
        if line.strip() == DOTS:
            here = set(range(min(here), len(got) + 1)) if here else here
        else:
            here = {i + 1 for i in here if i < len(got) and _matches(line, got[i])}
    return len(got) in here


def _marked(wanted: list[str], got: list[str]):
    """A diff in which a wanted line that matches counts as the same line."""
    lines = [line for line in wanted if line.strip() != DOTS]
    as_wanted = [next((w for w in lines if _matches(w, line)), line) for line in got]
    matcher = difflib.SequenceMatcher(None, wanted, as_wanted, autojunk=False)
    for group in matcher.get_grouped_opcodes(2):
        marked = []
        for kind, w0, w1, g0, g1 in group:
            if kind == "equal":
                marked += [f"GOOD     {line}" for line in got[g0:g1]]
            else:
                marked += _differing(wanted[w0:w1], got[g0:g1])
        if any(not line.startswith("GOOD") for line in marked):
            yield from marked


def _differing(wanted: list[str], got: list[str]):
    """Three dots take the lines in the middle, all but one for each wanted line before
    them and one for each behind them."""
    before = next((i for i, line in enumerate(wanted) if line.strip() == DOTS), None)
    if before is None:
        yield from (f"MISSING  {line}" for line in wanted)
        yield from (f"BAD      {line[:200]}" for line in got)
        return
    behind = max(before, len(got) - (len(wanted) - before - 1))
    yield from _differing(wanted[:before], got[:before])
    yield from (f"GOOD     {line[:200]}" for line in got[before:behind])
    yield from _differing(wanted[before + 1 :], got[behind:])
