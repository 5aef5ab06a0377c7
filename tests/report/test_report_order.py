"""The section on the order of the runs: what is said of drift, and when nothing can be."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from builders.machine import TELEMETRY
from builders.run import make_record, make_spec
from builders.study import gather
from wbcbench.report.drawing import to_svg
from wbcbench.report.sections.order import build_order


def scaled(record, factor):
    energies = tuple(
        replace(each, energy_j=each.energy_j * factor) if each.energy_j is not None else each
        for each in record.energies
    )
    return replace(record, energies=energies)


def run(place, variant, factor=1.0, warmth=60.0, **changes):
    spec = make_spec(variant, 1000 + place, block=(place + 1) // 2, order_global=place)
    board = replace(TELEMETRY, temperature_mean_c=warmth, clock_sm_hz=1.4e9)
    return scaled(make_record(spec=spec, telemetry=(board,), **changes), factor)


@pytest.fixture(scope="module")
def drifting():
    """Energy rises by one per cent of the first run a run, whatever the variant costs."""
    pairs = [(p, v) for p, v in enumerate(("relu-dropout", "leaky-dropout") * 4, start=1)]
    costs = {"relu-dropout": 1.0, "leaky-dropout": 1.5}
    runs = [run(p, v, costs[v] * (1 + 0.01 * p), 55.0 + 0.5 * p) for p, v in pairs]
    return gather("drifting", runs)


def test_drift_is_told_with_slope_and_interval(drifting):
    block = build_order(drifting)
    energy, temperature = (claim.text for claim in block.claims[:2])
    assert energy.startswith("Energy rose by 0.96 % a run (95 % interval +0.9")
    assert "no drift is shown" not in energy
    assert temperature.startswith("GPU temperature rose by 0.5 °C a run")


def test_the_values_drawn_are_those_of_the_table_against_the_mean_of_the_variant(drifting):
    (figure,) = build_order(drifting).figures
    by_run = {row[0]: row for row in figure.data.rows}
    joules = {r.record.run_id: (r.spec.variant, r.train_energy_j) for r in drifting.runs}
    for run_id, (variant, energy_j) in joules.items():
        mean_j = np.mean([e for v, e in joules.values() if v == variant])
        assert float(by_run[run_id][2]) == pytest.approx(100 * (energy_j / mean_j - 1), abs=0.01)
    assert [int(row[1]) for row in figure.data.rows] == list(range(1, 9))


def test_the_picture_is_the_same_twice_and_well_formed(drifting):
    first, second = (to_svg(build_order(drifting).figures[0]) for _ in range(2))
    assert first == second
    words = " ".join(ET.fromstring(first).itertext())
    assert "leaky-dropout" in words
    assert "place in the order of the runs" in words


def test_a_steady_machine_shows_no_drift():
    factors = (1.0, 1.02, 0.99, 1.01, 1.0, 0.98)
    study = gather("steady", [run(i + 1, "relu-dropout", f) for i, f in enumerate(factors)])
    assert "no drift is shown" in build_order(study).claims[0].text


def test_without_a_gpu_energy_stands_alone(drifting):
    bare = [replace(each.record, telemetry=()) for each in drifting.runs]
    (figure,) = build_order(gather("bare", bare)).figures
    assert len(figure.data.headings) == 3
    assert "No GPU reported its temperature" in figure.caption


def test_each_variant_once_is_no_drift():
    study = gather("once", [run(1, "relu-dropout"), run(2, "leaky-dropout", 1.3)])
    block = build_order(study)
    assert "cannot be separated from a difference between variants" in block.paragraphs[0]
    (figure,) = block.figures  # of what needs no mean to be set against
    assert figure.data.headings == ("run", "place", "GPU temperature (°C)")
    bare = gather("bare", [replace(each.record, telemetry=()) for each in study.runs])
    assert build_order(bare).figures == ()


def test_runs_of_no_plan_stand_in_the_order_in_which_they_started():
    starts = ("2026-03-01T11:00:00Z", "2026-03-01T10:00:00Z", "2026-03-01T12:00:00Z")
    runs = [make_record(seed=i, started_utc=s) for i, s in enumerate(starts)]
    (figure,) = build_order(gather("unplanned", runs)).figures
    seeds = [row[0].split("-")[2] for row in figure.data.rows]
    assert seeds == ["s1", "s0", "s2"]


def test_an_unknown_order_is_said():
    study = gather("unknown", [make_record(seed=seed) for seed in (1, 2)])
    assert build_order(study).paragraphs == (
        "The order of the runs is not known, so drift cannot be determined.",
    )
    assert build_order(study).figures == ()


def test_one_run_or_no_joules_say_nothing():
    assert build_order(gather("one", [make_record()])) is None
    assert build_order(gather("none", [make_record(seed=s, channels=()) for s in (1, 2)])) is None
