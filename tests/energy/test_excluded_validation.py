"""Validation passes are counted apart from training."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy.appraise import (
    appraise,
    remove_validation,
    remove_validation_from_budgets,
    steps_duration_s,
)
from wbcbench.energy.integrate import window_energy

COUNTER = Channel("c", Kind.COUNTER, Origin.MEASURED, Domain.GPU)
WINDOWS = (
    Window("train", 0.0, 22.0),
    Window("epoch-1", 0.0, 10.0),
    Window("validate-1", 10.0, 11.0),
    Window("epoch-2", 11.0, 21.0),
    Window("validate-2", 21.0, 22.0),
)


# A counter that stands still is a fault, and no board draws nothing.
@given(st.lists(st.floats(1, 500), min_size=23, max_size=23))
def test_the_joules_of_train_are_those_of_its_epochs(power_w: list[float]) -> None:
    total, values = 0.0, [0.0]
    for power in power_w:
        total += power
        values.append(total)
    trace = Trace(COUNTER, [float(t) for t in range(24)], values)
    energies = remove_validation([window_energy(trace, w) for w in WINDOWS], WINDOWS)
    by_name = {energy.window: energy.energy_j for energy in energies}
    epochs_j = (by_name["epoch-1"] or 0) + (by_name["epoch-2"] or 0)
    assert abs((by_name["train"] or 0) - epochs_j) < 1e-6 * (1 + epochs_j)
    assert steps_duration_s(WINDOWS) == 20.0


def test_train_is_unknown_when_a_pass_inside_it_is() -> None:
    trace = Trace(COUNTER, [0.0, 11.5, 30.0], [0.0, 10.0, None])
    energies = remove_validation([window_energy(trace, w) for w in WINDOWS], WINDOWS)
    train = next(energy for energy in energies if energy.window == "train")
    assert train.energy_j is None
    assert train.reason


def test_training_never_has_joules_below_zero() -> None:
    trace = Trace(COUNTER, [0.0, 11.0, 30.0], [0.0, 10.0, 20.0])
    energies = [window_energy(trace, w) for w in WINDOWS]
    energies[2] = replace(energies[2], energy_j=99.0)
    train = next(e for e in remove_validation(energies, WINDOWS) if e.window == "train")
    assert (train.energy_j, train.uncertainty_j, train.mean_power_w) == (None, None, None)
    assert "nothing of it is left" in train.reason


def test_a_pass_that_began_after_the_last_poll_before_a_kill_takes_nothing_from_train() -> None:
    windows = (Window("train", 0.0, 20.0), WINDOWS[2], Window("validate-2", 20.5, 20.5))
    trace = Trace(COUNTER, [float(t) for t in range(21)], [100.0 * t for t in range(21)])
    appraisal = appraise([trace], windows)
    train, _, late = remove_validation(appraisal.energies, windows)
    assert (train.energy_j, late.energy_j) == (1900.0, None)
    budgets = remove_validation_from_budgets(appraisal.budgets, windows)
    assert "train" in {budget.window for budget in budgets}


def test_a_run_that_never_trained_has_no_training_time() -> None:
    assert steps_duration_s(WINDOWS[1:]) is None


def model_energies(*passes_j: float | None) -> list[WindowEnergy]:
    """What a model says of a training of 22 s at 40 W, and of its two passes."""
    train = WindowEnergy("train", "m", 880.0, None, 40.0, 22, 1.0)
    names = ("validate-1", "validate-2")
    passes = [
        WindowEnergy(name, "m", j, None, None, 0, 1.0, "" if j else "the reading did not move")
        for name, j in zip(names, passes_j, strict=True)
    ]
    return [train, *passes]


def test_a_pass_that_a_model_did_not_see_is_taken_at_its_mean_power() -> None:
    windows = (WINDOWS[0], replace(WINDOWS[2], end_s=10.1), replace(WINDOWS[4], start_s=21.9))
    (train, *_) = remove_validation(model_energies(None, 3.0), windows)
    assert train.energy_j == 880.0 - 40.0 * windows[1].duration_s - 3.0
    measured = [replace(energy, uncertainty_j=1.0) for energy in model_energies(None, 3.0)]
    assert remove_validation(measured, windows)[0].energy_j is None  # a sensor has to say


def test_many_such_passes_leave_the_training_unknown() -> None:
    (train, *_) = remove_validation(model_energies(None, None), WINDOWS)
    assert train.energy_j is None
    assert train.reason == "the reading did not move"
