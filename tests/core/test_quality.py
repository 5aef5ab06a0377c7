"""Cautions add up to a verdict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wbcbench.core.quality import Quality, QualityWarning, Severity, worst_quality

severities = st.lists(st.sampled_from(Severity))


def warnings(found):
    return [QualityWarning("code", severity, "what was seen", "what to do") for severity in found]


def test_no_doubt_is_valid():
    assert worst_quality([]) is Quality.VALID


@given(severities)
def test_the_worst_severity_decides(found):
    worst = max(found, key=list(Severity).index, default=Severity.INFO)
    expected = {
        Severity.INFO: Quality.VALID,
        Severity.SUSPECT: Quality.SUSPECT,
        Severity.INVALID: Quality.INVALID,
    }
    assert worst_quality(warnings(found)) is expected[worst]


@given(severities, st.sampled_from(Severity))
def test_one_more_doubt_never_makes_a_run_better(found, more):
    order = list(Quality)
    before, after = worst_quality(warnings(found)), worst_quality(warnings([*found, more]))
    assert order.index(after) >= order.index(before)


@given(severities)
def test_the_order_of_doubts_does_not_matter(found):
    assert worst_quality(warnings(found)) is worst_quality(warnings(reversed(found)))
