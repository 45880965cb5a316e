"""The front door: python3 -m grader COMMAND. Exit status: 0 all passed, 1 something
did not, 2 wrong use or a missing tool, 3 a fault of the grader."""

import sys

from . import doctor


def main(argv: list[str]) -> int:
    missing = doctor.missing_modules()
    if missing and argv[:1] != ["doctor"]:
        print(f"grader: {sys.executable} lacks: {', '.join(missing)}", file=sys.stderr)
        print(f"    to mend it: make setup (or: {doctor.PIP})", file=sys.stderr)
        return 2
    if missing:
        text, _ = doctor.report()
        print(text)
        return 2
    from .cli import run

    return run(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
