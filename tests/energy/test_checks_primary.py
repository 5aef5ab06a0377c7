"""Short windows, few samples, and what stands behind the headline."""

from __future__ import annotations

import textwrap
from dataclasses import replace

import pytest

from builders.evidence import (
    EPOCHS,
    WINDOWS,
    counter,
    estimated_cpu,
    evidence,
    find_warnings,
    grade_run,
    healthy_board,
    power,
)
from builders.machine import COUNTER, CPU_MODEL, POWER
from wbcbench import registry
from wbcbench.core.quality import Quality, Severity
from wbcbench.core.record import AbsentMeter, Sampling
from wbcbench.core.trace import Domain, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy import checks
from wbcbench.energy.warnings import load_warnings


def lasting(length_s):
    """The windows of a run whose training lasted ``length_s``."""
    return (WINDOWS[0], Window("train", 15.0, 15.0 + length_s), WINDOWS[-1])


@pytest.mark.parametrize(
    ("length_s", "severity"),
    [(0.2, Severity.SUSPECT), (9.0, Severity.INFO), (30.0, Severity.INFO)],
)
def test_a_short_training_is_marked_and_suspect_if_its_interval_is_wide(length_s, severity):
    made = evidence(counter(), windows=lasting(length_s))
    of_train = [c for c in checks.run_checks(made) if c.code == "short-window" and c.window]
    assert [c.severity for c in of_train if c.window == "train"] == [severity]


def test_a_minute_of_training_is_long_enough():
    made = evidence(counter(), power())
    assert not [c for c in checks.run_checks(made) if c.code.startswith("short") and c.window]


def test_other_short_windows_share_one_warning_that_names_them():
    made = evidence(counter(), power())
    found = find_warnings(made)["short-window"]
    assert found.severity is Severity.INFO
    assert "idle_cold, idle_post" in found.detail


def test_a_training_of_few_readings_is_told_and_of_very_few_suspect():
    slow = replace(CPU_MODEL, origin=Origin.MEASURED, name="rapl/package-0/counter")
    few = Trace(slow, [10.0 + 9 * i for i in range(11)], [405.0 * i for i in range(11)])
    assert find_warnings(evidence(few))["few-samples"].severity is Severity.SUSPECT
    some = Trace(slow, [10.0 + 2 * i for i in range(46)], [90.0 * i for i in range(46)])
    assert find_warnings(evidence(some))["few-samples"].severity is Severity.INFO


def test_a_wide_interval_is_told():
    made = evidence(power(lambda t, w: w + 60 * (int(t * 10) % 3 - 1)), windows=lasting(5.0))
    assert find_warnings(made)["wide-interval"].severity is Severity.INFO


def test_a_machine_without_sensors_says_estimated_and_stays_valid():
    made = evidence(
        estimated_cpu(), absent=(AbsentMeter("nvml", "no driver"), AbsentMeter("rapl", "no files"))
    )
    found = find_warnings(made)
    assert found["energy-estimated"].severity is Severity.INFO
    assert "estimated (no sensor on this machine)" in found["energy-estimated"].detail
    assert [c.detail for c in checks.run_checks(made) if c.code == "meter-absent"] == [
        "nvml: no driver",
        "rapl: no files",
    ]
    assert grade_run(made) is Quality.VALID


def test_a_made_up_signal_is_called_that():
    made_up = replace(COUNTER, origin=Origin.SIMULATED)
    trace = counter()
    made = evidence(Trace(made_up, trace.t_s, trace.value))
    assert find_warnings(made)["sensor-simulated"].severity is Severity.INFO
    assert "energy-estimated" not in find_warnings(made)


def test_a_run_that_trained_without_any_joules_is_invalid():
    assert find_warnings(evidence())["energy-unknown"].severity is Severity.INVALID
    assert "energy-unknown" not in find_warnings(evidence(trained=False))


def test_a_processor_that_loses_its_sensor_beside_a_good_board_is_suspect():
    rapl = replace(COUNTER, name="rapl/package-0/counter", domain=Domain.CPU, device=None)
    trace = counter(lambda t, j: None if t > 40 else j)
    made = evidence(counter(), power(), Trace(rapl, trace.t_s, trace.value))
    assert find_warnings(made)["energy-unknown"].severity is Severity.SUSPECT


def test_missed_polls_are_told():
    late = Sampling("nvml/gpu0", 0.1, 0.13, 0.4, 700, 210, 0)
    found = find_warnings(evidence(counter(), power(), sampling=(late,)))["polls-missed"]
    assert found.severity is Severity.INFO
    assert "210 of 910" in found.detail


# --- what counts ----------------------------------------------------------------------------------


def counted(*channels):
    traces = [Trace(channel, [], []) for channel in channels]
    return evidence(*traces, epochs=EPOCHS).counted_channels


CODECARBON_RAPL = replace(CPU_MODEL, origin=Origin.MEASURED)
RAPL = replace(CODECARBON_RAPL, name="rapl/package-0/counter", reading="package-0")
CODECARBON_RAM = replace(CPU_MODEL, name="codecarbon/ram", domain=Domain.DRAM)


@pytest.mark.parametrize(
    ("channels", "names"),
    [
        ((COUNTER, POWER, CPU_MODEL), {COUNTER.name, POWER.name}),
        ((CPU_MODEL, CODECARBON_RAM), {CPU_MODEL.name}),
        ((RAPL, CODECARBON_RAPL), {RAPL.name}),
        ((CODECARBON_RAPL,), {CODECARBON_RAPL.name}),
        ((), set()),
    ],
)
def test_only_the_most_trusted_readings_of_each_component_count(channels, names):
    assert counted(*channels) == names


# --- the registry --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.CHECKS)
def test_every_check_is_a_function_of_the_evidence_with_warnings_of_the_table(name):
    check = registry.load_part("check", name)
    codes = {warning.code for warning in check(evidence())}
    assert codes <= set(load_warnings())


def test_warnings_stand_in_the_order_of_the_registry():
    made = evidence(counter(lambda t, j: 5.0), power(), shared=True)
    codes = [warning.code for warning in checks.run_checks(made)]
    assert codes.index("fallback-source") < codes.index("counter-frozen")
    assert codes.index("counter-frozen") < codes.index("shared-machine")
    assert checks.run_checks(made) == checks.run_checks(made)


UNLUCKY = {
    "everything faulty": lambda: evidence(
        counter(lambda t, j: None if 30 < t < 36 else j % 5000 if t < 60 else 0.0),
        power(lambda t, w: 0.0 if t < 20 else 900.0 if t < 21 else 250.0),
        shared=True, device="/CPU:0", meters={"nvml": {"pci_bus_id": "00000000:3B:00.0"}},
        cut=("train", "epoch-2"), status="failed",
        telemetry=(
            healthy_board("idle_cold", utilization=0.4, foreign_pids=tuple(range(4000, 4020))),
            healthy_board(
                temperature_start_c=30.0, temperature_max_c=90.0,
                throttled_s={"hw_slowdown": 30.0, "hw_power_brake": 9.0, "sw_power_cap": 70.0},
            ),
        ),
    ),
    "another reading": lambda: evidence(counter(lambda t, j: min(j, 900.0)), power()),
    "no reading": lambda: evidence(counter(lambda t, j: None), power(lambda t, w: None)),
    "readings differ": lambda: evidence(counter(), power(lambda t, w: 1.3 * w), estimated_cpu()),
    "boards unread": lambda: evidence(
        counter(), power(),
        absent=tuple(
            AbsentMeter(
                f"nvml/gpu{i}",
                f"GPU {i} (NVIDIA A100-SXM4-80GB) is divided into MIG instances. Use another GPU.",
                Domain.GPU,
            )
            for i in range(1, 8)
        ),
    ),
    "only a model": lambda: evidence(estimated_cpu(), absent=(AbsentMeter("nvml", "no driver"),)),
}  # fmt: skip


@pytest.mark.parametrize("case", UNLUCKY)
def test_every_detail_fits_three_lines_of_a_terminal_and_is_a_sentence(case):
    warnings = checks.run_checks(UNLUCKY[case]())
    assert warnings
    for warning in warnings:
        assert len(textwrap.wrap(warning.detail, 80)) <= 3, warning.detail
        assert warning.code == "meter-absent" or warning.detail.endswith(".")
