"""Power over time: which runs are drawn, what is drawn of them, and that no more is read."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from builders.evidence import without
from builders.folder import write_measurements, write_traces
from builders.machine import GPU_CHANNELS
from builders.run import failed_record, make_record, make_spec, run_dir, save
from builders.study import gather
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.report.drawing import to_svg
from wbcbench.report.sections.timelines import build_timelines

COUNTER, POWER = (channel.name for channel in GPU_CHANNELS)
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


def with_warning(record):
    warning = QualityWarning("sampling-gap", Severity.SUSPECT, "4.0 s", "Repeat.", "train", COUNTER)
    return replace(record, quality=Quality.SUSPECT, warnings=(warning,))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    runs = [make_record(spec=make_spec(seed=seed), channels=GPU_CHANNELS) for seed in (1, 2, 3)]
    runs[2] = with_warning(runs[2])
    return kept(tmp_path_factory.mktemp("kept"), *runs, torn={runs[2].run_id})


def test_the_run_of_median_energy_and_the_one_with_a_warning_are_drawn(study):
    usual, worst = build_timelines(study).figures
    assert "the run of median energy" in usual.caption
    assert "-s3-" in worst.title
    assert "suspect: sampling-gap" in worst.caption


def test_the_table_holds_the_mean_power_of_each_phase(study):
    rows = {row[0]: row for row in build_timelines(study).figures[0].data.rows}
    assert float(rows["idle cold"][4]) == pytest.approx(60.0, abs=4.0)
    assert float(rows["train"][4]) == pytest.approx(280.0, abs=1.0)
    assert float(rows["train"][2]) == 44.0
    assert int(rows["train"][3]) == pytest.approx(440, abs=1)


def test_a_gap_is_counted_and_said_and_none_is_said_too(study):
    usual, worst = build_timelines(study).figures
    assert "No gap between readings" in usual.caption
    assert "1 gap without a reading, the longest 4.10 s" in worst.caption


def test_what_is_left_out_of_the_picture_is_said(study):
    caption = build_timelines(study).figures[0].caption
    assert f"Strokes: {POWER}, each from lowest to highest of" in caption
    assert f"of the counter {COUNTER}" in caption
    assert "GPU power, measured" in caption


def test_the_picture_is_no_burden_the_same_twice_and_names_its_phases(study):
    first, second = (to_svg(build_timelines(study).figures[1]) for _ in range(2))
    assert first == second
    assert len(first) < 80_000
    words = " ".join(ET.fromstring(first).itertext())
    assert all(name in words for name in ("idle cold", "train", "infer b64", "power, as read (W)"))


def test_only_the_polls_of_the_runs_drawn_are_read(tmp_path):
    runs = [make_record(spec=make_spec(seed=seed), channels=GPU_CHANNELS) for seed in range(5)]
    study = kept(tmp_path, *runs)
    names = [figure.title.rpartition(" ")[2] for figure in build_timelines(study).figures]
    assert len(names) == 2
    for record in runs:
        if record.run_id not in names:  # reading these would fail now
            (study.folder / record.run_id / "traces.parquet").write_bytes(b"torn")
    assert [figure.title.rpartition(" ")[2] for figure in build_timelines(study).figures] == names


def test_a_single_run_is_drawn_alone(tmp_path):
    study = kept(tmp_path, make_record(channels=GPU_CHANNELS))
    (figure,) = build_timelines(study).figures
    assert "the only run with comparable joules" in figure.caption


def test_runs_that_failed_are_drawn_as_the_worst(tmp_path):
    study = kept(tmp_path, replace(failed_record(), channels=GPU_CHANNELS))
    (figure,) = build_timelines(study).figures
    assert "(failed)" in figure.caption


def test_without_polls_a_sentence_says_so(tmp_path):
    record = make_record()
    block = build_timelines(gather("runs", [record], folder=save(tmp_path, record)))
    assert "no run of this study has the polls" in block.paragraphs[0]
    assert block.figures == ()


def test_records_alone_say_so_and_no_records_say_nothing():
    block = build_timelines(gather("runs", [make_record()]))
    assert "no run of this study has the polls" in block.paragraphs[0]
    assert build_timelines(gather("runs", [])) is None
