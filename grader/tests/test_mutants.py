"""Known-bad solutions are caught with their finding; correct ones get every point.

A sample, some from each lesson; `make grade-the-grader` goes through all of them.
"""

import pytest

from grader import course, findings
from grader.audit import audit_mutant, audit_variant
from grader.checks import REGISTRY, common
from grader.mutants import mutants, variants

SAMPLE = mutants()[::7]
ODD = variants()[::3]


@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda m: m.name)
def test_a_mutant_is_caught_with_its_finding(mutant):
    outcome = audit_mutant(mutant)
    assert outcome.caught == "right", outcome.detail


@pytest.mark.parametrize("variant", ODD, ids=[f"{p.parent.name}/{p.stem}" for p in ODD])
def test_a_variant_gets_every_point(variant):
    outcome = audit_variant(variant)
    assert outcome.caught == "passed", outcome.detail


def test_each_check_has_a_mutant_that_it_must_catch():
    """A check that no program fails is a check that may not be able to fail. Those that
    every lesson has need one in any lesson."""
    everywhere = {name for name, check in REGISTRY.items() if check.run.__module__ == common.__name__}
    asked = {(name, check) for name in course.lessons() for check in course.find(name).checks}
    named = {(mutant.lesson, mutant.check) for mutant in mutants()}
    assert named <= asked
    assert [pair for pair in asked - named if pair[1] not in everywhere] == []
    assert everywhere <= {check for _, check in named}


def test_each_finding_has_a_mutant_that_earns_it_and_each_mutant_an_entry():
    assert {mutant.finding for mutant in mutants()} == set(findings.catalogue())
