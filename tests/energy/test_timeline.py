"""Joules and seconds to the end of each epoch, and to the target."""

from __future__ import annotations

from dataclasses import replace

from builders.machine import LOAD_W
from builders.run import make_record, make_spec
from builders.timeline import make_epochs
from wbcbench.energy.metrics import Reached
from wbcbench.energy.source import cost_of_target, primary_source, source_energy_j, timeline


def points(record):
    return timeline(record, primary_source(record))


def test_an_epochs_joules_are_those_of_all_training_steps_so_far_and_of_no_validation():
    assert [point.time_s for point in points(make_record())] == [10.0, 20.0, 30.0, 40.0]
    assert [point.energy_j for point in points(make_record())] == [
        LOAD_W * seconds for seconds in (10.0, 20.0, 30.0, 40.0)
    ]


def test_the_last_point_of_a_finished_run_is_its_whole_training():
    record = make_record()
    primary = primary_source(record)
    assert points(record)[-1].energy_j == source_energy_j(record, primary, "train")


def test_the_target_is_paid_for_up_to_the_end_of_the_epoch_that_reaches_it():
    record = make_record()
    reached = cost_of_target(record, primary_source(record))
    assert reached == Reached(epochs=3, time_s=30.0, energy_j=LOAD_W * 30.0)


def test_a_run_that_never_reaches_the_target_has_no_cost_of_it():
    record = make_record(spec=make_spec(target_value=0.99))
    assert cost_of_target(record, primary_source(record)) is None


def test_an_unknown_validation_metric_reaches_nothing():
    record = make_record(epochs=make_epochs([None, None]))
    assert cost_of_target(record, primary_source(record)) is None


def test_after_an_epoch_of_unknown_joules_the_sum_is_unknown():
    record = make_record()
    kept = tuple(energy for energy in record.energies if energy.window != "epoch-2")
    energies = [point.energy_j for point in points(replace(record, energies=kept))]
    assert energies == [LOAD_W * 10.0, None, None, None]


def test_without_a_meter_the_seconds_are_known_and_the_joules_are_not():
    record = make_record(channels=())
    assert cost_of_target(record, None) == Reached(epochs=3, time_s=30.0, energy_j=None)


def test_a_run_that_never_trained_has_no_points():
    assert points(make_record(epochs=())) == []
