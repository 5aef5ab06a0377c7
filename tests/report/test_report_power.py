"""What a picture of power shows: every reading or its envelope, steps that keep the joules."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.evidence import counter, estimated_cpu, power, without
from builders.machine import COUNTER, POWER
from wbcbench.core.trace import Trace
from wbcbench.energy.appraise import review_traces
from wbcbench.energy.integrate import energy_curve, find_gaps
from wbcbench.report.sections.timelines import Steps, collect_readings, compute_steps


def joules(drawn):
    spans = zip(pairwise(drawn.t_s), drawn.power_w, strict=False)
    return math.fsum(w * (b - a) for (a, b), w in spans if not math.isnan(w))


def test_few_readings_are_all_drawn():
    trace = power()
    drawn = collect_readings(trace, most=2000)
    assert drawn.size == 1
    assert [(t, v) for t, v, _ in drawn.strokes] == list(zip(*trace.good, strict=True))
    assert all(low == high for _, low, high in drawn.strokes)


def draw_steps(trace: Trace, most: int = 200) -> Steps:
    return compute_steps(review_traces([trace], []).traces[0], most)


@given(st.lists(st.floats(0, 500), min_size=1, max_size=400), st.integers(1, 90))
def test_an_envelope_holds_the_lowest_and_the_highest_reading(values, most):
    trace = Trace(POWER, [0.1 * i for i in range(len(values))], values)
    drawn = collect_readings(trace, most=most)
    assert len(drawn.strokes) <= most
    assert min(low for _, low, _ in drawn.strokes) == min(values)
    assert max(high for _, _, high in drawn.strokes) == max(values)
    assert drawn.total == len(values)


@given(st.lists(st.floats(1, 100), min_size=2, max_size=300), st.integers(1, 90))
def test_steps_keep_every_joule_however_few_are_drawn(moves, most):
    totals = [math.fsum(moves[:i]) for i in range(len(moves) + 1)]
    trace = Trace(COUNTER, [0.2 * i for i in range(len(totals))], totals)
    drawn = draw_steps(trace, most=most)
    assert len(drawn.t_s) <= most + 1
    assert joules(drawn) == pytest.approx(energy_curve(trace).energy_j[-1])


def test_nothing_is_drawn_across_a_gap():
    torn = without(counter(), 40.0, 44.0)
    ((start_s, end_s),) = find_gaps(torn.good[0])
    assert (start_s, end_s) == pytest.approx((39.9, 44.0))
    drawn = draw_steps(torn, most=100)
    inside = [w for (a, b), w in zip(pairwise(drawn.t_s), drawn.power_w, strict=False)
              if a < end_s and start_s < b]  # fmt: skip
    assert inside
    assert all(math.isnan(w) for w in inside)
    whole = draw_steps(counter(), most=100)
    assert joules(drawn) == pytest.approx(joules(whole) - 4.1 * 250.0, rel=0.01)


def test_no_stroke_of_readings_reaches_over_a_gap():
    drawn = collect_readings(without(power(), 40.0, 44.0), most=50)
    assert not [t for t, _, _ in drawn.strokes if 40.0 <= t < 44.0]


def test_a_reset_is_torn_and_not_drawn_as_power():
    broken = counter(lambda t, j: j if t < 50.0 else j - 5_000.0)
    assert max(w for w in draw_steps(broken).power_w if not math.isnan(w)) < 400.0
    assert min(w for w in draw_steps(broken).power_w if not math.isnan(w)) >= 0.0


def test_a_failed_reading_is_neither_drawn_nor_zero():
    trace = power(lambda t, w: None if int(t) == 30 else w)
    assert min(low for _, low, _ in collect_readings(trace).strokes) > 50.0


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_readings_draw_what_there_is(n):
    assert len(collect_readings(Trace(POWER, [1.0][:n], [60.0][:n])).strokes) == n
    assert [
        w for w in draw_steps(Trace(COUNTER, [1.0][:n], [60.0][:n])).power_w if not math.isnan(w)
    ] == []


def test_the_model_of_the_processor_is_one_step_a_second():
    drawn = draw_steps(estimated_cpu())
    assert drawn.size == 1
    assert [w for w in drawn.power_w if not math.isnan(w)] == pytest.approx([45.0] * 94)
