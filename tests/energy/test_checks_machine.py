"""Strangers, throttling, heat, idle drift and aliasing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders.evidence import counter, evidence, find_warnings, grade_run, healthy_board, power
from builders.machine import GPU, POWER
from wbcbench.core.quality import Quality, Severity
from wbcbench.core.trace import Trace
from wbcbench.energy.checks.sampling import describe_ratio, mean_step_s


def with_board(*states, **fields):
    return evidence(counter(), power(), telemetry=states, **fields)


def test_a_healthy_board_raises_no_doubt():
    made = with_board(healthy_board("idle_cold", sees_own=False), healthy_board())
    assert grade_run(made) is Quality.VALID
    assert not set(find_warnings(made)) & {
        "foreign-process",
        "pids-hidden",
        "throttled",
        "cold-start",
    }


def test_a_foreign_process_makes_the_run_suspect_and_is_named():
    found = find_warnings(with_board(healthy_board(foreign_pids=(4242,), processes_most=2)))
    assert found["foreign-process"].severity is Severity.SUSPECT
    assert "4242" in found["foreign-process"].detail
    assert GPU in found["foreign-process"].detail


def test_any_process_is_foreign_while_training_runs_on_the_processor():
    made = with_board(
        healthy_board(foreign_pids=(7,), sees_own=False, processes_most=1), device="/CPU:0"
    )
    assert find_warnings(made)["foreign-process"].severity is Severity.SUSPECT
    assert "pids-hidden" not in find_warnings(made)


def test_one_process_of_another_namespace_is_taken_for_the_trainer_and_said_so():
    made = with_board(healthy_board(foreign_pids=(4242,), sees_own=False, processes_most=1))
    assert find_warnings(made)["pids-hidden"].severity is Severity.INFO
    assert grade_run(made) is Quality.VALID


@pytest.mark.parametrize(
    "state",
    [
        healthy_board(foreign_pids=(1, 2), sees_own=False, processes_most=2),
        healthy_board("idle_cold", foreign_pids=(1,), sees_own=False, processes_most=1),
    ],
)
def test_a_second_process_or_an_early_one_is_a_stranger_even_where_ids_are_hidden(state):
    assert find_warnings(with_board(state))["foreign-process"].severity is Severity.SUSPECT


def test_a_board_that_is_busy_before_the_run_makes_it_suspect():
    made = with_board(healthy_board("idle_cold", utilization=0.4))
    assert find_warnings(made)["busy-before-start"].severity is Severity.SUSPECT


def test_two_harnesses_at_once_are_suspect():
    assert find_warnings(with_board(shared=True))["shared-machine"].severity is Severity.SUSPECT


@pytest.mark.parametrize(
    ("reason", "seconds", "code", "severity"),
    [
        ("hw_slowdown", 2.0, "throttled", Severity.SUSPECT),
        ("sw_thermal_slowdown", 2.0, "throttled", Severity.SUSPECT),
        ("hw_thermal_slowdown", 30.0, "throttled", Severity.INVALID),
        ("hw_power_brake", 30.0, "throttled", Severity.INVALID),
        ("sw_power_cap", 70.0, "power-capped", Severity.INFO),
    ],
)
def test_throttling_weighs_by_its_reason_and_its_share(reason, seconds, code, severity):
    made = with_board(healthy_board(throttled_s={reason: seconds}))
    assert find_warnings(made)[code].severity is severity


def test_being_idle_is_no_throttling():
    made = with_board(healthy_board(throttled_s={"gpu_idle": 60.0, "application_clocks": 9.0}))
    assert "throttled" not in find_warnings(made)


def test_throttling_outside_the_work_is_no_doubt():
    made = with_board(healthy_board("idle_post", throttled_s={"hw_slowdown": 2.0}))
    assert "throttled" not in find_warnings(made)


def test_a_cold_start_and_a_hot_board_are_told():
    cold = healthy_board(temperature_start_c=35.0, temperature_mean_c=60.0)
    assert find_warnings(with_board(cold))["cold-start"].severity is Severity.INFO
    hot = healthy_board(temperature_max_c=88.0)
    assert find_warnings(with_board(hot))["high-temperature"].severity is Severity.INFO


def test_unknown_temperatures_raise_no_doubt():
    unknown = healthy_board(
        temperature_start_c=None, temperature_mean_c=None, temperature_max_c=None
    )
    assert not {"cold-start", "high-temperature"} & set(find_warnings(with_board(unknown)))


def test_idle_power_that_is_higher_after_the_run_is_told():
    def warmer(t, j):
        return j + max(t - 96.5, 0.0) * 15.0

    made = evidence(counter(warmer), power(lambda t, w: w + 15.0 * (t >= 96.5)))
    assert find_warnings(made)["idle-drift"].severity is Severity.INFO
    assert "idle-drift" not in find_warnings(evidence(counter(), power()))


# --- aliasing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step_s", "kin"),
    [
        (0.1, "nearly"),
        (0.104, "nearly"),
        (0.106, ""),
        (0.202, "nearly 2 times"),
        (0.0333, "nearly 1/3 of"),
        (0.49, "nearly 5 times"),
        (0.61, ""),
        (0.007, ""),
    ],
)
def test_a_step_beats_with_a_sensor_near_its_divisors_and_multiples(step_s, kin):
    assert describe_ratio(step_s, 0.1) == kin


def part_time_power(update_s, averaging_s):
    trace = power()
    channel = replace(POWER, update_s=update_s, averaging_s=averaging_s)
    return Trace(channel, trace.t_s, trace.value)


def test_the_step_time_is_the_mean_over_all_epochs():
    assert mean_step_s(evidence(counter())) == pytest.approx(0.35)
    assert mean_step_s(evidence(counter(), epochs=())) is None


def test_a_headline_from_a_part_time_sensor_in_step_with_training_is_suspect():
    made = evidence(part_time_power(0.35, 0.025))
    assert find_warnings(made)["aliasing"].severity is Severity.SUSPECT


def test_the_same_beside_a_counter_is_only_told():
    made = evidence(counter(), part_time_power(0.35, 0.025))
    assert find_warnings(made)["aliasing"].severity is Severity.INFO


def test_a_sensor_that_looks_all_the_time_does_not_alias():
    assert "aliasing" not in find_warnings(evidence(part_time_power(0.35, 0.35)))
