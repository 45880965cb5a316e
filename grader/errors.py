"""Three ways for grading to stop that are not a verdict on the student's code."""


class UsageError(Exception):
    """Wrong use, a broken lesson file or a missing tool: exit status 2."""


class GraderError(Exception):
    """Our fault: exit status 3, never a zero for the student."""


class CannotJudge(Exception):
    """The program did something that the grader cannot see; says what."""
