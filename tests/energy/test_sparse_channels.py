"""What is read at edges only has joules of what lies between two readings, and of nothing else."""

from __future__ import annotations

import pytest

from builders.evidence import counter, evidence, power
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy.checks import run_checks
from wbcbench.energy.integrate import window_energy

SPARSE = Channel(
    "codecarbon/cpu", Kind.COUNTER, Origin.ESTIMATED, Domain.CPU, "tdp_load", sparse=True
)
# 10 W up to 100 s, then 50 W: read at the start, 20 ms after both edges of a load, and at the end.
TIMES_S = (90.0, 100.02, 160.02, 162.0)
TRACE = Trace(SPARSE, TIMES_S, [100.0 if t <= 100 else 200.0 + 50.0 * (t - 100) for t in TIMES_S])


def test_a_window_with_a_reading_close_to_both_edges_has_its_joules() -> None:
    energy = window_energy(TRACE, Window("train", 100.0, 160.0))
    assert energy.energy_j == pytest.approx(60 * 50.0, rel=2e-3)
    assert energy.samples == 1


@pytest.mark.parametrize(("start_s", "end_s"), [(110.0, 120.0), (100.0, 130.0), (150.0, 160.0)])
def test_nothing_is_interpolated_over_a_long_time(start_s: float, end_s: float) -> None:
    energy = window_energy(TRACE, Window("epoch-1", start_s, end_s))
    assert energy.energy_j is None
    assert energy.mean_power_w is None
    assert "read at the edges of the run" in energy.reason


def test_a_window_that_begins_before_the_first_reading_has_none() -> None:
    assert window_energy(TRACE, Window("whole", 80.0, 160.0)).energy_j is None


def test_neither_its_gaps_nor_its_last_reading_are_faults() -> None:
    measured = evidence(counter(), power())
    end_s = max(window.end_s for window in measured.windows)
    trace = Trace(SPARSE, [0.0, 1.0, end_s - 30.0], [0.0, 1.0, 60.0])
    codes = {w.code for w in run_checks(evidence(counter(), power(), trace))}
    assert codes == {w.code for w in run_checks(measured)}
