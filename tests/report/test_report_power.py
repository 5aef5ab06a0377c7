"""Power over time: which runs are drawn, their readings or envelope, steps that keep the joules."""

from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.evidence import counter, estimated_cpu, power, without
from builders.folder import write_measurements, write_traces
from builders.machine import COUNTER, GPU_CHANNELS, POWER
from builders.run import failed_record, make_record, make_spec, run_dir, save
from builders.study import gather
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.trace import Trace
from wbcbench.energy.appraise import review_traces
from wbcbench.energy.integrate import energy_curve, find_gaps
from wbcbench.report.figures.power import (
    build_power_figures,
    collect_readings,
    compute_steps,
    group_size,
)
from wbcbench.report.style import to_svg


def joules(steps):
    return math.fsum(power_w * (end_s - start_s) for start_s, end_s, power_w in steps)


def draw_steps(trace: Trace, most: int = 200) -> list[tuple[float, float, float]]:
    return compute_steps(review_traces([trace], []).traces[0], most)


def test_few_readings_are_all_drawn():
    trace = power()
    strokes = collect_readings(trace, most=2000)
    assert group_size(len(trace.good[0]), 2000) == 1
    assert [(t, w) for t, w, _ in strokes] == list(zip(*trace.good, strict=True))
    assert all(low == high for _, low, high in strokes)


@given(st.lists(st.floats(0, 500), min_size=1, max_size=400), st.integers(1, 90))
def test_an_envelope_holds_the_lowest_and_the_highest_reading(values, most):
    trace = Trace(POWER, [0.1 * i for i in range(len(values))], values)
    strokes = collect_readings(trace, most=most)
    assert len(strokes) <= most
    assert min(low for _, low, _ in strokes) == min(values)
    assert max(high for _, _, high in strokes) == max(values)


@given(st.lists(st.floats(1, 100), min_size=2, max_size=300), st.integers(1, 90))
def test_steps_keep_every_joule_however_few_are_drawn(moves, most):
    totals = [math.fsum(moves[:i]) for i in range(len(moves) + 1)]
    trace = Trace(COUNTER, [0.2 * i for i in range(len(totals))], totals)
    steps = draw_steps(trace, most=most)
    assert len(steps) <= most
    assert joules(steps) == pytest.approx(energy_curve(trace).energy_j[-1])


def test_nothing_is_drawn_across_a_gap():
    torn = without(counter(), 40.0, 44.0)
    ((start_s, end_s),) = find_gaps(torn.good[0])
    assert (start_s, end_s) == pytest.approx((39.9, 44.0))
    steps = draw_steps(torn, most=100)
    assert not [each for each in steps if each[0] < end_s and start_s < each[1]]
    assert joules(steps) == pytest.approx(joules(draw_steps(counter())) - 4.1 * 250.0, rel=0.01)
    strokes = collect_readings(without(power(), 40.0, 44.0), most=50)
    assert not [t for t, _, _ in strokes if 40.0 <= t < 44.0]


def test_a_reset_is_torn_and_not_drawn_as_power_and_a_failed_reading_is_not_zero():
    broken = counter(lambda t, j: j if t < 50.0 else j - 5_000.0)
    assert all(0.0 <= power_w < 400.0 for _, _, power_w in draw_steps(broken))
    failed = power(lambda t, w: None if int(t) == 30 else w)
    assert min(low for _, low, _ in collect_readings(failed)) > 50.0


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_readings_draw_what_there_is(n):
    assert len(collect_readings(Trace(POWER, [1.0][:n], [60.0][:n]))) == n
    assert draw_steps(Trace(COUNTER, [1.0][:n], [60.0][:n])) == []


def test_the_model_of_the_processor_is_one_step_a_second():
    assert [power_w for *_, power_w in draw_steps(estimated_cpu())] == pytest.approx([45.0] * 94)


# -- the runs that are drawn ----------------------------------------------------------------------

TORN_S = (120.0, 124.0)


def kept(tmp_path, *records, torn=()):
    """Runs with polls, those of ``torn`` without four seconds of them."""
    folder = save(tmp_path, *records)
    for record in records:
        run = run_dir(tmp_path, record)
        rng = np.random.default_rng(1)
        traces = write_measurements(run, GPU_CHANNELS, record.windows, rng, jitter_s=0.0)
        if record.run_id in torn:
            write_traces(run, [without(trace, *TORN_S) for trace in traces])
    return gather("runs", list(records), folder=folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    runs = [make_record(spec=make_spec(seed=seed), channels=GPU_CHANNELS) for seed in (1, 2, 3)]
    gap = QualityWarning("sampling-gap", Severity.SUSPECT, "4 s", "Repeat.", "train", COUNTER.name)
    runs[2] = replace(runs[2], quality=Quality.SUSPECT, warnings=(gap,))
    return kept(tmp_path_factory.mktemp("kept"), *runs, torn={runs[2].run_id})


def rows_of(figure, kind):
    return [row[1:] for row in figure.data.values if row[0] == kind]


def test_the_run_of_median_energy_and_the_one_with_a_warning_are_drawn(study):
    usual, worst = build_power_figures(study)
    assert "The run of median energy." in usual.caption
    assert "-s3-" in worst.title
    assert "suspect: sampling-gap" in worst.caption


def test_the_table_holds_phases_with_mean_power_readings_and_steps(study):
    figure, _ = build_power_figures(study)
    phases = {name: row for name, *row in rows_of(figure, "phase")}
    start_s, end_s, _, _, mean_w, readings = phases["train"]
    assert end_s - start_s == 44.0
    assert (mean_w, readings) == (pytest.approx(280.0, abs=1.0), pytest.approx(440, abs=1))
    assert phases["idle cold"][4] == pytest.approx(60.0, abs=4.0)
    assert len(rows_of(figure, "validation")) == 4
    readings = rows_of(figure, "reading")
    assert 100 < len(readings) <= 200
    assert all(low_w <= high_w for _, _, _, low_w, high_w, _, _ in readings)
    steps = rows_of(figure, "counter step")
    joules = sum(mean_w * (end_s - start_s) for _, start_s, end_s, _, _, mean_w, _ in steps)
    assert joules == pytest.approx(sum(rows[4] * (rows[1] - rows[0]) for rows in phases.values()),
                                   rel=0.05)  # fmt: skip


def test_a_gap_is_drawn_counted_and_in_no_step(study):
    usual, worst = build_power_figures(study)
    assert "gap" not in usual.caption
    assert "Pink: 1 gap without a reading, up to 4.10 s." in worst.caption
    assert rows_of(usual, "gap") == []
    ((_, start_s, end_s, *_),) = rows_of(worst, "gap")
    assert end_s - start_s == pytest.approx(4.1)
    steps = rows_of(worst, "counter step")
    assert not [row for row in steps if row[1] < end_s - 0.2 and start_s + 0.2 < row[2]]


def test_the_caption_says_what_one_stroke_stands_for_and_how_it_was_read(study):
    caption = build_power_figures(study)[0].caption
    assert "readings, each from lowest to highest of" in caption
    assert "mean between moves of the counter" in caption
    assert f"{COUNTER.name}, measured" in caption


def test_the_picture_is_no_burden_the_same_twice_and_names_its_phases(study):
    first, second = (to_svg(build_power_figures(study)[1]) for _ in range(2))
    assert first == second
    assert len(first) < 80_000
    words = " ".join(ET.fromstring(first).itertext())
    assert all(name in words for name in ("idle cold", "train", "infer b64", "as read (W)"))


def test_only_the_polls_of_the_runs_drawn_are_read(tmp_path):
    runs = [make_record(spec=make_spec(seed=seed), channels=GPU_CHANNELS) for seed in range(5)]
    study = kept(tmp_path, *runs)
    names = [figure.title.rpartition(" ")[2] for figure in build_power_figures(study)]
    assert len(names) == 2
    for record in runs:
        if record.run_id not in names:  # reading these would fail now
            (study.folder / record.run_id / "traces.parquet").write_bytes(b"torn")
    assert [figure.title.rpartition(" ")[2] for figure in build_power_figures(study)] == names


def test_a_single_run_is_drawn_alone_and_a_failed_one_as_the_worst(tmp_path):
    (figure,) = build_power_figures(kept(tmp_path / "one", make_record(channels=GPU_CHANNELS)))
    assert "The only run with comparable joules." in figure.caption
    failed = replace(failed_record(), channels=GPU_CHANNELS)
    (figure,) = build_power_figures(kept(tmp_path / "failed", failed))
    assert "(failed)" in figure.caption


def test_without_polls_nothing_is_drawn(tmp_path):
    record = make_record()
    assert build_power_figures(gather("runs", [record], folder=save(tmp_path, record))) == []
    assert build_power_figures(gather("runs", [record])) == []
