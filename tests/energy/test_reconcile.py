"""Two readings of one part: when they agree, when they do not, and when nobody can tell."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.evidence import counter, estimated_cpu, evidence, find_warnings, grade_run, power
from builders.machine import COUNTER, POWER
from wbcbench.core.quality import Quality, Severity
from wbcbench.core.trace import Domain, Origin, Trace
from wbcbench.core.window import WindowEnergy
from wbcbench.energy.cross_check import compare_readings
from wbcbench.energy.faults import is_pair
from wbcbench.energy.metrics import difference_pct

joules = st.floats(1.0, 1e6)


def stated(energy_j, uncertainty_j=0.0, channel="c"):
    return WindowEnergy("train", channel, energy_j, uncertainty_j, 1.0, 100, 0.1)


@pytest.mark.parametrize(
    ("off_pct", "status"),
    [(0, "ok"), (2.9, "ok"), (-2.9, "ok"), (3.1, "suspect"), (-9.9, "suspect"), (10.1, "invalid")],
)
def test_the_status_follows_the_difference_where_the_uncertainty_is_small(off_pct, status):
    found = compare_readings(stated(1000 * (1 + off_pct / 100), 1.0), stated(1000.0, 1.0, "p"))
    assert found.difference_pct == pytest.approx(off_pct)
    assert found.status == status


@given(joules, joules, st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_difference_within_the_uncertainties_is_never_held_against_anybody(a, b, ua, ub):
    found = compare_readings(stated(a, ua), stated(b, ub, "p"))
    if abs(a - b) < (ua**2 + ub**2) ** 0.5 * (1 - 1e-9):
        assert found.status in {"ok", "inconclusive"}
    elif abs(a - b) > 1.5001 * (ua**2 + ub**2) ** 0.5:
        assert found.status != "inconclusive"


@pytest.mark.parametrize("uncertainty_j", [None, 500.0])
def test_what_is_uncertain_cannot_tell(uncertainty_j):
    assert (
        compare_readings(stated(1200.0, uncertainty_j), stated(1000.0, 1.0)).status
        == "inconclusive"
    )


@pytest.mark.parametrize(("a", "b"), [(None, 5.0), (5.0, None), (5.0, 0.0), (5.0, -1.0)])
def test_an_unknown_or_empty_side_gives_no_difference(a, b):
    assert difference_pct(a, b) is None
    assert compare_readings(stated(a), stated(b)) is None


def test_counter_and_integral_of_one_board_are_compared_in_every_window():
    made = evidence(counter(), power())
    assert {each.window for each in made.agreements} == {"", *(w.name for w in made.windows)}
    assert {(each.a, each.b) for each in made.agreements} == {(COUNTER.name, POWER.name)}
    assert {each.status for each in made.agreements} <= {"ok", "inconclusive"}


@pytest.mark.parametrize(
    ("gain", "severity", "result"),
    [
        (1.06, Severity.SUSPECT, Quality.SUSPECT),
        (0.94, Severity.SUSPECT, Quality.SUSPECT),
        (1.15, Severity.INVALID, Quality.INVALID),
        (0.7, Severity.INVALID, Quality.INVALID),
    ],
)
def test_witnesses_that_disagree_in_training_are_doubted(gain, severity, result):
    made = evidence(counter(), power(lambda t, w: gain * w))
    assert find_warnings(made)["readings-disagree"].severity is severity
    assert find_warnings(made)["readings-disagree"].window == "train"
    assert grade_run(made) is result


def test_witnesses_that_disagree_only_in_another_window_leave_the_run_suspect():
    made = evidence(counter(), power(lambda t, w: 0.6 * w if 85.2 < t < 96.3 else w))
    assert find_warnings(made)["readings-disagree"].severity is Severity.SUSPECT
    assert find_warnings(made)["readings-disagree"].window == "evaluate"


def test_codecarbon_is_compared_and_never_judged():
    trace = counter()
    own = replace(COUNTER, name="codecarbon/gpu", reading="nvml", device=None)
    other = Trace(own, trace.t_s, [1.4 * value for value in trace.value])
    made = evidence(counter(), power(), other, estimated_cpu())
    [cross] = [e for e in made.agreements if e.b == "codecarbon/gpu" and e.window == "train"]
    assert cross.status == "cross-check"
    assert cross.difference_pct == pytest.approx(-28.6, abs=0.1)
    assert find_warnings(made)["codecarbon-differs"].severity is Severity.INFO
    assert grade_run(made) is Quality.VALID


def test_joules_of_several_boards_are_added_before_they_meet_codecarbon():
    trace = counter()
    second = replace(COUNTER, name="nvml/gpu1/counter", device="GPU-2")
    whole = replace(COUNTER, name="codecarbon/gpu", reading="nvml", device=None)
    made = evidence(
        trace,
        Trace(second, trace.t_s, trace.value),
        Trace(whole, trace.t_s, [2 * value for value in trace.value]),
    )
    [cross] = [e for e in made.agreements if e.window == "train"]
    assert cross.a == "nvml/gpu0/counter+nvml/gpu1/counter"
    assert cross.difference_pct == pytest.approx(0.0, abs=0.01)


def test_codecarbon_is_compared_with_the_boards_that_it_reads_and_no_others():
    trace = counter()
    second = replace(COUNTER, name="nvml/gpu1/counter", device="GPU-2")
    own = replace(COUNTER, name="codecarbon/gpu", reading="nvml", device="GPU-2")
    made = evidence(
        trace,
        Trace(second, trace.t_s, [3 * value for value in trace.value]),
        Trace(own, trace.t_s, [3 * value for value in trace.value]),
    )
    [cross] = [e for e in made.agreements if e.window == "train"]
    assert (cross.a, cross.difference_pct) == ("nvml/gpu1/counter", pytest.approx(0.0, abs=0.01))
    unknown = Trace(replace(own, device="GPU-2+GPU-3"), trace.t_s, trace.value)
    assert not evidence(trace, Trace(second, trace.t_s, trace.value), unknown).agreements


@pytest.mark.parametrize(
    ("other", "pair"),
    [
        (POWER, True),
        (replace(POWER, device="GPU-2"), False),
        (replace(POWER, name="nvml/gpu1/power"), False),
        (replace(POWER, domain=Domain.CPU), False),
        (replace(COUNTER, name="nvml/gpu0/other"), False),
    ],
)
def test_a_witness_is_the_other_kind_of_reading_of_the_same_board(other, pair):
    assert is_pair(COUNTER, other) is pair


def test_a_model_is_no_witness():
    trace = power(lambda t, w: 0.5 * w)
    model = Trace(replace(POWER, origin=Origin.ESTIMATED), trace.t_s, trace.value)
    assert not [e for e in evidence(counter(), model).agreements if e.status != "cross-check"]
