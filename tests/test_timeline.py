"""Joules and seconds to the end of each epoch, and to the target."""

from __future__ import annotations

from dataclasses import replace

from records_factory import LOAD_W, make_epochs, make_record, make_spec
from wbcbench.headline import headline_channel
from wbcbench.metrics import Reached
from wbcbench.timeline import cost_of_target, timeline


def points(record):
    return timeline(record, headline_channel(record))


def test_an_epochs_joules_hold_the_validation_passes_before_it_and_not_its_own():
    assert [point.time_s for point in points(make_record())] == [10.0, 21.0, 32.0, 43.0]
    assert [point.energy_j for point in points(make_record())] == [
        LOAD_W * seconds for seconds in (10.0, 21.0, 32.0, 43.0)
    ]


def test_the_target_is_paid_for_up_to_the_end_of_the_epoch_that_reaches_it():
    record = make_record()
    reached = cost_of_target(record, headline_channel(record))
    assert reached == Reached(epochs=3, time_s=32.0, energy_j=LOAD_W * 32.0)


def test_a_run_that_never_reaches_the_target_has_no_cost_of_it():
    record = make_record(spec=make_spec(target_value=0.99))
    assert cost_of_target(record, headline_channel(record)) is None


def test_an_unknown_validation_metric_reaches_nothing():
    record = make_record(epochs=make_epochs([None, None]))
    assert cost_of_target(record, headline_channel(record)) is None


def test_without_windows_for_a_stretch_of_training_its_joules_are_unknown():
    record = make_record()
    kept = tuple(window for window in record.windows if window.name != "epoch-2")
    energies = [point.energy_j for point in points(replace(record, windows=kept))]
    assert energies == [LOAD_W * 10.0, None, None, None]


def test_without_a_meter_the_seconds_are_known_and_the_joules_are_not():
    record = make_record(channels=())
    assert cost_of_target(record, None) == Reached(epochs=3, time_s=32.0, energy_j=None)


def test_a_run_that_never_trained_has_no_points():
    assert points(make_record(epochs=())) == []
