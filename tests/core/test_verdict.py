"""Cautions add up to a verdict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wbcbench.core.quality import Caution, Severity, Verdict, verdict

severities = st.lists(st.sampled_from(Severity))


def cautions(found):
    return [Caution("code", severity, "what was seen", "what to do") for severity in found]


def test_no_doubt_is_valid():
    assert verdict([]) is Verdict.VALID


@given(severities)
def test_the_worst_severity_decides(found):
    worst = max(found, key=list(Severity).index, default=Severity.INFO)
    expected = {
        Severity.INFO: Verdict.VALID,
        Severity.SUSPECT: Verdict.SUSPECT,
        Severity.INVALID: Verdict.INVALID,
    }
    assert verdict(cautions(found)) is expected[worst]


@given(severities, st.sampled_from(Severity))
def test_one_more_doubt_never_makes_a_run_better(found, more):
    order = list(Verdict)
    before, after = verdict(cautions(found)), verdict(cautions([*found, more]))
    assert order.index(after) >= order.index(before)


@given(severities)
def test_the_order_of_doubts_does_not_matter(found):
    assert verdict(cautions(found)) is verdict(cautions(reversed(found)))
