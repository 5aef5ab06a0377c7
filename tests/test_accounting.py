"""A run's folder becomes its record, and the record says what its joules are worth."""

from __future__ import annotations

import json

import pytest

from made_evidence import (
    COUNTER,
    CPU_MODEL,
    EPOCHS,
    GPU,
    POWER,
    TIMES,
    load_j,
    load_w,
)
from wbcbench.reckoning.accounting import account
from wbcbench.runs import records
from wbcbench.runs.local_facts import Local
from wbcbench.runs.records import Circumstances
from wbcbench.runs.rundir import RunDir
from wbcbench.runs.study import RunSpec
from wbcbench.sensors.board_state import COLUMNS, BoardSample, to_line
from wbcbench.verdict import Verdict

SEEN = Circumstances(started_utc="2026-01-01T00:00:00Z", provenance={})
MARKS = (
    ("idle_cold", 11.0, 14.0),
    ("epoch-1", 15.0, 48.0),
    ("validate-1", 48.0, 50.0),
    ("epoch-2", 50.0, 83.0),
    ("validate-2", 83.0, 85.0),
    ("train", 15.0, 85.0),
    ("idle_post", 97.0, 100.0),
)


@pytest.fixture
def run(tmp_path):
    made = RunDir(tmp_path / "run")
    made.create(RunSpec("relu-dropout"), Local())
    made.write_channels([COUNTER, POWER, CPU_MODEL])
    return made


def watched(run, *, counter=load_j, marks=MARKS, looks=()):
    """Write what a watcher leaves: traces, marks and the log of a board."""
    rows = [f"{t:.6f},{counter(t)!r},{load_w(t)!r}" for t in TIMES]
    trace = [f"t_s,{COUNTER.name},{POWER.name}", *rows, ""]
    run.trace_path("nvml/gpu0").write_text("\n".join(trace))
    model = [f"{9.0 + i:.6f},{45.0 * i!r}" for i in range(94)]
    run.trace_path("codecarbon").write_text("\n".join([f"t_s,{CPU_MODEL.name}", *model, ""]))
    said = []
    for name, start_s, end_s in marks:
        said.append({"mark": "open", "window": name, "t_s": start_s})
        if end_s is not None:
            said.append({"mark": "close", "window": name, "t_s": end_s})
    said += [{"epoch": {n: getattr(e, n) for n in e.__slots__}} for e in EPOCHS]
    run.marks_path.write_text("".join(json.dumps(each) + "\n" for each in said))
    path = run.telemetry_path(GPU)
    path.parent.mkdir()
    path.write_text("\n".join([",".join(COLUMNS), *map(to_line, looks), ""]))


def test_a_healthy_run_has_joules_budgets_agreements_and_a_valid_verdict(run):
    watched(run)
    record = account(run, SEEN, "done")
    assert record.verdict is Verdict.VALID
    train = record.energy("train", COUNTER.name)
    assert train.energy_j == pytest.approx(66 * 250.0, rel=1e-3)
    assert 0 < train.uncertainty_j < 0.01 * train.energy_j
    assert {b.window for b in record.budgets} == {name for name, *_ in MARKS}
    assert {(a.a, a.b) for a in record.agreements} == {(COUNTER.name, POWER.name)}


def test_the_budget_of_training_is_that_of_its_joules(run):
    watched(run)
    record = account(run, SEEN, "done")
    for channel in (COUNTER.name, POWER.name):
        [found] = [b for b in record.budgets if (b.window, b.channel) == ("train", channel)]
        energy = record.energy("train", channel)
        assert found.total_j == pytest.approx(energy.uncertainty_j)
        assert found.gain_j == pytest.approx(0.05 * energy.energy_j)
        assert found.baseline_j > 0


def test_a_record_with_everything_survives_its_file(run):
    looks = [
        BoardSample(10.0 + i, temperature_c=60.0, reasons=(), own=(1,), foreign=())
        for i in range(91)
    ]
    watched(run, looks=looks)
    record = account(run, SEEN, "done")
    assert record.telemetry
    assert records.from_json(records.to_json(record), "record.json") == record


def test_what_a_board_did_is_in_the_record_and_weighs(run):
    throttled = [BoardSample(15.0 + i, reasons=("hw_thermal_slowdown",)) for i in range(60)]
    watched(run, looks=throttled)
    record = account(run, SEEN, "done")
    [train] = [t for t in record.telemetry if t.window == "train"]
    assert train.throttled_s["hw_thermal_slowdown"] == pytest.approx(59.0)
    assert record.verdict is Verdict.INVALID


def test_a_frozen_counter_leaves_unknown_joules_and_a_reason_in_the_record(run):
    watched(run, counter=lambda t: load_j(min(t, 40.0)))
    record = account(run, SEEN, "done")
    train = record.energy("train", COUNTER.name)
    assert train.energy_j is None
    assert "stood still" in train.reason
    assert record.energy("train", POWER.name).energy_j == pytest.approx(66 * 250.0, rel=0.01)
    assert record.verdict is Verdict.SUSPECT


def test_a_killed_trainer_leaves_the_joules_so_far_and_an_invalid_run(run):
    cut = [("idle_cold", 11.0, 14.0), ("train", 15.0, None), ("epoch-1", 15.0, None)]
    watched(run, marks=cut)
    record = account(run, SEEN, "failed")
    assert record.energy("train", COUNTER.name).energy_j > 15_000
    assert record.verdict is Verdict.INVALID
    assert "window-cut" in {caution.code for caution in record.cautions}


def test_a_channel_lost_early_does_not_shorten_the_cut_windows_of_the_others(run):
    cut = [("train", 15.0, None)]
    watched(run, marks=cut)
    lost = [f"{9.0 + i:.6f},{45.0 * i!r}" for i in range(20)]
    run.trace_path("codecarbon").write_text("\n".join([f"t_s,{CPU_MODEL.name}", *lost, ""]))
    record = account(run, SEEN, "failed")
    assert record.window("train").end_s == pytest.approx(101.0)


def test_a_folder_without_any_trace_is_accounted_for_without_joules(run):
    watched(run)
    for path in (run.path / "trace").glob("*.csv"):
        path.unlink()
    record = account(run, SEEN, "done")
    assert record.energies == ()
    assert record.verdict is Verdict.INVALID
