"""Checks that any lesson can have: it builds, and it prints what the lesson shows."""

from .. import expected
from ..build import listed_commands, run_commands, stopped_finding
from ..result import Finding
from ..run import Run
from . import check

EXCERPT_LINES = 12


@check()
def builds(run: Run):
    """The lesson's own command builds it.

    Your files compile and link with the command that the lesson prints.
    """
    yield from run.build("lesson").findings


@check("prints-what-the-lesson-shows")
def compiles_without_a_warning(run: Run):
    """The compiler has nothing to warn of.

    The lesson's flags turn warnings on. A warning is the cheapest bug report there is.
    """
    yield from run.build("lesson").warnings[:5]


@check("builds")
def prints_what_the_lesson_shows(run: Run):
    """It prints exactly what the lesson's Expected block shows.

    The lesson's commands, run as printed in a fresh copy of your tree, print what the
    lesson prints; `...` stands for anything.
    """
    yield from _compare(run, "O101")


@check("prints-what-the-lesson-shows")
def prints_the_same_again(run: Run):
    """A second run prints what the first one did.

    The self-test makes its own files anew, so that it can be run again and again.
    """
    yield from _compare(run, "O102")


@check("prints-what-the-lesson-shows")
def leaves_what_the_lesson_lists(run: Run):
    """It leaves the files that the lesson lists, and no others.

    The lesson's listing, run after its test, shows the names that the lesson shows; in
    which order is for `ls` to say.
    """
    shown = []
    for command in listed_commands(run.lesson):
        done = run.sandbox.run(["sh", "-c", f"exec 2>&1\n{command}"], cwd="lesson", seconds=10)
        shown.append(done.stdout.decode(errors="replace"))
    block = run.lesson.block("text", "listed")
    difference = expected.compare_words(block.text, "".join(shown))[:EXCERPT_LINES]
    if difference:
        message = f"the listing shows something else than {block.where}"
        yield Finding("O108", message, excerpt=difference)


def _compare(run: Run, code: str):
    shown, crashed = [], []
    for command in run_commands(run.lesson):
        done = run.sandbox.run(["sh", "-c", command], cwd="lesson", seconds=10)
        if done.stopped:
            crashed.append(stopped_finding(done, command))
        elif done.signal:
            crashed.append(Finding("S104", f"{command}: killed by signal {done.signal}"))
        shown.append(done.stdout.decode(errors="replace"))
        error = done.stderr.decode(errors="replace").strip()
        if done.status and error and not crashed:
            shown.append(f"{error}\n")
    if crashed:
        yield crashed[0]
        return
    block = run.lesson.block("text", "expected")
    difference = expected.compare(block.text, "".join(shown))[:EXCERPT_LINES]
    if difference:
        again = "on its second run " if code == "O102" else ""
        yield Finding(
            code, f"{again}it prints something else than {block.where}", excerpt=difference
        )
