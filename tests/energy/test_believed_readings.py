"""A counter's readings are believed at a stretch as they are one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.energy.counter import _believe, _Readings
from wbcbench.energy.integrate import energy_curve

BOARD = Channel(
    "nvml/gpu0/counter", Kind.COUNTER, Origin.MEASURED, Domain.GPU, update_s=0.1, limit_w=400.0
)
POWER = replace(BOARD, name="nvml/gpu0/power", kind=Kind.SAMPLED)
READ = energy_curve(Trace(POWER, [0.1 * i for i in range(401)], [200.0] * 401))


def draw_counter(seed: int) -> Trace:
    """A counter at 10 Hz with strays that stay for some polls, standstills and a reset."""
    rng = np.random.default_rng(seed)
    count = 400
    values_j = np.cumsum(rng.uniform(15.0, 25.0, count))
    if rng.random() < 0.5:
        start = int(rng.integers(50, 300))
        values_j[start : start + int(rng.integers(2, 40))] = values_j[start]
    if rng.random() < 0.5:
        values_j[int(rng.integers(100, 350)) :] -= values_j[100]
    for _ in range(int(rng.integers(1, 8))):
        place, length = int(rng.integers(5, count - 10)), int(rng.integers(1, 5))
        values_j[place : place + length] = values_j[place] + rng.choice([-1, 1]) * 5e3
    for _ in range(int(rng.integers(0, 8))):  # read too early, and again when it is true
        place, length = int(rng.integers(5, count - 10)), int(rng.integers(1, 4))
        values_j[place + length :] += rng.uniform(0.0, 60.0)
        values_j[place : place + length] = values_j[place + length]
    times_s = 0.1 * np.arange(count) + rng.uniform(0.0, 0.01, count)
    return Trace(BOARD, times_s.tolist(), np.abs(values_j).round(3).tolist())


@example(2442)  # once another answer
@given(st.integers(0, 2**32 - 1))
def test_what_is_surely_plain_is_what_would_be_believed_one_by_one(seed):
    trace = draw_counter(seed)
    at_a_stretch = _believe(trace, READ, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        list_steps = _Readings.list_plain_steps

        def never_plain(readings: _Readings):
            steps_j, is_plain = list_steps(readings)
            return steps_j, np.zeros_like(is_plain)

        patch.setattr(_Readings, "list_plain_steps", never_plain)
        one_by_one = _believe(trace, READ, 0.0)
    assert at_a_stretch.strays_s == one_by_one.strays_s
    assert at_a_stretch.anew == one_by_one.anew
    assert at_a_stretch.t_s.tolist() == one_by_one.t_s.tolist()
    assert at_a_stretch.total_j.tolist() == one_by_one.total_j.tolist()
