"""The commands of `python3 -m grader`."""

import argparse
import json
import shutil
import sys
import traceback
from pathlib import Path

from . import (
    audit, course, doctor, findings, program, report, result, sandbox, stage, steady, text,
)
from .demo import demo, write_readme
from .errors import GraderError, UsageError
from .grade import grade
from .prove import prove
from .render import render_file


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m grader", description="Grades the lessons of the workbook.",
        epilog="Exit status: 0 all passed, 1 something did not, 2 wrong use or a missing "
        "tool, 3 a fault of the grader.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, what, function):
        command = commands.add_parser(name, help=what, description=what)
        command.set_defaults(function=function)
        return command

    one = add("grade", "Grade lessons of a tree.", _grade)
    one.add_argument("lessons", nargs="+", metavar="LESSON", help="w10-l02, or all")
    one.add_argument("--root", type=Path, default=course.ROOT, metavar="DIR",
                     help="the tree that holds the week directories (default: this one)")
    one.add_argument("--json", type=Path, metavar="FILE", help="also write the result as JSON")
    one.add_argument("--junit", type=Path, metavar="FILE", help="also write it as JUnit XML")
    one.add_argument("--seed", help="repeat the random values of an earlier run")
    proof = add("prove", "Look for a lesson's proof in its real run, or in a pasted text.", _prove)
    proof.add_argument("lesson", metavar="LESSON")
    proof.add_argument("--paste", type=Path, metavar="FILE",
                       help="look in this text instead; it earns no points")
    own = add("trace", "Run any program and say what it promised too early.", _trace)
    own.description += (
        " Every line that it prints is taken for a promise: what it changed until then is durable."
    )
    own.add_argument("--in", dest="directory", type=Path, default=Path("."), metavar="DIR",
                     help="where it runs, and what is looked at (default: here)")
    own.add_argument("--ops", type=Path, metavar="FILE",
                     help="write what it did for build/crashlab, which works out every disk")
    own.add_argument("argv", nargs="+", metavar="COMMAND", help="the program and its arguments")
    add("explain", "Explain a finding.", _explain).add_argument("code", metavar="CODE")
    add("doctor", "Say what this machine lacks and how to mend it.", _doctor)
    one = add("audit", "Grade the grader: known-bad and odd but right solutions.", _audit)
    one.add_argument("only", nargs="*", metavar="LESSON", help="these lessons only")
    one = add("steady", "Grade the same again and again: does it say the same each time?", _steady)
    one.add_argument("only", nargs="*", metavar="LESSON", help="these lessons only")
    one.add_argument("--times", type=int, default=50, help="how often (default: 50)")
    add("list", "List the lessons.", _list)
    add("demo", "Grade the reference, then the reference without one fsync.", lambda _: demo())
    add("reference", "Write the reference tree.", _reference).add_argument("dir", type=Path)
    skeletons = add("skeletons", "Write the skeletons anew from the solutions.", _skeletons)
    skeletons.add_argument("--check", action="store_true", help="only say which differ")
    lessons = add("lessons", "Write the lessons' embedded blocks anew.", _lessons)
    lessons.add_argument("--check", action="store_true",
                         help="only say which differ, and run the other blocks")
    lessons.add_argument("only", nargs="*", metavar="LESSON", help="these lessons only")
    add("reset", "Put a lesson's skeletons back.", _reset).add_argument("lesson", metavar="LESSON")
    return parser


def run(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    try:
        return args.function(args)
    except UsageError as error:
        print(f"grader: {error}", file=sys.stderr)
        return 2
    except GraderError as error:
        print(f"grader: our fault: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("grader: interrupted", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"grader: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        print(f"grader: our fault: {type(error).__name__} at {where}: {error}", file=sys.stderr)
        return 3


def _grade(args) -> int:
    everything = args.lessons == ["all"]
    lessons = list(course.lessons().values()) if everything else [course.find(i) for i in args.lessons]
    if not args.root.is_dir():
        raise UsageError(f"--root: {args.root} is not a directory")
    if not any(args.root.glob(stage.WEEKS)):
        raise UsageError(f"--root: {args.root} has no week directory, such as w10, in it")
    for trouble in doctor.troubles():
        raise UsageError(f"{trouble.what}\n    to mend it: {trouble.mend}")
    sandbox.own_limits()
    results, seconds = grade(lessons, args.root.resolve(), seed=args.seed, junit=args.junit)
    print("\n\n".join(report.lesson_text(lesson) for lesson in results))
    closing = report.closing(results, sandbox.level())
    if closing:
        print(f"\n{closing}")
    if args.json:
        data = json.dumps(result.to_json(results, seconds), indent=2, ensure_ascii=False)
        args.json.write_text(data + "\n", encoding="utf-8")
    return result.exit_status(results)


def _prove(args) -> int:
    return 0 if prove(course.find(args.lesson), course.ROOT, args.paste) else 1


def _trace(args) -> int:
    if not args.directory.is_dir():
        raise UsageError(f"--in: {args.directory} is not a directory")
    directory = args.directory.resolve()
    traced = program.run(args.argv, directory)
    if args.ops:
        args.ops.write_text(traced.ops.text)
    for found in traced.violations:
        print("\n".join(program.said(found, directory)), file=sys.stderr)
    if traced.status:
        print(f"{args.argv[0]} ended with {traced.status}", file=sys.stderr)
    return 1 if traced.violations or traced.status else 0


def _audit(args) -> int:
    lessons = [course.find(lesson).id for lesson in args.only]
    bad, good = audit.audit(lessons)
    page, troubles = audit.table(bad, good), audit.troubles(bad, good)
    print("\n".join([page, *troubles]))
    if not lessons and not troubles:
        audit.write_readme(page)
    return 1 if troubles else 0


def _steady(args) -> int:
    lessons = [course.find(lesson).id for lesson in args.only] or list(course.lessons())
    outcomes = steady.steady(steady.submissions(lessons), args.times)
    print("\n".join(map(steady.report, outcomes)))
    return 0 if all(outcome.is_steady for outcome in outcomes) else 1


def _explain(args) -> int:
    print(findings.explain(args.code))
    return 0


def _doctor(args) -> int:
    page, able = doctor.report()
    print(page)
    return 0 if able else 2


def _list(args) -> int:
    for lesson in course.lessons().values():
        print(f"{lesson.id}  {lesson.title}, {lesson.duration_min} minutes, {lesson.xp} points")
    return 0


def _reference(args) -> int:
    shutil.rmtree(args.dir, ignore_errors=True)
    stage.stage_reference(args.dir)
    print(f"the reference stands in {args.dir}")
    return 0


def _skeletons(args) -> int:
    stale = []
    for solution in stage.solutions():
        skeleton, source = stage.skeleton_of(solution), render_file(solution, "skeleton")
        if skeleton.is_file() and skeleton.read_text(encoding="utf-8") == source:
            continue
        stale.append(str(skeleton.relative_to(course.ROOT)))
        if not args.check:
            skeleton.write_text(source, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'differs from its solution' if args.check else 'written'}")
    return 1 if stale and args.check else 0


def _lessons(args) -> int:
    wrong = []
    for lesson in course.lessons().values():
        if args.only and lesson.id not in args.only:
            continue
        stale = text.refresh(lesson.path, args.check)
        wrong += [f"{where}: differs from its file" for where in stale] if args.check else []
        if args.check:
            wrong += text.run_blocks(lesson)
    if not args.only and not write_readme(args.check) and args.check:
        wrong.append("README.md: its verdict differs from what the grader prints")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


def _reset(args) -> int:
    """Keeps what stood there beside it: a reset must not cost a student an evening."""
    lesson = course.find(args.lesson)
    earlier = {name for needed in lesson.needs if needed in course.lessons()
               for name in course.find(needed).files}
    for solution in stage.solutions():
        skeleton = stage.skeleton_of(solution)
        name = str(skeleton.relative_to(course.ROOT))
        if name not in lesson.files or name in earlier:
            continue
        source = render_file(solution, "skeleton")
        if skeleton.is_file() and skeleton.read_text(encoding="utf-8", errors="replace") != source:
            number = 1
            while (saved := Path(f"{skeleton}.{number}.bak")).exists():
                number += 1
            skeleton.rename(saved)
            print(f"{name}: yours is kept as {saved.relative_to(course.ROOT)}")
        skeleton.write_text(source, encoding="utf-8")
        print(f"{name}: the skeleton is back")
    return 0
