"""Power over time: which runs are drawn, what is drawn of them, and that no more is read."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from records_factory import GPU_CHANNELS, failed_record, gather, make_record, make_spec, save
from wbcbench.report.page.drawing import to_svg
from wbcbench.report.timelines import section
from wbcbench.runs.records import RunRecord
from wbcbench.runs.rundir import RunDir
from wbcbench.verdict import Caution, Severity, Verdict

COUNTER, POWER = (channel.name for channel in GPU_CHANNELS)
TORN_S = (120.0, 124.0)


def polls(record: RunRecord, torn=False):
    """Ten polls a second: 60 W while idle, 280 W else."""
    start_s = record.windows[0].start_s - 1.0
    end_s = max(window.end_s for window in record.windows) + 1.0
    total_j, t_s = 1000.0, start_s
    yield f"t_s,{COUNTER},{POWER}"
    while t_s < end_s:
        idle = any(w.name.startswith("idle") and w.start_s <= t_s < w.end_s for w in record.windows)
        power_w = 60.0 if idle else 280.0
        total_j += 0.1 * power_w
        if not (torn and TORN_S[0] <= t_s < TORN_S[1]):
            yield f"{t_s:.6f},{total_j!r},{power_w!r}"
        t_s += 0.1


def kept(tmp_path, *records, torn=()):
    folder = save(tmp_path, *records)
    for record in records:
        run = RunDir(folder / record.run_id)
        run.write_channels(GPU_CHANNELS)
        lines = polls(record, torn=record.run_id in torn)
        run.trace_path("nvml/gpu0").write_text("\n".join([*lines, ""]), encoding="ascii")
    return gather("runs", list(records), folder=folder)


def doubtful(record):
    doubt = Caution("sampling-gap", Severity.SUSPECT, "4.0 s", "Repeat.", "train", COUNTER)
    return replace(record, verdict=Verdict.SUSPECT, cautions=(doubt,))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    runs = [make_record(spec=make_spec(seed=seed), channels=GPU_CHANNELS) for seed in (1, 2, 3)]
    runs[2] = doubtful(runs[2])
    return kept(tmp_path_factory.mktemp("kept"), *runs, torn={runs[2].run_id})


def test_the_run_of_median_energy_and_the_one_in_doubt_are_drawn(study):
    usual, worst = section(study).figures
    assert "the run of median energy" in usual.caption
    assert "-s3-" in worst.title
    assert "suspect: sampling-gap" in worst.caption


def test_the_table_holds_the_mean_power_of_each_phase(study):
    rows = {row[0]: row for row in section(study).figures[0].data.rows}
    assert float(rows["idle cold"][4]) == pytest.approx(60.0, abs=4.0)
    assert float(rows["train"][4]) == pytest.approx(280.0, abs=1.0)
    assert float(rows["train"][2]) == 44.0
    assert int(rows["train"][3]) == pytest.approx(440, abs=1)


def test_a_gap_is_counted_and_said_and_none_is_said_too(study):
    usual, worst = section(study).figures
    assert "No gap between readings" in usual.caption
    assert "1 gap without a reading, the longest 4.10 s" in worst.caption


def test_what_is_left_out_of_the_picture_is_said(study):
    caption = section(study).figures[0].caption
    assert f"Strokes: {POWER}, each from lowest to highest of" in caption
    assert f"of the counter {COUNTER}" in caption
    assert "GPU power, measured" in caption


def test_the_picture_is_small_the_same_twice_and_names_its_phases(study):
    first, second = (to_svg(section(study).figures[1]) for _ in range(2))
    assert first == second
    assert len(first) < 32_000
    words = " ".join(ET.fromstring(first).itertext())
    assert all(name in words for name in ("idle cold", "train", "infer b64", "power, as read (W)"))


def test_only_the_polls_of_the_runs_drawn_are_read(tmp_path):
    runs = [make_record(spec=make_spec(seed=seed), channels=GPU_CHANNELS) for seed in range(5)]
    study = kept(tmp_path, *runs)
    names = [figure.title.rpartition(" ")[2] for figure in section(study).figures]
    assert len(names) == 2
    for record in runs:
        if record.run_id not in names:  # reading these would fail now
            polls_path = RunDir(study.folder / record.run_id).trace_path("nvml/gpu0")
            polls_path.unlink()
            polls_path.mkdir()
    assert [figure.title.rpartition(" ")[2] for figure in section(study).figures] == names


def test_a_single_run_is_drawn_alone(tmp_path):
    study = kept(tmp_path, make_record(channels=GPU_CHANNELS))
    (figure,) = section(study).figures
    assert "the only run with comparable joules" in figure.caption


def test_runs_that_failed_are_drawn_as_the_worst(tmp_path):
    study = kept(tmp_path, replace(failed_record(), channels=GPU_CHANNELS))
    (figure,) = section(study).figures
    assert "(failed)" in figure.caption


def test_without_polls_a_sentence_says_so(tmp_path):
    record = make_record()
    block = section(gather("runs", [record], folder=save(tmp_path, record)))
    assert "no run of this study kept the polls" in block.paragraphs[0]
    assert block.figures == ()


def test_records_alone_say_so_and_no_records_say_nothing():
    block = section(gather("runs", [make_record()]))
    assert "no run of this study kept the polls" in block.paragraphs[0]
    assert section(gather("runs", [])) is None
