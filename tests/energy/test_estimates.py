"""Windows of estimated energy: valid as estimates, with no ±; what spoils them is told."""

import pytest

from builders.evidence import (
    counter,
    estimated_cpu,
    evidence,
    find_warnings,
    grade_run,
    power,
    without,
)
from wbcbench.core.quality import Quality, Severity
from wbcbench.core.window import Window
from wbcbench.energy.appraise import appraise

SHORT = {"windows": (Window("train", 20.0, 24.0),), "epochs": (), "steps_per_epoch": None}


@pytest.mark.parametrize("length_s", [1.5, 4.0, 9.9, 70.0])
def test_an_estimate_is_valid_however_short(length_s: float) -> None:
    whole = evidence(
        estimated_cpu(), **SHORT | {"windows": (Window("train", 20.0, 20.0 + length_s),)}
    )
    found = find_warnings(whole)
    assert grade_run(whole) is Quality.VALID
    assert not {"short-window", "few-samples", "wide-interval", "check-depth"} & found.keys()
    assert "energy-estimated" in found
    assert whole.primary_j == (pytest.approx(45.0 * length_s), None)


def test_within_one_update_of_the_model_the_time_around_it_is_named() -> None:
    whole = evidence(estimated_cpu(), **SHORT | {"windows": (Window("train", 20.2, 20.6),)})
    warning = find_warnings(whole)["short-window"]
    assert warning.severity is Severity.INFO
    assert "less than the 1.0 s after which the estimate is renewed" in warning.detail


def test_a_model_that_fell_silent_is_no_valid_estimate() -> None:
    assert grade_run(evidence(without(estimated_cpu(), 20.0, 60.0))) is not Quality.VALID


def test_a_model_has_no_budget_beside_a_board_that_has_one() -> None:
    traces = (counter(), power(), estimated_cpu())
    appraisal = appraise(traces, SHORT["windows"])  # type: ignore[arg-type]
    assert {budget.channel for budget in appraisal.budgets} == {
        "nvml/gpu0/counter",
        "nvml/gpu0/power",
    }
    assert [e.uncertainty_j is None for e in appraisal.energies] == [False, False, True]


def test_a_short_window_of_a_board_beside_an_estimate_is_judged_as_before() -> None:
    found = find_warnings(evidence(power(), estimated_cpu(), **SHORT))
    assert {"short-window", "few-samples"} <= found.keys()
