"""Sensors that lie: every one is found, none ends valid, and nothing unknown becomes 0 J."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders.evidence import (
    TIMES,
    TRUE_TRAIN_J,
    WINDOWS,
    counter,
    estimated_cpu,
    evidence,
    find_warnings,
    grade_run,
    load_j,
    power,
    without,
)
from builders.machine import COUNTER, POWER
from wbcbench.core.quality import Quality, Severity
from wbcbench.core.trace import Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy.source import primary_source, source_energy_j

FROZEN_FROM_40 = counter(lambda t, j: min(j, load_j(40.0)))
RESET_AT_40 = counter(lambda t, j: j if t < 40 else j - load_j(40.0))
JUMP_AT_40 = counter(lambda t, j: j if t < 40 else j + 90_000)
DEAD = counter(lambda t, j: 5.0)


def test_a_healthy_run_is_valid_and_its_headline_is_the_counter():
    made = evidence(counter(), power(), estimated_cpu())
    assert grade_run(made) is Quality.VALID
    assert primary_source(made).channels == (COUNTER.name,)
    assert source_energy_j(made, primary_source(made), "train") == pytest.approx(TRUE_TRAIN_J)


@pytest.mark.parametrize(
    ("trace", "code"),
    [
        (FROZEN_FROM_40, "counter-frozen"),
        (DEAD, "counter-frozen"),
    ],
)
def test_a_counter_that_stands_still_for_most_of_a_window_gives_way_to_power(trace, code):
    made = evidence(trace, power(), estimated_cpu())
    found = find_warnings(made)
    assert found[code].severity is Severity.SUSPECT
    assert found[code].channel == COUNTER.name
    assert found[code].window == "train"
    assert found["fallback-source"].severity is Severity.SUSPECT
    assert grade_run(made) is Quality.SUSPECT
    who = primary_source(made)
    assert who.channels == (POWER.name,)
    assert source_energy_j(made, who, "train") == pytest.approx(TRUE_TRAIN_J, rel=0.01)
    assert made.energy("train", COUNTER.name).energy_j is None
    assert made.energy("train", COUNTER.name).reason


@pytest.mark.parametrize(
    ("trace", "code"),
    [
        (RESET_AT_40, "counter-reset"),
        (JUMP_AT_40, "counter-jump"),
        (counter(lambda t, j: min(j, load_j(60.0))), "counter-frozen"),
    ],
)
def test_a_break_of_a_counter_is_bridged_with_power_and_the_run_is_suspect(trace, code):
    made = evidence(trace, power(), estimated_cpu())
    found = find_warnings(made)
    assert found[code].severity is Severity.SUSPECT
    assert "fallback-source" not in found
    assert grade_run(made) is Quality.SUSPECT
    energy = made.energy("train", COUNTER.name)
    assert energy.energy_j == pytest.approx(TRUE_TRAIN_J, rel=0.001)
    assert abs(energy.energy_j - TRUE_TRAIN_J) <= energy.uncertainty_j < 0.02 * TRUE_TRAIN_J


@pytest.mark.parametrize("trace", [FROZEN_FROM_40, DEAD, RESET_AT_40, JUMP_AT_40])
def test_a_faulty_counter_without_a_witness_makes_the_run_invalid(trace):
    made = evidence(trace, estimated_cpu())
    assert grade_run(made) is Quality.INVALID
    assert find_warnings(made)["energy-unknown"].severity is Severity.INVALID
    assert made.energy("train", COUNTER.name).energy_j is None


def test_windows_before_a_counter_froze_keep_their_joules():
    made = evidence(counter(lambda t, j: min(j, load_j(60.0))), power())
    assert made.energy("epoch-1", COUNTER.name).energy_j == pytest.approx(35 * 250.0)
    assert made.energy("epoch-2", COUNTER.name).energy_j is None  # 25 of 35 s stood still


def test_a_counter_that_was_late_and_made_up_for_it_is_not_frozen():
    made = evidence(counter(lambda t, j: load_j(40.0) if 40 <= t < 44 else j), power())
    assert "counter-frozen" not in find_warnings(made)
    assert made.energy("train", COUNTER.name).energy_j == pytest.approx(TRUE_TRAIN_J)


def test_a_counter_that_stands_still_while_its_board_draws_nothing_is_not_frozen():
    still = Trace(replace(COUNTER, update_s=None), TIMES, [5.0] * len(TIMES))
    nothing = Trace(replace(POWER, origin=Origin.SIMULATED), TIMES, [0.0] * len(TIMES))
    made = evidence(still, nothing, windows=(Window("idle_cold", 11.0, 14.0),), trained=False)
    assert "counter-frozen" not in find_warnings(made)


def test_no_window_of_a_dead_counter_reports_zero_or_negative_joules():
    made = evidence(DEAD, power(lambda t, w: 0.0))
    assert all(e.energy_j is None or e.energy_j > 0 for e in made.energies)
    assert grade_run(made) is Quality.INVALID


def test_one_failed_read_taken_as_zero_is_a_stray_and_costs_no_joule():
    made = evidence(counter(lambda t, j: 0.0 if 40 <= t < 40.05 else j), power())
    assert find_warnings(made)["counter-outlier"].severity is Severity.SUSPECT
    assert made.energy("train", COUNTER.name).energy_j == pytest.approx(TRUE_TRAIN_J)


@pytest.mark.parametrize("watts", [0.0, -1.0])
def test_a_power_reading_of_nothing_is_a_gap_and_the_counter_speaks(watts):
    made = evidence(counter(), power(lambda t, w: watts if 30 <= t < 60 else w))
    assert find_warnings(made)["power-zero"].severity is Severity.SUSPECT
    energy = made.energy("train", POWER.name)
    assert abs(energy.energy_j - TRUE_TRAIN_J) <= energy.uncertainty_j
    most = evidence(counter(), power(lambda t, w: watts if 30 <= t < 70 else w))
    assert most.energy("train", POWER.name).energy_j is None
    assert grade_run(made) is Quality.SUSPECT
    assert primary_source(made).channels == (COUNTER.name,)


def test_a_board_with_nothing_but_zero_power_is_invalid_and_not_free():
    made = evidence(power(lambda t, w: 0.0))
    assert grade_run(made) is Quality.INVALID
    assert made.energy("train", POWER.name).energy_j is None


def test_a_power_reading_that_sticks_is_found_by_the_counter():
    made = evidence(counter(), power(lambda t, w: 60.0 if t >= 12 else w))
    found = find_warnings(made)
    assert found["power-stuck"].severity is Severity.SUSPECT
    assert made.energy("train", POWER.name).energy_j is None
    assert grade_run(made) is Quality.SUSPECT
    assert primary_source(made).channels == (COUNTER.name,)


def test_a_power_reading_that_never_changes_is_believed_if_the_counter_agrees():
    made = evidence(counter(), power(lambda t, w: 250.0 if 14.5 <= t < 96.5 else 60.0))
    assert "power-stuck" not in find_warnings(made)
    assert grade_run(made) is Quality.VALID


def test_a_power_reading_that_never_changed_is_not_called_stuck():
    made = evidence(power(lambda t, w: 250.0))
    assert "power-stuck" not in find_warnings(made)


@pytest.mark.parametrize("watts", [5000.0, 4e6])
@pytest.mark.parametrize("channel", [POWER, replace(POWER, limit_w=None)])
def test_a_reading_that_no_board_can_draw_moves_neither_joules_nor_interval(watts, channel):
    def read(change):
        trace = power(change)
        return evidence(Trace(channel, trace.t_s, trace.value))

    sound = read(lambda t, w: None if 40 <= t < 40.05 else w).energy("train", POWER.name)
    made = read(lambda t, w: watts if 40 <= t < 40.05 else w)
    energy = made.energy("train", POWER.name)
    assert (energy.energy_j, energy.uncertainty_j) == (sound.energy_j, sound.uncertainty_j)
    assert abs(energy.energy_j - TRUE_TRAIN_J) <= energy.uncertainty_j
    assert f"{watts:,.0f} W" in find_warnings(made)["power-spike"].detail
    assert grade_run(made) is Quality.SUSPECT


@pytest.mark.parametrize("reading", ["power_instant", "power_average"])
@pytest.mark.parametrize(
    ("factor", "code"), [(1.15, None), (1.65, "power-over-limit"), (1.75, "power-spike")]
)
def test_transients_are_real_up_to_a_limit(reading, factor, code):
    high = power(lambda t, w: factor * 400 if 40 <= t < 40.05 else w)
    trace = Trace(replace(POWER, reading=reading), high.t_s, high.value)
    found = find_warnings(evidence(counter(), trace))
    assert {"power-over-limit", "power-spike"} & set(found) == ({code} if code else set())


def test_readings_above_the_limit_are_held_by_the_interval_and_decided_by_a_counter():
    high = power(lambda t, w: 650.0 if 40 <= t < 40.5 else w)
    alone, both = evidence(high), evidence(counter(), high)
    energy = alone.energy("train", POWER.name)
    assert energy.energy_j > TRUE_TRAIN_J + 150
    assert abs(energy.energy_j - TRUE_TRAIN_J) <= energy.uncertainty_j
    assert find_warnings(alone)["power-over-limit"].severity is Severity.SUSPECT
    assert find_warnings(both)["power-over-limit"].severity is Severity.INFO
    assert primary_source(both).channels == (COUNTER.name,)


def test_a_fault_on_a_mere_cross_check_is_told_and_does_not_touch_the_verdict():
    stopped = estimated_cpu()
    frozen = Trace(stopped.channel, stopped.t_s, [min(v, 900.0) for v in stopped.value])
    made = evidence(counter(), power(), frozen)
    assert find_warnings(made)["counter-frozen"].severity is Severity.INFO
    assert grade_run(made) is Quality.VALID


# --- gaps, failed reads, lost heartbeats ---------------------------------------------------------


def test_a_board_lost_for_a_while_is_a_gap_with_its_covered_share():
    def lost(t, value):
        return None if 30 <= t < 44 else value

    made = evidence(counter(lost), power(lost))
    found = find_warnings(made)
    assert found["sampling-gap"].severity is Severity.SUSPECT
    assert "80 % of `train` are covered" in found["sampling-gap"].detail
    assert found["reads-failed"].severity is Severity.SUSPECT
    assert grade_run(made) is Quality.SUSPECT
    assert made.energy("train", COUNTER.name).energy_j == pytest.approx(TRUE_TRAIN_J)


def test_a_board_lost_for_good_leaves_unknown_joules_and_an_invalid_run():
    def lost(t, value):
        return None if t >= 40 else value

    made = evidence(counter(lost), power(lost), estimated_cpu())
    assert grade_run(made) is Quality.INVALID
    assert find_warnings(made)["energy-unknown"].severity is Severity.INVALID
    assert made.energy("train", COUNTER.name).energy_j is None
    assert made.energy("train", POWER.name).energy_j is None


def test_an_integral_that_is_mostly_gap_cannot_carry_the_headline():
    made = evidence(power(lambda t, w: None if 20 <= t < 70 else w))
    assert find_warnings(made)["sampling-gap"].severity is Severity.INVALID


def test_a_driver_that_hangs_for_five_seconds_leaves_a_suspect_window():
    made = evidence(without(counter(), 30, 35), without(power(), 30, 35))
    assert find_warnings(made)["sampling-gap"].severity is Severity.SUSPECT
    assert grade_run(made) is Quality.SUSPECT


def test_a_gap_outside_the_work_is_told_without_touching_the_verdict():
    made = evidence(without(counter(), 12, 13), without(power(), 12, 13))
    assert find_warnings(made)["sampling-gap"].severity is Severity.INFO
    assert grade_run(made) is Quality.VALID


def test_one_failed_read_during_the_work_is_suspect():
    made = evidence(counter(lambda t, j: None if 40 <= t < 40.05 else j), power())
    assert find_warnings(made)["reads-failed"].severity is Severity.SUSPECT


def test_a_meter_that_stopped_being_polled_makes_the_run_invalid():
    made = evidence(without(counter(), 90, 200), without(power(), 90, 200))
    found = find_warnings(made)["heartbeat-lost"]
    assert found.severity is Severity.INVALID
    assert grade_run(made) is Quality.INVALID


def test_a_meter_that_was_never_polled_makes_the_run_invalid():
    made = evidence(Trace(COUNTER, [], []), power())
    assert find_warnings(made)["heartbeat-lost"].severity is Severity.INVALID


def test_polls_end_a_little_before_the_last_window_without_a_doubt():
    made = evidence(without(counter(), 99.9, 200), without(power(), 99.9, 200))
    assert "heartbeat-lost" not in find_warnings(made)


def test_a_window_cut_in_the_middle_of_training_is_invalid():
    made = evidence(counter(), power(), cut=("train", "epoch-2"))
    assert find_warnings(made)["window-truncated"].severity is Severity.INVALID
    assert (
        find_warnings(replace(made, cut=("evaluate",)))["window-truncated"].severity
        is Severity.SUSPECT
    )


def test_all_windows_are_looked_at():
    assert {e.window for e in evidence(counter()).energies} == {w.name for w in WINDOWS}
