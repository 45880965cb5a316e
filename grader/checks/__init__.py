"""The checks: each is a function whose docstring is what is asked of the student.

A lesson's front matter names the checks it wants, by their function's name with
dashes, and gives each its points. A check yields Findings; none means passed. The
first line of its docstring is its title. It may raise CannotJudge, and Failed where
the student's program did not come back.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..result import Finding


@dataclass(frozen=True)
class Check:
    id: str
    title: str
    requirement: str
    needs: tuple[str, ...]  # checks that must pass first, where the lesson has them
    run: Callable[..., Iterator[Finding]]


REGISTRY: dict[str, Check] = {}


def check(*needs: str):
    """Registers a check that waits for the checks in `needs`."""

    def register(function):
        requirement = inspect.cleandoc(function.__doc__)
        name = function.__name__.replace("_", "-")
        if name in REGISTRY:
            raise ValueError(f"two checks are called {name}")
        title = requirement.splitlines()[0].rstrip(".")
        REGISTRY[name] = Check(name, title, requirement, needs, function)
        return function

    return register


from . import (  # noqa: E402,F401  they register
    anchor_cosignature, anchor_crash, anchor_durability, anchor_faults, anchor_record,
    anchor_recovery, anchor_storage, cas_atomic, cas_damaged, cas_durability, cas_faults,
    cas_store, checkpoint, checkpoint_crash, checkpoint_faults, checkpoint_recovery, codec_crash,
    common, crash_scenarios, group_commit, group_crash, group_faults, group_flushes, log_crash,
    store_crash, wal_record, wal_recovery, wal_recovery_faults, wal_writer, wal_writer_faults,
    wal_writer_trace,
)
