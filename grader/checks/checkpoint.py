"""Checks of the log with checkpoints: what it keeps, writes, replays, removes and refuses."""

from ..run import Run, Script
from ..result import Finding
from . import check
from . import checkpoint_format as form


@check("prints-what-the-lesson-shows")
def keeps_the_map(run: Run):
    """The map is there again when the log is opened again."""
    yield from ()
