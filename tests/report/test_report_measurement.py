"""How far the joules can be trusted: parts, warnings, two readings, drift and uncertainty."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import mean, stdev

import numpy as np
import pytest

from builders.machine import GPU_CHANNELS, GPU_MACHINE, LAPTOP, TELEMETRY
from builders.run import failed_record, make_record, make_spec, scaled
from builders.study import draw, gather
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.record import SensorCard
from wbcbench.report import DataTable, Figure
from wbcbench.report.figures.agreement import build_agreement, compute_limits_pct, pair_readings
from wbcbench.report.figures.run_order import build_run_order, collect_series
from wbcbench.report.sections.measurement import build_measurement, build_uncertainty

COUNTER, POWER = (channel.name for channel in GPU_CHANNELS)
ABOVE_PCT = (0.5, 1.0, 1.5, 2.2)


def statements(study, prefix):
    section = build_measurement(study)
    return [each.text for each in section.statements if each.id.startswith(prefix)]


def paragraphs(section):
    return [part for part in section.parts if isinstance(part, str)]


def table(section, *, about: str) -> DataTable:
    (found,) = (each for each in section.tables if each.caption.startswith(about))
    return found


# -- the state of each part -----------------------------------------------------------------------


def circumstances(*records):
    section = build_measurement(gather("runs", records))
    return {about: (words, flag) for about, words, flag in section.tables[0].rows}


def test_each_part_of_the_machine_is_measured_estimated_or_absent_in_words():
    rows = circumstances(make_record())
    assert rows["GPU"] == ("measured (energy counter)", "ok")
    assert rows["CPU"] == ("measured (RAPL counter)", "ok")
    assert rows["whole machine"] == ("absent", "ok")
    assert rows["samples a run"] == ("400 in training, 60 recommended", "ok")
    laptop = circumstances(make_record(channels=LAPTOP))
    assert laptop["CPU"] == ("estimated (a model of power rating and load)", "note")
    assert laptop["GPU"] == ("absent", "ok")


def test_runs_that_differ_are_counted_and_noted():
    words, flag = circumstances(make_record(), make_record(seed=2, channels=LAPTOP))["GPU"]
    assert (words, flag) == ("absent in 1 run; measured (energy counter) in 1 run", "note")


def test_warnings_stand_once_a_kind_with_their_advice_the_worst_first():
    def warned(seed, code, severity):
        warning = QualityWarning(code, severity, "it lasted 3 s", "train longer", "train")
        return make_record(seed=seed, warnings=(warning,), quality=Quality.SUSPECT)

    section = build_measurement(
        gather(
            "runs",
            [
                warned(1, "short-window", Severity.SUSPECT),
                warned(2, "short-window", Severity.SUSPECT),
                warned(3, "a-frozen-counter", Severity.INFO),
            ],
        )
    )
    rows = table(section, about="Warnings").rows
    assert [row[:4] for row in rows] == [
        ("short-window", "suspect", "train", "2"),
        ("a-frozen-counter", "info", "train", "1"),
    ]
    assert rows[0][4:] == (f"it lasted 3 s ({make_spec().run_id})", "train longer")
    assert section.summary.startswith("0 of 3 runs valid, 3 suspect")
    sound = build_measurement(gather("runs", [make_record()]))
    assert not [each for each in sound.tables if each.caption.startswith(("Warn", "Meters"))]


def test_a_warning_of_many_epochs_is_one_kind():
    def busy(seed, *windows):
        warnings = tuple(
            QualityWarning("busy-processor", Severity.INFO, "others took 9 %", "stop them", window)
            for window in windows
        )
        return make_record(seed=seed, warnings=warnings)

    runs = [busy(1, "epoch-3"), busy(2, "epoch-7"), busy(3, "validate-2"), busy(4, "validate-2")]
    rows = table(build_measurement(gather("runs", runs)), about="Warnings").rows
    assert [row[2:4] for row in rows] == [("train", "2"), ("validate-2", "2")]


def test_meters_that_did_not_work_stand_with_the_reason():
    section = build_measurement(gather("runs", [make_record(), failed_record(seed=2)]))
    assert table(section, about="Meters").rows == (("nvml", "1 of 2 runs", "no NVIDIA driver"),)


# -- two readings of one part ---------------------------------------------------------------------


def reading_above(seed, above_pct, channels=GPU_MACHINE):
    """A run whose counter reads that many per cent above its integral."""
    record = make_record(seed=seed, channels=channels)
    energies = tuple(
        replace(each, energy_j=each.energy_j * (1 + above_pct / 100))
        if each.channel == COUNTER
        else each
        for each in record.energies
    )
    return replace(record, energies=energies)


def paired(*above_pct):
    return gather("study", [reading_above(i, pct) for i, pct in enumerate(above_pct)])


def test_limits_of_agreement_are_mean_and_deviations_of_the_logarithms():
    rows = pair_readings(paired(*ABOVE_PCT))[COUNTER, POWER]
    assert [row[5] for row in rows] == pytest.approx(ABOVE_PCT)
    logs = [math.log1p(pct / 100) for pct in ABOVE_PCT]
    half = 1.96 * stdev(logs)
    limits = [100 * math.expm1(mean(logs) + sign * half) for sign in (-1, 1)]
    assert compute_limits_pct(rows) == pytest.approx(tuple(limits))


@pytest.mark.parametrize("above_pct", [(-100.0, 0.0, 0.0), (1.0, 2.0)], ids=["nothing", "two runs"])
def test_limits_of_wide_readings_stay_above_minus_100_per_cent_and_of_none_are_unknown(above_pct):
    low, high = compute_limits_pct(pair_readings(paired(-90.0, 0.0, 400.0))[COUNTER, POWER])
    assert -100 < low < high
    assert compute_limits_pct(pair_readings(paired(*above_pct))[COUNTER, POWER]) is None


def test_parts_of_several_sensors_are_compared_as_their_sum():
    packages = "rapl/package-0/counter+rapl/package-1/counter"
    rows = pair_readings(paired(*ABOVE_PCT))[packages, "codecarbon/cpu"]
    assert [row[5:] for row in rows] == [(pytest.approx(100.0), "no")] * 4


def test_the_words_name_both_readings_and_judge_only_those_that_must_agree():
    study = paired(*ABOVE_PCT)
    first, *others = statements(study, "meters-")
    assert first.startswith(f"{COUNTER} read 1.3 % above {POWER} in training (4 runs, 95 % of runs")
    assert first.endswith(": all within the ±3 % of agreement.")
    assert all(words.endswith(": a cross-check that judges no run.") for words in others)
    (wide,) = (w for w in statements(paired(6.0, 1.0), "meters-") if w.startswith(COUNTER))
    assert wide.endswith("(2 runs): the widest, 6 %, is beyond the ±3 % of agreement.")


def test_the_table_behind_the_figure_has_the_difference_of_every_run():
    study = paired(*ABOVE_PCT)
    data = build_agreement(study, pair_readings(study)).data
    rows = [row for row in data.select("pair", "difference (%)", "judged") if row[2] == "yes"]
    assert [pct for _, pct, _ in rows] == pytest.approx(ABOVE_PCT)
    assert {name for name, _, _ in rows} == {f"{COUNTER} above {POWER}"}


def test_one_reading_alone_is_called_that_and_failed_runs_are_not_compared():
    section = build_measurement(gather("laptop", [make_record(channels=LAPTOP)]))
    assert paragraphs(section)[0].startswith("No part of the machine was read in two ways")
    assert not section.figures
    assert not build_measurement(gather("failed", [failed_record()])).figures


def test_a_card_tells_what_the_probe_saw_and_what_it_could_not():
    cards = (
        SensorCard(COUNTER, 0.1, 28.0, 0.001, "counter", 2.0, 400),
        SensorCard(POWER, None, None, None, "unknown", 2.0, 0, "no reading succeeded"),
    )
    section = build_measurement(gather("probed", [make_record(sensor_cards=cards)]))
    rows = {row[0]: row for row in table(section, about="Sensor cards").rows}
    assert rows[COUNTER][3:8] == ("0.1", "28", "0.001", "–", "5")
    assert rows[POWER][-2:] == ("unknown", "no reading succeeded")
    assert rows["rapl/dram-0/counter"][-2] == "not probed"


# -- the order of the runs ------------------------------------------------------------------------


def run(place, variant, factor=1.0, warmth=60.0, **changes):
    spec = make_spec(variant, 1000 + place, block=(place + 1) // 2, order_global=place)
    board = replace(TELEMETRY, temperature_mean_c=warmth, clock_sm_hz=1.4e9)
    return scaled(make_record(spec=spec, telemetry=(board,), **changes), factor)


def order_figure(study) -> Figure | None:
    return build_run_order(study, collect_series(study))


@pytest.fixture(scope="module")
def drifting():
    """Energy rises by one per cent of the first run a run, whatever the variant costs."""
    pairs = [(p, v) for p, v in enumerate(("relu-dropout", "leaky-dropout") * 4, start=1)]
    costs = {"relu-dropout": 1.0, "leaky-dropout": 1.5}
    runs = [run(p, v, costs[v] * (1 + 0.01 * p), 55.0 + 0.5 * p) for p, v in pairs]
    return gather("drifting", runs)


def test_drift_is_told_with_slope_and_interval(drifting):
    energy, temperature, _ = statements(drifting, "drift-")
    assert energy.startswith("Energy rose by 0.96 % a run (95 % CI +0.9")
    assert "no drift is shown" not in energy
    assert temperature.startswith("GPU temperature rose by 0.5 °C a run")
    assert any("a difference between variants may be this drift" in text
               for text in paragraphs(build_measurement(drifting)))  # fmt: skip


def test_a_long_pause_between_runs_is_told_beside_a_drift(drifting):
    def tell(days):
        runs = [
            replace(
                each.record,
                started_utc=f"2026-03-{1 + day:02}T10:{2 * place:02}:00Z",
                ended_utc=f"2026-03-{1 + day:02}T10:{2 * place + 1:02}:00Z",
            )
            for place, (each, day) in enumerate(zip(drifting.runs, days, strict=True))
        ]
        return " ".join(paragraphs(build_measurement(gather("paused", runs))))

    assert "separated by a pause of more than an hour" in tell([0] * 4 + [1] * 4)
    assert "a pause of more than an hour" not in tell([0] * 8)


def test_the_values_drawn_are_those_against_the_mean_of_the_variant(drifting):
    by_run = {row[1]: row for row in order_figure(drifting).data.values}
    joules = {r.run_id: (r.spec.variant, r.train_energy_j) for r in drifting.runs}
    for run_id, (variant, energy_j) in joules.items():
        mean_j = np.mean([e for v, e in joules.values() if v == variant])
        assert by_run[run_id][3] == pytest.approx(100 * (energy_j / mean_j - 1))
    assert [row[2] for row in order_figure(drifting).data.values] == list(range(1, 9))


def test_a_steady_machine_shows_no_drift():
    factors = (1.0, 1.02, 0.99, 1.01, 1.0, 0.98)
    study = gather("steady", [run(i + 1, "relu-dropout", f) for i, f in enumerate(factors)])
    assert statements(study, "drift-")[0].startswith("Energy: no drift is shown (95 % CI ")


def test_each_variant_once_is_no_drift_and_a_gpu_is_not_needed(drifting):
    once = gather("once", [run(1, "relu-dropout"), run(2, "leaky-dropout", 1.3)])
    data = order_figure(once).data  # of what needs no mean to be set against
    assert data.headings == ("variant", "run", "place", "GPU temperature (°C)")
    assert not any("Energy" in text for text in statements(once, "drift-"))
    bare = gather("bare", [replace(each.record, telemetry=()) for each in drifting.runs])
    assert order_figure(bare).data.headings[3:] == ("Energy above the variant's mean (%)",)


def test_runs_of_no_plan_stand_in_the_order_in_which_they_started():
    starts = ("2026-03-01T11:00:00Z", "2026-03-01T10:00:00Z", "2026-03-01T12:00:00Z")
    runs = [make_record(seed=i, started_utc=s) for i, s in enumerate(starts)]
    rows = order_figure(gather("unplanned", runs)).data.values
    assert [row[1].split("-")[2] for row in rows] == ["s1", "s0", "s2"]


def test_an_unknown_order_one_run_or_no_joules_draw_nothing():
    for records in (
        [make_record(seed=seed) for seed in (1, 2)],  # both started in one second
        [make_record()],
        [make_record(seed=seed, channels=()) for seed in (1, 2)],
    ):
        assert order_figure(gather("runs", records)) is None


# -- uncertainty ----------------------------------------------------------------------------------


def test_the_budget_tells_what_cancels_and_what_does_not():
    section = build_uncertainty(gather("study", draw(3)))
    assert "A constant gain error of a sensor cancels" in paragraphs(section)[0]
    cancels = {row[0]: row[4] for row in section.tables[0].rows}
    assert cancels == {
        "gain": "yes", "quantisation": "no", "edges": "no", "sampling": "no", "baseline": "no",
        "runs": "no",
    }  # fmt: skip
    halves = {row[0]: row[2] for row in section.tables[0].values}
    assert halves["gain"] is None  # the builder's records have no budget: unknown, and not 0
    assert halves["runs"] > 0
    assert section.summary.startswith("largest: runs ±")
    alone = build_uncertainty(gather("one", [make_record()]))
    assert alone.summary == "unknown"  # one run has no spread


def test_of_an_estimate_no_uncertainty_is_stated():
    section = build_uncertainty(gather("laptop", [make_record(channels=LAPTOP)]))
    assert not section.tables
    assert "no ± is stated" in paragraphs(section)[0]
    assert section.summary == "unknown, because the joules are estimated"
    assert build_uncertainty(gather("none", [make_record(channels=())])) is None
